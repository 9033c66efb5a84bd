"""grade start: copies the exercises into a repository of the student's own."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from grader.cli.paths import PATH, made
from grader.errors import GraderError, UsageError

if TYPE_CHECKING:
    from grader.model.exercise import Exercise

TEMPLATES = Path(__file__).parents[1] / "templates"

# The files a student gets. Listed one by one, so that files added later, such as a second solution, are not copied.
COPIED = ("problem.md", "starter.cu", "exercise.toml", "oracle.py", "test.py")

_GRADER = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)@(?P<commit>[0-9A-Fa-f]{40})", re.ASCII)

# Files around the exercises, by their name among the templates.
STUDENTS = {
    "README.md": "README.md",
    "gitignore": ".gitignore",
    "clangd": ".clangd",
    "clang-format": ".clang-format",
    "editor.h": ".grade/include/editor.h",
}
INCLUDE = Path(__file__).parents[1] / "compile" / "include"
EDITOR = ".grade/include"  # where editors find the headers
HEADERS = ("grader.cuh", "cuda.h")

# What must not exist yet. Other existing files (README.md of a new repository) are left as they are.
OURS = ("exercises", ".grade")


class Grader(NamedTuple):
    """Whose action the workflows run."""

    repository: str
    commit: str


def _pinned(_: click.Context, __: click.Parameter, value: str | None) -> Grader | None:
    """A commit, because anyone who can push to the repository could move a tag or a branch."""
    if value is None:
        return None
    found = _GRADER.fullmatch(value)
    if not found:
        raise click.BadParameter(
            f"{value!r} is not OWNER/REPO@SHA, a repository on GitHub and the 40 digits of a commit in it "
            "(git rev-parse HEAD shows them)"
        )
    return Grader(found["repository"], found["commit"].lower())


@click.command("start")
@click.argument("folder", metavar="DIR", type=PATH)
@click.option("--exercises", metavar="FROM", type=PATH, help="Copy the exercises from this folder.")
@click.option(
    "--grader",
    metavar="OWNER/REPO@SHA",
    callback=_pinned,
    help="Also write GitHub workflows that grade pull requests with the grader in this repository, at this commit.",
)
def command(folder: Path, exercises: Path | None, grader: Grader | None) -> None:
    """Copy the exercises into DIR: a new folder, or a repository that you have just created.

    Each one has its problem, its starter.cu and what grading needs, but no solution. Files that already exist in
    DIR are not changed.

    \b
    grade start my-kernels
    cd my-kernels
    grade watch 1
    """
    from grader.exercise import catalog

    source = catalog.exercises_folder(exercises)
    chosen = catalog.every(source)
    if list(folder.glob("*/exercise.toml")):
        raise UsageError(f"{folder} already contains exercises; choose another folder")
    for name in OURS:
        if (folder / name).exists():
            raise UsageError(
                f"{folder / name} already exists; choose another folder, or continue working in this one"
            )
    try:
        with made(folder):
            kept = _start(folder, source, chosen, grader)
    except OSError as error:
        raise GraderError(f"cannot set up {folder}: {error.strerror}; nothing was changed there") from None
    for name in kept:
        click.echo(f"Not changed: {folder / name}")
    click.echo(f"{len(chosen)} exercise{'s' * (len(chosen) > 1)} in {folder / 'exercises'}. Next:")
    click.echo(f"  cd {shlex.quote(str(folder))}\n  grade watch {chosen[0].number.lstrip('0')}")


def _start(folder: Path, source: Path, exercises: tuple[Exercise, ...], grader: Grader | None) -> list[str]:
    """Written next to it, then moved: a full disk leaves nothing half done. Returns files that already existed."""
    from grader.exercise import objectives

    staging = Path(tempfile.mkdtemp(dir=folder, prefix=".grade-start-"))
    try:
        for exercise in exercises:
            _copy_exercise(exercise, staging)
        if (source / objectives.FILE).is_file():
            _copy(source / objectives.FILE, staging / "exercises" / objectives.FILE)
        for template, name in _further():
            _copy(template, staging / name)
        _write_texts(staging)
        if grader is not None:
            _write_workflows(grader, staging / ".github" / "workflows")
        return _moved(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _copy_exercise(exercise: Exercise, to: Path) -> None:
    from grader.exercise import original

    for name in COPIED:
        if (exercise.folder / name).is_file():
            _copy(exercise.folder / name, to / "exercises" / exercise.name / name)
    starter = original.kept(exercise) or exercise.starter  # started from a student's folder, there it may be edited
    _copy(starter, to / "exercises" / exercise.name / exercise.starter.name)
    _copy(starter, to / ".grade" / "originals" / exercise.name / exercise.starter.name)


def _copy(source: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, to)  # not its mode, since an installed file may be read-only


def _further() -> Iterator[tuple[Path, str]]:
    """Files around the exercises, and their names in a student's repository."""
    for name, to in STUDENTS.items():
        yield TEMPLATES / "student" / name, to
    for header in HEADERS:
        yield INCLUDE / header, f"{EDITOR}/{header}"


def _write_texts(to: Path) -> None:
    """What depends on where the grader is: how to have `grade` in a new shell, and where an editor finds headers."""
    from grader.compile import toolkit

    readme = to / "README.md"
    activate = Path(sys.prefix) / "bin" / "activate"
    shell = (
        f". {shlex.quote(str(activate))}" if activate.is_file() else f"{shlex.quote(sys.executable)} -m grader list"
    )
    readme.write_text(readme.read_text(encoding="utf-8").replace("COMMAND-FOR-A-SHELL", shell), encoding="utf-8")
    cuda: list[str] = []
    with contextlib.suppress(toolkit.ToolkitMissing):  # grade doctor and grade run say so
        cuda = [f"-isystem{folder}" for folder in toolkit.include_folders()]
    flags = ["-xc++", "-std=c++17", f"-I{EDITOR}", *cuda, f"-include{EDITOR}/editor.h", "-Wno-unknown-pragmas"]
    (to / "compile_flags.txt").write_text("\n".join(flags) + "\n", encoding="utf-8")


def _write_workflows(grader: Grader, to: Path) -> None:
    to.mkdir(parents=True)
    for workflow in sorted((TEMPLATES / "ci").glob("*.yml")):
        text = workflow.read_text(encoding="utf-8")
        text = text.replace("GRADER_REPOSITORY", grader.repository).replace("GRADER_COMMIT", grader.commit)
        (to / workflow.name).write_text(text, encoding="utf-8")


def _moved(staging: Path, folder: Path) -> list[str]:
    kept = []
    for file in sorted(file for file in staging.rglob("*") if file.is_file()):
        name = file.relative_to(staging)
        if (folder / name).exists():
            kept.append(str(name))
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        file.rename(folder / name)
    return kept
