"""The child processes of many gradings, which can be ended together."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from grader.sandbox.runner import RunnerError


class _Closeable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closeable)


class Children:
    """Every child process opened through it; `end` closes them all and prevents new ones."""

    def __init__(self) -> None:
        self._open: weakref.WeakSet[_Closeable] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def opener(self, open_: Callable[[], C]) -> Callable[[], C]:
        return partial(self._opened, open_)

    def _opened(self, open_: Callable[[], C]) -> C:
        self._refuse_if_ended()
        child = open_()
        with self._lock:
            self._open.add(child)
        try:
            self._refuse_if_ended()  # while it was being opened
        except RunnerError:
            child.close()
            raise
        return child

    def _refuse_if_ended(self) -> None:
        if self._ended.is_set():
            raise RunnerError("the batch was stopped")

    def end(self) -> None:
        self._ended.set()
        with self._lock:
            children = list(self._open)
        for child in children:
            child.close()
