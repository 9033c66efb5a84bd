"""A class of submissions to tests.fakes' exercise, and children that do what a submission's first line says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from grader.batch import worker
from grader.batch.worker import Graded
from grader.exercise import catalog
from grader.model.execution import Compilation, Outcome
from grader.model.exercise import Exercise
from grader.model.result import Finding
from grader.sandbox import ChildDied
from tests.fakes import SOURCE, Arrays, FakeExecutor, right, write_exercise


class Child(FakeExecutor):
    """`// wrong` computes zeros, `// races` has a race on line 7, `// slow` takes long, `// forever` until it is
    closed; `// dies` loses every child, `// dies-once` all of the first attempt."""

    def __init__(self, school: School) -> None:
        super().__init__(compute=self._behave)
        self._school = school
        self._does = ""

    def compile(self, source: bytes, filename: str) -> Compilation:
        self._does = source.decode(errors="replace").split("\n", 1)[0].removeprefix("// ").split(" ")[0]
        self._school.compiled.append(source)
        return super().compile(source, filename)

    def close(self) -> None:
        super().close()
        self._school.closed.add(self)

    def _behave(self, arrays: Arrays) -> Outcome:
        if self._does == "dies" or (self._does == "dies-once" and self._school.deaths.pop("dies-once", None)):
            raise ChildDied("the child died of signal 11")
        if self._does == "slow":
            time.sleep(0.05)
        if self._does == "forever":
            while self not in self._school.closed:
                time.sleep(0.01)
            raise ChildDied("closed")
        if self._does == "races":
            return Outcome(findings=(Finding("race", worker.NAME, 7, "two threads, no barrier"),))
        return Outcome(outputs={"y": np.zeros_like(arrays["x"])}) if self._does == "wrong" else right(arrays)


class School:
    """An exercise, a folder of submissions, and every child that was opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.submissions = folder / "submissions"
        self.submissions.mkdir()
        self.out = folder / "out"
        write_exercise(folder / "exercises" / "01_double")
        self.opened: list[Child] = []
        self.closed: set[Child] = set()
        self.compiled: list[bytes] = []
        self.deaths = {"dies-once": 4}
        self._lock = threading.Lock()

    @property
    def exercise(self) -> Exercise:
        return catalog.read(self.folder / "exercises" / "01_double")

    def open(self, **_: object) -> Child:
        """In place of executors.open_cpu."""
        child = Child(self)
        with self._lock:
            self.opened.append(child)
        return child

    def hand_in(self, student: str, does: str = "right", *, twin_of: str = "") -> Path:
        """Differs from every other, but for `twin_of`'s."""
        file = self.submissions / student / f"{student}.cu"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(f"// {does} {twin_of or student}\n".encode() + SOURCE)
        return file

    def hand_in_all(self, students: Iterable[str], does: str = "right") -> None:
        for student in students:
            self.hand_in(student, does)

    def gradings(self) -> int:
        """How many submissions were compiled to be graded."""
        return len(self.compiled)


class Watching:
    """Records what a batch tells, and may interrupt it."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.said: list[str] = []
        self.heard: list[tuple[tuple[str, ...], Graded]] = []
        self.finished = False
        self._stop_after = stop_after

    def note(self, text: str) -> None:
        self.said.append(text)

    def began(self, plan: object) -> None:
        self.plan = plan

    def graded(self, students: Iterable[str], graded: Graded) -> None:
        self.heard.append((tuple(students), graded))
        if len(self.heard) == self._stop_after:
            raise KeyboardInterrupt

    def ended(self, entries: object) -> None:
        self.finished = True
