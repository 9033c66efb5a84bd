"""A GPU beside the CPU: what is lost there, and what stays open without."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from grader.baselines import registry
from grader.model.execution import Compilation, Outcome
from grader.model.exercise import Exercise
from grader.model.result import Finding, Status, Verdict
from tests.fake_gpu import FakeGpu
from tests.fakes import FakeExecutor
from tests.grading.test_gpu_lane import exercise, grade, quick  # noqa: F401 - fixtures
from tests.timing.samples import H200

ENDLESS = Outcome(findings=(Finding("did-not-finish", "starter.cu", 6, "did not finish within 10 s"),))
NO_SEMICOLON = Compilation(False, findings=(Finding("compile-error", "starter.cu", 5, "expected a ;"),))
THRICE = FakeGpu(compute=lambda arrays: Outcome(outputs={"y": 3 * arrays["x"]}))


@pytest.mark.parametrize(
    ("gpu", "cpu"),
    [
        (THRICE, FakeExecutor()),
        (FakeGpu(), FakeExecutor(compute=lambda _: ENDLESS)),
        (FakeGpu(), FakeExecutor(compilation=NO_SEMICOLON)),
    ],
)
def test_with_a_gpu_the_speed_of_what_is_wrong_is_lost_and_not_open(
    exercise: Exercise,  # noqa: F811
    gpu: FakeGpu,
    cpu: FakeExecutor,
) -> None:
    result = grade(exercise, gpu, cpu, after_cpu=True)
    assert {c.status for c in result.checks if c.id.startswith("speed")} == {Status.SKIPPED}
    points = result.points
    assert (points.correctness, points.performance, points.quality) == (0, 0, 0)


def test_what_comes_out_right_on_the_gpu_by_luck_is_not_right(exercise: Exercise) -> None:  # noqa: F811
    def infinite(arrays: dict[str, np.ndarray]) -> Outcome:
        return Outcome(outputs={"y": np.full_like(arrays["x"], np.inf)}, unset=frozenset({4}))

    result = grade(exercise, FakeGpu(), FakeExecutor(compute=infinite), after_cpu=True)
    correct = [c for c in result.checks if c.id.startswith("correct")]
    assert {(c.status, c.device) for c in correct} == {(Status.FAILED, "cpu")}
    assert correct[0].findings[0].cause == "line 4 may use a variable that was never set"


def test_what_this_gpu_cannot_run_is_not_judged_there_and_named(exercise: Exercise) -> None:  # noqa: F811
    """A T4 has no cp.async, and the submission compiles for the GPU that the CPU stands for."""
    said = "ptxas: Feature 'cp.async' requires .target sm_80 or higher"
    lacking = Compilation(False, findings=(Finding("compile-error", "starter.cu", 5, said),))
    t4 = msgspec.structs.replace(H200, name="Tesla T4", compute_capability=(7, 5))
    result = grade(exercise, FakeGpu(gpu=t4, compilation=lacking))
    assert result.verdict is Verdict.INCOMPLETE
    (reason,) = {c.reason for c in result.checks if c.status is not Status.PASSED}
    assert reason == f"the Tesla T4 (compute capability 7.5) cannot run it: {said} (starter.cu:5)"
    assert (result.points.correctness, result.points.performance) == (40, None)


def test_what_compiles_nowhere_is_the_submissions_fault(exercise: Exercise) -> None:  # noqa: F811
    result = grade(exercise, FakeGpu(compilation=NO_SEMICOLON), FakeExecutor(compilation=NO_SEMICOLON))
    assert result.verdict is Verdict.FAILED


def test_a_baseline_that_this_gpu_cannot_run_leaves_speed_open(
    exercise: Exercise,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry.find(exercise.baseline).baseline, "least_capability", (10, 0))
    result = grade(exercise, FakeGpu())
    assert result.verdict is Verdict.INCOMPLETE
    reasons = {c.reason for c in result.checks if c.status is not Status.PASSED}
    assert reasons == {"cuBLAS needs compute capability 10.0 for this, and the NVIDIA H200 has 9.0"}
