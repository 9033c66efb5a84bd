"""How far a student is: one small file for each exercise, written by grade run and grade watch.

In a student's own repository (grade start makes a folder `.grade/` there) it lies in `.grade/progress/`, so that it
survives a container whose home folder does not. Elsewhere in $XDG_STATE_HOME/grader/progress, by default
~/.local/state/grader/progress: a checkout of this project stays as it was, and the exercises may be read-only.
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
from grader.model.exercise import Exercise
from grader.model.result import Result, Status, Verdict

OWN = ".grade"  # beside `exercises/`, in a student's own repository
SCHEMA = 1
MAX_BYTES = 1 << 20

Say = Callable[[str], None]


class Stage(StrEnum):
    """Ordered. RIGHT: every case is right and clean, and speed was not judged, or is not enough."""

    TRIED = "tried"
    RIGHT = "right"
    PASSED = "passed"


class Attempt(msgspec.Struct, frozen=True):
    """`points` as far as they were judged, of `of`; `when` in UTC, to the second."""

    stage: Stage
    verdict: str
    points: float | None
    of: float
    when: str


class Record(msgspec.Struct, frozen=True):
    """What is remembered of an exercise."""

    exercise: str
    runs: int
    best: Attempt
    last: Attempt
    schema: int = SCHEMA


def stage_of(result: Result) -> Stage:
    """Only what was judged counts, and speed does not count against being right."""
    if result.verdict is Verdict.PASSED:
        return Stage.PASSED
    judged = [check for check in result.checks if check.required and not check.id.startswith("speed[")]
    return Stage.RIGHT if all(check.status is Status.PASSED for check in judged) else Stage.TRIED


def read(exercise: Exercise, say: Say) -> Record | None:
    """None where nothing is known. A file that holds no Record is set aside, and said."""
    file = _file(exercise)
    if file is None:
        return None
    try:
        return msgspec.json.decode(files.read(file, MAX_BYTES), type=Record)
    except FileNotFoundError:
        return None
    except OSError as error:
        say(f"cannot read your progress, {file}: {error.strerror}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        _set_aside(file, say)
    return None


def remember(exercise: Exercise, result: Result, say: Say) -> Record:
    """Adds a run. What cannot be kept is said; the grading stands."""
    before = read(exercise, say)
    attempt = Attempt(stage_of(result), result.verdict.value, result.points.total, result.points.max, _now())
    best = attempt if before is None or _rank(attempt) >= _rank(before.best) else before.best
    record = Record(exercise.name, 1 if before is None else before.runs + 1, best, attempt)
    file = _file(exercise)
    if file is None:
        say("your progress is not kept: there is no home folder; set XDG_STATE_HOME to a folder for it")
        return record
    try:
        files.publish(file, msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    except OSError as error:
        say(f"your progress is not kept: {file}: {error.strerror}")
    return record


def _rank(attempt: Attempt) -> tuple[int, float]:
    return list(Stage).index(attempt.stage), attempt.points or 0.0


def _file(exercise: Exercise) -> Path | None:
    """None where there is no home folder to keep it in."""
    folder = exercise.folder.resolve()
    own = folder.parent.parent / OWN
    if own.is_dir():
        return own / "progress" / f"{exercise.name}.json"
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    # Two checkouts may hold exercises of one name.
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    with contextlib.suppress(RuntimeError):  # no home folder
        return Path(base).expanduser() / "grader" / "progress" / f"{exercise.name}-{digest}.json"
    return None


def _set_aside(file: Path, say: Say) -> None:
    kept = file.with_suffix(".broken")
    try:
        file.replace(kept)
    except OSError as error:
        say(f"{file} is damaged, and cannot be set aside: {error.strerror}")
        return
    say(f"your progress file was damaged: it is kept as {kept}, and counting starts anew")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
