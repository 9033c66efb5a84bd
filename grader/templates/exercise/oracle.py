"""Inputs and expected outputs. exercises/README.md describes the functions that the grader calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from grader.model.exercise import Array, Case
from grader.reference_kernels.mistakes import Mistake

REQUIRED = {"square": (256, 256), "ragged": (100, 300)}  # rows, cols


def required(seed: int) -> Iterator[Case]:
    """The cases listed in exercise.toml, in the same order. Speed is measured on them too."""
    for name, (rows, cols) in REQUIRED.items():
        yield make_case(name, rows, cols, seed=seed, required=True)


def extra(seed: int) -> Iterator[Case]:
    """Small, awkward shapes. Sizes may depend on the seed, names may not."""
    rng = np.random.default_rng([seed, *b"extra"])
    yield make_case("one-row", 1, int(rng.integers(1, 600)), seed=seed)
    yield make_case("one-column", int(rng.integers(1, 600)), 1, seed=seed)


def from_spec(spec: Mapping[str, Any], seed: int, name: str) -> Case:
    """A case from an instructor's secret file: {"rows": 3, "cols": 70}."""
    for field in ("rows", "cols"):
        if not isinstance(spec.get(field), int) or not 1 <= spec[field] <= 4096:
            raise ValueError(f"secret case {name!r}: {field} must be a whole number from 1 to 4096")
    return make_case(name, spec["rows"], spec["cols"], seed=seed, secret=True)


def expected(case: Case) -> dict[str, np.ndarray]:
    """The outputs in FP64, by parameter name."""
    x, factors = (_data(case, name).astype(np.float64) for name in ("x", "factors"))
    return {"y": x * factors[:, None]}


def another(case: Case, seed: int) -> Case:
    """The same sizes with different values. Timing rotates through several of these."""
    rows, cols = _data(case, "x").shape
    return make_case(case.name, rows, cols, seed=seed, required=case.required)


def mistakes(case: Case, right: Mapping[str, np.ndarray]) -> Iterator[Mistake[np.ndarray]]:
    """The outputs that common mistakes would produce. If one matches, the report names the mistake."""
    del right
    x, factors = _data(case, "x").astype(np.float64), _data(case, "factors").astype(np.float64)
    sentence = "these are the results of multiplying every row by the first factor"
    yield Mistake("first factor for all", sentence, "rows-and-factors", lambda rows: x[rows] * factors[0])


def make_case(name: str, rows: int, cols: int, *, seed: int, required: bool = False, secret: bool = False) -> Case:
    """The values depend only on the name, the sizes and the seed."""
    rng = np.random.default_rng([seed, *name.encode()])
    x = rng.uniform(-1, 1, (rows, cols)).astype(np.float32)
    arrays = (
        Array("x", x),
        Array("factors", rng.uniform(1, 2, rows).astype(np.float32)),
        Array("y", np.empty_like(x), access="out"),
    )
    arguments = {array.name: array for array in arrays} | {"rows": rows, "cols": cols}
    return Case(name, required, arguments, f"{rows} rows, {cols} columns", secret)


def _data(case: Case, name: str) -> np.ndarray:
    array = case.arguments[name]
    assert isinstance(array, Array)
    return array.data
