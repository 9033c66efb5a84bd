"""Children of the CPU executor that are reused for many submissions, since starting one takes longer than most runs.

For tests about what a submission does, not about its child.
"""

from __future__ import annotations

import threading
from typing import Literal

from grader.executors import open_cpu
from grader.model.counted import KernelCounts
from grader.model.execution import Compilation, Invocation, Outcome
from grader.model.exercise import Array
from grader.sandbox.child import Child


class Kept:
    """A borrowed child. One that died, or was closed during a request, is not reused."""

    device: Literal["cpu", "cuda"] = "cpu"

    def __init__(self, children: KeptChildren, child: Child) -> None:
        self._children, self._child = children, child
        self._idle, self._closed = True, False

    @property
    def unconfined(self) -> tuple[str, ...]:
        return self._child.unconfined

    def compile(self, source_bytes: bytes, filename: str) -> Compilation:
        self._idle = False
        compilation = self._child.compile(source_bytes, filename)
        self._idle = True
        return compilation

    def run(self, invocations: tuple[Invocation, ...], arrays: tuple[Array, ...], *, deadline: float) -> Outcome:
        self._idle = False
        outcome = self._child.run(invocations, arrays, deadline=deadline)
        self._idle = True
        return outcome

    @property
    def counts_later(self) -> bool:
        return self._child.counts_later

    @counts_later.setter
    def counts_later(self, value: bool) -> None:
        self._child.counts_later = value

    def count(
        self, invocations: tuple[Invocation, ...], arrays: tuple[Array, ...], *, deadline: float
    ) -> tuple[KernelCounts, ...]:
        return self._child.count(invocations, arrays, deadline=deadline)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._idle:
            self._children.give_back(self._child)
        else:
            self._child.close()


class KeptChildren:
    """Each with one thread for blocks. Must be closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Child] = []

    def open(self) -> Kept:
        with self._lock:
            child = self._waiting.pop() if self._waiting else None
        return Kept(self, child or open_cpu(workers=1))

    def give_back(self, child: Child) -> None:
        with self._lock:
            self._waiting.append(child)

    def close(self) -> None:
        for child in self._waiting:
            child.close()
