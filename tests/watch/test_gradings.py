"""Gradings that are cancelled, with real children."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from types import SimpleNamespace

import pytest

from grader.exercise import catalog, submission
from grader.grading.gpu_lane import GpuChoice
from grader.model.execution import Outcome
from grader.model.result import Check, Points, Result, Status, Submission, Verdict
from grader.sandbox import ChildDied
from grader.watch.gradings import Going, GradingDone, GradingFailed, Gradings, Told, in_order
from tests.cli.test_interrupt import alive
from tests.fake_gpu import FakeGpu, twice
from tests.fakes import Arrays, write_exercise

ROOT = Path(__file__).parents[2]
EXERCISE = ROOT / "exercises" / "01_simple_grouped_gemm"
# Takes seconds on its largest case, which comes last.
SLOW = submission.read(ROOT / "tests" / "kernels" / "correct" / "tile16.cu")
SMALL = ROOT / "grader" / "templates" / "exercise"


class Watch:
    def __init__(self) -> None:
        self._told: SimpleQueue[Told] = SimpleQueue()
        self.tell = self._told.put
        self.gradings = Gradings(self.tell, device="cpu")

    def wait_for(self, wanted: Callable[[Told], bool], seconds: float = 60) -> Told:
        deadline = time.monotonic() + seconds
        while True:
            told = self._told.get(timeout=max(0.01, deadline - time.monotonic()))
            if wanted(told):
                return told

    def rest(self, seconds: float) -> list[Told]:
        """What is told within that time."""
        time.sleep(seconds)
        found = []
        try:
            while True:
                found.append(self._told.get_nowait())
        except Empty:
            return found

    def children(self) -> list[int]:
        running = self.gradings._running
        held = [self.gradings._warm, *(running._children if running else [])]
        return [child.process.pid for child in held if child is not None]


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    with watch.gradings:
        yield watch
    assert [pid for pid in watch.children() if alive(pid)] == []


def running_a_case(told: Told) -> bool:
    return isinstance(told, Going) and told.progress.doing.startswith("memory[")


def test_a_cancelled_grading_leaves_no_child_and_says_nothing_more(watch: Watch) -> None:
    watch.gradings.begin(EXERCISE, SLOW, seed=1)
    watch.wait_for(running_a_case)
    pids = watch.children()
    watch.gradings.cancel()
    assert pids
    assert [pid for pid in pids if alive(pid)] == []
    watch.rest(0.2)  # what was on its way
    assert watch.rest(0.8) == []


def test_the_next_begins_at_once_and_is_the_one_that_counts(watch: Watch) -> None:
    first = watch.gradings.begin(EXERCISE, SLOW, seed=1)
    watch.wait_for(running_a_case)
    pids = watch.children()
    second = watch.gradings.begin(SMALL, submission.read(SMALL / "solution.cu"), seed=1)
    assert [pid for pid in pids if alive(pid)] == []
    done = watch.wait_for(lambda told: isinstance(told, GradingDone | GradingFailed))
    assert isinstance(done, GradingDone)
    assert (done.number, done.result.verdict) == (second, Verdict.INCOMPLETE)
    assert first != second


def test_a_warm_child_that_died_is_replaced(watch: Watch) -> None:
    watch.gradings.warm_up()
    (pid,) = watch.children()
    warm = watch.gradings._warm
    assert warm is not None
    warm.process.kill()
    watch.gradings.begin(SMALL, submission.read(SMALL / "solution.cu"), seed=1)
    done = watch.wait_for(lambda told: isinstance(told, GradingDone | GradingFailed))
    assert isinstance(done, GradingDone)
    assert done.result.verdict is Verdict.INCOMPLETE
    assert pid not in watch.children()


def test_small_cases_come_first_and_finished_checks_are_told_as_they_come(watch: Watch) -> None:
    watch.gradings.begin(SMALL, submission.read(SMALL / "solution.cu"), seed=1)
    seen: list[tuple[str, ...]] = []
    while not isinstance(told := watch.wait_for(lambda _: True), GradingDone):
        assert isinstance(told, Going)
        seen.append(tuple(check.id for check in told.progress.checks))
    assert ("compile",) in seen
    assert sorted(seen, key=len) == seen
    cases = list(dict.fromkeys(name.split("[")[1].rstrip("]") for name in seen[-1] if "[" in name))
    assert set(cases[:2]) == {"one-row", "one-column"}
    assert cases[2] == "ragged"  # and square, the largest, is told with the Result
    # The Result has them as the exercise names them.
    assert [c.case for c in told.result.checks if c.id.startswith("memory[")][:2] == ["square", "ragged"]


def test_a_broken_exercise_is_said_and_the_next_grading_works(watch: Watch, tmp_path: Path) -> None:
    folder = write_exercise(tmp_path / "01_broken", oracle="import nothing_of_that_name")
    watch.gradings.begin(folder, submission.read(folder / "starter.cu"), seed=1)
    failed = watch.wait_for(lambda told: isinstance(told, GradingDone | GradingFailed))
    assert isinstance(failed, GradingFailed)
    assert "oracle.py" in failed.why
    shutil.copy(SMALL / "oracle.py", folder)
    shutil.copy(SMALL / "exercise.toml", folder)
    watch.gradings.begin(folder, submission.read(SMALL / "solution.cu"), seed=1)
    assert isinstance(watch.wait_for(lambda told: isinstance(told, GradingDone | GradingFailed)), GradingDone)


class Killable(FakeGpu):
    """Ends when it is killed, as a child does; `busy` says that a kernel runs."""

    def __init__(self, *, ends: bool) -> None:
        super().__init__(compute=self._run)
        self._ends = ends
        self.busy, self.killed = threading.Event(), threading.Event()
        self.process = SimpleNamespace(kill=self.killed.set, pid=os.getpid())

    def _run(self, arrays: Arrays) -> Outcome:
        self.busy.set()
        if not self._ends and self.killed.wait(20):
            raise ChildDied("the child process was stopped")
        return twice(arrays)


@pytest.fixture
def doubling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An exercise that a fake GPU and a fake CPU grade."""
    monkeypatch.setattr("grader.executors.open_cpu", lambda: Killable(ends=True))
    return write_exercise(tmp_path / "01_double")


def on(gpu: Killable, monkeypatch: pytest.MonkeyPatch) -> Watch:
    choice = GpuChoice(lambda: gpu)  # type: ignore[arg-type,return-value]
    monkeypatch.setattr("grader.grading.gpu_lane.choose", lambda **_: choice)
    watch = Watch()
    watch.gradings = Gradings(watch.tell)
    return watch


def test_with_a_gpu_its_numbers_are_in_the_verdict(doubling: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = on(Killable(ends=True), monkeypatch)
    with watch.gradings:
        watch.gradings.begin(doubling, submission.read(doubling / "starter.cu"), seed=1)
        done = watch.wait_for(lambda told: isinstance(told, GradingDone | GradingFailed))
    assert isinstance(done, GradingDone), done
    assert {check.device for check in done.result.checks if check.id.startswith("correct[")} == {"cuda"}


def test_a_cancelled_grading_ends_on_the_gpu_too(doubling: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Killable(ends=False)
    watch = on(gpu, monkeypatch)
    with watch.gradings:
        watch.gradings.begin(doubling, submission.read(doubling / "starter.cu"), seed=1)
        assert gpu.busy.wait(20)
        began = time.monotonic()
    assert gpu.killed.is_set()
    assert time.monotonic() - began < 3
    assert not any(isinstance(told, GradingDone | GradingFailed) for told in watch.rest(0.2))


def test_the_order_of_checks_is_the_exercise_s() -> None:
    exercise = catalog.read(SMALL)
    names = ["compile", "launch", "memory[one-row]", "memory[ragged]", "memory[square]", "rules", "quality"]
    cases = [name.split("[")[1].rstrip("]") if "[" in name else None for name in names]
    checks = tuple(Check(name, Status.PASSED, case=case) for name, case in zip(names, cases, strict=True))
    result = in_order(graded(checks), exercise)
    assert [check.id for check in result.checks] == [
        *("compile", "launch", "memory[square]", "memory[ragged]", "memory[one-row]", "rules", "quality")
    ]


def graded(checks: tuple[Check, ...]) -> Result:
    points = Points(None, None, None, None, None, 100)
    return Result(1, "01", Submission("a.cu", ""), Verdict.PASSED, points, 1, {}, checks)
