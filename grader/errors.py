"""Errors that stop a command before there is a Result. The text is shown as it is, without a traceback."""

from __future__ import annotations

import traceback
from pathlib import Path


class UsageError(Exception):
    """The user asked for something that does not exist or is not possible. Exit status 2."""


class GraderError(Exception):
    """The grader, the exercise or the machine cannot do what was requested. Exit status 4."""


class ExerciseError(GraderError):
    """A file of the exercise itself is wrong, such as its exercise.toml or oracle.py."""


def at_fault(error: BaseException, file: Path | None = None) -> str:
    """ "oracle.py:12: ZeroDivisionError: division by zero": the innermost line (in `file`)."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno or 0}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((f for f in reversed(frames) if file is None or f.filename == str(file)), None)
    where = f"{frame.filename}:{frame.lineno}" if frame else str(file or "")
    return f"{where}: {type(error).__name__}: {error}"
