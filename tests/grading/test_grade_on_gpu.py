"""`grade run` with a GPU, end to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.executors import open_cpu
from grader.exercise import catalog, submission
from grader.grading import gpu_lane, pipeline
from grader.model.result import Result, Status, Verdict

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).parents[2]
EXERCISE = ROOT / "exercises" / "01_simple_grouped_gemm"


def grade(file: Path, seed: int = 7, exercise: Path = EXERCISE) -> Result:
    return pipeline.grade(
        catalog.read(exercise),
        submission.read(file),
        seed=seed,
        open_executor=open_cpu,
        gpu=gpu_lane.choose(required=True),
    )


@pytest.mark.parametrize("exercise", sorted(path.parent for path in (ROOT / "exercises").glob("*/exercise.toml")))
def test_a_solution_passes_with_a_margin(exercise: Path) -> None:
    result = grade(exercise / "solution.cu", exercise=exercise)
    assert [(c.id, c.message) for c in result.checks if c.required and c.status is not Status.PASSED] == []
    ratios = [c.measurements.ratio for c in result.checks if c.id.startswith("speed") and c.required]
    assert len(ratios) >= 1
    assert min(ratios) >= 0.65


def test_a_beginners_kernel_is_right_and_too_slow_where_groups_are_large() -> None:
    result = grade(ROOT / "tests" / "kernels" / "correct" / "tile16.cu")
    failed = [c.id for c in result.checks if c.status is Status.FAILED]
    assert failed == ["speed[variable]", "speed[imbalanced]"]
    assert result.verdict is Verdict.FAILED


@pytest.mark.parametrize(
    ("name", "kind"),
    [("misaligned_float4", "misaligned-access"), ("writes_its_input", "read-only-write"), ("offset_twice", None)],
)
def test_a_broken_kernel_costs_no_other_grading(name: str, kind: str | None) -> None:
    result = grade(EXERCISE / "wrong" / f"{name}.cu")
    assert result.verdict is Verdict.FAILED
    assert not [c.message for c in result.checks if c.status is Status.ERROR]
    found = {finding.kind for check in result.checks for finding in check.findings}
    assert kind is None or kind in found
