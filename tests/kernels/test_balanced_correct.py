"""Correct kernels for exercise 04, each distributing tiles in another way: right numbers and no finding."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.model.exercise import Case
from tests.kernels.engine import Grouped

HERE = Path(__file__).parent
EXERCISE = catalog.read(HERE.parents[1] / "exercises" / "04_balanced_grouped_gemm")
FILES = (EXERCISE.folder / "solution.cu", *sorted((HERE / "balanced").glob("*.cu")))

# Small and skewed: most of the rows in few groups, all of them in one, none in the first and the last.
CASES = ("small", "empty-groups", "narrow", "odd-sixteens", "zipf-routed", "one-expert", "ends-empty")


@cache
def cases() -> list[tuple[Case, np.ndarray]]:
    oracle = Oracle(EXERCISE)
    found = [(case, oracle.expected(case)["C_concat"]) for case in oracle.cases(seed=7) if case.name in CASES]
    assert len(found) == len(CASES)
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_correct_kernel_is_right_and_has_no_finding(file: Path) -> None:
    kernel = Grouped(EXERCISE.kernels[0], file.read_text(encoding="utf-8"))
    for case, expected in cases():
        findings, output = kernel.run(case)
        assert findings == (), case.name
        assert (np.abs(output - expected) < EXERCISE.tolerance).all(), case.name


def test_every_file_names_its_technique() -> None:
    for file in FILES:
        assert file.read_text(encoding="utf-8").startswith("// "), file.name
