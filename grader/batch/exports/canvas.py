"""Grades for Canvas: a CSV file for Grades > Import.

Its columns are those that Canvas's importer (lib/gradebook_importer.rb) expects: Student, ID, SIS User ID, SIS
Login ID, Section, then assignments; below them the line "Points Possible", which starts with four blanks in Canvas's
exports. Students are found by ID, then by SIS IDs; an assignment by the "(number)" after its title, otherwise by its
title.

From a gradebook exported by Canvas, only the students' columns and the one assignment are returned: importing
the others would reset them to their values at the time of the export.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from grader.batch import table
from grader.batch.choice import some
from grader.batch.entry import Entry
from grader.batch.exports import grades
from grader.batch.exports.format import Exported, Order
from grader.batch.exports.grades import Filled
from grader.batch.exports.sheet import Sheet, read
from grader.errors import UsageError
from grader.model.exercise import Exercise

STUDENT = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
POINTS_POSSIBLE = "    Points Possible"
EXCUSED = "EX"

# In an export: columns that describe the student, then columns that are not assignments.
_ABOUT_STUDENTS = (*STUDENT, "LastName", "FirstName", "Integration ID", "Root Account")
_TOTALS = re.compile(r"(Current|Final|Override) (Score|Points|Grade|Status)")


class Canvas:
    about = "a CSV for Grades > Import; --template: what Canvas exported"
    place = "canvas.csv"
    per_student = False
    takes_template = True

    def export(self, entries: Sequence[Entry], exercise: Exercise, order: Order) -> Exported:
        if order.template is None:
            filled = new(entries, exercise, so_far=order.so_far)
        else:
            filled = merge(order.template, entries, exercise, column=order.column, so_far=order.so_far)
        return grades.as_file(filled, entries, so_far=order.so_far)


def new(entries: Sequence[Entry], exercise: Exercise, *, so_far: bool = False) -> Filled:
    """Without an export to merge into. Canvas finds students by their IDs or names, and creates the assignment."""
    most = sum(exercise.points.values())
    rows: list[list[table.Cell]] = [
        [*STUDENT, exercise.title],
        [POINTS_POSSIBLE, *[""] * (len(STUDENT) - 1), float(most)],
    ]
    graded = [entry for entry in entries if grades.of(entry, so_far=so_far) is not None]
    for entry in graded:
        ids = [_id(entry), _sis_user(entry), _sis_login(entry)]
        name = entry.submitted.name or entry.submitted.student
        rows.append([name, *ids, "", grades.of(entry, so_far=so_far)])
    left = [entry.submitted.student for entry in entries if entry not in graded]
    why = grades.NO_POINTS if so_far else grades.NOT_IN_FULL
    notes = (f"left out {why}: {some(left)}",) if left else ()
    return Filled(table.encode(rows), len(graded), notes)


def merge(
    export: bytes, entries: Sequence[Entry], exercise: Exercise, *, column: str = "", so_far: bool = False
) -> Filled:
    """The students of `export` with this exercise's grades.

    The assignment is the column named `column`, or by default the exercise's title or name, with or without
    "(number)". Raises UsageError unless exactly one column matches.
    """
    sheet = read(export, "the gradebook", ("Student", "LastName"))
    at = _assignment(sheet, exercise, column)
    first = next((row for row in range(sheet.header + 1, len(sheet.rows)) if _is_points(sheet, row)), sheet.header)
    most, possible = float(sum(exercise.points.values())), _number(sheet.cell(first, at))
    found = _found(sheet, entries, range(first + 1, len(sheet.rows)))
    graded = 0
    for row, entry in found.items():
        points = grades.of(entry, so_far=so_far)
        if points is not None and sheet.cell(row, at).upper() != EXCUSED:
            sheet.put(row, at, table.number(grades.scaled(points, most, possible or most)))
            graded += 1
    notes = grades.notes(entries, found, so_far=so_far)
    if possible and possible != most:
        notes = (grades.rescaled(most, possible), *notes)
    return Filled(_only(sheet, at).encode(), graded, notes)


def _found(sheet: Sheet, entries: Sequence[Entry], rows: range) -> dict[int, Entry]:
    sis_user, sis_login = sheet.reader("SIS User ID"), sheet.reader("SIS Login ID")
    names = [sheet.reader(column) for column in ("Student", "LastName", "FirstName")]
    ways: list[grades.Way] = [
        (_id, sheet.reader("ID")),
        (_sis_user, sis_user),
        (_sis_login, sis_login),
        (grades.student, sis_login),
        (grades.student, sis_user),
        (grades.name, lambda row: grades.words(" ".join(name(row) for name in names))),
    ]
    return grades.rows_of(entries, rows, ways)


_id = grades.identifier("ID")
_sis_user = grades.identifier("SIS User ID", "SID")
_sis_login = grades.identifier("SIS Login ID", "Email")


def _assignment(sheet: Sheet, exercise: Exercise, column: str) -> int:
    """Raises UsageError, which lists the existing assignments."""
    assignments = {
        at: title
        for at, title in enumerate(sheet.columns)
        if title and title not in _ABOUT_STUDENTS and not _TOTALS.search(title)
    }
    wanted = {column.casefold()} if column else {exercise.title.casefold(), exercise.name.casefold()}
    found = [at for at, title in assignments.items() if {title.casefold(), _title(title).casefold()} & wanted]
    if len(found) == 1:
        return found[0]
    what = "more than one" if found else "no"
    there = "; ".join(assignments.values()) or "none"
    raise UsageError(
        f"the gradebook has {what} assignment {column or exercise.title!r}; choose one with --column. It has: {there}"
    )


def _title(column: str) -> str:
    """ "Homework 1 (4711)" without the number that Canvas adds."""
    return re.sub(r"\s*\(\d+\)$", "", column)


def _is_points(sheet: Sheet, row: int) -> bool:
    return "Points Possible" in sheet.cell(row, 0)


def _number(text: str) -> float | None:
    """Canvas writes 1.5 or 1,5, depending on the locale."""
    try:
        return float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text.replace(",", ""))
    except ValueError:
        return None


def _only(sheet: Sheet, assignment: int) -> Sheet:
    """The students' columns and this assignment, in the export's order."""
    kept = [at for at, name in enumerate(sheet.columns) if name in _ABOUT_STUDENTS or at == assignment]
    rows = [[row[at] if at < len(row) else "" for at in kept] for row in sheet.rows[sheet.header :]]
    return msgspec.structs.replace(sheet, rows=rows, header=0)
