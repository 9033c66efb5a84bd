"""What a child does to itself before it sees anything of a submission."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

FILE_BYTES = 16 << 20  # the largest file it can write: bounds what it says on stderr, too
OPEN_FILES = 256
CPU_SECONDS = 24 * 3600  # last resort, where the parent that keeps the deadlines was itself stopped

_PR_SET_PDEATHSIG = 1


def confine(parent: int) -> None:
    """Die with `parent`, leave no core, and keep to limits that cannot be raised again."""
    _die_with(parent)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, FILE_BYTES)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    _limit(resource.RLIMIT_CPU, CPU_SECONDS)
    # Memory is watched from outside: a limit on address space would keep CUDA from starting.


def _die_with(parent: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call
        os._exit(1)


def _limit(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(kind, (most, most))
