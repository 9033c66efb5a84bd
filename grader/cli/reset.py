"""grade reset: restores an exercise's original starter.cu."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli.complete import exercise_names
from grader.cli.paths import PATH, from_here
from grader.errors import GraderError, UsageError

if TYPE_CHECKING:
    from grader.model.exercise import Exercise


@click.command("reset")
@click.argument("exercise", shell_complete=exercise_names)
@click.option("--exercises", metavar="DIR", type=PATH, help="Folder of the exercises.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
def command(exercise: str, exercises: Path | None, yes: bool) -> None:
    """Restore the original starter.cu of EXERCISE.

    It asks first, and keeps your version next to it as starter.cu.1.bak, starter.cu.2.bak and so on. Your progress in
    grade list is kept.
    """
    from grader.exercise import catalog, original

    chosen = catalog.find(exercise, catalog.exercises_folder(exercises))
    starter = from_here(chosen.starter)
    try:
        original_file = original.file(chosen)
        if original_file is None:
            raise _no_original(chosen)
        came = original_file.read_bytes()
        written = starter.read_bytes() if starter.exists() else None
        if written == came:
            click.echo(f"{starter} is as it was at the start.")
            return
        if written is not None and not (yes or _agreed(starter)):
            click.echo("Nothing was changed.")
            return
        if kept := restore(starter, written, came):
            click.echo(f"Your version is kept as {kept}")
    except OSError as error:
        raise GraderError(f"{error.filename or starter}: {error.strerror}; {starter} was not changed") from None
    click.echo(f"{starter} is as it was at the start.")


def restore(starter: Path, written: bytes | None, came: bytes) -> Path | None:
    """Puts the original there. Returns where the student's own version is kept, if there was one. Raises OSError."""
    from grader.files import publish

    kept = None if written is None else _back_up(starter, written)
    publish(starter.resolve(), came, mode=0o644)
    return kept


def _agreed(starter: Path) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(f"cannot ask for confirmation here; --yes would replace:\n  {starter}")
    click.echo(f"{starter}\ngoes back to what it was at the start; a copy of yours is kept.")
    try:
        return click.confirm("Continue?")
    except click.Abort:
        click.echo()  # the cursor is still after the question
        raise


def _no_original(exercise: Exercise) -> UsageError:
    return UsageError(
        f"there is no original of {exercise.name} here;\n"
        "grade start keeps one in the folder it creates. If the file is in git, this restores\n"
        f"its last committed version:\n  git restore {from_here(exercise.starter)}"
    )


def _back_up(starter: Path, content: bytes) -> Path:
    """Under a name that is not taken yet."""
    number = 1
    while True:
        backup = starter.with_name(f"{starter.name}.{number}.bak")
        try:
            with backup.open("xb") as stream:
                stream.write(content)
            return backup
        except FileExistsError:
            number += 1
