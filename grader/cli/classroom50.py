"""grade classroom50: builds an autograder for Classroom 50. For instructors."""

from __future__ import annotations

from pathlib import Path

import click

from grader.cli.numbers import SEED
from grader.cli.paths import PATH, made
from grader.errors import GraderError, UsageError


@click.command("classroom50")
@click.argument("exercise")
@click.argument("folder", metavar="DIR", type=PATH)
@click.option("--exercises", metavar="FROM", type=PATH, help="Folder of the exercises.")
@click.option("--seed", metavar="N", type=SEED, help="Use this seed, so that everyone gets the same inputs.")
def command(exercise: str, folder: Path, exercises: Path | None, seed: int | None) -> None:
    """Build a Classroom 50 autograder for EXERCISE in DIR, a new folder.

    In the classroom50 repository of your organization, DIR is CLASSROOM/autograders/ASSIGNMENT. Its files are
    published, so secret cases do not belong there. The runner has no GPU, so speed stays open; use grade batch to
    grade it.
    """
    from grader import files
    from grader.ci import classroom50
    from grader.exercise import catalog

    chosen = catalog.find(exercise, catalog.exercises_folder(exercises))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} already exists and is not an empty folder; choose another")
    try:
        with made(folder):
            for name, content in classroom50.folder(chosen, seed).items():
                files.publish(folder / name, content, mode=0o644)
    except OSError as error:
        raise GraderError(f"cannot write {folder}: {error.strerror}") from None
    click.echo(f"{folder}: commit it as CLASSROOM/autograders/ASSIGNMENT in your classroom50 repository", err=True)
