"""Files as the student would name them."""

from __future__ import annotations

from pathlib import Path

import click

# As an option or an argument. What is not there or cannot be read is said by whoever reads it.
PATH = click.Path(path_type=Path, readable=False)


def from_here(file: Path) -> Path:
    """Relative where it lies below the working folder."""
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file
