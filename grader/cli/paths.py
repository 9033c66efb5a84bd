"""Paths as the student would write them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

# For options and arguments. The code that reads a file reports if it is missing or unreadable.
PATH = click.Path(path_type=Path, readable=False)


def folder_only(_context: click.Context, _option: click.Parameter, value: Path | None) -> Path | None:
    """For an option that names a folder: where others write one file to stdout, it would make a folder called -."""
    if value == Path("-"):
        raise click.BadParameter("name a folder; there is more than one file to write")
    return value


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """Creates `folder`; if the body fails, removes the folders it created, if empty."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with suppress(OSError):
            for one in missing:
                one.rmdir()
        raise


def from_here(file: Path) -> Path:
    """Relative if it is below the working folder."""
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file
