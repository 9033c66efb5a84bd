"""The class as the platform lists it: full names, logins and e-mail addresses of students whom a download numbers.

Any of these CSV files, as exported:

Canvas      Grades, Export: Student (or LastName, FirstName), ID, SIS User ID, SIS Login ID.
            https://community.canvaslms.com/t5/Instructor-Guide/How-do-I-export-grades-in-the-Gradebook/ta-p/809
Moodle      the assignment's grading worksheet: Identifier, Full name, Email address, Last modified (submission).
            https://github.com/moodle/moodle/blob/MOODLE_405_STABLE/mod/assign/gradingtable.php
Gradescope  Roster, Download Roster: First Name, Last Name (or Name), SID, Email.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from grader import files
from grader.batch import worker
from grader.batch.entry import Submitted
from grader.batch.exports import sheet
from grader.batch.exports.grades import words
from grader.batch.ledger import Enrolled
from grader.errors import UsageError

NOT_SUBMITTED = "submitted nothing"
NEW_FILE = "another file than before: --roster with a new class list says when it was submitted"

# What tells students apart, as the platforms call it.
IDENTIFIERS = (
    *("ID", "SIS User ID", "SIS Login ID", "Integration ID", "Identifier"),
    *("Email address", "ID number", "Username", "SID", "Email", "Login"),
)
NAMES = ("Student", "Full name", "Name")
PARTS = (("First Name", "Last Name"), ("FirstName", "LastName"), ("First name", "Last name"))
CANVASS_OWN = "Student, Test"
MODIFIED = "Last modified (submission)"
FIRST = (*NAMES, *(part for both in PARTS for part in both), *IDENTIFIERS)

# As Moodle writes it in English: "Monday, 21 September 2026, 11:58 PM".
_MOODLE_TIME = "%A, %d %B %Y, %I:%M %p"
_NUMBER = re.compile(r"\d+$")


class Listed(msgspec.Struct, frozen=True):
    """A student of the class list."""

    name: str
    identifiers: dict[str, str]
    at: datetime | None = None

    @property
    def id(self) -> str:
        """What a download of the same platform would call the student."""
        known = self.identifiers
        moodle = _NUMBER.search(known.get("Identifier", ""))
        return known.get("ID") or (moodle[0] if moodle else "") or known.get("SID") or next(iter(known.values()))


def read(file: Path) -> list[Listed]:
    """Raises UsageError, with the file's name, if it is no such list."""
    try:
        content = files.read(file, sheet.MAX_BYTES)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}; expected a class list, a CSV file") from None
    found = sheet.read(content, str(file), FIRST, shown=("Student", "Identifier", "First Name"))
    if not any(found.find(name) is not None for name in IDENTIFIERS):
        raise UsageError(
            f"{file}:{found.header + 1}: no column tells students apart; expected one of {', '.join(IDENTIFIERS)}"
        )
    listed = [one for row in range(found.header + 1, len(found.rows)) if (one := _listed(found, row))]
    if not listed:
        raise UsageError(f"{file} lists no student")
    return listed


def apply(listed: Sequence[Listed], submitted: Sequence[Submitted]) -> list[Submitted]:
    """The submissions with what the list knows of each student; listed students who submitted nothing come last."""
    left = list(listed)
    known: dict[str, Submitted] = {one.student: one for one in submitted}
    for way in _WAYS:
        for one in submitted:
            found = [person for person in left if way(person, one)]
            if len(found) == 1 and known[one.student] is one:
                known[one.student] = _with(one, found[0])
                left.remove(found[0])
    nothing = [_with(Submitted(person.id, problem=NOT_SUBMITTED), person) for person in left]
    return [*known.values(), *(one for one in nothing if one.student not in known)]


def kept(submitted: Sequence[Submitted], before: Sequence[Enrolled]) -> list[Submitted]:
    """With what an earlier list told, where this time there is none."""
    earlier = {one.submitted.student: one for one in before}
    recalled = [_recalled(one, earlier[one.student]) if one.student in earlier else one for one in submitted]
    absent = [one.submitted for one in before if one.submitted.problem == NOT_SUBMITTED]
    return apply([Listed(one.name, one.identifiers) for one in absent], recalled)


def _recalled(one: Submitted, before: Enrolled) -> Submitted:
    """When it was submitted is known only of the same file; of another one, only the next list tells."""
    known = before.submitted
    listed = {name: value for name, value in known.identifiers.items() if name not in one.identifiers}
    if not listed:
        return one
    at, note = one.at, one.note
    if at is None and known.at is not None:
        at = known.at if before.sha256 and before.sha256 == _sha256(one) else None
        note = note if at else "; ".join(filter(None, (note, NEW_FILE)))
    identifiers = {**one.identifiers, **listed}
    return msgspec.structs.replace(one, name=known.name or one.name, identifiers=identifiers, at=at, note=note)


def _sha256(one: Submitted) -> str:
    try:
        return worker.source(one.path).sha256 if one.path else ""
    except UsageError:
        return ""


def _with(one: Submitted, person: Listed) -> Submitted:
    return msgspec.structs.replace(
        one,
        name=person.name or one.name,
        identifiers={**person.identifiers, **one.identifiers},
        at=one.at or person.at,
    )


def _shares_identifier(person: Listed, one: Submitted) -> bool:
    """Of the same column, so that a number of one kind is not taken for another's."""
    return any(_key(person.identifiers[name]) == _key(one.identifiers[name]) for name in _same(person, one))


def _same(person: Listed, one: Submitted) -> list[str]:
    """What both the list and the download say of a student."""
    return [name for name in person.identifiers if name in one.identifiers]


def _is_called_so(person: Listed, one: Submitted) -> bool:
    """A folder or file that is called as any identifier or login of the student."""
    if _same(person, one):
        return False  # and they differ
    values = {value.casefold() for value in person.identifiers.values()}
    logins = {value.partition("@")[0] for value in values if "@" in value}
    return one.student.casefold() in values | logins


def _has_the_name(person: Listed, one: Submitted) -> bool:
    names = {words(text) for text in (one.name, one.student) if words(text)}
    return bool(words(person.name)) and words(person.name) in names and not _same(person, one)


_WAYS: tuple[Callable[[Listed, Submitted], bool], ...] = (_shares_identifier, _is_called_so, _has_the_name)


def _key(text: str) -> str:
    """Moodle says "Participant" in the language of who downloaded the list; the number is the same."""
    number = _NUMBER.search(text) if " " in text else None
    return number[0] if number else text.casefold()


def _listed(found: sheet.Sheet, row: int) -> Listed | None:
    """None for lines that are no student's: of points possible, of an instructor, of Canvas's test student."""
    identifiers = {name: value for name in IDENTIFIERS if (value := found.cell(row, found.find(name)))}
    name = next(_names(found, row), "")
    role = found.cell(row, found.find("Role")).casefold()
    if not identifiers or name == CANVASS_OWN or role not in ("", "student"):
        return None
    return Listed(name, identifiers, _time(found.cell(row, found.find(MODIFIED))))


def _names(found: sheet.Sheet, row: int) -> Iterator[str]:
    for column in NAMES:
        if name := found.cell(row, found.find(column)):
            yield name
    for first, last in PARTS:
        if name := " ".join(filter(None, (found.cell(row, found.find(first)), found.cell(row, found.find(last))))):
            yield name


def _time(text: str) -> datetime | None:
    """None for "-", and in a language that is not English."""
    try:
        return datetime.strptime(text, _MOODLE_TIME)
    except ValueError:
        return None
