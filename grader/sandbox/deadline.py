"""Time limits of a child. On a machine that is busy otherwise, a correct kernel must not look endless."""

from __future__ import annotations

import os
import time
from pathlib import Path

PATIENCE = 5.0  # the wall-clock limit, as a multiple of the allowed processor time


class Deadline:
    """`seconds` of wall-clock time or, for a `patient` child, of its processor time, spread over `cores`.

    A child that waits instead of working is stopped after PATIENCE times as much wall-clock time.
    """

    def __init__(self, pid: int, seconds: float, *, patient: bool, cores: int = 1) -> None:
        self.seconds = seconds
        self._pid, self._patient, self._cores = pid, patient, cores
        self._began = time.monotonic()
        self._used = processor_seconds(pid) if patient else 0.0

    def left(self) -> float:
        """Seconds left; zero or negative when it is over."""
        passed = time.monotonic() - self._began
        if self._patient:
            used = processor_seconds(self._pid) - self._used
            passed = max(passed / PATIENCE, used / self._cores)
        return self.seconds - passed


def processor_seconds(pid: int) -> float:
    """User and system time of all its threads; 0 if it is unknown or the process is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0
