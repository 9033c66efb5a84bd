"""What an instructor does with an existing batch: give points, look things up, remove students. Grades nothing."""

from __future__ import annotations

import difflib
from pathlib import Path

from grader.batch import outputs, workplace
from grader.batch.entry import Entry, ManualPoints
from grader.batch.ledger import Ledger
from grader.errors import UsageError
from grader.exercise import catalog
from grader.model.exercise import Exercise


def exercise_of(ledger: Ledger, exercises: Path | None) -> Exercise:
    """The batch's exercise, from the folder used for grading, or from `exercises`."""
    settings = ledger.settings()
    if "exercise" not in settings:
        raise UsageError(f"{ledger.file} does not contain a batch yet; start with: grade batch")
    recorded = Path(settings.get("exercises", ""))
    folder = exercises or (recorded if recorded.is_dir() else None)
    return catalog.find(settings["exercise"], catalog.exercises_folder(folder))


def entry_of(ledger: Ledger, exercise: Exercise, student: str) -> Entry:
    """Raises UsageError, with similar names, if the batch has no such student."""
    made = {entry.submitted.student: entry for entry in outputs.entries(ledger, exercise)}
    if student not in made:
        raise UsageError(unknown(student, list(made)))
    return made[student]


def unknown(student: str, students: list[str]) -> str:
    near = difflib.get_close_matches(student, students, 3, 0.5)
    return f"there is no student {student!r} in this batch" + (f"; similar: {', '.join(near)}" if near else "")


def give(ledger: Ledger, exercise: Exercise, out: Path, student: str, given: ManualPoints) -> Entry:
    """Kept when regrading. The gradebook and the student's report show it when this returns."""
    entry_of(ledger, exercise, student)
    outputs.remove(student, out)  # the report shows the previous points
    ledger.give(student, exercise.name, given)
    _write(ledger, exercise, out)
    return entry_of(ledger, exercise, student)


def purge(ledger: Ledger, exercise: Exercise | None, out: Path, student: str) -> list[Path]:
    """Removes everything about the student in `out`: rows, Result, report, Gradescope export, unpacked files.

    Returns the files. Those that `outputs.exported` names stay.

    Without `exercise`, the next batch updates the gradebook. Submissions outside `out` are for their owner to delete.
    """
    paths = [one.submitted.path for one in ledger.enrolled() if one.submitted.student == student]
    handed_in = [path for path in paths if path and path.is_relative_to(out.absolute()) and path.exists()]
    # Files first: if one cannot be removed, the ledger still knows whose it is.
    removed = outputs.forget(student, out)
    for file in handed_in:
        workplace.remove(file, out.absolute())
    ledger.purge(student)
    if exercise is not None:
        _write(ledger, exercise, out)
    return removed + handed_in


def _write(ledger: Ledger, exercise: Exercise, out: Path) -> None:
    outputs.write(outputs.entries(ledger, exercise), exercise, out, real_names=ledger.real_names())
