"""The fast grouped GEMM on the CPU engine: right numbers and not a finding, from each of its kernels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.model.exercise import Case
from tests.kernels.engine import Grouped

ROOT = Path(__file__).parents[2]
EXERCISE = catalog.read(ROOT / "exercises" / "01_simple_grouped_gemm")
ORACLE = Oracle(EXERCISE)
TEXT = (ROOT / "reference_kernels" / "grouped_gemm.cu").read_text(encoding="utf-8")
CHOICES = re.findall(r"choice<\w+>\(\d+\)", TEXT)

# Partial tiles, empty groups, one row, more groups than a warp has lanes, K and N of 16 and odd multiples of it.
AWKWARD = ("empty-groups", "one-row", "prime-rows", "many-groups", "narrow", "odd-sixteens")
# FP32's own error over these K, with room: two FP16 numbers hold 22 of FP32's 24 bits. TF32 alone errs by 1e-3.
TOLERANCE = 1e-5


def cases(*names: str) -> list[Case]:
    return [case for case in ORACLE.cases(seed=3) if case.name in names]


def assert_right(text: str, problems: list[Case]) -> None:
    kernel = Grouped(EXERCISE.kernels[0], text)
    for case in problems:
        findings, output = kernel.run(case)
        assert findings == ()
        difference = np.abs(output - ORACLE.expected(case)["C_concat"])
        assert (difference < TOLERANCE).all(), case.name


def with_one_choice(choice: str) -> str:
    """The file, with nothing else for its launch function to choose from."""
    text, tables = re.subn(r"choices\[\] = \{[^;]*\};", f"choices[] = {{{choice}}};", TEXT)
    assert tables == 1
    return text


@pytest.mark.parametrize("choice", CHOICES)
def test_each_kernel_is_right_on_awkward_shapes(choice: str) -> None:
    assert_right(with_one_choice(choice), cases(*AWKWARD))


def test_what_the_launch_function_chooses_is_right() -> None:
    assert len(CHOICES) > 1
    assert_right(TEXT, cases("small", "hot-group"))
