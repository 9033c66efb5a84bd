"""An export format: a file in this folder with a class like `Format`, and a line in `formats`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from grader.batch.entry import Entry
from grader.model.exercise import Exercise


class Order(msgspec.Struct, frozen=True):
    """What the instructor requested. `place`: the file or folder to write; `folder`: the batch's."""

    place: Path
    folder: Path = Path()
    template: bytes | None = None  # the platform's export, to be filled in
    column: str = ""
    so_far: bool = False  # include points of submissions that are not fully graded
    real_names: bool = False


class Exported(msgspec.Struct, frozen=True):
    """Files by path within the place; "" is the place itself. `said`: one line for the instructor."""

    files: dict[str, bytes]
    said: str
    notes: tuple[str, ...] = ()


class ExportFormat(Protocol):
    """Independent of the command line; writes nothing."""

    about: str  # its line in grade export --help
    place: str  # its file or folder inside the batch's folder; "": that folder itself
    per_student: bool  # the place contains a folder per student, named by `filenames.stem`
    takes_template: bool

    def export(self, entries: Sequence[Entry], exercise: Exercise, order: Order, /) -> Exported:
        """Raises UsageError if the order cannot be carried out."""
        ...
