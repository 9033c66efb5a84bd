"""grade points: points that an instructor gives by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli import exits
from grader.errors import UsageError

if TYPE_CHECKING:
    from grader.batch.entry import Entry, ManualPoints
    from grader.batch.ledger import Ledger
    from grader.model.exercise import Exercise

_PATH = click.Path(path_type=Path)


@click.command("points")
@click.argument("folder", metavar="DIR", type=_PATH)
@click.argument("student", required=False)
@click.option("--points", metavar="N", type=float, help="Points added to the automatic ones.")
@click.option("--item", "items", metavar="NAME=N", multiple=True, help="Points for one item of a rubric; repeatable.")
@click.option("--comment", metavar="TEXT", help="Comment for the student's report and the gradebook.")
@click.option("--from", "list_", metavar="FILE", type=_PATH, help="Give points to many, from a CSV file.")
@click.option("--clear", is_flag=True, help="Remove points and comment.")
@click.option("--exercises", metavar="DIR", type=_PATH, help="Folder of the exercises.")
def command(
    folder: Path,
    student: str | None,
    points: float | None,
    items: tuple[str, ...],
    comment: str | None,
    list_: Path | None,
    clear: bool,
    exercises: Path | None,
) -> int:
    """Give STUDENT points and a comment, in the batch in DIR (grade batch --out DIR).

    STUDENT is an id, a name, an e-mail address or a login. Points are kept when a submission is graded again. Without
    options, show the current points.

    A CSV file has a column that names the student (student, id, login, email or name), then points, comment, and a
    column for each item of your rubric. If a line is wrong, nothing is changed.
    """
    from grader.batch import instructor
    from grader.batch.ledger import Ledger

    options = points is not None or bool(items) or comment is not None
    if clear and options:
        raise click.UsageError("--clear cannot be combined with --points, --item or --comment")
    if points is not None and items:
        raise click.UsageError("use --points or --item: items add up to the points")
    if (student is None) == (list_ is None) or (list_ is not None and (options or clear)):
        raise click.UsageError("name one STUDENT, or give points to many with --from FILE")
    rubric = _items(items)
    with Ledger(folder) as ledger:
        exercise = instructor.exercise_of(ledger, exercises)
        if list_ is not None:
            return _give_to_many(ledger, exercise, folder, list_)
        entry = instructor.entry_of(ledger, exercise, student or "")
        wanted = round(math.fsum(rubric.values()), 2) if rubric else points
        if wanted is not None:
            _within(wanted, instructor.share(entry, exercise))
        given = _changed(entry.manual, wanted, rubric, comment, clear=clear)
        if given != entry.manual:
            entry = instructor.give(ledger, exercise, folder, entry.submitted.student, given)
    _show(entry, exercise)
    return exits.PASSED


def _give_to_many(ledger: Ledger, exercise: Exercise, folder: Path, file: Path) -> int:
    from grader.batch import instructor, outputs, points_list
    from grader.reports.text import in_line, plural

    entries = {entry.submitted.student: entry for entry in outputs.entries(ledger, exercise)}
    found = points_list.read(file, list(entries.values()), lambda entry: instructor.share(entry, exercise))
    wanted = {one.student: one.on_top_of(entries[one.student].manual) for one in found}
    changed = {student: given for student, given in wanted.items() if given != entries[student].manual}
    if changed:
        instructor.give_all(ledger, exercise, folder, changed)
    for student, given in changed.items():
        said = _given(given)
        click.echo(in_line(f"{entries[student].submitted.called}: {said}"))
    same = len(wanted) - len(changed)
    click.echo(f"points for {plural(len(changed), 'student')}" + (f"; {same} had them already" if same else ""))
    return exits.PASSED


def _given(given: ManualPoints) -> str:
    """ "8 points; naming 4, comments 4. Clear."."""
    points = "" if given.points is None else f"{given.points:g} point{'s' * (given.points != 1)}"
    return "; ".join(filter(None, (points, given.said)))


def _items(items: Iterable[str]) -> dict[str, float]:
    found = {}
    for item in items:
        name, equals, value = item.rpartition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals or not name.strip() or not math.isfinite(found[name.strip()]):
            raise UsageError(f"--item {item}: expected NAME=N, such as --item naming=2")
    return found


def _within(points: float, share: float) -> None:
    """Raises UsageError; NaN lies nowhere."""
    if not 0 <= points <= share:
        raise UsageError(
            f"--points {points:g}: you can give 0 to {share:g} points by hand.\n"
            "The others are awarded automatically; exercise.toml defines how many"
        )


def _changed(
    before: ManualPoints, points: float | None, items: dict[str, float], comment: str | None, *, clear: bool
) -> ManualPoints:
    """Options that are not given stay unchanged."""
    from grader.batch.entry import ManualPoints

    if clear:
        return ManualPoints()
    return ManualPoints(
        before.points if points is None else points,
        before.comment if comment is None else comment,
        before.items if points is None else items,
    )


def _show(entry: Entry, exercise: Exercise) -> None:
    from grader.batch import instructor, outcomes
    from grader.reports.text import in_line, inert

    points = outcomes.points(entry)
    click.echo(in_line(entry.submitted.called))
    for rubric in instructor.AUTOMATIC:
        value = getattr(points, rubric, None)
        click.echo(f"  {rubric:12} {_number(value):>6} of {exercise.points[rubric]}")
    most = sum(exercise.points.values())
    share = instructor.share(entry, exercise)
    total = points.total if points else entry.manual.points
    click.echo(f"  {'from you':12} {_number(entry.manual.points):>6}, at most {share:g}")
    click.echo(f"  {'total':12} {_number(total):>6} of {most}")
    if entry.lateness.percent:
        click.echo(f"  {'final':12} {_number(outcomes.final(entry)):>6}, {entry.lateness.said}")
    if entry.manual.said:
        click.echo(f"  {inert(entry.manual.said)}")
    if points is None or points.correctness is None:
        click.echo("Correctness was not judged, so everything that has no points yet is yours to give.")
    if (given := entry.manual.points) is not None and not 0 <= given <= share:
        # Given when there were more to give: before grading, or under different rules.
        click.echo(
            f"grade: note: only 0 to {share:g} points can be given by hand; the {given:g} given earlier are kept",
            err=True,
        )
    if total is not None and total > most:
        click.echo(f"grade: note: {total:g} is more than the exercise's {most}", err=True)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
