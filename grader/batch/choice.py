"""Which of a student's files is graded, or why none is."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from grader.batch import archives
from grader.batch.entry import Submitted
from grader.batch.found import Folder, Found, SubmissionSource, Unreadable
from grader.batch.layouts import EXERCISES, STARTER, TAKEN_FIRST, HandedIn, is_source
from grader.batch.unwrapping import MOST_LOOKED_AT, archive, kernel, may_be_kernel, suffix

SHOWN = 5  # files or students named in a sentence

HEADERS = frozenset({".cuh", ".h", ".hpp"})  # a submission is one file
CLEARLY_LATER = 60.0  # seconds; files that are unpacked together differ by less


class Taken(NamedTuple):
    """`place`: of the file in the download. `note`: what the instructor should know about the choice."""

    path: Path
    place: PurePosixPath
    note: str = ""


def take(source: SubmissionSource, group: HandedIn, exercise: str = "", unpacked: Path | None = None) -> Submitted:
    """This student's submission, or the problem with it. `exercise` picks a file from a repository of several.

    What is not a .cu file on its own (pasted text, a zip) is written below `unpacked`; without it, not taken.
    """
    taken, problem = None, group.problem
    try:
        if not problem:
            taken = _taken(source, group, exercise, unpacked)
    except Unreadable as error:
        problem = str(error)
    first = next((one.place for one in group.files if not one.folder), None)
    place = taken.place if taken else first
    return Submitted(
        student=readable(group.student),
        name=readable(group.name),
        path=taken.path if taken else None,
        problem=readable(problem),
        late=group.late,
        at=group.at,
        identifiers={key: readable(value) for key, value in group.identifiers.items()},
        note=readable(taken.note if taken else ""),
        platform=group.platform,
        place=readable(str(place)) if place else "",
    )


def within(folder: Path, exercise: str = "", unpacked: Path | None = None, student: str = "") -> Submitted:
    """The file to grade in a student's folder, which is called as the student is, unless `student` says otherwise."""
    source = Folder(folder)
    return take(source, HandedIn(student or folder.name, files=tuple(source.list())), exercise, unpacked)


def some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def readable(text: str) -> str:
    """File names may contain bytes that are not UTF-8; a gradebook may not."""
    return unicodedata.normalize("NFC", text.encode(errors="surrogatepass").decode(errors="replace"))


def _taken(source: SubmissionSource, group: HandedIn, exercise: str, unpacked: Path | None) -> Taken:
    """Raises Unreadable, which says what was found instead."""
    sources = [one for one in group.files if not one.folder and is_source(group.name_of(one))]
    if sources:
        mine = _of_exercise(sources, exercise)
        chosen = _chosen(source, group, mine)
        path = source.fetch(chosen, group.student, group.name_of(chosen))
        return Taken(path, chosen.place, _left_out(source, group, chosen, mine))
    if unpacked is None:
        raise Unreadable(_instead(group))
    return _text(source, group, unpacked) or _zipped(source, group, exercise, unpacked)


def _chosen(source: SubmissionSource, group: HandedIn, sources: Sequence[Found]) -> Found:
    named = [one for one in sources if group.name_of(one).lower() in TAKEN_FIRST]
    if len(named) > 1 and _of_one_exercise(named):
        named = [one for one in named if group.name_of(one).lower() == STARTER]
    chosen = sources if len(sources) == 1 else named
    if len(chosen) != 1:
        names = some([str(one.place) for one in sources])
        newest = _newest(source, group, sources)
        which = f" (the newest is {newest.place})" if newest else ""
        raise Unreadable(f"{len(sources)} .cu files, {names}{which}: keep one, or name one of them {STARTER}")
    if chosen[0].problem:
        raise Unreadable(chosen[0].problem)
    return chosen[0]


def _text(source: SubmissionSource, group: HandedIn, unpacked: Path) -> Taken | None:
    """A kernel in a file of another name, or pasted; None if there is none."""
    texts = [one for one in group.files if may_be_kernel(one, group.name_of(one))][:MOST_LOOKED_AT]
    found = {one.place: read for one in texts if (read := kernel(source, one, group.name_of(one)))}
    if not found:
        return None
    if len(found) > 1:
        names = some([str(place) for place in found])
        raise Unreadable(f"{len(found)} files hold a kernel, {names}: keep one, as {STARTER}")
    ((place, read),) = found.items()
    if read.read_from:
        path = archives.keep(read.content, unpacked, group.student, "pasted.cu")
        return Taken(path, place, f"{read.read_from} was graded: {place.name}")
    path = source.fetch(next(one for one in group.files if one.place == place), group.student, place.name)
    return Taken(path, place, f"{place.name} was graded as if it were called {STARTER}")


def _zipped(source: SubmissionSource, group: HandedIn, exercise: str, unpacked: Path) -> Taken:
    """From a student's own zip. Raises Unreadable if there is not exactly one, or nothing in it."""
    zips = [one for one in group.files if suffix(group.name_of(one)) == ".zip" and not one.folder and not one.problem]
    if len(zips) != 1:
        raise Unreadable(_instead(group))
    inside = archive(source, zips[0], unpacked)
    files = tuple(inside.list())
    try:
        taken = _taken(inside, HandedIn(group.student, files=files), exercise, None)
    except Unreadable as error:
        raise Unreadable(f"in {group.name_of(zips[0])}: {error}") from None
    note = f"taken from {group.name_of(zips[0])}: {taken.place}"
    return Taken(taken.path, zips[0].place, "; ".join(filter(None, (note, taken.note))))


def _left_out(source: SubmissionSource, group: HandedIn, chosen: Found, sources: Sequence[Found]) -> str:
    """Which of the student's other sources is not graded."""
    headers = [one for one in group.files if suffix(group.name_of(one)) in HEADERS and not one.folder]
    others = [one for one in (*sources, *headers) if one.place != chosen.place]
    if not others or _of_one_exercise(sources):
        return ""
    newest = _newest(source, group, sources)
    newer = f"; {newest.place} is newer" if newest and newest.place != chosen.place else ""
    return f"only {chosen.place} is graded, not {some([str(one.place) for one in others])}{newer}"


def _newest(source: SubmissionSource, group: HandedIn, sources: Sequence[Found]) -> Found | None:
    """None if that cannot be told: unpacking gives all files about the same time."""
    when = {one.place: group.uploads.get(one.place, 0) or source.modified(one) / CLEARLY_LATER for one in sources}
    last, *before = sorted(sources, key=lambda one: when[one.place], reverse=True)
    return last if before and when[last.place] - when[before[0].place] >= 1 else None


def _of_exercise(sources: list[Found], exercise: str) -> list[Found]:
    """The exercise's own files in a repository made by grade start, where every file lies in exercises/NN_name/."""
    if not all(EXERCISES in one.place.parts[:-2] for one in sources):
        return sources
    return [one for one in sources if one.place.parts[-3:-1] == (EXERCISES, exercise)] or sources


def _of_one_exercise(sources: Sequence[Found]) -> bool:
    """Whether all lie in one exercise's folder of such a repository, where a solution.cu may be, too."""
    return len({one.place.parent for one in sources}) == 1 and EXERCISES in sources[0].place.parts[:-2]


def _instead(group: HandedIn) -> str:
    problems = [one.problem for one in group.files if one.problem]
    others = [group.name_of(one) for one in group.files if not one.folder]
    if problems:
        return problems[0]
    return f"no .cu file, only {some(others)}" if others else "the submission folder is empty"
