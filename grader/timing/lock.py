"""Only one submission at a time is timed on a GPU; correctness runs share it with each other, not with timing."""

from __future__ import annotations

import fcntl
import math
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def running(gpu: str) -> Iterator[None]:
    """Held while running kernels whose time does not matter. Waits while another process is timing."""
    with _held(gpu, fcntl.LOCK_SH):
        yield


@contextmanager
def timing(gpu: str) -> Iterator[float]:
    """Held exclusively. Waits until no other process of the grader uses this GPU.

    Returns the seconds since this process last held it exclusively; infinity the first time.
    """
    with _held(gpu, fcntl.LOCK_EX):
        try:
            yield time.monotonic() - _last_held.get(gpu, -math.inf)
        finally:
            _last_held[gpu] = time.monotonic()


_last_held: dict[str, float] = {}


def path(gpu: str) -> Path:
    """The same for every user of the machine. `gpu` is the PCI bus id, which does not depend on numbering."""
    return Path(tempfile.gettempdir()) / f"grader-gpu-{re.sub(r'[^0-9A-Za-z]', '-', gpu)}.lock"


@contextmanager
def _held(gpu: str, how: int) -> Iterator[None]:
    """The lock is released with its descriptor, so a killed grader leaves none behind. The empty file stays."""
    descriptor = _open(path(gpu))
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def _open(file: Path) -> int:
    """Another user's file can be locked with read access only; links are not followed."""
    try:
        return os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return os.open(file, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
