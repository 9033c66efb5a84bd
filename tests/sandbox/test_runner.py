from __future__ import annotations

import numpy as np
import pytest

from grader.model.execution import OUT_OF_TIME, Compilation, Invocation, LaunchConfig, Outcome
from grader.model.exercise import Array
from grader.model.result import Finding
from grader.sandbox import ChildCrashed, ChildDied, ChildTimeout
from grader.sandbox.runner import MAX_STARTS, Runner, RunnerError
from tests.fakes import Arrays, FakeExecutor

KERNEL = (Invocation("double_kernel", LaunchConfig(), ("x",)),)
MIB = 1 << 20


def array(size: int) -> tuple[Array, ...]:
    return (Array("x", np.zeros(size, np.uint8)),)


class Timed(FakeExecutor):
    """Keeps the deadlines that it was given."""

    def __init__(self, *answers: Outcome | Exception) -> None:
        super().__init__()
        self.deadlines: list[float] = []
        self._answers = [*answers]

    def run(self, invocations: tuple[Invocation, ...], arrays: tuple[Array, ...], *, deadline: float) -> Outcome:
        self.deadlines.append(deadline)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_large_case_may_take_longer() -> None:
    executor = Timed(Outcome(), Outcome())
    with Runner(executor.open, b"", "a.cu") as runner:
        runner.run(KERNEL, array(48))
        runner.run(KERNEL, array(20 * MIB))
    assert executor.deadlines[0] == pytest.approx(10, rel=0.01)
    assert executor.deadlines[1] > 5 * executor.deadlines[0]


def test_after_one_run_that_hung_the_next_is_not_waited_for_as_long() -> None:
    executor = Timed(ChildTimeout("stopped"), Outcome())
    with Runner(executor.open, b"", "a.cu") as runner:
        assert runner.run(KERNEL, array(20 * MIB)).findings[0].kind == "did-not-finish"
        runner.run(KERNEL, array(20 * MIB))
    assert executor.deadlines[1] < executor.deadlines[0] / 5


def test_after_one_that_was_found_endless_the_next_is_hardly_waited_for() -> None:
    endless = Outcome(findings=(Finding("did-not-finish", "a.cu", 4, "still in this loop"),))
    executor = Timed(endless, Outcome())
    with Runner(executor.open, b"", "a.cu") as runner:
        runner.run(KERNEL, array(48))
        runner.run(KERNEL, array(20 * MIB))
    assert executor.deadlines[1] <= executor.deadlines[0] / 5


def test_after_one_that_was_too_slow_here_too() -> None:
    slow = Outcome(unsupported=Finding(OUT_OF_TIME, "a.cu", 4, "too slow for this CPU"))
    executor = Timed(slow, Outcome())
    with Runner(executor.open, b"", "a.cu") as runner:
        runner.run(KERNEL, array(20 * MIB))
        runner.run(KERNEL, array(20 * MIB))
    assert executor.deadlines[1] < executor.deadlines[0] / 5


def test_a_fresh_child_compiles_again() -> None:
    compiled = []

    class Counting(Timed):
        def compile(self, source: bytes, filename: str) -> Compilation:
            compiled.append((source, filename))
            return super().compile(source, filename)

    executor = Counting(ChildTimeout("stopped"), Outcome())
    with Runner(executor.open, b"text", "a.cu") as runner:
        runner.compile()
        runner.run(KERNEL, array(8))
        runner.run(KERNEL, array(8))
    assert compiled == [(b"text", "a.cu")] * 2
    assert (executor.opened, executor.closed) == (2, 2)


def test_a_submission_that_kills_every_child_gets_no_more_of_them() -> None:
    def die(_: Arrays) -> Outcome:
        raise ChildDied("signal 9")

    executor = FakeExecutor(compute=die)
    with Runner(executor.open, b"", "a.cu") as runner:
        for _ in range(MAX_STARTS):
            with pytest.raises(RunnerError, match="signal 9"):
                runner.run(KERNEL, array(8))
        with pytest.raises(RunnerError, match="was not started again"):
            runner.run(KERNEL, array(8))
    assert executor.opened == executor.closed == MAX_STARTS


def test_a_submission_that_compiles_once_only_is_no_fault_of_the_students() -> None:
    executor = FakeExecutor(compilation=Compilation(ok=False))
    with Runner(executor.open, b"", "a.cu") as runner, pytest.raises(RunnerError, match="not again"):
        runner.run(KERNEL, array(8))


@pytest.mark.parametrize(("crashes", "ok"), [(1, True), (2, False)])
def test_what_crashes_the_compiler_twice_does_not_compile(crashes: int, ok: bool) -> None:
    class Crashing(FakeExecutor):
        def compile(self, source: bytes, filename: str) -> Compilation:
            if self.opened <= crashes:
                raise ChildCrashed("the child process died of SIGSEGV")
            return super().compile(source, filename)

    executor = Crashing()
    with Runner(executor.open, b"", "a.cu") as runner:
        compilation = runner.compile()
    assert compilation.ok is ok
    assert [finding.kind for finding in compilation.findings] == ([] if ok else ["compile-error"])
    assert executor.opened == executor.closed == 2
