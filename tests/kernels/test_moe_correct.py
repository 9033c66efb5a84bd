"""Correct submissions to exercise 06: right numbers, half of what is allowed left over, and not a single finding."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.model.exercise import Array, Case
from grader.reference_kernels import moe_rules
from grader.reference_kernels.moe import Layer, softmax
from tests.kernels.several import Several

HERE = Path(__file__).parent
EXERCISE = catalog.read(HERE.parents[1] / "exercises" / "06_moe_layer")
SOLUTION = EXERCISE.folder / "solution.cu"
FILES = sorted((HERE / "moe_layer").glob("*.cu"))

CASES = ("top-2", "empty-experts", "many-experts", "ties", "large-logits", "overflow", "narrow")
LARGE_ENOUGH = ">= 2 * sm_count"  # in the solution: when to take the large tiles


@cache
def cases() -> list[tuple[Case, dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """Each with what is right and what each element may be off by."""
    oracle = Oracle(EXERCISE)
    found = [case for case in oracle.cases(seed=7) if case.name in CASES]
    assert len(found) == len(CASES)
    return [(case, oracle.expected(case), bounds(case)) for case in found]


def layer_of(case: Case) -> Layer:
    arrays = {name: v.data for name, v in case.arguments.items() if isinstance(v, Array) and v.access == "in"}
    top_k, capacity = case.arguments["top_k"], case.arguments["capacity"]
    assert isinstance(top_k, int)
    assert isinstance(capacity, int)
    return Layer.of(arrays, top_k, capacity)


def bounds(case: Case) -> dict[str, np.ndarray]:
    layer = layer_of(case)
    of_weights = moe_rules.weight_bound(layer.logits, softmax(layer.logits))
    weights = {"route_weight": np.take_along_axis(of_weights, layer.given["expert"], axis=1)}
    return weights | {name: bound(layer) for name, bound in moe_rules.BOUNDS.items()}


def check(text: str) -> None:
    submission, oracle = Several(EXERCISE, text), Oracle(EXERCISE)
    for case, expected, allowed in cases():
        findings, outputs = submission.run(case)
        assert findings == (), case.name
        judged = oracle.judge(case, outputs, expected)
        assert judged is not None
        assert [one.sentence for one in judged if one.wrong.any()] == [], case.name
        for name, bound in allowed.items():
            error = np.abs(outputs[name].reshape(bound.shape) - expected[name])
            assert not (error > bound / 2).any(), (case.name, name, float(np.nanmax(error / bound)))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_correct_submission_is_right_and_has_no_finding(file: Path) -> None:
    check(file.read_text(encoding="utf-8"))


def test_the_solution_is_right_with_large_tiles_too() -> None:
    """A CPU's cases are too small for them. With small tiles, verify runs it."""
    text = SOLUTION.read_text(encoding="utf-8")
    assert text.count(LARGE_ENOUGH) == 1
    check(text.replace(LARGE_ENOUGH, ">= 0"))


@pytest.mark.parametrize("file", [SOLUTION, *FILES], ids=lambda file: file.stem)
def test_it_names_its_technique(file: Path) -> None:
    assert file.read_text(encoding="utf-8").startswith("// ")
