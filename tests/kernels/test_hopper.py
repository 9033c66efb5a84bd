"""Kernels that use Hopper as CUTLASS and DeepGEMM do: right ones have no finding, wrong ones the right one."""

from __future__ import annotations

from functools import cache

import pytest

from grader import ptx
from tests.kernels.hopper import problem
from tests.kernels.hopper.mistakes import MISTAKES, Mistake
from tests.kernels.hopper.problem import RIGHT, STRIDE, Kernels


@cache
def right() -> Kernels:
    return Kernels([file.read_text(encoding="utf-8") for file in RIGHT])


@cache
def wrong() -> Kernels:
    return Kernels([mistake.text for mistake in MISTAKES])


@pytest.mark.parametrize("number", range(len(RIGHT)), ids=[file.stem for file in RIGHT])
def test_a_right_kernel_is_right_and_has_no_finding(number: int) -> None:
    ran = right().run(number)
    assert ran.findings == ()
    assert (ran.d == problem.expected(problem.case())).all()


def test_every_file_says_what_it_shows() -> None:
    for file in RIGHT:
        assert file.read_text(encoding="utf-8").startswith("// "), file.name


def lines(findings: list[ptx.Report], number: int) -> set[int]:
    """In the kernel's own text: of the findings, and of what they name."""
    named = {line for f in findings for line in (f.line, *(one.line for one in f.related))}
    return {line - STRIDE * (number + 1) for line in named}


@pytest.mark.parametrize(("number", "mistake"), list(enumerate(MISTAKES)), ids=[m.name for m in MISTAKES])
def test_a_mistake_is_found_at_its_line(number: int, mistake: Mistake) -> None:
    """Of several that wait for each other, each is found."""
    findings = wrong().run(number).findings
    assert findings, "nothing was found"
    alike = [f for f in findings if (f.kind, f.detail) == (mistake.kind, mistake.detail)]
    said = [(f.kind, f.detail, lines([f], number), f.message) for f in findings]
    assert findings[0].kind == mistake.kind, said
    assert mistake.guilty
    assert set(mistake.guilty) <= lines(alike, number), said


def found(name: str) -> ptx.Report:
    number = next(i for i, mistake in enumerate(MISTAKES) if mistake.name == name)
    return wrong().run(number).findings[0]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("another swizzle than the copy's", "says that the tile is swizzled by 64 bytes, but the copy on line"),
        ("the map does not swizzle", "says that the tile is swizzled by 128 bytes, but the copy on line"),
        ("a stride of eight shorter rows", "has groups of eight rows 512 bytes apart, but in the tile"),
        ("no swizzle, and rows of 128 bytes", "brought rows of 128 bytes"),
        ("starts in the second row", "must start at a multiple of 1024 bytes"),
        ("three warps", "its warpgroup is not complete in a block of 96 threads"),
        ("only two warps multiply", "its warp ran this one 0 times, another warp of the same warpgroup"),
        ("registers of A are loaded again", "changes a register of A of the wgmma on line"),
        ("sums are scaled without a fence", "has changed its registers since the last wgmma.fence"),
        ("more bytes expected than come", "128 bytes are missing at full[0]; it expects 12416 and got 12288"),
        ("released before it was read", "A[0] (tile 0, counted from 0), which the wgmma on line"),
        ("too few registers", "setmaxnreg asks for 16 registers"),
    ],
)
def test_what_is_wrong_is_said(name: str, says: str) -> None:
    assert says in found(name).message
