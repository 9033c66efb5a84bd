"""Inputs and expected outputs of 04_balanced_grouped_gemm.

Called by the grader (exercises/README.md): required, extra, on_gpu, from_spec, another, expected, mistakes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from grader.model.exercise import Array, Case
from grader.reference_kernels import grouped_gemm_cases as cases
from grader.reference_kernels.grouped_gemm import group_offsets, grouped_gemm
from grader.reference_kernels.grouped_gemm_cases import Sizes
from grader.reference_kernels.mistakes import Mistake
from grader.reference_kernels.mistakes.grouped_gemm import Problem, every_mistake
from grader.reference_kernels.mistakes.grouped_gemm.tile_list import not_taken

MAX_GROUPS = 256

# Where balance decides: large enough that the most popular expert alone keeps many blocks busy for long.
SKEWED = {"zipf64": 64, "zipf256": 256}  # experts
TOKENS, HIDDEN = 8192, 512

MOST_LISTED = 16  # groups whose sizes a case's summary lists


def required(seed: int) -> Iterator[Case]:
    """The four cases on which speed is measured too, with values drawn from the seed."""
    for name, sizes in cases.REQUIRED.items():
        yield make_case(name, sizes, seed=seed, required=True)


def extra(seed: int) -> Iterator[Case]:
    """Awkward shapes, drawn from the seed too; together less than a tenth of the work of `imbalanced`."""
    for name, sizes in cases.awkward(seed, MAX_GROUPS):
        yield make_case(name, sizes, seed=seed)
    for name, draw in SMALL_SKEWED.items():
        yield make_case(name, draw(cases.generator(seed, name, "shape")), seed=seed)


def on_gpu(seed: int) -> Iterator[Case]:
    """Tokens routed by Zipf's law, far too many for a CPU."""
    for name, experts in SKEWED.items():
        m_sizes = cases.zipf(cases.generator(seed, name, "shape"), experts, TOKENS)
        yield make_case(name, (m_sizes, HIDDEN, HIDDEN), seed=seed)


def from_spec(spec: Mapping[str, Any], seed: int, name: str) -> Case:
    """A case from an instructor's secret file: {"M_sizes": [3, 0, 17], "K": 48, "N": 80}.

    Raises ValueError with a message that names the wrong field and what it should be.
    """
    return make_case(name, cases.from_spec(spec, name, MAX_GROUPS), seed=seed, secret=True)


def another(case: Case, seed: int) -> Case:
    """The same sizes with different values."""
    sizes, k, n = (case.arguments[name] for name in ("M_sizes", "K", "N"))
    assert isinstance(sizes, Array)
    assert isinstance(k, int)
    assert isinstance(n, int)
    return make_case(case.name, (sizes.data.tolist(), k, n), seed=seed, required=case.required)


def expected(case: Case) -> dict[str, np.ndarray]:
    """The outputs in FP64, by parameter name."""
    data = _arrays(case)
    return {"C_concat": grouped_gemm(data["A_concat"], data["B_concat"], data["M_sizes"])}


def mistakes(case: Case, right: Mapping[str, np.ndarray]) -> Iterator[Mistake[np.ndarray]]:
    """The outputs of common mistakes; `right` is what `expected` returned."""
    data = _arrays(case)
    problem = Problem(data["A_concat"], data["B_concat"], data["M_sizes"], right["C_concat"])
    yield from every_mistake(problem)
    yield from not_taken(problem)


def _arrays(case: Case) -> dict[str, np.ndarray]:
    return {name: value.data for name, value in case.arguments.items() if isinstance(value, Array)}


def make_case(name: str, sizes: Sizes, *, seed: int, required: bool = False, secret: bool = False) -> Case:
    """One problem. Its values depend only on the name, the sizes and the seed."""
    m_sizes, k, n = sizes
    a, b = cases.inputs(seed, name, sizes)
    arrays = (
        Array("A_concat", a),
        Array("B_concat", b),
        Array("C_concat", np.empty((len(a), n), np.float32), access="out"),
        Array("group_offsets", group_offsets(m_sizes)),
        Array("M_sizes", np.array(m_sizes, np.int32)),
    )
    return Case(
        name=name,
        required=required,
        arguments={array.name: array for array in arrays} | {"K": k, "N": n, "num_groups": len(m_sizes)},
        summary=f"{_listed(m_sizes)}, K {k}, N {n}",
        secret=secret,
        gpu_only=name in SKEWED,
        group_rows=() if secret else tuple(m_sizes),
    )


def _listed(m_sizes: Sequence[int]) -> str:
    """All of them; of many, only how much they differ."""
    if len(m_sizes) <= MOST_LISTED:
        return f"M {' '.join(map(str, m_sizes))}"
    return f"{sum(m_sizes)} rows in {len(m_sizes)} groups of {min(m_sizes)} to {max(m_sizes)}"


def _routed(rng: np.random.Generator) -> Sizes:
    """Like zipf64, small: a few experts get most of the rows, many get a few or none."""
    return cases.zipf(rng, 64, 400), 48, 80


def _one_expert(rng: np.random.Generator) -> Sizes:
    """One expert of 64 gets every token."""
    m_sizes = [0] * 64
    m_sizes[int(rng.integers(64))] = int(rng.integers(200, 300))
    return m_sizes, 32, 112


def _ends_empty(rng: np.random.Generator) -> Sizes:
    """Several empty experts first and last, one busy one between small ones."""
    m_sizes = [int(m) for m in rng.integers(1, 9, size=12)]
    m_sizes[int(rng.integers(12))] = 200
    return [0] * int(rng.integers(2, 9)) + m_sizes + [0] * int(rng.integers(2, 9)), 64, 48


SMALL_SKEWED: dict[str, Callable[[np.random.Generator], Sizes]] = {
    "zipf-routed": _routed,
    "one-expert": _one_expert,
    "ends-empty": _ends_empty,
}
