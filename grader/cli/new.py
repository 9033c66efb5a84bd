"""grade new: a small but complete new exercise, for its author to change step by step."""

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
@click.option("--exercises", metavar="DIR", type=PATH, help="Folder to create it in.")
def command(name: str, exercises: Path | None) -> None:
    """Create a new exercise, NAME, that passes grade verify.

    NAME is one or more words joined by underscores: grade new vector_sum takes the next free number, grade new
    07_vector_sum takes 07. It is created in DIR; by default in the nearest exercises/ above the current folder, or in
    a new exercises/ here.

    The new exercise multiplies each row of a matrix by a factor. It has a problem, a starter, a solution, an oracle
    and two wrong kernels. Change one file at a time, and run grade verify NAME after each change.
    """
    folder = exercises or _nearest(Path.cwd())
    new = folder / _full_name(name, folder)
    if any(other.name.split("_", 1)[0] == new.name.split("_", 1)[0] for other in _exercises(folder)):
        raise UsageError(f"{folder} already has an exercise with that number; leave it out to take the next free one")
    try:
        with made(folder):
            _lay_out(new)
    except OSError as error:
        raise GraderError(f"cannot write {new}: {error.strerror}") from None
    click.echo(f"Created {from_here(new)}, a small working exercise. Next:")
    option = f" --exercises {exercises}" if exercises else ""
    click.echo(f"  grade verify {new.name}{option}")


def _nearest(here: Path) -> Path:
    """Finds exercises as grade run does, but never where the grader is installed."""
    found = (folder / "exercises" for folder in (here, *here.parents))
    return next((folder for folder in found if _exercises(folder)), here / "exercises")


def _exercises(folder: Path) -> list[Path]:
    return [file.parent for file in folder.glob("*/exercise.toml")]


def _full_name(name: str, folder: Path) -> str:
    """ "07_vector_sum", with the next free number if none was given."""
    matched = NAME.fullmatch(name)
    if matched is None:
        raise UsageError(
            f"{name!r} is not a valid exercise name; use lower case, digits and underscores, such as vector_sum"
        )
    number, rest = matched.groups()
    if number is not None:
        return f"{int(number):02}_{rest}"
    taken = [int(other.name.split("_")[0]) for other in _exercises(folder) if other.name.split("_")[0].isdecimal()]
    return f"{max(taken, default=0) + 1:02}_{rest}"


def _lay_out(folder: Path) -> None:
    """Written next to it, then moved, so that an exercise is never incomplete."""
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
