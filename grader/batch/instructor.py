"""What an instructor does to a batch that is there: gives points, looks up, removes. Grades nothing."""

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
    """The batch's exercise, from where it was graded with, or from `exercises`."""
    settings = ledger.settings()
    if "exercise" not in settings:
        raise UsageError(f"{ledger.file} holds no batch yet; begin with: grade batch")
    recorded = Path(settings.get("exercises", ""))
    folder = exercises or (recorded if recorded.is_dir() else None)
    return catalog.find(settings["exercise"], catalog.exercises_folder(folder))


def entry_of(ledger: Ledger, exercise: Exercise, student: str) -> Entry:
    """Raises UsageError, with who may be meant, where the batch has no such student."""
    made = {entry.submitted.student: entry for entry in outputs.entries(ledger, exercise)}
    if student not in made:
        raise UsageError(unknown(student, list(made)))
    return made[student]


def unknown(student: str, students: list[str]) -> str:
    near = difflib.get_close_matches(student, students, 3, 0.5)
    return f"no student {student!r} in this batch" + (f"; near it: {', '.join(near)}" if near else "")


def give(ledger: Ledger, exercise: Exercise, out: Path, student: str, given: ManualPoints) -> Entry:
    """Kept whatever is graded again; the gradebook and the student's report show it when this returns."""
    entry_of(ledger, exercise, student)
    outputs.remove(student, out)  # the report shows what was given before
    ledger.give(student, exercise.name, given)
    _write(ledger, exercise, out)
    return entry_of(ledger, exercise, student)


def purge(ledger: Ledger, exercise: Exercise | None, out: Path, student: str) -> list[Path]:
    """Everything about the student in `out`: rows, Result, report, the export for Gradescope, what was unpacked.

    Returns the files. What `outputs.exported` names stays.

    Without `exercise` the gradebook is left to the next batch. A submission outside `out` is its owner's to delete.
    """
    paths = [one.submitted.path for one in ledger.enrolled() if one.submitted.student == student]
    handed_in = [path for path in paths if path and path.is_relative_to(out.absolute()) and path.exists()]
    # The files first: where one cannot be removed, the ledger still knows whose it is.
    removed = outputs.forget(student, out)
    for file in handed_in:
        workplace.remove(file, out.absolute())
    ledger.purge(student)
    if exercise is not None:
        _write(ledger, exercise, out)
    return removed + handed_in


def _write(ledger: Ledger, exercise: Exercise, out: Path) -> None:
    outputs.write(outputs.entries(ledger, exercise), exercise, out, real_names=ledger.real_names())
