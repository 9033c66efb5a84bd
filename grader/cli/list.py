"""grade list: the exercises."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("list")
@click.option("--exercises", metavar="DIR", type=click.Path(path_type=Path), help="Where the exercises are.")
def command(exercises: Path | None) -> None:
    """List the exercises: number, name, title."""
    from grader import catalog

    folder = catalog.exercises_folder(exercises)
    found = catalog.every(folder)
    width = max(len(exercise.name) for exercise in found)
    for exercise in found:
        click.echo(f"{exercise.name:{width}}  {exercise.title}")
    click.echo(f"\nin {folder}; grade one with: grade run {found[0].number.lstrip('0')}", err=True)
