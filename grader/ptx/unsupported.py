"""What the engine raises when it cannot run a kernel."""

from __future__ import annotations

import struct

from grader.ptx.syntax import Location

# What code raises that meets operands in a form that it does not foresee.
UNFORESEEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    StopIteration,
    TypeError,
    ValueError,
    struct.error,
)


class Unsupported(Exception):  # noqa: N818 - no error in the program
    """An instruction or a feature that the engine does not know, at `file` and `line`."""

    def __init__(self, message: str, location: Location) -> None:
        super().__init__(message)
        self.message, self.location = message, location
        self.file, self.line = location.file, location.line


class OutOfTime(Unsupported):
    """The engine knows it all and no loop looks endless, but this CPU is too slow."""
