"""How long a child may take. A machine that is busy with other things must not make a right kernel look endless."""

from __future__ import annotations

import os
import time
from pathlib import Path

PATIENCE = 5.0  # how much longer, by the clock, than the processor time that is allowed


class Deadline:
    """`seconds` by the clock; or, for a child that is `patient`, of its processor time, spread over `cores`.

    A child that waits instead of working is stopped by the clock, after PATIENCE times as long.
    """

    def __init__(self, pid: int, seconds: float, *, patient: bool, cores: int = 1) -> None:
        self.seconds = seconds
        self._pid, self._patient, self._cores = pid, patient, cores
        self._began = time.monotonic()
        self._used = processor_seconds(pid) if patient else 0.0

    def left(self) -> float:
        """Seconds; not positive when it is over."""
        passed = time.monotonic() - self._began
        if self._patient:
            used = processor_seconds(self._pid) - self._used
            passed = max(passed / PATIENCE, used / self._cores)
        return self.seconds - passed


def processor_seconds(pid: int) -> float:
    """Of all its threads, as user and as system; 0 where the system does not say or it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0
