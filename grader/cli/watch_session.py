"""grade watch, event by event: a save, a key, a check that has finished, a verdict."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from grader import progress
from grader.cli.paths import from_here
from grader.cli.remember import remember
from grader.cli.reset import restore
from grader.cli.watch_screen import Screen
from grader.exercise import catalog, original
from grader.exercise.submission import Source
from grader.model.exercise import Exercise
from grader.model.result import Verdict
from grader.progress import Stage
from grader.reports.problems import problems
from grader.seeds import SEEDS
from grader.watch.gradings import Going, GradingDone, GradingFailed, Gradings
from grader.watch.hints import Hints
from grader.watch.keys import REDRAW
from grader.watch.saves import Saved, Saves, UnreadableSave

QUIT = "q"

Event = Saved | UnreadableSave | Going | GradingDone | GradingFailed | str  # text: a key


class Session:
    """Everything happens in the thread that calls `run`; the others only send events. `listens`: keys work.

    `host`: a machine that a key sends the kernel to; "" if there is none.
    """

    def __init__(
        self, events: SimpleQueue[Event], gradings: Gradings, folder: Path, *, listens: bool, host: str = ""
    ) -> None:
        self._events = events
        self._gradings = gradings
        self._folder = folder
        self._listens, self._host = listens, host
        self._screen = Screen()
        self._keys: dict[str, tuple[str, Callable[[], None]]] = {
            "h": ("hint", self._hint),
            "d": ("details", self._details),
            "r": ("again", self._again),
            "g": (f"grade on {host}", self._on_host),
            "s": ("solution", self._solution),
            "l": ("list", self._list),
            "x": ("reset", self._reset),
            "n": ("next", self._next),
        }

    def run(self, exercise: Exercise, file: Path | None) -> None:
        """Until q, or Ctrl-C."""
        self._open(exercise, file or from_here(exercise.starter))
        try:
            while (event := self._events.get()) != QUIT:
                self._take(event)
        finally:
            self._saves.stop()

    def _open(self, exercise: Exercise, file: Path) -> None:
        self._exercise, self._file = exercise, file
        record = progress.read(exercise, self._screen.say)
        self._hints = Hints(exercise.folder, record.hints if record else 0)
        self._resets = False  # whether x was pressed once
        self._source: Source | None = None
        self._graded: GradingDone | None = None
        self._number = 0  # of the current grading
        self._seed: int | None = None
        self._saves = Saves(file, self._events.put)
        self._saves.start()

    def _take(self, event: Event) -> None:
        match event:
            case Saved(source) if source.path == self._file:
                self._source = source
                self._begin("saved")
            case UnreadableSave(file, why) if file == self._file:
                self._source = None
                self._stop(f"{why}.")
            case Going(number, state) if number == self._number:
                self._screen.going(state)
            case GradingDone() if event.number == self._number:
                self._finish(event)
            case GradingFailed(number, why) if number == self._number:
                self._stop(why)
            case str() if event == REDRAW and self._graded:
                self._show()
            case str() if event in self._offered():
                self._resets = self._resets and event == "x"
                self._keys[event][1]()
            case "s" if self._listens:
                self._not_yet()
            case _:
                pass  # from a cancelled grading or another exercise, or a key without a meaning

    def _begin(self, why: str, host: str = "") -> None:
        assert self._source is not None
        self._graded = None
        if self._seed is None:
            self._seed = secrets.randbelow(SEEDS)
        self._screen.begin(self._exercise, self._file, why)
        self._number = self._gradings.begin(self._exercise.folder, self._source, self._seed, host)

    def _stop(self, why: str) -> None:
        self._gradings.cancel()
        self._number, self._graded = 0, None
        self._screen.say(why)
        self._wait()
        self._gradings.warm_up()

    def _finish(self, graded: GradingDone) -> None:
        self._graded, self._exercise = graded, graded.exercise
        found = problems(graded.result)
        self._hints.about(found[0].hint if found else "")
        if self._right:
            self._seed = None
        notes: list[str] = []
        remember(graded.exercise, graded.result, graded.source, notes.append)
        self._show()
        for note in notes:
            self._screen.say(note)
        self._gradings.warm_up()

    def _show(self, *, verbose: bool = False) -> None:
        graded = self._graded
        assert graded is not None
        self._screen.verdict(graded.exercise, graded.result, graded.source.text, verbose=verbose)
        self._wait()

    def _wait(self) -> None:
        if self._number and self._graded is None:
            return  # a grading is in progress
        offered = [(key, self._keys[key][0]) for key in self._offered()]
        leave = [(QUIT, "quit")] if self._listens else []
        right = "Correct. " if self._right else ""
        end = "" if self._listens else " Press Ctrl-C to quit."
        self._screen.keys([*offered, *leave], f"{right}Waiting for the next save of {self._file}.{end}")

    @property
    def _right(self) -> bool:
        return self._graded is not None and progress.stage_of(self._graded.result) is not Stage.TRIED

    @property
    def _passed(self) -> bool:
        """As far as this machine can judge; otherwise, without a GPU, students would never see a solution."""
        return self._right and self._graded is not None and self._graded.result.verdict is not Verdict.FAILED

    def _offered(self) -> list[str]:
        """The keys that work now."""
        if not self._listens:
            return []
        having = {
            "d": self._graded is not None,
            "r": self._source is not None,
            "g": self._source is not None and bool(self._host),
            "s": self._passed and self._solution_file.is_file(),
        }
        return [key for key in self._keys if having.get(key, True)]

    @property
    def _solution_file(self) -> Path:
        return original.solution(self._exercise)

    def _hint(self) -> None:
        otherwise = (
            "No more hints." if self._right else "No more hints for now; those about speed come once it is correct."
        )
        self._screen.hint(self._hints.next(right=self._right), otherwise)
        if record := progress.read(self._exercise, self._screen.say):
            progress.opened(self._exercise, record, self._screen.say, self._hints.opened)
        self._wait()

    def _details(self) -> None:
        self._show(verbose=True)

    def _again(self) -> None:
        self._seed = None
        self._begin("again")

    def _on_host(self) -> None:
        self._begin(f"sent to {self._host}", self._host)

    def _solution(self) -> None:
        try:
            text = self._solution_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            self._screen.say(f"{self._solution_file}: {error}")
        else:
            self._screen.text(str(from_here(self._solution_file)), text)
        self._wait()

    def _not_yet(self) -> None:
        if not self._passed:
            right = "your kernel is correct and fast enough" if self._right else "your kernel is correct"
            self._screen.say(f"Not yet: the solution is shown once {right}.")
        else:
            self._screen.say(f"This exercise has no solution here: {from_here(self._solution_file)} does not exist.")

    def _list(self) -> None:
        lines = []
        for exercise in catalog.sound(self._folder, self._screen.say):
            record = progress.read(exercise, self._screen.say)
            here = ">" if exercise.name == self._exercise.name else " "
            lines.append(f"{here} {exercise.name}  {record.best.stage if record else 'not tried'}")
        self._screen.text("Exercises", "\n".join(lines))
        self._wait()

    def _reset(self) -> None:
        """The second x in a row puts the starter back."""
        came = original.file(self._exercise)
        if came is None or self._file.resolve() != self._exercise.starter.resolve():
            self._screen.say("There is no original of this file here.")
        elif not self._resets:
            self._resets = True
            self._screen.say(f"Press x again to put {self._file} back to what it was; your version is kept.")
        else:
            self._resets = False
            try:
                written = self._file.read_bytes() if self._file.exists() else None
                kept = restore(self._file, written, came.read_bytes())
                self._screen.say(f"Your version is kept as {kept}." if kept else "The original is back.")
            except OSError as error:
                self._screen.say(f"{error.filename or self._file}: {error.strerror}; nothing was changed.")

    def _next(self) -> None:
        exercises = catalog.sound(self._folder, self._screen.say)  # an author may be working on another
        following = [exercise for exercise in exercises if exercise.name > self._exercise.name]
        if not following:
            self._screen.say("This is the last exercise; press q to quit.")
            return
        self._saves.stop()
        self._gradings.cancel()
        self._gradings.warm_up()
        self._open(following[0], from_here(following[0].starter))
