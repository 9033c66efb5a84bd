"""Reads a file that could be anything, and writes one so that no reader sees half of it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from grader.errors import GraderError


def read(file: Path, most: int) -> bytes:
    """What a regular file of at most `most` bytes holds. Raises OSError, its `strerror` in words, for any other."""
    content = start(file, most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"is larger than {_size(most)}", str(file))
    return content


def start(file: Path, count: int) -> bytes:
    """The first bytes of a regular file. Raises OSError for a pipe or a device, which could keep us for ever."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(file))
        return stream.read(count)


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count} bytes"


def real(file: Path) -> Path:
    """Where it lies, through links; one that leads to itself stays what it is, to fail where it is opened."""
    return Path(os.path.realpath(file))


def publish(file: Path, content: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """By rename: a reader always sees the complete old or new content, however this process ends.

    `mode` is for a new file; an existing one keeps its own. A file that is not `durable` may be lost in a power cut.
    Raises OSError; the old file is then unchanged.
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


def replace(file: Path, content: bytes, *, mode: int | None = None) -> None:
    """For a file named by the user: links stay links, new files get `mode` (None: the usual one), devices and pipes
    are written to.

    Raises OSError; the old content is then unchanged, unless the file is writable but its folder is not.
    """
    if file.exists() and (not file.is_file() or _is_standard_stream(file)):
        file.write_bytes(content)
        return
    try:
        publish(real(file), content, mode=0o666 & ~_umask() if mode is None else mode)
    except PermissionError:
        if not file.exists():
            raise
        file.write_bytes(content)


def _is_standard_stream(file: Path) -> bool:
    """E.g. /dev/stdout redirected to a file by the shell: replacing that file would lose other output."""
    return any(os.path.samestat(file.stat(), os.fstat(stream)) for stream in (1, 2))


def _umask() -> int:
    """The umask can be read only by setting it; a strict one applies in between."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def write(file: Path, content: bytes) -> Path:
    """As `publish`, but raises GraderError with a message."""
    with _told(file):
        publish(file, content)
    return file


def write_private(file: Path, content: bytes) -> Path:
    """As `replace`, for what others must not read, but raises GraderError with a message."""
    with _told(file):
        replace(file, content, mode=0o600)
    return file


@contextlib.contextmanager
def _told(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise GraderError(f"cannot write {file}: {error.strerror}") from None
