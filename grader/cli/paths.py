"""Files as the student would name them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

# As an option or an argument. What is not there or cannot be read is said by whoever reads it.
PATH = click.Path(path_type=Path, readable=False)


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """`folder` is there; where what follows fails, what was made for it and is empty goes again."""
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
    """Relative where it lies below the working folder."""
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file
