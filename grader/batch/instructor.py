"""What an instructor does with an existing batch: give points, look things up, remove students. Grades nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from grader.batch import late, outputs, who, workplace
from grader.batch.entry import Entry, ManualPoints
from grader.batch.ledger import Ledger
from grader.errors import UsageError
from grader.exercise import catalog
from grader.model.exercise import Exercise

AUTOMATIC = ("correctness", "performance", "quality")  # points awarded automatically


def exercise_of(ledger: Ledger, exercises: Path | None) -> Exercise:
    """The batch's exercise, from the folder used for grading, or from `exercises`."""
    settings = ledger.settings()
    if "exercise" not in settings:
        raise UsageError(f"{ledger.file} does not contain a batch yet; start with: grade batch")
    recorded = Path(settings.get("exercises", ""))
    folder = exercises or (recorded if recorded.is_dir() else None)
    return catalog.find(settings["exercise"], catalog.exercises_folder(folder))


def entry_of(ledger: Ledger, exercise: Exercise, student: str) -> Entry:
    """By any of the student's identifiers. Raises UsageError, with similar names, if there is no such student."""
    made = {entry.submitted.student: entry for entry in outputs.entries(ledger, exercise)}
    return made[who.find(student, [entry.submitted for entry in made.values()]).student]


def share(entry: Entry, exercise: Exercise) -> float:
    """The points that are the instructor's to give: of quality what no rule gives; where the grader could not even
    judge what is right, all but what it gave."""
    points = entry.result.points if entry.result else None
    if points is None or points.correctness is None:
        return sum(exercise.points.values()) - sum(getattr(points, rubric, None) or 0.0 for rubric in AUTOMATIC)
    return exercise.points["quality"] - sum(rule.points for rule in exercise.quality)


def give(ledger: Ledger, exercise: Exercise, out: Path, student: str, given: ManualPoints) -> Entry:
    """By id; kept when regrading. The gradebook and the student's report show it when this returns."""
    give_all(ledger, exercise, out, {student: given})
    return entry_of(ledger, exercise, student)


def give_all(ledger: Ledger, exercise: Exercise, out: Path, given: Mapping[str, ManualPoints]) -> None:
    """The same for many, by id: all or none."""
    for student in given:
        outputs.remove(student, out)  # the report shows the previous points
    ledger.give_all(exercise.name, given)
    _write(ledger, exercise, out)


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
    rule = ledger.settings().get(outputs.LATE, "")
    known = [one.submitted for one in ledger.enrolled()]
    if (kept := late.without(rule, student, known)) != rule:
        ledger.keep({outputs.LATE: kept})
    ledger.purge(student)
    if exercise is not None:
        _write(ledger, exercise, out)
    return removed + handed_in


def _write(ledger: Ledger, exercise: Exercise, out: Path) -> None:
    outputs.write(outputs.entries(ledger, exercise), exercise, out, real_names=ledger.real_names())
