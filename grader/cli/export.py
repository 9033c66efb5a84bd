"""grade export: a batch's grades in a format that a learning platform imports. For instructors."""

from __future__ import annotations

from pathlib import Path

import click

from grader.batch.exports.format import Order
from grader.batch.exports.formats import FORMATS
from grader.cli import exits
from grader.cli.deliver import STDOUT, write_private
from grader.errors import UsageError

_PATH = click.Path(path_type=Path)

_HELP = "\n".join(
    [
        "Write the grades of the batch in DIR (grade batch --out DIR) for a learning platform.",
        "",
        "\b",
        *(f"{name:10}  {format_.about}" for name, format_ in FORMATS.items()),
        "",
        "In Canvas and Moodle, submissions that are not fully graded get no grade, and never a zero.",
    ]
)


@click.command("export", help=_HELP)
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option("--to", "platform", type=click.Choice(tuple(FORMATS)), required=True, help="class: the class pages.")
@click.option("--template", metavar="FILE", type=_PATH, help="File exported by the platform, to be filled in.")
@click.option("--out", metavar="FILE", type=_PATH, help="Default: a file in DIR named for the platform; - is stdout.")
@click.option("--column", metavar="NAME", default="", help="Canvas: the assignment; default: the exercise's title.")
@click.option("--so-far", is_flag=True, help="Include points of submissions that are not fully graded.")
@click.option(
    "--real-names/--pseudonyms",
    default=None,
    help="Class: names on the leaderboards, this time only; default: as in grade batch.",
)
@click.option("--exercises", metavar="DIR", type=_PATH, help="Folder of the exercises.")
def command(
    folder: Path,
    platform: str,
    template: Path | None,
    out: Path | None,
    column: str,
    so_far: bool,
    real_names: bool | None,
    exercises: Path | None,
) -> int:
    from grader.batch import instructor, outputs
    from grader.batch.ledger import Ledger

    chosen = FORMATS[platform]
    if template is not None and not chosen.takes_template:
        takers = [name for name, format_ in FORMATS.items() if format_.takes_template]
        raise click.UsageError(f"--template needs --to {' or '.join(takers)}")
    with Ledger(folder) as ledger:
        exercise = instructor.exercise_of(ledger, exercises)
        entries = outputs.entries(ledger, exercise)
        named = ledger.real_names() if real_names is None else real_names
    place = out or folder / chosen.place
    read = None if template is None else _read(template)
    made = chosen.export(entries, exercise, Order(place, folder, read, column, so_far, named))
    if place == STDOUT and set(made.files) != {""}:
        raise UsageError(f"--out -: name a folder; {platform} is more than one file")
    written = [write_private(place / name, content) for name, content in made.files.items()]
    for note in made.notes:
        click.echo(f"grade: note: {note}", err=True)
    click.echo(f"{place}: {made.said}", err=place == STDOUT)
    return exits.PASSED if all(written) else exits.ERROR


def _read(file: Path) -> bytes:
    from grader import files
    from grader.batch.exports import sheet

    try:
        return files.read(file, sheet.MAX_BYTES)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
