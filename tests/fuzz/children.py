"""The children that a run uses, and what they must not leave behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from grader.compile.cache import Cache
from grader.sandbox.child import Child
from grader.sandbox.messages import Load, Loaded
from grader.sandbox.process import Process
from tests.kept_children import Kept, KeptChildren

USES = 100  # of one child: its compiler and its engine keep what they made
COMPILE_SECONDS = 10.0  # of processor time, which compiler bombs use up


class Borrowed(Kept):
    """One that also takes PTX."""

    def load(self, ptx: str, seconds: float) -> None:
        self._idle = False
        self._child.ask(Load(ptx, b""), Loaded, seconds)
        self._idle = True


class Children(KeptChildren):
    """They run `python -m module`, have one thread for blocks each, and cache nothing on disk."""

    def __init__(self, module: str) -> None:
        super().__init__()
        self._module = module
        self._uses: dict[int, int] = {}
        self.pids: set[int] = set()  # of those that are up

    def open(self) -> Borrowed:
        self.pids = {child.process.pid for child in self._waiting}
        if self._waiting:
            child = self._waiting.pop()
        else:
            process = Process(self._module, patient=True)
            child = Child(process, "cpu", cache=Cache(None), compile_seconds=COMPILE_SECONDS, workers=1)
        self.pids.add(child.process.pid)
        return Borrowed(self, child)

    def give_back(self, child: Child) -> None:
        pid = child.process.pid
        self._uses[pid] = self._uses.get(pid, 0) + 1
        if self._uses[pid] < USES:
            super().give_back(child)
        else:
            child.close()

    def end(self) -> None:
        """Whatever they do."""
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.killpg(pid, 9)


def left_behind(known: set[int], folder: Path) -> list[str]:
    """Processes that this one or those started, besides those; and files in the folder for temporary ones."""
    started = {pid for pid, parent in _parents() if parent in known | {os.getpid()}} - known
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    return [*(f"process {pid}" for pid in sorted(started)), *(f"file {name}" for name in files)]


def _parents() -> Iterator[tuple[int, int]]:
    """Of every process, its number and that of its parent."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = file.read_text(errors="replace").rpartition(")")[2].split()
            yield int(file.parent.name), int(fields[1])
