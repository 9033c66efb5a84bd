"""grade gradescope: builds an autograder for Gradescope. For instructors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli.deliver import KERNELS
from grader.cli.numbers import SEED
from grader.cli.wrap import wrapped
from grader.errors import UsageError

if TYPE_CHECKING:
    from grader.model.exercise import Exercise

_PATH = click.Path(path_type=Path)


@click.command("gradescope")
@click.argument("exercise")
@click.argument("zip_file", metavar="OUT.zip", type=_PATH)
@click.option("--exercises", metavar="DIR", type=_PATH, help="Folder of the exercises.")
@click.option("--seed", metavar="N", type=SEED, help="Use this seed, so that everyone gets the same inputs.")
@click.option("--secret", metavar="FILE", type=_PATH, help="Your own cases, shown to students redacted.")
def command(exercise: str, zip_file: Path, exercises: Path | None, seed: int | None, secret: Path | None) -> None:
    """Build a Gradescope autograder for EXERCISE.

    Upload OUT.zip under Configure Autograder. Gradescope has no GPU, so speed stays open there; use
    grade batch to grade it.
    """
    from grader import files
    from grader.batch.exports import autograder
    from grader.exercise import catalog
    from grader.exercise import secret as secret_cases

    chosen = catalog.find(exercise, catalog.exercises_folder(exercises))
    if secret is not None:
        secret_cases.read(secret)
    if not zip_file.parent.is_dir():
        raise UsageError(
            f"cannot write {zip_file}: the folder {zip_file.parent} does not exist; create it or choose another"
        )
    if zip_file.suffix in KERNELS:
        raise UsageError(f"cannot write {zip_file}: it would overwrite a kernel; name a zip file")
    if zip_file.is_dir():
        raise UsageError(f"cannot write {zip_file}: it is a folder; name a file, such as {zip_file / 'grade.zip'}")
    content = autograder.build(chosen, seed=seed, secret=secret)
    files.write_private(zip_file, content)
    click.echo(f"{zip_file}: {len(content) / 1e6:.1f} MB. Upload it under Configure Autograder.", err=True)
    click.echo(wrapped(_points(chosen)), err=True)


def _points(exercise: Exercise) -> str:
    """What to enter in the settings: Gradescope's container cannot judge speed or hand-graded quality."""
    by_rule = float(sum(rule.points for rule in exercise.quality))
    given = exercise.points["correctness"] + by_rule
    by_hand = exercise.points["quality"] - by_rule
    said = (
        f"In the assignment's settings, enter {given:g} as autograder points: {exercise.points['correctness']} for "
    )
    said += f"correctness, {by_rule:g} for quality."
    if exercise.points["performance"]:
        said += f" The {exercise.points['performance']} for speed need a GPU."
    if by_hand:
        said += f" The other {by_hand:g} for quality are yours: add manual grading, or use grade points."
    return said
