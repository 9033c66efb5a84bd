"""Who handed in what: a folder of submissions, the zip of a learning platform, or a list.

Understood are
- a folder for each student, and flat files (`alice.cu`), in a folder or in a zip;
- what Canvas, Moodle and Gradescope export, zipped or unpacked (`platforms` says how they name things);
- a CSV file that says whose file is which (`student_list`).

Of several .cu files, the one that is named starter.cu or solution.cu is taken, if there is exactly one; of a
repository as grade start makes it, that of the exercise; of a file that was handed in to Canvas again under its name,
the last. Everything else is a problem for that student: which file
counts is not for a program to guess. A problem stops nobody else.
"""

from __future__ import annotations

import unicodedata
import zipfile
from collections.abc import Iterable
from pathlib import Path

import msgspec

from grader.batch import choice, layouts, student_list
from grader.batch.archives import Archive
from grader.batch.entry import Submitted
from grader.batch.found import Folder
from grader.errors import UsageError


def read(path: Path, unpacked: Path, exercise: str = "") -> tuple[Submitted, ...]:
    """Every student once, in the order of their ids. `exercise`: its name, by which a repository of several has it.

    The one file of each student in a zip is written below `unpacked`; what it lies in is the batch's own, and no
    student, where it lies in `path`. Raises UsageError where `path` is nothing of
    the kind, or holds no submission at all.
    """
    if path.is_dir():
        submitted = _in_folder(Folder(path, left_out=unpacked.parent), exercise)
    elif not path.exists():
        raise UsageError(f"no such folder or file: {path}")
    elif not path.is_file():
        raise UsageError(f"{path} is not a regular file; a folder of submissions, a zip or a CSV list is wanted")
    elif path.suffix.lower() == ".csv":
        submitted = student_list.read(path, exercise)
    elif path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
        submitted = _in_zip(Archive(path, unpacked), exercise)
    else:
        one = "; one submission is graded by: grade run" if path.suffix.lower() == ".cu" else ""
        raise UsageError(f"{path} is no folder of submissions, no zip and no CSV list{one}")
    if not submitted:
        raise UsageError(f"no submissions in {path}: a folder for each student, or files like alice.cu, are wanted")
    return _each_once(submitted)


def _in_folder(source: Folder, exercise: str) -> list[Submitted]:
    return [choice.take(source, group, exercise) for group in layouts.groups(source, source.list())]


def _in_zip(source: Archive, exercise: str) -> list[Submitted]:
    found = layouts.without_root(source.list())
    return [choice.take(source, group, exercise) for group in layouts.groups(source, found)]


def _each_once(submitted: Iterable[Submitted]) -> tuple[Submitted, ...]:
    """Who appears twice is one student with a problem."""
    by_student: dict[str, list[Submitted]] = {}
    for one in submitted:
        by_student.setdefault(one.student, []).append(one)
    once = [_only(several) for several in by_student.values()]
    return tuple(sorted(once, key=lambda one: (one.student.casefold(), one.student)))


def _only(several: list[Submitted]) -> Submitted:
    if len(several) == 1:
        return several[0]
    what = choice.some([str(one.path) if one.path else one.problem for one in several])
    alike = len({unicodedata.normalize("NFC", str(one.path)) for one in several}) == 1 and several[0].path
    how = ", under names that differ in their Unicode form alone" if alike else ""
    problem = f"handed in {len(several)} times{how}: {what}; keep one"
    return msgspec.structs.replace(several[0], path=None, problem=problem)
