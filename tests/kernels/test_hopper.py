"""Kernels that use Hopper as CUTLASS and DeepGEMM do: right ones give the right numbers and not a single finding."""

from __future__ import annotations

from functools import cache

import pytest

from tests.kernels.hopper import problem
from tests.kernels.hopper.problem import RIGHT, Kernels


@cache
def right() -> Kernels:
    return Kernels([file.read_text(encoding="utf-8") for file in RIGHT])


@pytest.mark.parametrize("number", range(len(RIGHT)), ids=[file.stem for file in RIGHT])
def test_a_right_kernel_is_right_and_has_no_finding(number: int) -> None:
    ran = right().run(number)
    assert ran.findings == ()
    assert (ran.d == problem.expected(problem.case())).all()


def test_every_file_says_what_it_shows() -> None:
    for file in RIGHT:
        assert file.read_text(encoding="utf-8").startswith("// "), file.name
