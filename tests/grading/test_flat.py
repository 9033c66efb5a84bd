"""A kernel of two dimensions, launched with blocks of one."""

from __future__ import annotations

import pytest

from grader.grading import flat
from grader.launching.plan import Plan
from grader.model.details import Detail
from grader.model.execution import LaunchConfig
from grader.model.result import Check, Finding, Status

SOURCE = """
__device__ int row() { return threadIdx.y; }
extern "C" __global__ void two_kernel(float* y) { y[row() * 16 + threadIdx.x] = 0; }
extern "C" __global__ void one_kernel(float* y) { y[threadIdx.x] = 0; }  // threadIdx.y
"""
PAST = Finding("out-of-bounds", "a.cu", 3, "thread (16,0,0) writes y[256]")


def explained(kernel: str, block: tuple[int, int, int], finding: Finding = PAST) -> Finding:
    plan = Plan(kernel=kernel, config=LaunchConfig(block=block))
    check = Check("memory[x]", Status.FAILED, finding.message, findings=(finding,))
    told = flat.explained(check, [plan], SOURCE)
    assert told.message == told.findings[0].message
    return told.findings[0]


def test_the_index_that_is_always_0_is_named() -> None:
    finding = explained("two_kernel", (256, 1, 1))
    assert finding.detail == Detail.FLAT_BLOCK
    assert finding.message == (
        "the kernel reads threadIdx.y, which is always 0, because launch->block is 256×1×1. So thread (16,0,0) "
        "writes y[256]"
    )


@pytest.mark.parametrize(
    ("kernel", "block", "finding"),
    [
        ("two_kernel", (16, 16, 1), PAST),
        ("one_kernel", (256, 1, 1), PAST),
        ("two_kernel", (256, 1, 1), Finding("did-not-finish", "a.cu", 3, "")),
        ("two_kernel", (256, 1, 1), Finding("wrong-values", "a.cu", 3, "", cause="a known mistake")),
        ("", (256, 1, 1), PAST),
    ],
)
def test_nothing_else_is_blamed_on_the_block(kernel: str, block: tuple[int, int, int], finding: Finding) -> None:
    assert explained(kernel, block, finding) == finding
