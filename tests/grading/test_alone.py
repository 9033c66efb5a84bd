"""Where an exercise has several kernels, what is wrong with one costs that one."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader import executors
from grader.exercise import catalog, submission
from grader.grading import pipeline
from grader.model.result import Result, Status

EXERCISE = catalog.find("02", Path(__file__).parents[2] / "exercises")
SOLUTION = (EXERCISE.folder / "solution.cu").read_text()
ALL = {kernel.name for kernel in EXERCISE.kernels}

pytestmark = pytest.mark.usefixtures("children_stay_up")


def graded(text: str) -> Result:
    source = submission.of(Path("mine/starter.cu"), text.encode())
    return pipeline.grade(EXERCISE, source, seed=7, open_executor=executors.open_cpu, only="small")


def launched(kernel: str, body: str, text: str = SOLUTION) -> str:
    """The source with another launch function of this kernel."""
    head = f"void launch_{kernel}(long long n, Launch* launch) "
    was = f"{head}{{ cover(n, launch); }}"
    assert was in text
    return text.replace(was, f"{head}{{ {body} }}")


def right(result: Result) -> set[str]:
    (check,) = (check for check in result.checks if check.family == "correct" and check.case)
    assert (check.status, check.reason) == (Status.SKIPPED, "launch failed")
    return set(check.measurements.right_kernels or ())


@pytest.mark.parametrize(
    "body",
    [
        "cover(n, launch); launch->block = dim3(4096);",
        "cover(n, launch); launch->workspace_bytes = 1ull << 60;",
        "cover(n, launch); launch[9].variant = 1;",
    ],
)
def test_a_kernel_that_cannot_be_launched_costs_its_own_points(body: str) -> None:
    result = graded(launched("decode_e4m3", body))
    assert right(result) == ALL - {"decode_e4m3_kernel"}
    assert result.points.correctness == 32.0


def test_of_the_others_each_is_judged_by_itself() -> None:
    """One cannot be launched, one writes past its array, one writes wrong numbers."""
    text = launched("decode_e4m3", "launch->grid = dim3(0);")
    for was, now in {
        "encode_all<E5M2>(x, y, n)": "encode_all<E5M2>(x, y + n, n)",
        "decode_all<E5M2>(x, y, n)": "decode_all<E4M3>(x, y, n)",
    }.items():
        assert was in text
        text = text.replace(was, now)
    assert right(graded(text)) == {"encode_e4m3_kernel", "encode_e4m3_stochastic_kernel"}


def test_a_launch_function_that_never_ends_gains_nothing() -> None:
    result = graded(launched("decode_e4m3", "while (n) launch->variant = 0;"))
    assert right(result) == set()
