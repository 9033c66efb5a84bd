"""Whose file is whose: the layouts of submissions in a folder or a zip.

Each function takes everything that was found and returns a group per student, or none if it is a different layout.
Anything that matches no platform's layout is treated as plain folders and files, so that no student is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import PurePosixPath

import msgspec

from grader.batch import platforms
from grader.batch.entry import Platform
from grader.batch.found import Found, SubmissionSource, Unreadable
from grader.errors import UsageError

# Files next to the submissions that belong to the instructor; any other flat file is taken as a student's.
NOT_HANDED_IN = frozenset({".csv", ".html", ".json", ".log", ".md", ".toml", ".xlsx", ".yaml", ".yml"})

# Where a repository made by grade start keeps its exercises, one folder per exercise.
EXERCISES = "exercises"

# If exactly one file has such a name, it is preferred to a student's other files.
STARTER = "starter.cu"
TAKEN_FIRST = frozenset({STARTER, "solution.cu"})

# Gradescope's file contains the output of every submission.
MAX_METADATA = 64 << 20

_ROOT = PurePosixPath()


class HandedIn(msgspec.Struct, frozen=True):
    """One student's files. `called` maps files that the platform renamed to the student's own names; `uploads` are
    the numbers that it gave them, in the order of their uploads."""

    student: str
    name: str = ""
    late: bool = False
    identifiers: dict[str, str] = {}
    files: tuple[Found, ...] = ()
    called: dict[PurePosixPath, str] = {}
    uploads: dict[PurePosixPath, int] = {}
    problem: str = ""
    platform: Platform = ""
    at: datetime | None = None

    def name_of(self, found: Found) -> str:
        return self.called.get(found.place) or found.place.name


def groups(source: SubmissionSource, found: Sequence[Found]) -> list[HandedIn]:
    return gradescope(source, found) or moodle(found) or canvas(found) or plain(found)


def without_root(found: Sequence[Found]) -> list[Found]:
    """A zip often contains a single folder: then its contents count, unless it is one student's folder."""
    tops = {one.place.parts[0] for one in found}
    inner = [one for one in found if len(one.place.parts) > 1]
    loose = any(len(one.place.parts) == 1 and not one.folder for one in found)
    if len(tops) != 1 or loose or any(map(_is_a_students, inner)) or platforms.moodle(*tops):
        return list(found)
    return [msgspec.structs.replace(one, place=PurePosixPath(*one.place.parts[1:])) for one in inner]


def _is_a_students(inner: Found) -> bool:
    """Whether this file shows that the only folder there is one student's own."""
    top, below, *deeper = inner.place.parts
    if deeper:
        return below == EXERCISES  # a repository made by grade start
    metadata = below == platforms.GRADESCOPE_METADATA and not platforms.GRADESCOPE_EXPORT.fullmatch(top)
    return metadata or below.lower() in TAKEN_FIRST


def gradescope(source: SubmissionSource, found: Sequence[Found]) -> list[HandedIn]:
    """A submission by several people counts for each of them."""
    metadata = _gradescope_metadata(found)
    if metadata is None:
        return []
    submissions = platforms.gradescope(_text(source, metadata))
    below = _by_top(found, metadata.place.parent)
    result = []
    for folder, (people, at) in submissions.items():
        files = below.pop(folder, ())
        missing = "" if files else f"{folder} is listed in {platforms.GRADESCOPE_METADATA} but does not exist"
        for person in people or (platforms.Submitter("", "", ""),):
            identifiers = {"Submission": folder, "SID": person.sid, "Email": person.email}
            result.append(
                HandedIn(
                    person.sid or person.email or folder,
                    name=person.name,
                    identifiers={key: value for key, value in identifiers.items() if value},
                    files=files,
                    problem=missing,
                    platform="gradescope",
                    at=at,
                )
            )
    return result + _plain(below)


def _gradescope_metadata(found: Sequence[Found]) -> Found | None:
    """At the top, or in the only folder there if Gradescope named it. Elsewhere it would be a student's file, which
    must not count."""
    tops = list({one.place.parts[0] for one in found})
    root = 2 if len(tops) == 1 and platforms.GRADESCOPE_EXPORT.fullmatch(tops[0]) else 1
    return next(
        (
            one
            for one in found
            if one.place.name == platforms.GRADESCOPE_METADATA
            and len(one.place.parts) <= root
            and not one.folder
            and not one.problem
        ),
        None,
    )


def moodle(found: Sequence[Found]) -> list[HandedIn]:
    """A student's files and online texts are in separate folders."""
    students: dict[platforms.MoodleName, HandedIn] = {}
    others: dict[str, tuple[Found, ...]] = {}
    for top, files in _by_top(found).items():
        named = platforms.moodle(top)
        if named is None:
            others[top] = files
            continue
        student = named._replace(file="")
        group = students.get(student) or HandedIn(
            named.id or named.name,
            name="" if named.name == "Participant" else named.name,
            identifiers={"Identifier": f"Participant {named.id}"} if named.id else {},
            platform="moodle",
        )
        called = {one.place: named.file for one in files} if named.file else {}
        students[student] = _with(group, files, called)
    return [*students.values(), *_plain(others)] if students else []


def canvas(found: Sequence[Found]) -> list[HandedIn]:
    """If there are more files named in Canvas's way than .cu files that are not. One of those, which came another
    way, belongs to one more student.

    A single name proves nothing next to another file: alice_1_2_final.cu may be Alice's own name for it.
    """
    named = {one.place: platforms.canvas(one.place.name) for one in found if len(one.place.parts) == 1}
    theirs = sum(bool(named.get(one.place)) and not one.folder for one in found)
    others_ = sum(is_source(one.place.name) and not one.folder and not named.get(one.place) for one in found)
    if others_ and (theirs < 2 or others_ >= theirs):
        return []
    students: dict[
        tuple[str, str], HandedIn
    ] = {}  # by ID and name: one ID with two names was misread for one of them
    others = []
    for one in found:
        name = named.get(one.place)
        if one.folder or name is None:
            others.append(one)
            continue
        identifiers = {} if name.user.startswith("anon_") else {"ID": name.user}
        student = (name.user, name.name)
        group = students.get(student) or HandedIn(
            name.user, name=name.name, identifiers=identifiers, platform="canvas"
        )
        uploads = {**group.uploads, one.place: name.file_id}
        group = msgspec.structs.replace(group, late=group.late or name.late, uploads=uploads)
        students[student] = _with(group, (one,), {one.place: name.file or one.place.name})
    return [*map(_last_of_each, students.values()), *plain(others)] if students else []


def plain(found: Sequence[Found]) -> list[HandedIn]:
    """A folder per student, and flat files; both may occur together."""
    return _plain(_by_top(found))


def is_source(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() == ".cu"


def _plain(tops: dict[str, tuple[Found, ...]]) -> list[HandedIn]:
    result = []
    for top, files in tops.items():
        if any(one.folder or len(one.place.parts) > 1 for one in files):
            result.append(HandedIn(top, files=files))
        elif is_source(top) or not _is_instructors(PurePosixPath(top)):
            result.append(HandedIn(PurePosixPath(top).stem, files=files))
    return result


def _is_instructors(place: PurePosixPath) -> bool:
    return place.suffix.lower() in NOT_HANDED_IN or place.stem.lower() in ("readme", "license", "makefile")


def _last_of_each(group: HandedIn) -> HandedIn:
    """Of starter.cu, starter-1.cu and starter-2.cu, the last one, under the name starter.cu."""
    last: dict[str, tuple[int, Found]] = {}
    for one in group.files:
        name, number = platforms.canvas_again(group.called[one.place])
        if name not in last or number >= last[name][0]:
            last[name] = (number, one)
    called = {one.place: name for name, (_, one) in last.items()}
    return msgspec.structs.replace(group, files=tuple(one for _, one in last.values()), called=called)


def _with(group: HandedIn, files: Sequence[Found], called: dict[PurePosixPath, str]) -> HandedIn:
    return msgspec.structs.replace(group, files=(*group.files, *files), called={**group.called, **called})


def _by_top(found: Iterable[Found], root: PurePosixPath = _ROOT) -> dict[str, tuple[Found, ...]]:
    """Everything below `root`, by the first part of its path there."""
    depth = len(root.parts)
    tops: dict[str, list[Found]] = {}
    for one in found:
        if one.place.parts[:depth] == root.parts and len(one.place.parts) > depth:
            place = PurePosixPath(*one.place.parts[depth:])
            tops.setdefault(place.parts[0], []).append(msgspec.structs.replace(one, place=place))
    return {top: tuple(files) for top, files in tops.items()}


def _text(source: SubmissionSource, found: Found) -> str:
    try:
        content = source.read(found, MAX_METADATA)
    except Unreadable as error:
        raise UsageError(str(error)) from None
    if len(content) > MAX_METADATA:
        raise UsageError(f"{found.place} is larger than {MAX_METADATA >> 20} MiB")
    return content.decode(errors="replace")
