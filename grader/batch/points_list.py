"""A CSV file of points that an instructor gives by hand, one student a line.

The columns that name the student are any of `STUDENT` (more than one must agree), then `points` and `comment`, both
optional. Each further column is an item of the instructor's rubric; a student's items add up to their points.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from grader import files
from grader.batch import table, who
from grader.batch.entry import Entry, ManualPoints, Submitted
from grader.errors import UsageError

MAX_BYTES = 16 << 20

# As our own lists and the platforms' exports call what names a student.
STUDENT = frozenset(
    {
        *("student", "id", "login", "username", "user", "email", "name", "sid", "identifier", "student id"),
        *("email address", "full name", "id number", "sis user id", "sis login id"),
    }
)
POINTS, COMMENT = "points", "comment"


class Given(msgspec.Struct, frozen=True):
    """What a line gives to one student. `line`: its number in the file, from 1."""

    student: str
    line: int
    points: float | None
    comment: str | None
    items: dict[str, float]

    def on_top_of(self, before: ManualPoints) -> ManualPoints:
        """Empty cells leave what was given before."""
        return ManualPoints(
            before.points if self.points is None else self.points,
            before.comment if self.comment is None else self.comment,
            before.items if self.points is None else self.items,
        )


def read(file: Path, entries: Sequence[Entry], share: Callable[[Entry], float]) -> list[Given]:
    """Lines that give something. Raises UsageError, with file and line, if any line is not right."""
    rows = _rows(file)
    header = [cell.strip() for cell in rows[0][1]] if rows else []
    _check_header(file, header)
    by_student = {entry.submitted.student: entry for entry in entries}
    found: dict[str, Given] = {}
    for line, cells in rows[1:]:
        row = {name: table.meant(cells[at].strip()) if at < len(cells) else "" for at, name in enumerate(header)}
        try:
            given = _given(row, line, [entry.submitted for entry in entries])
            _check(given, found, share(by_student[given.student]))
        except UsageError as error:
            raise UsageError(f"{file}:{line}: {error}; nothing was changed") from None
        found[given.student] = given
    return [one for one in found.values() if one.points is not None or one.comment is not None]


def _check_header(file: Path, header: Sequence[str]) -> None:
    lower = [name.lower() for name in header]
    twice = next((name for name in header if name and lower.count(name.lower()) > 1), "")
    if twice:
        raise UsageError(f"{file}:1: there are two columns {twice!r}")
    if STUDENT.isdisjoint(lower):
        raise UsageError(
            f"{file}:1: no column names the student; the first line has {', '.join(header) or 'nothing'}. "
            "Expected student, id, login, email or name, then points, comment, or items of your rubric"
        )
    if all(name in STUDENT for name in lower if name):
        raise UsageError(f"{file}:1: no column gives anything; expected points, comment, or items of your rubric")


def _given(row: dict[str, str], line: int, students: Sequence[Submitted]) -> Given:
    student = _student(row, students)
    points, comment, items = None, None, {}
    for column, cell in row.items():
        name = column.lower()
        if not cell or not name or name in STUDENT:
            continue
        if name == COMMENT:
            comment = cell
        elif name == POINTS:
            points = _number(column, cell)
        else:
            items[column] = _number(column, cell)
    total = round(math.fsum(items.values()), 2) if items else points
    if items and points is not None and points != total:
        raise UsageError(f"{points:g} points, but the items add up to {total:g}")
    return Given(student.student, line, total, comment, items)


def _student(row: dict[str, str], students: Sequence[Submitted]) -> Submitted:
    """Whoever the first filled column names; the others must not name somebody else."""
    named = [(column, cell) for column, cell in row.items() if column.lower() in STUDENT and cell]
    if not named:
        raise UsageError("this line names no student")
    found, unknown = [], []
    for column, cell in named:
        try:
            found.append((column, cell, who.find(cell, students)))
        except UsageError as error:
            unknown.append(error)
    if not found:
        raise unknown[0]
    column, cell, student = found[0]
    for other_column, other_cell, other in found[1:]:
        if other != student:
            raise UsageError(f"{column} {cell!r} and {other_column} {other_cell!r} are different students")
    return student


def _number(column: str, cell: str) -> float:
    try:
        value = float(cell.replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(
            f"column {column!r}: {cell!r} is not a number (besides the student, points and comment, every column "
            "is an item of your rubric)"
        )
    return value


def _check(given: Given, earlier: dict[str, Given], share: float) -> None:
    if given.student in earlier:
        raise UsageError(f"a second line for {given.student}; the first is line {earlier[given.student].line}")
    if given.points is not None and not 0 <= given.points <= share:
        raise UsageError(f"{given.points:g} points for {given.student}: you can give 0 to {share:g}")


def _rows(file: Path) -> list[tuple[int, list[str]]]:
    """Lines that are not empty, with their numbers. A cell may go over several lines; its first one counts."""
    try:
        text = files.read(file, MAX_BYTES).decode("utf-8-sig").replace("\0", "")
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}; expected a CSV file of points") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 (byte {error.start + 1}); save it as CSV (UTF-8)") from None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=table.delimiter(text.split("\n", 1)[0]))
    rows, line = [], 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((line, row))
            line = reader.line_num + 1
    except csv.Error as error:
        raise UsageError(f"{file}:{line}: not a line of a CSV file: {error}") from None
    return rows
