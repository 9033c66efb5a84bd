"""The first child process. It is started before anything else is loaded, since starting takes half a second."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from grader import executors

if TYPE_CHECKING:
    from grader.model.execution import Executor


class Standby:
    """Hands out a child that is already starting, then fresh ones. Closes the first if it was not taken."""

    def __init__(self) -> None:
        self._first: Executor | None = executors.open_cpu()

    def open(self) -> Executor:
        first, self._first = self._first, None
        return first or executors.open_cpu()

    def __enter__(self) -> Standby:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._first is not None:
            self._first.close()
