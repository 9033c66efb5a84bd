"""grade new: a new exercise, small and complete, for its author to change step by step."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

import click

from grader.cli.paths import PATH, from_here, made
from grader.errors import GraderError, UsageError

TEMPLATE = Path(__file__).parents[1] / "templates" / "exercise"
NAME = re.compile(r"(?:(\d{1,3})_)?([a-z][a-z0-9]*(?:_[a-z0-9]+)*)")


@click.command("new")
@click.argument("name")
@click.option("--exercises", metavar="DIR", type=PATH, help="The folder to lay it out in.")
def command(name: str, exercises: Path | None) -> None:
    """Lay out a new exercise, NAME, that grade verify finds in order.

    NAME is a word or several, joined by underscores: grade new vector_sum takes the next free number, grade new
    07_vector_sum takes 07. It goes into DIR, else into the nearest exercises/ upwards from here, else into a new
    exercises/ here.

    What you get multiplies each row of a matrix by a factor: a problem, a starter, a solution, an oracle and two
    wrong kernels. Change one file after the other, and run grade verify NAME after each.
    """
    folder = exercises or _nearest(Path.cwd())
    new = folder / _full_name(name, folder)
    if any(other.name.split("_", 1)[0] == new.name.split("_", 1)[0] for other in _exercises(folder)):
        raise UsageError(
            f"there is an exercise of that number in {folder}; without a number, the next free one is taken"
        )
    try:
        with made(folder):
            _lay_out(new)
    except OSError as error:
        raise GraderError(f"cannot write {new}: {error.strerror}") from None
    click.echo(f"{from_here(new)}: a small exercise that works. Go on with:")
    option = f" --exercises {exercises}" if exercises else ""
    click.echo(f"  grade verify {new.name}{option}")


def _nearest(here: Path) -> Path:
    """As grade run finds exercises; but never where the grader is installed."""
    found = (folder / "exercises" for folder in (here, *here.parents))
    return next((folder for folder in found if _exercises(folder)), here / "exercises")


def _exercises(folder: Path) -> list[Path]:
    return [file.parent for file in folder.glob("*/exercise.toml")]


def _full_name(name: str, folder: Path) -> str:
    """ "07_vector_sum", with the next number after all that are taken where none was given."""
    matched = NAME.fullmatch(name)
    if matched is None:
        raise UsageError(f"{name!r} is no name for an exercise: lower case, digits and underscores, as vector_sum")
    number, rest = matched.groups()
    if number is not None:
        return f"{int(number):02}_{rest}"
    taken = [int(other.name.split("_")[0]) for other in _exercises(folder) if other.name.split("_")[0].isdecimal()]
    return f"{max(taken, default=0) + 1:02}_{rest}"


def _lay_out(folder: Path) -> None:
    """Beside, then moved: an exercise is there whole or not at all."""
    number, rest = folder.name.split("_", 1)
    words = {"name": folder.name, "number": str(int(number)), "title": rest.replace("_", " ").capitalize()}
    staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".grade-new-"))
    try:
        for source in sorted(file for file in TEMPLATE.rglob("*") if file.suffix in (".cu", ".md", ".py", ".toml")):
            file = staging / "exercise" / source.relative_to(TEMPLATE)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(_filled(source.read_text(encoding="utf-8"), words), encoding="utf-8")
        (staging / "exercise").rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace("{{" + word + "}}", value)
    return text
