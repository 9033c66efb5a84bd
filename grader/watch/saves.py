"""Reports when the student's file has new, complete content.

The file is polled many times a second instead of using the system's notifications. Those are about an inode,
which is replaced if an editor saves by rename, and work only on local disks, so a network drive would need polling
anyway. Opening one file takes microseconds, and one method works for every disk and every editor.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from grader.errors import UsageError
from grader.exercise import submission
from grader.exercise.submission import Source

POLL_SECONDS = 0.03
SETTLED_SECONDS = 0.08  # the file must be unchanged for this long; an editor's writes are only milliseconds apart
# An empty or missing file is usually a save in progress: truncated but not yet written, or deleted but not
# yet renamed.
GONE_SECONDS = 1.0
MOST_LOOKING = 0.1  # share of the time; a network drive may be slow to answer


class Saved(msgspec.Struct, frozen=True):
    source: Source


class UnreadableSave(msgspec.Struct, frozen=True):
    """The file is missing or cannot be read. `why` says which."""

    file: Path
    why: str


Look = tuple[int, ...] | None


class Saves:
    """`step` checks once; `start` keeps checking in its own thread."""

    def __init__(self, file: Path, tell: Callable[[Saved | UnreadableSave], None]) -> None:
        self._file = file
        self._tell = tell
        self._look: Look = None
        self._since = -GONE_SECONDS  # the time of the last change
        self._told: Look | bool = False  # False: nothing yet
        self._digest = ""
        self._stop = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="grader-saves", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def step(self, now: float) -> None:
        """`now` in seconds of a monotonic clock."""
        look = _look(self._file)
        if look != self._look:
            self._look, self._since = look, now
            return
        size = look[0] if look else 0
        if self._told == look or now - self._since < (SETTLED_SECONDS if size else GONE_SECONDS):
            return
        try:
            source = submission.read(self._file)
        except UsageError as error:
            self._told, self._digest = look, ""
            self._tell(UnreadableSave(self._file, str(error)))
            return
        if _look(self._file) != look:
            return  # it changed while being read
        self._told = look
        if source.sha256 != self._digest:  # otherwise only its time changed
            self._digest = source.sha256
            self._tell(Saved(source))

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            self.step(began)
            took = time.monotonic() - began
            self._stop.wait(max(POLL_SECONDS, took / MOST_LOOKING))


def _look(file: Path) -> Look:
    """Size, identity and times of the file; None if it does not exist.

    Opens the file, because a network drive answers a plain stat from its cache for seconds.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        descriptor = None
    except OSError:
        return None
    try:
        status = file.stat() if descriptor is None else os.fstat(descriptor)
    except OSError:
        return None
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return status.st_size, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
