"""What an instructor does to a batch that is there: gives points, looks up, removes. Grades nothing."""

from __future__ import annotations

import difflib
import shutil
from pathlib import Path

from grader import catalog
from grader.batch import filenames, outputs
from grader.batch.entry import Entry, ManualPoints
from grader.batch.ledger import Ledger
from grader.errors import GraderError, UsageError
from grader.model.exercise import Exercise

# What grade export writes into the batch's folder.
GRADESCOPE = "gradescope"  # a folder for each student
EXPORTED = ("canvas.csv", "moodle.csv")


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
    ledger.give(student, exercise.name, given)
    outputs.write(outputs.entries(ledger, exercise), exercise, out)
    return entry_of(ledger, exercise, student)


def exported(out: Path) -> list[Path]:
    """The exports in `out` that hold several students."""
    return [out / name for name in EXPORTED if (out / name).exists()]


def purge(ledger: Ledger, exercise: Exercise | None, out: Path, student: str) -> list[Path]:
    """Everything about the student in `out`: rows, Result, report, the export for Gradescope, what was unpacked.

    Returns the files. What is `exported` for several students stays.

    Without `exercise` the gradebook is left to the next batch. A submission outside `out` is its owner's to delete.
    """
    unpacked = [
        one.submitted.path
        for one in ledger.enrolled()
        if one.submitted.student == student
        and one.submitted.path
        and one.submitted.path.is_relative_to(out.absolute())
    ]
    for_gradescope = out / GRADESCOPE / filenames.stem(student)
    files = [file for file in (*outputs.files_of(student, out), for_gradescope, *unpacked) if file.exists()]
    # The files first: where one cannot be removed, the ledger still knows whose it is.
    outputs.remove(student, out)
    try:
        if for_gradescope.exists():
            shutil.rmtree(for_gradescope)
        for file in unpacked:
            file.unlink(missing_ok=True)
    except OSError as error:
        raise GraderError(f"cannot remove {error.filename or for_gradescope}: {error.strerror or error}") from None
    ledger.purge(student)
    if exercise is not None:
        outputs.write(outputs.entries(ledger, exercise), exercise, out)
    return files
