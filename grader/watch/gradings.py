"""One grading after the other. Each gets a child that is already warm, and is cancelled when it is superseded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from grader import executors, progress
from grader.errors import GraderError, UsageError, at_fault
from grader.exercise import catalog
from grader.exercise.submission import Source
from grader.grading import gpu_lane, pipeline
from grader.grading.gpu_lane import GpuChoice
from grader.grading.pipeline import Progress
from grader.model import families
from grader.model.exercise import Exercise
from grader.model.result import Check, Result
from grader.sandbox.child import Child
from grader.sandbox.process import resident_bytes

if TYPE_CHECKING:
    from grader.remote.client import Connection

ENDS_IN_SECONDS = 5.0  # a cancelled grading only finishes its current matrix product

C = TypeVar("C", bound=Child)


class Cancelled(BaseException):
    """Passes through the pipeline, which catches only Exception, and closes its child on the way."""


class Going(msgspec.Struct, frozen=True):
    """The progress of the grading with this number."""

    number: int
    progress: Progress


class GradingDone(msgspec.Struct, frozen=True):
    """`exercise` as it was read for this grading, since an author may be changing it."""

    number: int
    exercise: Exercise
    source: Source
    result: Result


class GradingFailed(msgspec.Struct, frozen=True):
    """The exercise or the grader is broken. The text says which, and where."""

    number: int
    why: str


Told = Going | GradingDone | GradingFailed


class Gradings:
    """`begin` cancels the current grading. Events that a cancelled grading still sends carry its old number."""

    def __init__(self, tell: Callable[[Told], None], *, device: str = "auto") -> None:
        self._tell = tell
        self._device = device
        self._number = 0
        self._running: _WatchedGrading | None = None
        self._warm: Child | None = None

    def __enter__(self) -> Gradings:
        self.warm_up()
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()
        if self._running is not None:
            self._running.join()
        warm, self._warm = self._warm, None
        if warm is not None:
            warm.close()

    def warm_up(self) -> None:
        """Starts a child that loads what it needs while idle."""
        if self._warm is None:
            with suppress(OSError):  # tried again, and reported, when it is needed
                self._warm = executors.open_cpu()

    def begin(self, folder: Path, source: Source, seed: int, host: str = "") -> int:
        """Grades a submission to the exercise in `folder`, on `host` if one is named; returns the number of its
        events."""
        self.cancel()
        self._number += 1
        self._running = _WatchedGrading(self._number, self._tell, None if host else self._taken())
        if host:
            self._running.start_on(host, folder, source, seed)
        else:
            self._running.start(folder, source, seed, self._device)
        return self._number

    def _taken(self) -> Child | None:
        """The warm child; None if it has died since (the system may have needed its memory)."""
        warm, self._warm = self._warm, None
        if warm is not None and not resident_bytes(warm.process.pid):
            warm.close()
            return None
        return warm

    def cancel(self) -> None:
        """Its child has ended when this returns."""
        if self._running is not None:
            self._running.cancel()


class _WatchedGrading:
    """Keeps track of what it opens, children or a connection, so that another thread can end it."""

    def __init__(self, number: int, tell: Callable[[Told], None], warm: Child | None) -> None:
        self._number = number
        self._tell = tell
        self._first = warm
        self._children: list[Child] = [warm] if warm else []
        self._connection: Connection | None = None
        self._cancelled = False
        self._opening = threading.Lock()
        self._thread = threading.Thread(name=f"grader-watch-{number}", daemon=True, target=self._run)
        self._what: Callable[[], Told] | None = None

    def start(self, folder: Path, source: Source, seed: int, device: str) -> None:
        self._what = partial(self._grade, folder, source, seed, device)
        self._thread.start()

    def start_on(self, host: str, folder: Path, source: Source, seed: int) -> None:
        self._what = partial(self._grade_on, host, folder, source, seed)
        self._thread.start()

    def cancel(self) -> None:
        with self._opening:
            self._cancelled = True
            for child in self._children:
                child.process.kill()
            if self._connection is not None:
                self._connection.kill()

    def join(self) -> None:
        self._thread.join(ENDS_IN_SECONDS)

    def _run(self) -> None:
        assert self._what is not None
        try:
            told = self._what()
        except Cancelled:
            return
        except (GraderError, UsageError) as error:
            told = GradingFailed(self._number, str(error))
        except Exception as error:
            told = GradingFailed(self._number, f"internal error at {at_fault(error)}")
        finally:
            if self._first is not None:  # nothing was compiled
                self._first.close()
        if not self._cancelled:
            self._tell(told)

    def _grade(self, folder: Path, source: Source, seed: int, device: str) -> GradingDone:
        exercise = catalog.read(folder)
        result = pipeline.grade(
            exercise,
            source,
            seed=seed,
            open_executor=self._open_cpu,
            gpu=self._gpu(device),
            quickest_first=True,
            count=True,
            on_progress=self._progress,
            before=partial(progress.last_source, exercise),
        )
        return GradingDone(self._number, exercise, source, in_order(result, exercise))

    def _grade_on(self, host: str, folder: Path, source: Source, seed: int) -> GradingDone:
        from grader.remote import client

        exercise = catalog.read(folder)
        result = client.grade(
            host,
            exercise,
            source,
            seed=seed,
            on_progress=self._progress,
            before=partial(progress.last_source, exercise),
            asks=False,  # the keys are ours
            connected=self._connected,
        )
        return GradingDone(self._number, exercise, source, result)

    def _progress(self, progress: Progress) -> None:
        if self._cancelled:
            raise Cancelled
        self._tell(Going(self._number, progress))

    def _gpu(self, device: str) -> GpuChoice | None:
        choice = None if device == "cpu" else gpu_lane.choose(required=device == "cuda")
        if choice is None:
            return None
        return msgspec.structs.replace(choice, open=partial(self._kept, choice.open))

    def _open_cpu(self) -> Child:
        first, self._first = self._first, None
        return first or self._kept(executors.open_cpu)

    def _kept(self, open_child: Callable[[], C]) -> C:
        with self._opening:
            if self._cancelled:
                raise Cancelled
            child = open_child()
            self._children.append(child)
            return child

    def _connected(self, connection: Connection) -> None:
        with self._opening:
            if self._cancelled:
                raise Cancelled
            self._connection = connection


def in_order(result: Result, exercise: Exercise) -> Result:
    """Restores the exercise's order: required cases, extra cases, the other checks."""

    def place(check: Check) -> int:
        if check.case is None:
            return -1 if families.of(check.family) in families.before_cases() else len(exercise.cases) + 1
        return exercise.cases.index(check.case) if check.case in exercise.cases else len(exercise.cases)

    return msgspec.structs.replace(result, checks=tuple(sorted(result.checks, key=place)))
