"""The whole way with a real child, a real compiler and the real engine, on an exercise that takes no time."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader import executors
from grader.exercise import catalog, submission
from grader.grading import pipeline
from grader.model.result import Check, Result, Verdict
from tests.fakes import TOML, write_exercise

pytestmark = pytest.mark.usefixtures("children_stay_up")

KERNELS = """
[[kernels]]
name = "double_kernel"
parameters = [
  { name = "x", ctype = "const float*" },
  { name = "y", ctype = "float*" },
  { name = "n", ctype = "long long" },
]
launch_parameters = [{ name = "n", ctype = "long long" }]
"""

ORACLE = """
import numpy as np
from grader.model.exercise import Array, Case

def required(seed):
    yield make("even", 64, seed)
    yield make("ragged", 77, seed)

def extra(seed):
    return iter(())

def from_spec(spec, seed, name):
    raise ValueError("this exercise has no secret cases")

def expected(case):
    return {"y": 2.0 * case.arguments["x"].data}

def make(name, n, seed):
    x = np.random.default_rng(seed).random(n, dtype=np.float32)
    return Case(name, True, {"x": Array("x", x), "y": Array("y", np.empty_like(x), "out"), "n": n}, f"n {n}")
"""

SOURCE = """#include "grader.cuh"

// One thread for each element.
extern "C" __global__ void double_kernel(const float* x, float* y, long long n)
{
    long long i = blockIdx.x * 32 + threadIdx.x;
    if (i < n) y[i] = 2 * x[i];
}

extern "C" __global__ void launch_double(long long n, Launch* launch)
{
    launch->grid = dim3((n + 31) / 32);
    launch->block = dim3(32);
}
"""


@pytest.fixture
def exercise_folder(tmp_path: Path) -> Path:
    toml = TOML[: TOML.index("[[kernels]]")] + KERNELS
    return write_exercise(tmp_path / "01_double", toml=toml, oracle=ORACLE)


def grade(folder: Path, text: str) -> Result:
    exercise = catalog.read(folder)
    exercise.starter.write_text(text)
    return pipeline.grade(exercise, submission.read(exercise.starter), seed=7, open_executor=executors.open_cpu)


def failed(result: Result) -> list[Check]:
    return [check for check in result.checks if check.status == "failed"]


def test_a_right_kernel(exercise_folder: Path) -> None:
    result = grade(exercise_folder, SOURCE)
    assert [c.message for c in result.checks if c.status in ("failed", "error")] == []
    assert result.verdict is Verdict.INCOMPLETE
    assert (result.points.correctness, result.points.quality) == (40, 12)


@pytest.mark.parametrize(
    ("old", "new", "check", "kind", "line"),
    [
        ("long long n)\n{\n    long", "int n)\n{\n    long", "compile", "wrong-signature", 4),
        ("dim3(32)", "dim3(0)", "launch", "bad-launch", 13),
        ("if (i < n) ", "", "memory[ragged]", "out-of-bounds", 7),
    ],
)
def test_a_mistake_is_caught_by_one_check_on_its_line(
    exercise_folder: Path, old: str, new: str, check: str, kind: str, line: int
) -> None:
    assert old in SOURCE
    first = failed(grade(exercise_folder, SOURCE.replace(old, new)))[0]
    assert (first.id, first.findings[0].kind) == (check, kind)
    assert abs(first.findings[0].line - line) <= 1  # a kernel's line is that of its name or of its first brace


def test_a_grid_too_large_for_a_cpu_is_told_where_it_is_set(exercise_folder: Path) -> None:
    result = grade(exercise_folder, SOURCE.replace("(n + 31) / 32", "n << 20"))
    assert result.verdict is Verdict.INCOMPLETE
    reason = next(check.reason for check in result.checks if check.id == "memory[even]")
    assert reason == (
        "a grid of 67108864 blocks is too large for the CPU: should launch->grid count blocks instead of elements? "
        "(starter.cu:12)"
    )


def test_what_was_never_written_is_said(exercise_folder: Path) -> None:
    (first, *_) = failed(grade(exercise_folder, SOURCE.replace("/ 32)", "/ 64)")))
    assert (first.id, first.findings[0].kind) == ("correct[even]", "wrong-values")
    assert "32 of 64 elements are wrong (32 never written): " in first.message
