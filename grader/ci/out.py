"""The output folder. It may be inside the checked-out change, which could have put links there."""

from __future__ import annotations

from pathlib import Path

import click

from grader import files
from grader.ci.repository import Repository
from grader.errors import UsageError


def folder(given: Path, repository: Repository) -> Path:
    """Absolute. Raises UsageError if the change controls what is in it, or where it leads."""
    path = Path.cwd() / given
    for part in (path, *path.parents):
        if part.is_symlink() and _inside(files.real(part.parent), repository):
            raise UsageError(f"--out {given}: {part} is a link in the repository; name another folder")
    real = files.real(path)
    if _inside(real, repository) and repository.files("HEAD", real.relative_to(repository.root).as_posix()):
        raise UsageError(f"--out {given}: the commit itself has files there; name another folder")
    return real


def write(file: Path, content: bytes) -> bool:
    """Returns False, and says so, if it could not be written."""
    try:
        files.publish(file, content, mode=0o644)
    except OSError as error:
        click.echo(f"grade: cannot write {file}: {error.strerror}", err=True)
        return False
    return True


def _inside(path: Path, repository: Repository) -> bool:
    return path.is_relative_to(repository.root)
