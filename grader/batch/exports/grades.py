"""Which grade a student gets, and which row of a platform's file belongs to that student."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from grader.batch import outcomes, table
from grader.batch.choice import some
from grader.batch.entry import Entry
from grader.batch.exports.format import Exported
from grader.errors import UsageError

NO_POINTS = "because they have no points"
NOT_IN_FULL = "because they are not fully graded (--so-far exports the points so far)"

# How a student and a line are matched: by a key of each.
Way = tuple[Callable[[Entry], str], Callable[[int], str]]

_T = TypeVar("_T")


class Filled(msgspec.Struct, frozen=True):
    """The file, how many students got a grade in it, and what the instructor should know."""

    content: bytes
    graded: int
    notes: tuple[str, ...] = ()


def of(entry: Entry, *, so_far: bool) -> float | None:
    """The points that count. None while part of the rubric is not judged, unless `so_far`.

    A platform shows this number as the grade; 52 of 100, without saying that speed was not measured, would be wrong.
    """
    return outcomes.final(entry) if so_far or outcomes.complete(entry) else None


def as_file(filled: Filled, entries: Sequence[Entry], *, so_far: bool) -> Exported:
    """Raises UsageError if no one has a grade; otherwise an empty file would be noticed too late."""
    if not any(of(entry, so_far=so_far) is not None for entry in entries):
        if any(of(entry, so_far=True) is not None for entry in entries):
            raise UsageError("no submission is fully graded; nothing was written. --so-far exports the points so far")
        raise UsageError("no submission has points yet; nothing was written")
    said = f"{filled.graded} of {len(entries)} students have a grade in it"
    return Exported({"": filled.content}, said, filled.notes)


def scaled(points: float, most: float, possible: float) -> float:
    """Converts points of the exercise to points of the platform's assignment."""
    return round(points * possible / most, 2) if most else points


def rows_of(
    entries: Sequence[Entry],
    rows: Iterable[int],
    ways: Sequence[Way],
) -> dict[int, Entry]:
    """Each row's student. Ways compare a key of both sides; the first match of one student and one row counts."""
    free = set(rows)
    left = list(entries)
    found: dict[int, Entry] = {}
    for of_entry, of_row in ways:
        in_rows = _by_key(sorted(free), of_row)
        in_entries = _by_key(left, of_entry)
        for key, alike in in_entries.items():
            if len(alike) == 1 and len(in_rows.get(key, ())) == 1:
                found[in_rows[key][0]] = alike[0]
        free -= found.keys()
        matched = {entry.submitted.student for entry in found.values()}
        left = [entry for entry in left if entry.submitted.student not in matched]
    return found


def identifier(*names: str) -> Callable[[Entry], str]:
    """The first of these identifiers that the student has."""

    def find(entry: Entry) -> str:
        return next((value for name in names if (value := entry.submitted.identifiers.get(name, ""))), "")

    return find


def student(entry: Entry) -> str:
    return entry.submitted.student


def name(entry: Entry) -> str:
    return words(entry.submitted.name)


def words(text: str) -> str:
    """A name in any order: "Doe, Jane" and "Jane Doe" are the same."""
    return " ".join(sorted(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold())))


def notes(entries: Sequence[Entry], found: Mapping[int, Entry], *, so_far: bool) -> tuple[str, ...]:
    """Students who are missing from the file, and students in it who got no grade."""
    there = {entry.submitted.student for entry in found.values()}
    absent = [entry.submitted.student for entry in entries if entry.submitted.student not in there]
    ungraded = [entry.submitted.student for entry in found.values() if of(entry, so_far=so_far) is None]
    said = []
    if absent:
        said.append(f"missing from the file, so without a grade there: {some(absent)}")
    if ungraded:
        said.append(f"left unchanged {NO_POINTS if so_far else NOT_IN_FULL}: {some(sorted(ungraded))}")
    return tuple(said)


def rescaled(most: float, possible: float) -> str:
    return f"the exercise has {table.number(most)} points, the assignment {table.number(possible)}: grades are scaled"


def _by_key(items: Iterable[_T], key: Callable[[_T], str]) -> dict[str, list[_T]]:
    """Leaves out those without a key, which match nothing."""
    found: dict[str, list[_T]] = {}
    for item in items:
        if value := key(item).strip().casefold():
            found.setdefault(value, []).append(item)
    return found
