"""What a batch writes for its instructor: whole or not at all, and with a sentence where it cannot be."""

from __future__ import annotations

from pathlib import Path

from grader import files
from grader.errors import GraderError


def write(file: Path, content: bytes) -> Path:
    """A new file is its owner's alone: it names students. Raises GraderError; the old content is then still there."""
    try:
        files.publish(file, content)
    except OSError as error:
        raise GraderError(f"cannot write {file}: {error.strerror}") from None
    return file
