"""A child that another process forked for this one."""

from __future__ import annotations

import os
import subprocess
import time
from typing import IO, Protocol


class Forks(Protocol):
    def fork(self, channel: int, arena: int, output: IO[bytes]) -> Forked | None:
        """A child that holds these descriptors; None if there can be none, so that it must start by itself."""
        ...


class Forked:
    """A child by its number, as much of subprocess.Popen as is needed."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def wait(self, timeout: float) -> int:
        """Raises subprocess.TimeoutExpired."""
        deadline, pause = time.monotonic() + timeout, 0.0005
        while self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # the caller has SIGCHLD ignored, so the system reaps children
                pid, status = self.pid, 0
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            else:
                time.sleep(pause)
                pause = min(2 * pause, 0.05)
        return self.returncode
