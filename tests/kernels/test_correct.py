"""Correct kernels over many techniques: right numbers, and not a single finding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from grader import ptx
from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from tests.kernels.engine import Grouped

EXERCISE = catalog.read(Path(__file__).parents[2] / "exercises" / "01_simple_grouped_gemm")
ORACLE = Oracle(EXERCISE)
FILES = (EXERCISE.folder / "solution.cu", *sorted((Path(__file__).parent / "correct").glob("*.cu")))

# Small, and awkward for every tile size: partial tiles, empty groups, one row, K and N of 16.
CASES = ("small", "empty-groups", "one-row", "prime-rows", "narrow", "odd-sixteens")
BOTH_WAYS = "odd-sixteens"  # run warp by warp, too: the bits must be the same


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_correct_kernel_is_right_and_has_no_finding(file: Path) -> None:
    kernel = Grouped(EXERCISE.kernels[0], file.read_text(encoding="utf-8"))
    for case in ORACLE.cases(seed=7):
        if case.name not in CASES:
            continue
        try:
            findings, output = kernel.run(case)
        except ptx.Unsupported as lacking:
            pytest.skip(lacking.message)
        assert findings == ()
        if case.name == BOTH_WAYS:
            assert kernel.run(case, warps=True)[1].tobytes() == output.tobytes()
        difference = np.abs(output - ORACLE.expected(case)["C_concat"])
        assert (difference < EXERCISE.tolerance).all(), case.name


def test_every_file_names_its_technique() -> None:
    for file in FILES:
        assert file.read_text(encoding="utf-8").startswith("// "), file.name
