"""Grades for Moodle: the grading worksheet of an assignment, downloaded, filled and uploaded again.

Moodle's columns (mod/assign/gradingtable.php) are Identifier ("Participant 1234567"), Full name, Email address,
Status, Grade, Maximum Grade, Grade can be changed, Last modified (submission), Last modified (grade), Feedback
comments; which of them exist depends on the assignment, and group submissions have a column Group. The
importer (mod/assign/feedback/offline) needs Identifier, Grade and
Last modified (grade), skips students graded after that time, and skips grades above the maximum. So only Grade is
filled in, and comments if there are none.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from grader.batch import feedback
from grader.batch.choice import some
from grader.batch.entry import Entry
from grader.batch.exports import grades
from grader.batch.exports.format import Exported, Order
from grader.batch.exports.grades import Filled
from grader.batch.exports.sheet import Sheet, read
from grader.errors import UsageError
from grader.model.exercise import Exercise

IDENTIFIER, GROUP, GRADE, MAXIMUM = "Identifier", "Group", "Grade", "Maximum Grade"
MODIFIED, CHANGEABLE, COMMENTS = "Last modified (grade)", "Grade can be changed", "Feedback comments"


class Moodle:
    about = "--template: the assignment's grading worksheet, to be filled in"
    place = "moodle.csv"
    per_student = False
    takes_template = True

    def export(self, entries: Sequence[Entry], exercise: Exercise, order: Order) -> Exported:
        if order.template is None:
            raise UsageError(
                "--template FILE is required: download the grading worksheet from the assignment's page in Moodle"
            )
        filled = fill(order.template, entries, exercise, so_far=order.so_far)
        return grades.as_file(filled, entries, so_far=order.so_far)


def fill(worksheet: bytes, entries: Sequence[Entry], exercise: Exercise, *, so_far: bool = False) -> Filled:
    """The worksheet with this exercise's grades. Raises UsageError if it is not a worksheet, or not in English."""
    sheet = read(worksheet, "the worksheet", (IDENTIFIER,))
    columns = {name: sheet.find(name) for name in (GRADE, MAXIMUM, MODIFIED, CHANGEABLE, COMMENTS)}
    for name in (GRADE, MODIFIED):
        if columns[name] is None:
            raise UsageError(f"the worksheet has no column {name!r}: set Moodle to English and download it again")
    found = _found(sheet, entries)
    most = float(sum(exercise.points.values()))
    locked, scales, graded = [], set(), 0
    for row, entry in found.items():
        points = grades.of(entry, so_far=so_far)
        if points is None:
            continue
        if sheet.cell(row, columns[CHANGEABLE]).casefold() == "no":
            locked.append(entry.submitted.student)
            continue
        maximum = sheet.cell(row, columns[MAXIMUM])
        possible = _number(maximum) or most
        scales.add(possible)
        _put(sheet, row, columns[GRADE], _like(maximum, grades.scaled(points, most, possible)))
        # Moodle reads comments as HTML.
        if columns[COMMENTS] is not None and not sheet.cell(row, columns[COMMENTS]):
            _put(sheet, row, columns[COMMENTS], html.escape(feedback.comment(entry, exercise), quote=False))
        graded += 1
    notes = list(grades.notes(entries, found, so_far=so_far))
    notes += [grades.rescaled(most, possible) for possible in sorted(scales - {most})]
    notes += [f"locked in Moodle: {some(locked)}"] if locked else []
    return Filled(sheet.encode(), graded, tuple(notes))


def _put(sheet: Sheet, row: int, column: int | None, value: str) -> None:
    assert column is not None
    sheet.put(row, column, value)


def _found(sheet: Sheet, entries: Sequence[Entry]) -> dict[int, Entry]:
    """By the Identifier's number, which is also in the names of downloaded submissions; otherwise by person."""
    rows = range(sheet.header + 1, len(sheet.rows))
    if sheet.find(GROUP) is not None:
        return _groups(sheet, entries, rows)
    number, email = sheet.reader(IDENTIFIER), sheet.reader("Email address")
    id_number, username, full_name = (sheet.reader(name) for name in ("ID number", "Username", "Full name"))
    ways: list[grades.Way] = [
        (lambda entry: _last_number(_identifier(entry)), lambda row: _last_number(number(row))),
        (grades.identifier("Email address", "Email"), email),
        (grades.identifier("ID number", "SID"), id_number),
        (grades.student, username),
        (grades.student, id_number),
        (grades.student, email),
        (grades.name, lambda row: grades.words(full_name(row))),
    ]
    return grades.rows_of(entries, rows, ways)


def _groups(sheet: Sheet, entries: Sequence[Entry], rows: range) -> dict[int, Entry]:
    """A group's submission has the group's name and number, not a participant's: each member gets its grade."""
    by_name = {grades.name(entry): entry for entry in entries if grades.name(entry)}
    members = {row: by_name.get(grades.words(sheet.cell(row, sheet.find(GROUP)))) for row in rows}
    return {row: entry for row, entry in members.items() if entry is not None}


_identifier = grades.identifier(IDENTIFIER)


def _last_number(text: str) -> str:
    """ "Participant" is in the language of the person who downloaded it; the number is not."""
    match = re.search(r"\d+$", text)
    return match[0] if match else ""


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None


def _like(maximum: str, grade: float) -> str:
    """With two decimals and the worksheet's decimal separator."""
    shown = f"{grade:.2f}"
    return shown.replace(".", ",") if "," in maximum else shown
