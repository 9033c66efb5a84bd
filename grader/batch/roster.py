"""Who submitted what: a folder of submissions, a learning platform's zip, or a list.

Supported are
- a folder per student, and flat files (`alice.cu`), in a folder or a zip;
- the exports of Canvas, Moodle and Gradescope, zipped or unpacked (`platforms` describes their names);
- a CSV file that lists students and files (`student_list`).

Of several .cu files, the one named starter.cu or solution.cu is used, if there is exactly one. In a repository made
by grade start, the exercise's own starter.cu is used. If a file was resubmitted to Canvas under the same name, the
last one is used. Without a .cu file, a text file that is a kernel, pasted text or the student's own zip is used, with
a note. Anything else is a problem for that student: a program should not guess which file counts. One student's
problem does not affect the others.
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
from grader.batch.found import Folder, SubmissionSource
from grader.errors import UsageError


def read(path: Path, unpacked: Path, exercise: str = "") -> tuple[Submitted, ...]:
    """Every student once, ordered by id. `exercise` is the name of the one to grade.

    The graded file of each student in a zip is written below `unpacked`. If that folder is inside `path`, it belongs
    to the batch and is not a student. Raises UsageError if `path` is none of the above, or contains no submission.
    """
    if path.is_dir():
        submitted = _each(Folder(path, left_out=unpacked.parent), exercise, unpacked)
    elif not path.exists():
        raise UsageError(f"{path} does not exist")
    elif not path.is_file():
        raise UsageError(f"{path} is not a regular file; expected a folder of submissions, a zip or a CSV list")
    elif path.suffix.lower() == ".csv":
        submitted = student_list.read(path, exercise, unpacked)
    elif path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
        submitted = _each(Archive(path, unpacked), exercise, unpacked)
    else:
        one = "; to grade a single submission, use grade run" if path.suffix.lower() == ".cu" else ""
        raise UsageError(f"{path} is not a folder of submissions, a zip or a CSV list{one}")
    if not submitted:
        raise UsageError(f"no submissions in {path}: expected a folder per student, or files such as alice.cu")
    return _each_once(submitted)


def _each(source: SubmissionSource, exercise: str, unpacked: Path) -> list[Submitted]:
    found = source.list() if isinstance(source, Folder) else layouts.without_root(source.list())
    return [choice.take(source, group, exercise, unpacked) for group in layouts.groups(source, found)]


def _each_once(submitted: Iterable[Submitted]) -> tuple[Submitted, ...]:
    """A student who appears twice becomes one student with a problem."""
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
    how = ", under names that differ only in their Unicode form" if alike else ""
    problem = f"submitted {len(several)} times{how}: {what}; keep one"
    return msgspec.structs.replace(several[0], path=None, problem=problem)
