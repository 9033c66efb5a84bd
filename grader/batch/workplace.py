"""The folder that a batch works in: one batch at a time, and nothing there of one that was refused."""

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
UNPACKED = ".unpacked-"  # and some digits: what one call took out of a zip


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """`out` is made where it is missing. What was made goes again where no batch was begun.

    Raises UsageError where `out` is no folder, or another batch is at work; GraderError where nothing can be written.
    """
    try:
        missing = [folder for folder in (out, *out.parents) if not folder.exists()]
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"--out {out}: a file is in the way; name a folder") from None
    except OSError as error:
        raise GraderError(f"cannot make {out}: {error.strerror}") from None
    with _locked(out / LOCK):
        try:
            yield
        finally:
            if not (out / ledger.FILE).exists():
                (out / LOCK).unlink()
                _remove_empty(missing)


@contextmanager
def unpacking(out: Path) -> Iterator[Path]:
    """A folder for what a zip holds, to be made when it is needed. Refused, it is gone."""
    folder = out / f"{UNPACKED}{secrets.token_hex(4)}"
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def tidy(out: Path, submissions: Iterable[Path]) -> None:
    """Removes what was unpacked and holds none of these: of an earlier zip, or of a call that was killed."""
    used = {folder for file in submissions for folder in files.real(file).parents}
    for folder in files.real(out).glob(f"{UNPACKED}*"):
        if folder not in used:
            shutil.rmtree(folder, ignore_errors=True)


def remove(path: Path, out: Path) -> None:
    """A file or a folder below `out`, and the folders that are empty then. Raises GraderError."""
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise GraderError(f"cannot remove {error.filename or path}: {error.strerror or error}") from None
    _remove_empty([folder for folder in path.parents if folder != out and folder.is_relative_to(out)])


def _remove_empty(folders: Iterable[Path]) -> None:
    """The innermost first, up to one that is not empty."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """The lock goes with the process, however it ends."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise GraderError(f"cannot write in {file.parent}: {error.strerror}") from None
    try:
        if not _lock(descriptor):
            raise UsageError(f"another grade batch is at work in {file.parent}")
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Not a file that has just been removed: the next to come would lock another."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(descriptor).st_nlink > 0
