"""A submission on CPU and GPU at once: who decides what. The GPU is a fake."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
import pytest

from grader import machine
from grader.errors import GraderError
from grader.executors.tools import Staged
from grader.exercise import catalog, submission
from grader.grading import gpu_cases, gpu_lane, pipeline
from grader.grading.gpu_lane import GpuChoice
from grader.model.execution import Compilation, LaunchConfig, Outcome
from grader.model.exercise import Exercise
from grader.model.result import Check, Finding, Result, Status, Verdict
from grader.sandbox import ChildDied, ChildFailed, ChildFaulted, ChildTimeout
from grader.sandbox.messages import DeviceVerdict
from grader.timing import session
from tests.fake_gpu import US, FakeGpu, twice
from tests.fakes import COMPILED, ORACLE, TOML, Arrays, FakeExecutor, right, write_exercise
from tests.timing.samples import H200

RACE = Finding("race", "starter.cu", 6, "two threads, no barrier")
FAULT = Finding("out-of-bounds", "starter.cu", 0, "on the GPU, double_kernel accessed an address of no array")
LACKING = Finding("unsupported-instruction", "starter.cu", 6, "the CPU engine does not know wgmma")

# The fake exercise as a grouped GEMM, as far as timing cares.
ANOTHER = ORACLE.replace('| {"cols": 8}', '| {"cols": 8, "K": 8, "N": 8}') + (
    "\ndef another(case, seed):\n    return make(case.name, case.arguments['M_sizes'].data.tolist(), seed, True)\n"
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(session, "WARM_UP_SECONDS", 0.0)
    monkeypatch.setattr(session, "CLOCK_SLACK", 1e9)  # a fake takes no time
    monkeypatch.setattr("grader.timing.roofline.least_seconds", lambda *_, **__: 0.0)
    monkeypatch.setattr("grader.timing.rotation.MAX_SETS", 6)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def exercise(tmp_path: Path) -> Exercise:
    return catalog.read(write_exercise(tmp_path / "exercises" / "01_double", toml=TOML, oracle=ANOTHER))


def grade(exercise: Exercise, gpu: FakeGpu, cpu: FakeExecutor | None = None, **choice: bool) -> Result:
    return pipeline.grade(
        exercise,
        submission.read(exercise.starter),
        seed=7,
        open_executor=(cpu or FakeExecutor()).open,
        gpu=GpuChoice(gpu.open, **choice),  # type: ignore[arg-type]
    )


def check(result: Result, identity: str) -> Check:
    (found,) = [c for c in result.checks if c.id == identity]
    return found


def on_ragged(outcome: Outcome) -> FakeExecutor:
    return FakeExecutor(compute=lambda arrays: outcome if arrays["x"].shape[0] == 6 else right(arrays))


def test_a_right_and_fast_submission_passes(exercise: Exercise) -> None:
    result = grade(exercise, FakeGpu())
    assert [(c.id, c.message) for c in result.checks if c.status is not Status.PASSED] == []
    assert (result.verdict, result.points.performance) == (Verdict.PASSED, 40)
    assert check(result, "correct[even]").device == "cuda"
    assert check(result, "memory[even]").device == "cpu"
    assert check(result, "speed[even]").measurements.ratio == pytest.approx(0.9)
    assert check(result, "speed[even]").measurements.summary == "M [4, 4]"


def test_the_result_says_on_which_gpu(exercise: Exercise) -> None:
    gpu = grade(exercise, FakeGpu()).machine["gpu"]
    assert (gpu["name"], gpu["compute_capability"], gpu["cublas"]) == ("NVIDIA H200", "9.0", "13.1.0")


def test_a_slow_submission_fails_and_gets_no_points_for_speed(exercise: Exercise) -> None:
    result = grade(exercise, FakeGpu(times=lambda name, _: 20.0 if name == "submission" else US[name]))
    assert (result.verdict, result.points.performance) == (Verdict.FAILED, 0)


def test_a_race_fails_where_the_numbers_are_right(exercise: Exercise) -> None:
    result = grade(exercise, FakeGpu(), on_ragged(Outcome(findings=(RACE,))))
    assert check(result, "memory[ragged]").status is Status.FAILED
    assert check(result, "correct[ragged]").status is Status.PASSED
    assert check(result, "speed[ragged]").status is Status.PASSED
    assert result.verdict is Verdict.FAILED


def test_wrong_numbers_behind_a_race_are_one_red_line(exercise: Exercise) -> None:
    wrong = FakeGpu(compute=lambda arrays: Outcome(outputs={"y": 3 * arrays["x"]}))
    result = grade(exercise, wrong, on_ragged(Outcome(findings=(RACE,))))
    assert check(result, "correct[ragged]").reason == "memory[ragged] failed"
    assert check(result, "speed[ragged]").reason == "memory[ragged] failed"
    assert check(result, "correct[even]").status is Status.FAILED


def test_numbers_are_the_gpus(exercise: Exercise) -> None:
    """A kernel that only a GPU gets wrong, and one that only this CPU does."""
    wrong = grade(exercise, FakeGpu(compute=lambda arrays: Outcome(outputs={"y": 3 * arrays["x"]})))
    assert check(wrong, "correct[even]").status is Status.FAILED
    lucky = grade(exercise, FakeGpu(), FakeExecutor(compute=lambda arrays: Outcome(outputs={"y": 3 * arrays["x"]})))
    assert lucky.verdict is Verdict.PASSED


def test_must_be_right_over_both_kinds_of_rubbish(exercise: Exercise) -> None:
    def compute(arrays: Arrays) -> Outcome:
        return msgspec.structs.replace(twice(arrays), again={"y": 2 * arrays["x"] + 1e7})

    result = grade(exercise, FakeGpu(compute=compute))
    assert check(result, "correct[even]").status is Status.FAILED


def test_what_the_cpu_does_not_know_withholds_nothing(exercise: Exercise) -> None:
    result = grade(exercise, FakeGpu(), FakeExecutor(compute=lambda _: Outcome(unsupported=LACKING)))
    memory = check(result, "memory[even]")
    assert (memory.status, memory.required) == (Status.NOT_JUDGED, False)
    assert result.verdict is Verdict.PASSED


def test_a_fault_on_the_gpu_stands_in_memory_beside_the_cpus_finding(exercise: Exercise) -> None:
    def compute(arrays: Arrays) -> Outcome:
        return Outcome(findings=(FAULT,)) if arrays["x"].shape[0] == 6 else twice(arrays)

    gpu = FakeGpu(compute=compute)
    result = grade(exercise, gpu, on_ragged(Outcome(findings=(RACE,))))
    assert [f.kind for f in check(result, "memory[ragged]").findings] == ["race", "out-of-bounds"]
    assert check(result, "correct[ragged]").reason == "memory[ragged] failed"
    assert check(result, "correct[one-row]").status is Status.PASSED
    assert gpu.opened == 2  # the fault cost its own process


def test_a_fault_that_only_the_gpu_sees_fails_memory(exercise: Exercise) -> None:
    result = grade(exercise, FakeGpu(compute=lambda _: Outcome(findings=(FAULT,))))
    memory = check(result, "memory[even]")
    assert (memory.status, memory.device, memory.findings[0].line) == (Status.FAILED, "cuda", 4)
    assert result.verdict is Verdict.FAILED


def test_faults_on_every_case_do_not_start_children_for_ever(exercise: Exercise) -> None:
    gpu = FakeGpu(compute=lambda _: Outcome(findings=(FAULT,)))
    result = grade(exercise, gpu)
    assert gpu.opened <= gpu_cases.MAX_LOST + 1
    assert "ended the process" in (check(result, "correct[one-row]").reason or "")


def test_a_launch_is_held_to_the_gpu_at_hand(exercise: Exercise) -> None:
    """What an H200 grants, a smaller GPU refuses."""
    small = msgspec.structs.replace(H200, max_shared_bytes=101376)
    wanting = LaunchConfig(block=(64, 1, 1), shared_bytes=200_000)
    result = grade(exercise, FakeGpu(gpu=small, launch=wanting), FakeExecutor(launch=wanting))
    launch = check(result, "launch")
    assert (launch.status, launch.device) == (Status.FAILED, "cuda")
    assert "the maximum is 101376" in launch.message
    assert check(result, "correct[even]").reason == "launch failed"


@pytest.mark.parametrize("after_cpu", [False, True])
def test_a_launch_that_fails_for_one_case_costs_that_case_alone(exercise: Exercise, after_cpu: bool) -> None:
    def launch(arrays: Arrays) -> LaunchConfig:
        return LaunchConfig(grid=(1 if arrays["M_sizes"].size > 1 else 0, 1, 1), block=(32, 1, 1))

    result = grade(exercise, FakeGpu(launch=launch), FakeExecutor(launch=launch), after_cpu=after_cpu)
    assert check(result, "launch").findings[0].kind == "bad-launch"
    assert (check(result, "correct[one-row]").status, check(result, "correct[even]").status) == (
        Status.SKIPPED,
        Status.PASSED,
    )
    assert check(result, "correct[even]").device == "cuda"
    assert check(result, "speed[even]").status is Status.PASSED


def test_what_compiles_only_for_the_cpu_fails_to_compile(exercise: Exercise) -> None:
    error = Finding("compile-error", "starter.cu", 5, "wgmma needs sm_90a")
    result = grade(exercise, FakeGpu(compilation=Compilation(False, findings=(error,))))
    assert check(result, "compile").findings == (error,)
    assert {c.reason for c in result.checks if c.id.startswith(("correct", "speed"))} == {"compile failed"}
    assert check(result, "memory[even]").status is Status.PASSED


def test_a_borderline_case_gets_two_more_fresh_processes(exercise: Exercise) -> None:
    gpu = FakeGpu(times=lambda name, _: 9.0 / 0.603 if name == "submission" else US[name])
    result = grade(exercise, gpu)
    speed = check(result, "speed[even]")
    assert (speed.status, speed.measurements.borderline) == (Status.PASSED, True)
    assert len(speed.measurements.processes) == 3
    assert gpu.timed == 2 * 3


def test_a_gpu_that_cannot_be_used_leaves_speed_open_and_says_why(exercise: Exercise) -> None:
    result = grade(exercise, FakeGpu(gpu=ChildFailed("install driver 580 or newer")))
    assert result.verdict is Verdict.INCOMPLETE
    assert check(result, "speed[even]").reason == "install driver 580 or newer"
    assert check(result, "correct[even]").status is Status.PASSED
    assert result.machine["gpu"] is None


def test_a_gpu_that_is_required_and_cannot_be_used_ends_the_run(exercise: Exercise) -> None:
    with pytest.raises(GraderError, match="driver 580"):
        grade(exercise, FakeGpu(gpu=ChildFailed("install driver 580 or newer")), required=True)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ChildTimeout("stopped after 60 s"), Status.FAILED, "did-not-finish"),
        (ChildFaulted(FAULT), Status.FAILED, "out-of-bounds"),
        (ChildDied("the child process died of SIGSEGV"), Status.ERROR, None),
    ],
)
def test_what_happens_while_timing(exercise: Exercise, error: Exception, status: Status, kind: str | None) -> None:
    gpu = FakeGpu()
    gpu.measure_error = error
    speed = check(grade(exercise, gpu), "speed[even]")
    assert speed.status is status
    assert [f.kind for f in speed.findings] == ([kind] if kind else [])


def test_what_does_not_compile_never_asks_the_gpu(exercise: Exercise) -> None:
    exercise.starter.write_bytes(b"\x00")
    gpu = FakeGpu()
    assert grade(exercise, gpu).verdict is Verdict.FAILED
    assert gpu.opened == 0


def test_behind_the_cpu_the_result_is_the_same(exercise: Exercise) -> None:
    slow = FakeGpu(times=lambda name, _: 20.0 if name == "submission" else US[name])
    beside, behind = (
        grade(exercise, slow, on_ragged(Outcome(findings=(RACE,))), after_cpu=wait) for wait in (False, True)
    )
    assert [(c.id, c.status, c.findings) for c in behind.checks] == [
        (c.id, c.status, c.findings) for c in beside.checks
    ]
    assert behind.machine["gpu"] == beside.machine["gpu"]


def test_behind_the_cpu_nothing_is_started_that_has_no_end(exercise: Exercise) -> None:
    endless = Finding("did-not-finish", "starter.cu", 6, "did not finish within 10 s")
    gpu = FakeGpu()
    result = grade(exercise, gpu, FakeExecutor(compute=lambda _: Outcome(findings=(endless,))), after_cpu=True)
    assert {invocation.kernel for invocation in gpu.ran} == {"launch_double"}
    assert check(result, "memory[one-row]").findings == (endless,)
    assert {c.status for c in result.checks if c.id.startswith(("correct", "speed"))} == {Status.SKIPPED}


def test_behind_the_cpu_what_fails_there_to_compile_opens_no_gpu(exercise: Exercise) -> None:
    error = Finding("compile-error", "starter.cu", 5, "expected a ;")
    gpu = FakeGpu()
    result = grade(exercise, gpu, FakeExecutor(compilation=Compilation(False, findings=(error,))), after_cpu=True)
    assert (gpu.opened, check(result, "compile").findings) == (0, (error,))


def test_every_child_is_closed(exercise: Exercise) -> None:
    gpu, cpu = FakeGpu(), FakeExecutor(compilation=COMPILED)
    grade(exercise, gpu, cpu)
    assert (gpu.closed, cpu.closed) == (gpu.opened, cpu.opened)


def test_which_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: 2)
    assert gpu_lane.choose() is not None
    with pytest.raises(GraderError, match="no GPU 2: this machine has 2"):
        gpu_lane.choose(2, required=True)
    monkeypatch.setattr(machine, "gpus", lambda: 0)
    assert gpu_lane.choose() is None


def test_compute_sanitizer_judges_what_the_cpu_cannot(exercise: Exercise, monkeypatch: pytest.MonkeyPatch) -> None:
    race = Finding("race", "/nonexistent/submission.cu", 6, "compute-sanitizer: a race")

    def found(_: str, runs: list[Staged], __: object) -> dict[str, tuple[Finding, ...]]:
        return {run.name: (race,) if run.name == "ragged" else () for run in runs}

    monkeypatch.setattr("grader.executors.sanitizer.check", found)
    result = grade(exercise, FakeGpu(), FakeExecutor(compute=lambda _: Outcome(unsupported=LACKING)))
    assert check(result, "memory[even]").message == "compute-sanitizer found nothing"
    assert check(result, "memory[even]").status is Status.PASSED
    (finding,) = check(result, "memory[ragged]").findings
    assert (finding.file, finding.line) == ("starter.cu", 6)
    assert result.verdict is Verdict.FAILED


# An exercise that judges on the device: one case decides the speed, one goes through every input.
ON_DEVICE_TOML = TOML.replace(
    'baseline = "fastest"', 'baseline = "copy"\nspeed_cases = ["large"]\njudge_source = "x.cu"'
)
ON_DEVICE_TOML = ON_DEVICE_TOML.replace('name = "double_kernel"', 'name = "double_kernel"\njudge = "judge_double"')
ON_DEVICE_ORACLE = (
    ANOTHER
    + """
def on_gpu(seed):
    import msgspec
    large = msgspec.structs.replace(make("large", [64], seed), gpu_only=True)
    yield large
    yield msgspec.structs.replace(large, name="every-input", sweep=True)
"""
)
COPY_US = {"submission": 10.0, "copy": 9.0}


@pytest.fixture
def on_device(tmp_path: Path) -> Exercise:
    folder = tmp_path / "exercises" / "02_double"
    return catalog.read(write_exercise(folder, toml=ON_DEVICE_TOML, oracle=ON_DEVICE_ORACLE))


def statuses(result: Result, *names: str) -> list[tuple[str, str]]:
    return [(c.id, c.status) for c in result.checks if c.case in names]


def test_cases_that_only_a_gpu_runs_come_last_and_one_decides_the_speed(on_device: Exercise) -> None:
    result = grade(on_device, FakeGpu(contenders=COPY_US))
    assert statuses(result, "large", "every-input") == [
        ("correct[every-input]", "passed"),
        ("correct[large]", "passed"),
        ("speed[large]", "passed"),
    ]
    assert [c.id for c in result.checks][-2:] == ["rules", "quality"]
    assert (result.verdict, result.points.performance) == (Verdict.PASSED, 40)
    assert result.geometric_mean == pytest.approx(0.9)
    shown = check(result, "speed[even]")
    assert (shown.status, shown.required, shown.reason) == (
        Status.NOT_JUDGED,
        False,
        "for information: large decides",
    )
    assert shown.measurements.ratio == pytest.approx(0.9)


def test_without_a_gpu_the_deciding_case_is_not_judged(on_device: Exercise) -> None:
    result = pipeline.grade(
        on_device, submission.read(on_device.starter), seed=7, open_executor=FakeExecutor().open, gpu=None
    )
    assert statuses(result, "large", "every-input") == [("speed[large]", "not-judged")]
    assert (result.verdict, result.points.performance) == (Verdict.INCOMPLETE, None)
    assert not check(result, "speed[even]").required


def test_what_the_judges_find_while_timing_is_wrong_not_slow(on_device: Exercise) -> None:
    gpu = FakeGpu(contenders=COPY_US)
    gpu.wrong_while_timed = {"judge_double": DeviceVerdict(12, 5)}
    result = grade(on_device, gpu)
    correct = check(result, "correct[large]")
    assert (correct.status, correct.findings[0].line) == (Status.FAILED, 4)
    assert "double_kernel: 12 elements are wrong" in correct.message and "element 5" in correct.message
    assert check(result, "speed[large]").reason == "correct[large] failed"


def test_the_first_wrong_input_of_a_sweep_is_run_alone_and_explained(on_device: Exercise) -> None:
    def compute(arrays: Arrays) -> Outcome:
        return Outcome(outputs={"y": 3 * arrays["x"]}) if arrays["x"].size == 1 else twice(arrays)

    gpu = FakeGpu(contenders=COPY_US, compute=compute)
    gpu.swept = {"judge_double": DeviceVerdict(4096, 0x3F800000)}
    correct = check(grade(on_device, gpu), "correct[every-input]")
    assert (correct.status, correct.findings[0].count) == (Status.FAILED, 4096)
    assert correct.findings[0].kernel == "double_kernel"
    assert "double_kernel: wrong for 4096 of all inputs; the first: " in correct.message
    assert "expected 2, got 3" in correct.message


def test_a_wrong_case_spares_the_sweep_and_the_large_one(on_device: Exercise) -> None:
    gpu = FakeGpu(contenders=COPY_US, compute=lambda arrays: Outcome(outputs={"y": 3 * arrays["x"]}))
    result = grade(on_device, gpu)
    assert check(result, "correct[every-input]").reason == "correct[even] failed"
    assert check(result, "speed[large]").reason == "correct[even] failed"
    assert gpu.timed == 0


def test_a_wrong_timed_output_of_a_case_that_does_not_decide_fails_too(on_device: Exercise) -> None:
    gpu = FakeGpu(contenders=COPY_US)
    gpu.wrong_while_timed = {"judge_double": DeviceVerdict(12, 5)}
    result = grade(on_device, gpu)
    speed = check(result, "speed[even]")
    assert (speed.status, speed.required, result.verdict) == (Status.FAILED, True, Verdict.FAILED)


def test_an_output_that_the_oracle_forgets_to_judge_passes_nobody(tmp_path: Path) -> None:
    oracle = ANOTHER + "\ndef judge(case, outputs, expected):\n    return iter(())\n"
    folder = write_exercise(tmp_path / "exercises" / "03_double", toml=TOML, oracle=oracle)
    result = grade(catalog.read(folder), FakeGpu())
    assert (result.verdict, check(result, "correct[even]").status) == (Verdict.ERROR, Status.ERROR)
    assert "the output y" in check(result, "correct[even]").message
