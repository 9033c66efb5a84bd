"""`grade serve` on a machine with a fake GPU. A submission says what happens to it, in a comment:

    // until: FILE      its grading ends once that file exists

The variables GPUS and VERSION say what the machine has.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from pathlib import Path

import grader
from grader import executors, machine
from grader.model.execution import Compilation, Outcome
from tests.fake_gpu import FakeGpu
from tests.fakes import Arrays, FakeExecutor, right

MOST_SECONDS = 60.0


class Gated(FakeExecutor):
    _gate: Path | None = None

    def __init__(self) -> None:
        super().__init__(compute=self._once_open)

    def compile(self, source: bytes, filename: str) -> Compilation:
        found = re.search(rb"// until: (\S+)", source)
        self._gate = Path(os.fsdecode(found[1])) if found else None
        return super().compile(source, filename)

    def _once_open(self, arrays: Arrays) -> Outcome:
        deadline = time.monotonic() + MOST_SECONDS
        while self._gate and not self._gate.exists() and not self.closed and time.monotonic() < deadline:
            time.sleep(0.01)
        return right(arrays)


def main() -> int:
    grader.__version__ = os.environ.get("VERSION", grader.__version__)
    from grader.cli.command import invoke
    from grader.timing import roofline, rotation, session

    executors.open_cpu = lambda *_, **__: Gated().open()  # type: ignore[assignment,return-value]
    executors.open_cuda = lambda *_, **__: FakeGpu().open()  # type: ignore[assignment,return-value]
    machine.gpus = lambda: int(os.environ.get("GPUS", "1"))
    session.WARM_UP_SECONDS, session.CLOCK_SLACK = 0.0, 1e9  # a fake takes no time
    roofline.least_seconds = lambda *_, **__: 0.0  # type: ignore[assignment]
    rotation.MAX_SETS = 6
    tempfile.tempdir = os.environ["LOCKS"]
    return invoke(["serve", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
