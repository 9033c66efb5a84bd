from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

from grader.errors import GraderError, UsageError
from grader.exercise import catalog, submission
from grader.exercise.secret import Secret
from grader.grading import endless, pipeline
from grader.grading.pipeline import Progress
from grader.model import codec
from grader.model.details import Detail
from grader.model.execution import UNCOALESCED, Compilation, LaunchConfig, Outcome
from grader.model.exercise import Exercise
from grader.model.result import Check, Finding, Result, Status, Verdict
from grader.sandbox import ChildDied, ChildFailed, ChildMemory, ChildTimeout
from tests.fakes import (
    COMPILED,
    KERNELS,
    LAUNCH,
    ORACLE,
    Arrays,
    FakeExecutor,
    changed,
    right,
    write_exercise,
)

RACE = Finding("race", "starter.cu", 6, "two threads, no barrier")
ENDLESS = Finding("did-not-finish", "starter.cu", 6, "instruction budget spent")
LACKING = Finding("unsupported-instruction", "starter.cu", 6, "the CPU engine does not know wgmma")


@pytest.fixture
def exercise(tmp_path: Path) -> Exercise:
    """Required: even (8 rows), ragged (6 rows). Extra: one-row."""
    return catalog.read(write_exercise(tmp_path / "exercises" / "01_double"))


def grade(exercise: Exercise, executor: FakeExecutor, **options: object) -> Result:
    source = submission.read(exercise.starter)
    options = {"seed": 7} | options
    return pipeline.grade(exercise, source, open_executor=executor.open, **options)  # type: ignore[arg-type]


def statuses(result: Result) -> dict[str, str]:
    return {check.id: str(check.status) for check in result.checks}


def check(result: Result, identity: str) -> Check:
    return next(c for c in result.checks if c.id == identity)


def only_rows(rows: int, outcome: Outcome | Exception) -> FakeExecutor:
    """Right, but for the case with that many rows."""

    def compute(arrays: Arrays) -> Outcome:
        if arrays["x"].shape[0] != rows:
            return right(arrays)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return FakeExecutor(compute=compute)


def test_a_right_submission_is_incomplete_without_a_gpu(exercise: Exercise) -> None:
    result = grade(exercise, FakeExecutor())
    assert statuses(result) == {
        "compile": "passed",
        "launch": "passed",
        "memory[even]": "passed",
        "correct[even]": "passed",
        "speed[even]": "not-judged",
        "memory[ragged]": "passed",
        "correct[ragged]": "passed",
        "speed[ragged]": "not-judged",
        "memory[one-row]": "passed",
        "correct[one-row]": "passed",
        "rules": "passed",
        "quality": "passed",
    }
    assert result.verdict is Verdict.INCOMPLETE
    assert check(result, "speed[even]").reason == "no NVIDIA GPU"
    assert (result.points.correctness, result.points.performance, result.points.quality) == (40, None, 12)


def test_the_result_says_what_was_graded_where(exercise: Exercise) -> None:
    result = grade(exercise, FakeExecutor(), seed=11)
    assert (result.exercise, result.seed, result.schema) == ("01_double", 11, 1)
    assert result.submission.path == str(exercise.starter)
    assert result.machine["packages"]["numpy"] == np.__version__
    assert result.machine["gpu"] is None
    assert codec.decode(codec.encode(result)) == result


@pytest.mark.parametrize("reasons", [(), ("a submission could read your files", "it could use the network")])
def test_the_result_says_what_could_not_be_taken_from_the_child(exercise: Exercise, reasons: tuple[str, ...]) -> None:
    result = grade(exercise, FakeExecutor(unconfined=reasons))
    assert result.machine["unconfined"] == list(reasons)


def test_only_quality_is_not_required(exercise: Exercise) -> None:
    result = grade(exercise, FakeExecutor())
    assert [c.id for c in result.checks if not c.required] == ["quality"]


def test_quality_never_fails_the_verdict(exercise: Exercise) -> None:
    warning = Finding("compile-warning", "starter.cu", 6, "unused")
    compilation = msgspec.structs.replace(COMPILED, findings=(warning,))
    result = grade(exercise, FakeExecutor(compilation=compilation))
    assert (check(result, "quality").status, result.verdict) == (Status.FAILED, Verdict.INCOMPLETE)


def test_a_failed_memory_skips_what_follows_in_that_case_alone(exercise: Exercise) -> None:
    result = grade(exercise, only_rows(6, Outcome(findings=(RACE,), outputs={"y": np.zeros((6, 8))})))
    assert result.verdict is Verdict.FAILED
    assert check(result, "memory[ragged]").findings == (RACE,)
    assert check(result, "correct[ragged]").status is Status.SKIPPED
    assert check(result, "correct[ragged]").reason == "memory[ragged] failed"
    assert check(result, "speed[ragged]").reason == "memory[ragged] failed"
    assert [i for i, s in statuses(result).items() if s == "failed"] == ["memory[ragged]"]


def test_wrong_numbers_fail_correct_and_skip_speed(exercise: Exercise) -> None:
    result = grade(exercise, only_rows(8, Outcome(outputs={"y": np.zeros((8, 8), np.float32)})))
    assert statuses(result)["memory[even]"] == "passed"
    (finding,) = check(result, "correct[even]").findings
    assert (finding.kind, finding.file, finding.line) == ("wrong-values", "starter.cu", 4)
    assert finding.message.startswith("the wrong elements are all 0: ")
    assert "First wrong element: group 0, row 0, column 0: expected " in finding.message
    assert check(result, "speed[even]").reason == "correct[even] failed"


def test_a_wrong_extra_case_fails_the_verdict_too(exercise: Exercise) -> None:
    result = grade(exercise, only_rows(1, Outcome(outputs={"y": np.zeros((1, 8), np.float32)})))
    assert (result.verdict, result.points.correctness) == (Verdict.FAILED, 26.67)


def test_what_fails_to_compile_runs_nothing_and_names_one_cause(exercise: Exercise) -> None:
    error = Finding("compile-error", "starter.cu", 5, "expected a ;")
    executor = FakeExecutor(compilation=Compilation(ok=False, findings=(error,)))
    result = grade(exercise, executor)
    assert not executor.ran
    others = [c for c in result.checks if c.id != "compile"]
    assert {c.status for c in others} == {Status.SKIPPED}
    assert {c.reason for c in others} == {"compile failed"}
    assert (result.verdict, result.points.correctness, result.points.quality) == (Verdict.FAILED, 0, 0)


def test_what_is_no_source_starts_no_child(exercise: Exercise) -> None:
    exercise.starter.write_bytes(b"\x00\x01")
    executor = FakeExecutor()
    result = grade(exercise, executor)
    assert check(result, "compile").findings[0].kind == "compile-error"
    assert (result.verdict, executor.opened) == (Verdict.FAILED, 0)


def test_an_impossible_launch_runs_no_kernel(exercise: Exercise) -> None:
    executor = FakeExecutor(launch=LaunchConfig(grid=(1, 1, 1), block=(2048, 1, 1)))
    result = grade(exercise, executor)
    assert check(result, "launch").findings[0].kind == "bad-launch"
    assert check(result, "correct[even]").reason == "launch failed"
    assert {invocation.kernel for invocation in executor.ran} == {"launch_double"}


def test_a_launch_that_fails_for_one_case_costs_that_case_alone(exercise: Exercise) -> None:
    def launch(arrays: Arrays) -> LaunchConfig:
        return LaunchConfig(grid=(1 if arrays["M_sizes"].size > 1 else 0, 1, 1), block=(32, 1, 1))

    result = grade(exercise, FakeExecutor(launch=launch))
    (finding,) = check(result, "launch").findings
    assert (finding.kind, "in case one-row" in finding.notes[-1]) == ("bad-launch", True)
    assert (result.verdict, check(result, "correct[one-row]").reason) == (Verdict.FAILED, "launch failed")
    assert check(result, "correct[even]").status is check(result, "correct[ragged]").status is Status.PASSED
    assert result.points.correctness == 26.67


def test_each_case_is_launched_as_it_asked(exercise: Exercise) -> None:
    executor = FakeExecutor(launch=lambda arrays: LaunchConfig(grid=(len(arrays["M_sizes"]), 1, 1), block=(32, 1, 1)))
    grade(exercise, executor)
    kernels = [i for i in executor.ran if i.kernel == "double_kernel"]
    assert [i.config.grid[0] for i in kernels] == [1, 2, 3]  # the smallest case first
    assert kernels[0].arguments == ("x", "y", "M_sizes", (8, 4))


def test_a_workspace_arrives_zeroed_as_the_last_argument(exercise: Exercise) -> None:
    compilation = changed(KERNELS[0], parameter_bytes=(8, 8, 8, 4, 8))
    executor = FakeExecutor(compilation=compilation, launch=msgspec.structs.replace(LAUNCH, workspace_bytes=96))
    result = grade(exercise, executor)
    assert result.verdict is Verdict.INCOMPLETE
    kernels = [i for i in executor.ran if i.kernel == "double_kernel"]
    assert kernels[0].arguments[-1] == "workspace"
    workspace = executor.seen[-1][-1]
    assert (workspace.name, workspace.data.nbytes, workspace.data.any()) == ("workspace", 96, np.False_)


def test_an_instruction_that_the_engine_lacks_leaves_the_case_unjudged(exercise: Exercise) -> None:
    result = grade(exercise, FakeExecutor(compute=lambda _: Outcome(unsupported=LACKING)))
    assert check(result, "memory[even]").reason == "the CPU engine does not know wgmma (starter.cu:6)"
    assert check(result, "correct[even]").status is Status.NOT_JUDGED
    assert (result.verdict, result.points.correctness) == (Verdict.INCOMPLETE, None)


def test_a_kernel_that_hangs_fails_memory_and_costs_one_child(exercise: Exercise) -> None:
    executor = only_rows(8, ChildTimeout("60 s"))
    result = grade(exercise, executor)
    (finding,) = check(result, "memory[even]").findings
    assert finding.kind == "did-not-finish"
    assert statuses(result)["correct[ragged]"] == "passed"
    assert (executor.opened, executor.closed) == (2, 2)


@pytest.mark.parametrize("hang", [ChildTimeout("60 s"), Outcome(findings=(ENDLESS,))])
def test_after_two_cases_that_hang_the_others_are_not_waited_for(
    exercise: Exercise, hang: Outcome | Exception
) -> None:
    runs = []

    def compute(arrays: Arrays) -> Outcome:
        runs.append(arrays)
        if isinstance(hang, Exception):
            raise hang
        return hang

    result = grade(exercise, FakeExecutor(compute=compute))
    assert [len(arrays["x"]) for arrays in runs] == [1, 6]  # the smallest, and the smallest that is required
    assert check(result, "memory[even]").status is Status.SKIPPED
    assert check(result, "memory[even]").reason == "memory[one-row] did not finish"
    assert result.points.correctness == 0
    assert result.points.quality == 0


def test_a_loop_that_the_compiler_warned_of_is_tried_once(exercise: Exercise) -> None:
    warning = Finding("compile-warning", "starter.cu", 4, endless.NO_EFFECT, column=9)
    unused = Finding("compile-warning", "starter.cu", 3, "unused")
    compilation = msgspec.structs.replace(COMPILED, findings=(unused, warning))
    executor = FakeExecutor(compilation=compilation, compute=lambda _: Outcome(findings=(ENDLESS,)))
    result = grade(exercise, executor)
    assert sum(invocation.kernel == "double_kernel" for invocation in executor.ran) == 1
    (finding,) = check(result, "memory[one-row]").findings
    assert (finding.kind, finding.line, finding.detail) == ("did-not-finish", 4, Detail.NO_EFFECT)
    assert finding.related[-1].line == ENDLESS.line
    assert "has no effect" in check(result, "memory[one-row]").message


@pytest.mark.parametrize(("block", "said"), [((64, 1, 1), True), ((1, 64, 1), False)])
def test_what_neighbours_access_matters_where_there_are_some(
    exercise: Exercise, block: tuple[int, int, int], said: bool
) -> None:
    remark = Finding(UNCOALESCED, "starter.cu", 6, "a row apart", kernel="double_kernel")
    compilation = msgspec.structs.replace(COMPILED, findings=(remark,))
    launch = msgspec.structs.replace(LAUNCH, block=block)
    result = grade(exercise, FakeExecutor(compilation=compilation, launch=launch))
    assert bool(check(result, "compile").findings) == said
    assert result.points.quality == 12  # it costs nothing


def test_a_case_that_hangs_costs_that_case(exercise: Exercise) -> None:
    result = grade(exercise, only_rows(1, Outcome(findings=(ENDLESS,))))
    assert statuses(result)["correct[even]"] == statuses(result)["correct[ragged]"] == "passed"
    assert result.points.correctness == pytest.approx(26.67)


def test_too_much_memory_is_the_submissions_fault(exercise: Exercise) -> None:
    result = grade(exercise, only_rows(8, ChildMemory("4 GiB")))
    assert check(result, "memory[even]").findings[0].kind == "out-of-memory"
    assert result.verdict is Verdict.FAILED


def test_a_dead_child_is_an_error_and_costs_its_case_alone(exercise: Exercise) -> None:
    executor = only_rows(6, ChildDied("the child died of signal 11"))
    result = grade(exercise, executor)
    assert executor.opened == executor.closed
    assert check(result, "memory[ragged]").status is Status.ERROR
    assert "signal 11" in check(result, "memory[ragged]").message
    assert check(result, "correct[ragged]").reason == "memory[ragged] ended in an error"
    assert (statuses(result)["correct[even]"], statuses(result)["correct[one-row]"]) == ("passed", "passed")
    assert (result.verdict, result.points.correctness) == (Verdict.ERROR, None)


def test_a_child_that_dies_while_compiling_is_an_error(exercise: Exercise) -> None:
    executor = FakeExecutor()

    def die(source: bytes, filename: str) -> Compilation:
        raise ChildDied("the child died of signal 9")

    executor.compile = die  # type: ignore[method-assign]
    result = grade(exercise, executor)
    assert (check(result, "compile").status, result.verdict) == (Status.ERROR, Verdict.ERROR)
    assert executor.opened == executor.closed


def test_a_compiler_that_hangs_is_a_failed_compile(exercise: Exercise) -> None:
    executor = FakeExecutor()

    def hang(source: bytes, filename: str) -> Compilation:
        raise ChildTimeout("30 s")

    executor.compile = hang  # type: ignore[method-assign]
    result = grade(exercise, executor)
    assert check(result, "compile").findings[0].kind == "did-not-finish"
    assert result.verdict is Verdict.FAILED


def test_a_fault_of_the_grader_is_an_error_never_zero_points(exercise: Exercise) -> None:
    result = grade(exercise, only_rows(8, Outcome(outputs={"y": np.zeros((3, 3))})))
    assert check(result, "correct[even]").status is Status.ERROR
    assert "internal error at " in check(result, "correct[even]").message
    assert (result.verdict, result.points.correctness) == (Verdict.ERROR, None)


def test_a_failed_check_outweighs_an_error(exercise: Exercise) -> None:
    def compute(arrays: Arrays) -> Outcome:
        if arrays["x"].shape[0] == 8:
            raise ChildDied("signal 11")
        return Outcome(findings=(RACE,))

    assert grade(exercise, FakeExecutor(compute=compute)).verdict is Verdict.FAILED


def test_a_broken_oracle_stops_before_a_result_and_closes_the_child(tmp_path: Path) -> None:
    folder = write_exercise(
        tmp_path / "01_double", oracle=ORACLE.replace("def extra(seed):", "def extra(seed):\n    1/0")
    )
    executor = FakeExecutor()
    with pytest.raises(GraderError, match=r"oracle\.py:\d+: ZeroDivisionError"):
        grade(catalog.read(folder), executor)
    assert (executor.opened, executor.closed) == (1, 1)


def test_an_oracle_without_the_answer_is_an_error_of_that_check(tmp_path: Path) -> None:
    folder = write_exercise(tmp_path / "01_double", oracle=ORACLE.replace('return {"y":', 'return {"y": 1 / 0 *'))
    result = grade(catalog.read(folder), FakeExecutor())
    assert "oracle.py" in check(result, "correct[even]").message
    assert result.verdict is Verdict.ERROR


def test_the_same_seed_gives_the_same_inputs(exercise: Exercise) -> None:
    executors = [FakeExecutor() for _ in range(3)]
    for executor, seed in zip(executors, (7, 7, 8), strict=True):
        grade(exercise, executor, seed=seed)
    inputs = [[a.data for arrays in e.seen for a in arrays if a.name == "x"] for e in executors]
    assert all(np.array_equal(a, b) for a, b in zip(inputs[0], inputs[1], strict=True))
    assert not np.array_equal(inputs[0][0], inputs[2][0])


def test_a_secret_case_fails_the_verdict_and_tells_nothing(exercise: Exercise) -> None:
    secret = Secret(({"M_sizes": [3, 8]},), seed=5)
    told = Finding("out-of-bounds", "starter.cu", 6, "x[93] of 88", count=11)
    executor = only_rows(11, Outcome(findings=(told,), printed="11 rows"))
    result = grade(exercise, executor, secret=secret)
    memory = check(result, "memory[secret-1]")
    assert (memory.status, [f.kind for f in memory.findings]) == (Status.FAILED, ["secret-case"])
    assert check(result, "correct[secret-1]").reason == "memory[secret-1] failed"
    assert result.verdict is Verdict.FAILED
    text = codec.encode(result).decode()
    assert not any(f"{number}" in str(memory) for number in (93, 88, 11))
    assert "11 rows" not in text


def test_secret_cases_have_no_speed_and_their_own_seed(exercise: Exercise) -> None:
    secret = Secret(({"M_sizes": [3, 8]},), seed=5)
    inputs = []
    for seed in (7, 8):
        executor = FakeExecutor()
        result = grade(exercise, executor, secret=secret, seed=seed)
        inputs.append(executor.seen[-1][0].data)
    assert "speed[secret-1]" not in statuses(result)
    assert np.array_equal(inputs[0], inputs[1])


def test_a_wrong_secret_case_is_wrong_usage(exercise: Exercise) -> None:
    executor = FakeExecutor()
    with pytest.raises(UsageError, match="M_sizes is missing"):
        grade(exercise, executor, secret=Secret(({"K": 3},)))
    assert executor.opened == executor.closed


def test_what_a_kernel_prints_is_kept(exercise: Exercise) -> None:
    def compute(arrays: Arrays) -> Outcome:
        return msgspec.structs.replace(right(arrays), printed="hello from thread 0\n")

    result = grade(exercise, FakeExecutor(compute=compute))
    assert check(result, "memory[even]").measurements.printed == "hello from thread 0\n"


def test_progress_names_each_case_as_it_begins(exercise: Exercise) -> None:
    seen: list[Progress] = []
    grade(exercise, FakeExecutor(), on_progress=seen.append)
    assert [p.doing for p in seen if p.doing.startswith("memory")] == [
        "memory[one-row]",
        "memory[even]",
        "memory[ragged]",
    ]
    assert [(p.done, p.of) for p in seen if p.doing.startswith("memory")] == [(0, 3), (1, 3), (2, 3)]


def test_an_interrupt_closes_the_child(exercise: Exercise) -> None:
    def interrupt(arrays: Arrays) -> Outcome:
        raise KeyboardInterrupt

    executor = FakeExecutor(compute=interrupt)
    with pytest.raises(KeyboardInterrupt):
        grade(exercise, executor)
    assert executor.opened == executor.closed == 1
    assert threading.active_count() < 10


def test_a_file_name_that_is_no_text_does_not_break_the_result(exercise: Exercise) -> None:
    odd = exercise.folder / "caf\udce9.cu"
    exercise.starter.rename(odd)
    result = pipeline.grade(exercise, submission.read(odd), seed=7, open_executor=FakeExecutor().open)
    assert codec.decode(codec.encode(result)).submission.path.endswith("caf?.cu")


@pytest.mark.parametrize(
    ("died", "says"),
    [
        (ChildDied("the child process died of SIGSEGV", "warming up\nfree(): invalid pointer\n"), "pointer"),
        (ChildFailed("llvmlite is missing", "Traceback\nImportError: llvmlite"), "llvmlite is missing"),
    ],
)
def test_an_error_ends_in_what_says_why(exercise: Exercise, died: ChildDied, says: str) -> None:
    message = check(grade(exercise, only_rows(8, died)), "memory[even]").message
    assert message.startswith(str(died))
    assert message.endswith(says)
