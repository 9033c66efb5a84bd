"""grade points: what an instructor gives by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli import exits
from grader.errors import UsageError

if TYPE_CHECKING:
    from grader.batch.entry import Entry, ManualPoints
    from grader.model.exercise import Exercise

_PATH = click.Path(path_type=Path)
RUBRICS = ("correctness", "performance", "quality")  # what the machine gives


@click.command("points")
@click.argument("folder", metavar="DIR", type=_PATH)
@click.argument("student")
@click.option("--points", metavar="N", type=float, help="Points beside those that the machine gives.")
@click.option("--comment", metavar="TEXT", help="For the student's report and the gradebook.")
@click.option("--clear", is_flag=True, help="Take back points and comment.")
@click.option("--exercises", metavar="DIR", type=_PATH, help="Where the exercises are.")
def command(
    folder: Path, student: str, points: float | None, comment: str | None, clear: bool, exercises: Path | None
) -> int:
    """Give STUDENT points and a comment, in the batch in DIR (grade batch --out DIR).

    They are kept whatever is graded again. Without an option: show what there is.
    """
    from grader.batch import instructor
    from grader.batch.entry import ManualPoints
    from grader.batch.ledger import Ledger

    if clear and (points is not None or comment is not None):
        raise click.UsageError("--clear takes back; --points and --comment give")
    with Ledger(folder) as ledger:
        exercise = instructor.exercise_of(ledger, exercises)
        entry = instructor.entry_of(ledger, exercise, student)
        if points is not None:
            _within(points, _share(entry, exercise))
        given = ManualPoints() if clear else _changed(entry.manual, points, comment)
        if given != entry.manual:
            entry = instructor.give(ledger, exercise, folder, student, given)
    _show(entry, exercise)
    return exits.PASSED


def _within(points: float, share: float) -> None:
    """Raises UsageError; NaN lies nowhere."""
    if not 0 <= points <= share:
        raise UsageError(
            f"--points {points:g}: by hand there are 0 to {share:g} to give.\n"
            "The others are the machine's; exercise.toml says how they are shared"
        )


def _changed(before: ManualPoints, points: float | None, comment: str | None) -> ManualPoints:
    """What is not named stays."""
    from grader.batch.entry import ManualPoints

    return ManualPoints(before.points if points is None else points, before.comment if comment is None else comment)


def _show(entry: Entry, exercise: Exercise) -> None:
    from grader.batch import outcomes
    from reports.text import inert

    points = outcomes.points(entry)
    click.echo(inert(entry.submitted.student))
    for rubric in RUBRICS:
        value = getattr(points, rubric, None)
        click.echo(f"  {rubric:12} {_number(value):>6} of {exercise.points[rubric]}")
    most = sum(exercise.points.values())
    share = _share(entry, exercise)
    click.echo(f"  {'by hand':12} {_number(entry.manual.points):>6} of {share:g}")
    total = points.total if points else entry.manual.points
    click.echo(f"  {'total':12} {_number(total):>6} of {most}")
    if entry.manual.comment:
        click.echo(f"  {inert(entry.manual.comment)}")
    if (given := entry.manual.points) is not None and not 0 <= given <= share:
        # Given when there was more to give: nothing had been graded yet, or by other rules.
        click.echo(f"grade: note: by hand there are 0 to {share:g} points to give; {given:g} are kept", err=True)
    if total is not None and total > most:
        click.echo(f"grade: note: {total:g} is more than the {most} of the exercise", err=True)


def _share(entry: Entry, exercise: Exercise) -> float:
    """What is the instructor's to give: of quality what no rule gives; where the grader could not even judge what is
    right, all but what it gave."""
    points = entry.result.points if entry.result else None
    if points is None or points.correctness is None:
        return sum(exercise.points.values()) - sum(getattr(points, rubric, None) or 0.0 for rubric in RUBRICS)
    return exercise.points["quality"] - sum(rule.points for rule in exercise.quality)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
