"""What the engine refuses to run."""

from __future__ import annotations

from grader.ptx.syntax import Location


class Unsupported(Exception):  # noqa: N818 - not an error of anybody's
    """An instruction that the engine does not know. `file` and `line` say where it stands."""

    def __init__(self, message: str, location: Location) -> None:
        super().__init__(message)
        self.message, self.location = message, location
        self.file, self.line = location.file, location.line


class OutOfTime(Unsupported):
    """Nothing is unknown, and nothing looks endless: this CPU is too slow for it."""
