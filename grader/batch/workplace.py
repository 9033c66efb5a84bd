"""A batch's working folder: one batch at a time, and a refused batch leaves nothing behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from grader import files
from grader.batch import ledger
from grader.errors import GraderError, UsageError

LOCK = ".lock"
UNPACKED = ".unpacked-"  # plus some digits: the files one call unpacked from a zip


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Creates `out` if it is missing, and removes it again if no batch was started.

    Raises UsageError if `out` is not a folder or another batch is running; GraderError if nothing can be written.
    """
    try:
        missing = [folder for folder in (out, *out.parents) if not folder.exists()]
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"--out {out}: a file is in the way; name a folder") from None
    except OSError as error:
        raise GraderError(f"cannot create {out}: {error.strerror}") from None
    with _locked(out / LOCK):
        try:
            yield
        finally:
            if not (out / ledger.FILE).exists():
                (out / LOCK).unlink()
                _remove_empty(missing)


@contextmanager
def unpacking(out: Path) -> Iterator[Path]:
    """A folder for the contents of a zip, created when needed and removed if the batch is refused."""
    folder = out / f"{UNPACKED}{secrets.token_hex(4)}"
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def is_unpacked(file: Path) -> bool:
    """Whether it lies where a call unpacked it to, which the next download replaces."""
    return any(folder.name.startswith(UNPACKED) for folder in file.parents)


def tidy(out: Path, submissions: Iterable[Path]) -> None:
    """Removes unpacked folders that contain none of these: from an earlier zip, or a killed call."""
    used = {folder for file in submissions for folder in files.real(file).parents}
    for folder in files.real(out).glob(f"{UNPACKED}*"):
        if folder not in used:
            shutil.rmtree(folder, ignore_errors=True)


def remove(path: Path, out: Path) -> None:
    """Removes a file or folder below `out`, and folders that become empty. Raises GraderError."""
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise GraderError(f"cannot remove {error.filename or path}: {error.strerror or error}") from None
    _remove_empty([folder for folder in path.parents if folder != out and folder.is_relative_to(out)])


def _remove_empty(folders: Iterable[Path]) -> None:
    """Innermost first, up to one that is not empty."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """The lock is released when the process ends, in whatever way."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise GraderError(f"cannot write in {file.parent}: {error.strerror}") from None
    try:
        if not _lock(descriptor):
            raise UsageError(f"another grade batch is running in {file.parent}")
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Not a file that was just removed: the next process would lock a different one."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(descriptor).st_nlink > 0
