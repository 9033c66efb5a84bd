"""A CSV file that lists students and their files.

Columns `student` and `file`, and optionally `name`, `late` and `submitted` (a time); all others are kept as
identifiers. Files are relative to the CSV file, which belongs to the instructor and may name any file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath

from grader import files
from grader.batch import choice, table
from grader.batch.entry import Submitted
from grader.batch.found import Folder, Found, Unreadable
from grader.errors import UsageError

# A list of a thousand students is about 100 kB.
MAX_BYTES = 16 << 20

# Accepted column names.
COLUMNS = {
    "student": ("student", "id", "login", "username", "user"),
    "file": ("file", "path", "submission", "filename"),
    "name": ("name", "full name"),
    "late": ("late",),
    "at": ("submitted", "submitted at", "time", "at"),
}
YES = frozenset({"1", "x", "y", "yes", "true", "late"})


def read(file: Path, exercise: str = "", unpacked: Path | None = None) -> list[Submitted]:
    """One per line. Raises UsageError if the file is not such a list."""
    text = _text(file)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=table.delimiter(text.split("\n", 1)[0])))
    except csv.Error as error:
        raise UsageError(f"{file} is not a CSV file: {error}") from None
    header = [cell.strip() for cell in rows[0]] if rows else []
    columns = _columns(file, header)
    lines = [dict(zip(header, row, strict=False)) for row in rows[1:] if any(cell.strip() for cell in row)]
    if not lines:
        raise UsageError(f"{file}: no line has a student")
    return [_submitted(file, line, columns, exercise, unpacked) for line in lines]


def _columns(file: Path, header: Sequence[str]) -> dict[str, str]:
    """The header of each column present."""
    lower = {cell.lower(): cell for cell in reversed(header)}
    columns = {
        key: next(lower[name] for name in names if name in lower)
        for key, names in COLUMNS.items()
        if not lower.keys().isdisjoint(names)
    }
    for key in ("student", "file"):
        if key not in columns:
            raise UsageError(
                f"{file}: there is no column {key!r}; the first line has {', '.join(header) or 'nothing'}"
            )
    return columns


def _submitted(
    file: Path, line: Mapping[str, str], columns: Mapping[str, str], exercise: str, unpacked: Path | None
) -> Submitted:
    cell = {key: line.get(column, "").strip() for key, column in columns.items()}
    path, problem, note = None, "", ""
    try:
        path, note = _handed_in(file.parent, cell, exercise, unpacked)
    except Unreadable as error:
        problem = str(error)
    if not cell["student"]:
        path, problem = None, f"{file.name} names no student for {cell['file'] or 'this line'}"
    return Submitted(
        student=choice.readable(cell["student"] or f"(no student) {cell['file']}"),
        name=choice.readable(cell.get("name", "")),
        path=path,
        problem=choice.readable(problem),
        late=cell.get("late", "").lower() in YES,
        at=_time(cell.get("at", ""), f"{file}: {cell['student']}"),
        identifiers={key: value for key, value in line.items() if key and key not in columns.values()},
        note=choice.readable(note),
    )


def _time(text: str, where: str) -> datetime | None:
    """Raises UsageError if it is not ISO 8601."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        raise UsageError(f"{where} submitted at {text!r}; expected a time such as 2026-09-21 23:59") from None


def _handed_in(folder: Path, cell: Mapping[str, str], exercise: str, unpacked: Path | None) -> tuple[Path, str]:
    """A file, or the file to grade in a folder, and what to know about that choice."""
    name = cell["file"]
    if not name:
        raise Unreadable("nothing submitted: the list names no file")
    path = folder / name
    try:
        if path.is_dir():
            chosen = choice.within(path, exercise, unpacked, cell["student"])
            if chosen.path is None:
                raise Unreadable(chosen.problem)
            return chosen.path, chosen.note
        if not path.is_file():
            raise Unreadable(f"{name} is not a regular file" if path.exists() else f"{name} does not exist")
    except (OSError, UsageError) as error:
        raise Unreadable(getattr(error, "strerror", None) or str(error)) from None
    return Folder(folder).fetch(Found(PurePosixPath(path.name), path=path), "", path.name), ""


def _text(file: Path) -> str:
    try:
        content = files.read(file, MAX_BYTES)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}; expected a list of students") from None
    try:
        return content.decode("utf-8-sig").replace("\0", "")
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8; save it as CSV (UTF-8)") from None
