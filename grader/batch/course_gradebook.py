"""One gradebook of several exercises: a line per student, a column per batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from grader.batch import outcomes, table
from grader.batch.entry import Entry, Submitted
from grader.batch.exports.grades import words
from grader.errors import UsageError
from grader.model.exercise import Exercise

# These number a submission or, in Moodle, a participant of one assignment: not the student.
OF_ONE_ASSIGNMENT = frozenset({"Identifier", "Submission"})
_SAME_COLUMN = {"Email address": "Email", "SID": "SIS User ID", "Login": "SIS Login ID", "Username": "SIS Login ID"}


class Graded(msgspec.Struct, frozen=True):
    """A batch of one exercise."""

    exercise: Exercise
    entries: Sequence[Entry]


class _Person(msgspec.Struct):
    """A student, as all batches so far know them, and their entries by exercise."""

    student: str
    name: str
    identifiers: dict[str, str]
    entries: dict[str, Entry]


class CourseGradebook(msgspec.Struct, frozen=True):
    """A CSV file. `partial`: students who are in only some of the batches."""

    content: bytes
    students: int
    partial: tuple[str, ...]


def make(batches: Sequence[Graded]) -> CourseGradebook:
    """What is not graded is an empty cell; the total is of what is. Raises UsageError for two batches of one
    exercise."""
    names = [batch.exercise.name for batch in batches]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{names.count(name)} of the folders are batches of {name}; name each exercise once")
    people: list[_Person] = []
    for batch in batches:
        _add(people, batch)
    people.sort(key=lambda person: ((person.name or person.student).casefold(), person.student))
    most = {batch.exercise.name: float(sum(batch.exercise.points.values())) for batch in batches}
    header = ["student", "name", "email", *names, "total", "max", "not final"]
    partial = tuple(person.student for person in people if len(person.entries) < len(batches))
    return CourseGradebook(table.encode([header, *(_row(person, most) for person in people)]), len(people), partial)


def _row(person: _Person, most: Mapping[str, float]) -> list[table.Cell]:
    final = {name: outcomes.final(person.entries[name]) if name in person.entries else None for name in most}
    known = [points for points in final.values() if points is not None]
    open_ = [name for name, entry in person.entries.items() if not outcomes.complete(entry)]
    missing = [name for name in most if name not in person.entries]
    return [
        person.student,
        person.name,
        person.identifiers.get("Email", ""),
        *final.values(),
        round(sum(known), 2) if known else None,
        sum(most.values()),
        "; ".join([*open_, *missing]),
    ]


def _add(people: list[_Person], batch: Graded) -> None:
    """Each entry to the one person that it fits, by the surest way; otherwise it is one more person's."""
    left = {entry.submitted.student: entry for entry in batch.entries}
    before = list(people)
    for way in _WAYS:
        known: dict[Hashable, list[_Person]] = {}
        for person in before:
            for key in way.of_person(person):
                known.setdefault(key, []).append(person)
        fits = {student: _fitting(way, known, entry.submitted) for student, entry in left.items()}
        claims = Counter(id(person) for found in fits.values() for person in found)
        for student, found in fits.items():
            only = len(found) == 1 and claims[id(found[0])] == 1
            if only and batch.exercise.name not in found[0].entries:
                _join(found[0], left.pop(student), batch.exercise.name)
    for entry in left.values():
        people.append(_Person(entry.submitted.student, "", {}, {}))
        _join(people[-1], entry, batch.exercise.name)


def _fitting(way: _Way, known: Mapping[Hashable, Sequence[_Person]], one: Submitted) -> list[_Person]:
    """Each once, though they may share several keys."""
    found = {id(person): person for key in way.of_entry(one) for person in known.get(key, ())}
    return [person for person in found.values() if not (way.refuted and _contradicts(person, one))]


def _join(person: _Person, entry: Entry, exercise: str) -> None:
    person.entries[exercise] = entry
    person.name = person.name or entry.submitted.name
    person.identifiers = {**_identifiers(entry.submitted), **person.identifiers}


def _identifiers(one: Submitted) -> dict[str, str]:
    """Under one name for each kind, whatever the platform calls it."""
    kept = ((name, value) for name, value in one.identifiers.items() if name not in OF_ONE_ASSIGNMENT and value)
    return {_SAME_COLUMN.get(name, name): value.casefold() for name, value in kept}


def _contradicts(person: _Person, one: Submitted) -> bool:
    theirs = _identifiers(one)
    return any(theirs[name] != value for name, value in person.identifiers.items() if name in theirs)


def _own_ids(person: _Person) -> Iterable[Hashable]:
    """Moodle's number is another in every assignment."""
    moodles = any(entry.submitted.platform == "moodle" for entry in person.entries.values())
    return () if moodles else (person.student,)


def _names(name: str) -> Iterable[Hashable]:
    return filter(None, (words(name),))


class _Way(NamedTuple):
    """To tell that an entry is a person's: they have a key in common. `refuted`: unless identifiers differ."""

    of_person: Callable[[_Person], Iterable[Hashable]]
    of_entry: Callable[[Submitted], Iterable[Hashable]]
    refuted: bool = True


_WAYS = (
    _Way(lambda person: person.identifiers.items(), lambda one: _identifiers(one).items(), refuted=False),
    _Way(_own_ids, lambda one: () if one.platform == "moodle" else (one.student,)),
    _Way(lambda person: _names(person.name), lambda one: _names(one.name)),
)
