"""A student's progress: one small file per exercise, written by grade run and grade watch.

In a student's own repository (grade start creates the folder `.grade/` there) it is in `.grade/progress/`, so that it
survives in a container whose home folder does not. Otherwise it is in $XDG_STATE_HOME/grader/progress, by default
~/.local/state/grader/progress, so that a checkout of this project is not changed and exercises may be read-only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import msgspec

from grader import files
from grader.exercise.original import OWN
from grader.model.exercise import Exercise
from grader.model.result import Result, Status, Verdict

SCHEMA = 1
MAX_BYTES = 1 << 20
MAX_ATTEMPTS = 20  # that are kept
MAX_SOURCE = 100_000  # characters; twice what a large kernel has

Say = Callable[[str], None]


class Stage(StrEnum):
    """Ordered. RIGHT: every case is right and clean, but speed was not judged or is too low."""

    TRIED = "tried"
    RIGHT = "right"
    PASSED = "passed"


class Attempt(msgspec.Struct, frozen=True):
    """`points` as far as judged, out of `of`; `when` in UTC, to the second."""

    stage: Stage
    verdict: str
    points: float | None
    of: float
    when: str


class Record(msgspec.Struct, frozen=True):
    """The recorded progress in an exercise."""

    exercise: str
    runs: int
    best: Attempt
    last: Attempt
    schema: int = SCHEMA
    source: str = ""  # of the last run
    section: str = ""  # of problem.md, that explains what the last run found; "" once it was read
    hints: int = 0  # of problem.md, that were opened
    attempts: tuple[Attempt, ...] = ()  # the latest, the last one included
    best_us: dict[str, float] = {}  # by case that was timed


def stage_of(result: Result) -> Stage:
    """Only judged checks count, and speed does not affect RIGHT."""
    if result.verdict is Verdict.PASSED:
        return Stage.PASSED
    judged = [check for check in result.checks if check.required and check.rubric != "performance"]
    return Stage.RIGHT if all(check.status is Status.PASSED for check in judged) else Stage.TRIED


def read(exercise: Exercise, say: Say) -> Record | None:
    """None if there is no record. A file that is not a Record is set aside and reported."""
    file = _file(exercise)
    if file is None:
        return None
    try:
        return msgspec.json.decode(files.read(file, MAX_BYTES), type=Record)
    except FileNotFoundError:
        return None
    except OSError as error:
        say(f"cannot read your progress file {file}: {error.strerror}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        _set_aside(file, say)
    return None


def last_source(exercise: Exercise) -> str | None:
    """The file of the last run, to know what has changed since; None if it is not known."""
    record = read(exercise, lambda _: None)
    return record.source or None if record else None


def remember(exercise: Exercise, result: Result, say: Say, source: str = "", section: str = "") -> Record:
    """Adds a run, of this `source`. A failure to save is reported; the grading is not affected."""
    before = read(exercise, say)
    attempt = Attempt(stage_of(result), result.verdict.value, result.points.total, result.points.max, _now())
    best = attempt if before is None or _rank(attempt) >= _rank(before.best) else before.best
    kept = source if len(source) <= MAX_SOURCE else ""
    earlier = before or Record(exercise.name, 0, attempt, attempt)
    record = msgspec.structs.replace(
        earlier,
        runs=earlier.runs + 1,
        best=best,
        last=attempt,
        source=kept,
        section=section,
        attempts=(*earlier.attempts, attempt)[-MAX_ATTEMPTS:],
        best_us=_fastest(earlier.best_us, result),
    )
    _save(exercise, record, say)
    return record


def opened(exercise: Exercise, record: Record, say: Say, hints: int) -> None:
    """Remembers that the section and so many hints were read."""
    _save(exercise, msgspec.structs.replace(record, section="", hints=hints), say)


def _fastest(before: dict[str, float], result: Result) -> dict[str, float]:
    """Microseconds per case, of runs that were right."""
    found = dict(before)
    for check in result.checks:
        time = check.measurements.time_us
        if check.case and time is not None and check.rubric == "performance":
            found[check.case] = min(time, found.get(check.case, time))
    return found


def _save(exercise: Exercise, record: Record, say: Say) -> None:
    file = _file(exercise)
    if file is None:
        say("your progress is not saved: there is no home folder; set XDG_STATE_HOME to a folder for it")
        return
    try:
        files.publish(file, msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    except OSError as error:
        say(f"your progress is not saved: {file}: {error.strerror}")


def _rank(attempt: Attempt) -> tuple[int, float]:
    return list(Stage).index(attempt.stage), attempt.points or 0.0


def _file(exercise: Exercise) -> Path | None:
    """None if there is no home folder for it."""
    folder = exercise.folder.resolve()
    own = folder.parent.parent / OWN
    if own.is_dir():
        return own / "progress" / f"{exercise.name}.json"
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    # Two checkouts may have exercises with the same name.
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    with contextlib.suppress(RuntimeError):  # no home folder
        return Path(base).expanduser() / "grader" / "progress" / f"{exercise.name}-{digest}.json"
    return None


def _set_aside(file: Path, say: Say) -> None:
    kept = file.with_suffix(".broken")
    try:
        file.replace(kept)
    except OSError as error:
        say(f"{file} is damaged and cannot be moved aside: {error.strerror}")
        return
    say(f"your progress file was damaged; it is kept as {kept}, and your progress starts again")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
