"""grade points: points that an instructor gives by hand."""

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
RUBRICS = ("correctness", "performance", "quality")  # points awarded automatically


@click.command("points")
@click.argument("folder", metavar="DIR", type=_PATH)
@click.argument("student")
@click.option("--points", metavar="N", type=float, help="Points added to the automatic ones.")
@click.option("--comment", metavar="TEXT", help="Comment for the student's report and the gradebook.")
@click.option("--clear", is_flag=True, help="Remove points and comment.")
@click.option("--exercises", metavar="DIR", type=_PATH, help="Folder of the exercises.")
def command(
    folder: Path, student: str, points: float | None, comment: str | None, clear: bool, exercises: Path | None
) -> int:
    """Give STUDENT points and a comment, in the batch in DIR (grade batch --out DIR).

    They are kept when a submission is graded again. Without options, show the current points.
    """
    from grader.batch import instructor
    from grader.batch.entry import ManualPoints
    from grader.batch.ledger import Ledger

    if clear and (points is not None or comment is not None):
        raise click.UsageError("--clear cannot be combined with --points or --comment")
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
            f"--points {points:g}: you can give 0 to {share:g} points by hand.\n"
            "The others are awarded automatically; exercise.toml defines how many"
        )


def _changed(before: ManualPoints, points: float | None, comment: str | None) -> ManualPoints:
    """Options that are not given stay unchanged."""
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
        # Given when there were more to give: before grading, or under different rules.
        click.echo(
            f"grade: note: only 0 to {share:g} points can be given by hand; the {given:g} given earlier are kept",
            err=True,
        )
    if total is not None and total > most:
        click.echo(f"grade: note: {total:g} is more than the exercise's {most}", err=True)


def _share(entry: Entry, exercise: Exercise) -> float:
    """What is the instructor's to give: of quality what no rule gives; where the grader could not even judge what is
    right, all but what it gave."""
    points = entry.result.points if entry.result else None
    if points is None or points.correctness is None:
        return sum(exercise.points.values()) - sum(getattr(points, rubric, None) or 0.0 for rubric in RUBRICS)
    return exercise.points["quality"] - sum(rule.points for rule in exercise.quality)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
