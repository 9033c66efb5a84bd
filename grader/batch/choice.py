"""Which of a student's files is graded, or why none is."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from grader.batch.entry import Submitted
from grader.batch.found import Folder, Found, SubmissionSource, Unreadable
from grader.batch.layouts import EXERCISES, TAKEN_FIRST, HandedIn, is_source

SHOWN = 5  # files or students named in a sentence


def take(source: SubmissionSource, group: HandedIn, exercise: str = "") -> Submitted:
    """This student's submission, or the problem with it. `exercise` picks a file from a repository of several."""
    path, problem = None, group.problem
    try:
        if not problem:
            chosen = _chosen(group, exercise)
            path = source.fetch(chosen, group.student, group.name_of(chosen))
    except Unreadable as error:
        problem = str(error)
    return Submitted(
        student=readable(group.student),
        name=readable(group.name),
        path=path,
        problem=readable(problem),
        late=group.late,
        identifiers={key: readable(value) for key, value in group.identifiers.items()},
    )


def within(folder: Path, exercise: str = "") -> Submitted:
    """The file to grade in a student's folder; `student` is its name."""
    source = Folder(folder)
    return take(source, HandedIn(folder.name, files=tuple(source.list())), exercise)


def some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def readable(text: str) -> str:
    """File names may contain bytes that are not UTF-8; a gradebook may not."""
    return unicodedata.normalize("NFC", text.encode(errors="surrogatepass").decode(errors="replace"))


def _chosen(group: HandedIn, exercise: str) -> Found:
    """Raises Unreadable, which says what was found instead."""
    sources = [one for one in group.files if not one.folder and is_source(group.name_of(one))]
    sources = _of_exercise(sources, exercise)
    named = [one for one in sources if group.name_of(one).lower() in TAKEN_FIRST]
    chosen = sources if len(sources) == 1 else named
    if len(chosen) == 1:
        if chosen[0].problem:
            raise Unreadable(chosen[0].problem)
        return chosen[0]
    if sources:
        names = some([str(one.place) for one in sources])
        raise Unreadable(f"{len(sources)} .cu files, {names}: keep one, or name one of them starter.cu")
    raise Unreadable(_instead(group))


def _of_exercise(sources: list[Found], exercise: str) -> list[Found]:
    """The exercise's own files in a repository made by grade start, where every file lies in exercises/NN_name/."""
    if not all(EXERCISES in one.place.parts[:-2] for one in sources):
        return sources
    return [one for one in sources if one.place.parts[-3:-1] == (EXERCISES, exercise)] or sources


def _instead(group: HandedIn) -> str:
    problems = [one.problem for one in group.files if one.problem]
    others = [group.name_of(one) for one in group.files if not one.folder]
    if problems:
        return problems[0]
    return f"no .cu file, only {some(others)}" if others else "the submission folder is empty"
