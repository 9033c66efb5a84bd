"""grade export: a batch's grades in the form that a learning platform imports. For instructors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.errors import UsageError

if TYPE_CHECKING:
    from grader.batch.entry import Entry
    from grader.batch.exports.grades import Filled
    from grader.model.exercise import Exercise

_PATH = click.Path(path_type=Path)
TO = ("canvas", "moodle", "gradescope", "class")
WITH_TEMPLATE = ("canvas", "moodle")


@click.command("export")
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option("--to", "platform", type=click.Choice(TO), required=True, help="class: the pages of the class.")
@click.option("--template", metavar="FILE", type=_PATH, help="What Canvas or Moodle exported, to be filled.")
@click.option("--out", metavar="FILE", type=_PATH, help="Default: in DIR, named for the platform.")
@click.option("--column", metavar="NAME", default="", help="Canvas: the assignment; default: the exercise's title.")
@click.option("--so-far", is_flag=True, help="Also points of those who are not judged in full.")
@click.option(
    "--real-names/--pseudonyms",
    default=None,
    help="Class: what the leaderboards show, this once; default: as in grade batch.",
)
@click.option("--exercises", metavar="DIR", type=_PATH, help="Where the exercises are.")
def command(
    folder: Path,
    platform: str,
    template: Path | None,
    out: Path | None,
    column: str,
    so_far: bool,
    real_names: bool | None,
    exercises: Path | None,
) -> None:
    """Write the grades of the batch in DIR (grade batch --out DIR) for a learning platform.

    \b
    canvas      a CSV for Grades > Import; --template: what Canvas exported
    moodle      --template: the assignment's grading worksheet, to be filled
    gradescope  a results.json for each student, in a folder
    class       class.html for you, leaderboard.html for the class

    In Canvas and Moodle, who is not judged in full gets no grade, and who could not be graded no zero.
    """
    from grader import files
    from grader.batch import classroom, instructor, outputs
    from grader.batch.ledger import Ledger

    if template is not None and platform not in WITH_TEMPLATE:
        raise click.UsageError(f"--template goes with --to {' or '.join(WITH_TEMPLATE)}")
    with Ledger(folder) as ledger:
        exercise = instructor.exercise_of(ledger, exercises)
        entries = outputs.entries(ledger, exercise)
        named = ledger.real_names() if real_names is None else real_names
    if platform == "class":
        click.echo(classroom.write(entries, exercise, out or folder, real_names=named))
    elif platform == "gradescope":
        _gradescope(entries, exercise, out or folder / outputs.GRADESCOPE)
    else:
        filled = _filled(platform, entries, exercise, template, column, so_far)
        file = out or folder / f"{platform}.csv"
        _refuse_without_grades(file, entries, so_far)
        files.write(file, filled.content)
        for note in filled.notes:
            click.echo(f"grade: note: {note}", err=True)
        click.echo(f"{file}: {filled.graded} of {len(entries)} students have a grade in it")


def _refuse_without_grades(file: Path, entries: Sequence[Entry], so_far: bool) -> None:
    """An empty file that is called done would be found out in Canvas only. Raises UsageError."""
    from grader.batch.exports import grades

    if any(grades.of(entry, so_far=so_far) is not None for entry in entries):
        return
    if any(grades.of(entry, so_far=True) is not None for entry in entries):
        raise UsageError(f"nobody is judged in full; {file} was not written. --so-far takes what is known")
    raise UsageError(f"nobody has points yet; {file} was not written")


def _filled(
    platform: str, entries: Sequence[Entry], exercise: Exercise, template: Path | None, column: str, so_far: bool
) -> Filled:
    from grader.batch.exports import canvas, moodle

    if platform == "moodle":
        if template is None:
            raise UsageError("--template FILE is needed: the grading worksheet, from the assignment's page in Moodle")
        return moodle.fill(_read(template), entries, exercise, so_far=so_far)
    if template is None:
        return canvas.new(entries, exercise, so_far=so_far)
    return canvas.merge(_read(template), entries, exercise, column=column, so_far=so_far)


def _gradescope(entries: Sequence[Entry], exercise: Exercise, out: Path) -> None:
    from grader import files
    from grader.batch import filenames
    from grader.batch.exports import gradescope

    graded = [entry for entry in entries if entry.result is not None]
    for entry in graded:
        assert entry.result is not None
        content = gradescope.encode(gradescope.results(entry.result, exercise))
        files.write(out / filenames.stem(entry.submitted.student) / "results.json", content)
    click.echo(f"{out}: {len(graded)} of {len(entries)} students have a results.json in it")


def _read(file: Path) -> bytes:
    from grader import files
    from grader.batch.exports import sheet

    try:
        return files.read(file, sheet.MAX_BYTES)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
