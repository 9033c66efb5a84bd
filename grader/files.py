"""Writing a file so that nobody ever finds half of it."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from grader.errors import GraderError


def publish(file: Path, content: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """By rename: whoever reads it, whenever, and however this process ends, sees the old or the new, whole.

    `mode` is a new file's; one that is there keeps its own. What is not `durable` may be lost when the power is.
    Raises OSError; then the old one is still there.
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
            if durable:
                os.fsync(stream.fileno())
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def replace(file: Path, content: bytes) -> None:
    """A file that a user names: a link stays one, a new file gets the usual mode, a device or pipe is written to.

    Raises OSError; then the old content is still there, unless only the file and not its folder may be written to.
    """
    if file.exists() and (not file.is_file() or _is_standard_stream(file)):
        file.write_bytes(content)
        return
    try:
        publish(file.resolve(), content, mode=0o666 & ~_umask())
    except PermissionError:
        if not file.exists():
            raise
        file.write_bytes(content)


def _is_standard_stream(file: Path) -> bool:
    """As /dev/stdout where the shell sends it to a file: another file in its place would lose what else is said."""
    return any(os.path.samestat(file.stat(), os.fstat(stream)) for stream in (1, 2))


def _umask() -> int:
    """It can only be read by setting it; meanwhile the strict one holds."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def write(file: Path, content: bytes) -> Path:
    """The same, its failure in words: raises GraderError."""
    try:
        publish(file, content)
    except OSError as error:
        raise GraderError(f"cannot write {file}: {error.strerror}") from None
    return file
