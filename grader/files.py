"""Writing a file so that nobody ever finds half of it."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from grader.errors import GraderError


def publish(file: Path, content: bytes, *, mode: int = 0o600) -> None:
    """By rename: whoever reads it, whenever, and however this process ends, sees the old or the new, whole.

    `mode` is a new file's; one that is there keeps its own. Raises OSError; then the old one is still there.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        mode = stat.S_IMODE(file.stat().st_mode)
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.stem}-")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(descriptor, mode)
            os.fsync(stream.fileno())
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write(file: Path, content: bytes) -> Path:
    """The same, its failure in words: raises GraderError."""
    try:
        publish(file, content)
    except OSError as error:
        raise GraderError(f"cannot write {file}: {error.strerror}") from None
    return file
