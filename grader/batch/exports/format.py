"""What a form of grades is: a file of this folder with a class like `Format`, and its line in `formats`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from grader.batch.entry import Entry
from grader.model.exercise import Exercise


class Order(msgspec.Struct, frozen=True):
    """What the instructor asked for. `place`: the file or folder that will be written."""

    place: Path
    template: bytes | None = None  # what the platform exported, to be filled
    column: str = ""
    so_far: bool = False  # also points of those who are not judged in full
    real_names: bool = False


class Exported(msgspec.Struct, frozen=True):
    """Files by their path within the place; "" is the place itself. `said`: one line for the instructor."""

    files: dict[str, bytes]
    said: str
    notes: tuple[str, ...] = ()


class Format(Protocol):
    """Knows nothing of the command line, and writes nothing."""

    about: str  # its line in grade export --help
    place: str  # its file or folder in the batch's own folder; "": that folder
    per_student: bool  # the place holds a folder for each student, by `filenames.stem`
    takes_template: bool

    def export(self, entries: Sequence[Entry], exercise: Exercise, order: Order, /) -> Exported:
        """Raises UsageError where the order cannot be filled."""
        ...
