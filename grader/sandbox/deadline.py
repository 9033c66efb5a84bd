"""Time limits of a child, in processor time of its own, so that the load of the machine does not matter.

By the clock, a correct kernel on a busy machine would look endless. And if the time were spread over all cores, work
that only one thread can do would get more time on a machine with more cores: so the busiest thread counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

PATIENCE = 20.0  # how long a child may wait for anything but a processor, as a multiple of its processor time

_TICKS = os.sysconf("SC_CLK_TCK")


class Deadline:
    """`seconds` of wall-clock time or, for a `patient` child, of the processor time of each of its threads.

    `cores`: how many threads run at once, besides the one that prepares their work; 0: the threads share the time.
    """

    def __init__(self, pid: int, seconds: float, *, patient: bool, cores: int = 0) -> None:
        self.seconds = seconds
        self._pid, self._patient, self._cores = pid, patient, cores
        self._began = time.monotonic()
        self._used = processor_seconds(pid) if patient else 0.0
        self._threads = _threads(pid) if patient else {}

    def left(self) -> float:
        """Seconds left; zero or negative when it is over."""
        passed = time.monotonic() - self._began
        if self._patient:
            together = processor_seconds(self._pid) - self._used
            since = _since(self._threads, _threads(self._pid))
            # Time spent waiting for a processor is the machine's fault and does not count.
            idle = passed - max((one.used + one.waited for one in since), default=0.0)
            busiest = max((one.used for one in since), default=0.0)
            passed = max(idle / PATIENCE, busiest, together / (self._cores + 1))
        return self.seconds - passed


class _Thread(NamedTuple):
    """Seconds on a processor, and seconds that it waited for one."""

    used: float = 0.0
    waited: float = 0.0


def processor_seconds(pid: int) -> float:
    """User and system time of all its threads; 0 if it is unknown or the process is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    except (OSError, ValueError, IndexError):
        return 0.0


def _threads(pid: int) -> dict[str, _Thread]:
    """Those that are there, by their numbers; none where the system does not say."""
    try:
        return {name: _thread(pid, name) for name in os.listdir(f"/proc/{pid}/task")}  # noqa: PTH208 - names alone
    except OSError:
        return {}


def _thread(pid: int, name: str) -> _Thread:
    try:
        used, waited, _ = Path(f"/proc/{pid}/task/{name}/schedstat").read_text().split()
        return _Thread(int(used) / 1e9, int(waited) / 1e9)
    except (OSError, ValueError):
        return _Thread()


def _since(before: Mapping[str, _Thread], now: Mapping[str, _Thread]) -> list[_Thread]:
    nothing = _Thread()
    pairs = [(before.get(name, nothing), thread) for name, thread in now.items()]
    return [_Thread(new.used - old.used, new.waited - old.waited) for old, new in pairs]
