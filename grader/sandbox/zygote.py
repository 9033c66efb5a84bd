"""A process that has loaded all that a child needs but has seen no submission: children are forked from it.

A child that starts by itself spends half a second of a processor on what is the same for all of them. A forked
one is as fresh: it confines itself before it sees anything of its submission. From outside, it is like any other: the
process that forks it ends at once, so that it becomes a child of this process, which waits for it and with which it
dies. If the zygote dies, the children that it forked stay.
"""

from __future__ import annotations

import ctypes
import struct
import sys
import threading
from typing import IO, Self

from grader.sandbox.errors import ChildDied, ChildMemory, ChildTimeout
from grader.sandbox.forked import Forked
from grader.sandbox.process import START_SECONDS, Process

PID = struct.Struct("<i")
MOST_STARTS = 3  # where it keeps dying, children start by themselves
_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37


class Zygote:
    """`module` runs `grader.sandbox.forking`. Started when first asked to fork. Must be closed."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._starts = 0
        self._process: Process | None = None
        self._asking = threading.Lock()
        self._closed = False
        _adopting.add(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fork(self, channel: int, arena: int, output: IO[bytes]) -> Forked | None:
        """A child that holds these descriptors; None if there can be none, so that it must start by itself."""
        with self._asking:
            while self._running() and self._process is not None:
                try:
                    self._process.send_descriptors((channel, arena, output.fileno()), seconds=START_SECONDS)
                    (pid,) = PID.unpack(self._process.receive(seconds=START_SECONDS))
                    return Forked(pid) if pid else None
                except (ChildDied, ChildTimeout, ChildMemory, struct.error):
                    self._end()
            return None

    def close(self) -> None:
        """A `fork` that another thread waits for gives up."""
        closed, self._closed = self._closed, True
        process = self._process
        if process is not None:
            process.kill()
        with self._asking:
            self._end()
        if not closed:
            _adopting.add(-1)

    def _running(self) -> bool:
        if self._process is None and not self._closed and self._starts < MOST_STARTS and _adopting.works:
            self._starts += 1
            self._process = Process(self._module, patient=True)
        return self._process is not None

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.close()


class _Adopting:
    """While there is a zygote, processes below this one that lose their parent become its children."""

    def __init__(self) -> None:
        self._zygotes = 0
        self._before = 0
        self._counting = threading.Lock()
        self.works = False

    def add(self, zygotes: int) -> None:
        if sys.platform != "linux":
            return
        with self._counting:
            if self._zygotes == 0:
                self._before = self._get()
                self.works = _prctl(_PR_SET_CHILD_SUBREAPER, 1) == 0
            self._zygotes += zygotes
            if self._zygotes == 0:
                _prctl(_PR_SET_CHILD_SUBREAPER, self._before)

    def _get(self) -> int:
        value = ctypes.c_int()
        _prctl(_PR_GET_CHILD_SUBREAPER, ctypes.addressof(value))
        return value.value


def _prctl(option: int, value: int) -> int:
    return int(ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0))


_adopting = _Adopting()
