"""Single keys from a terminal, without Enter."""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

ESCAPE = 0x1B  # begins what an arrow or a function key sends, all of it in one read
REDRAW = "\f"  # Ctrl-L, and what is told when the terminal is ours again after Ctrl-Z


class Keys:
    """Tells each key that is pressed, in lower case. `works` is False where stdin is no terminal of ours.

    Ctrl-C and Ctrl-Z do what they always do. The terminal is as it was when this is left.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._descriptor = sys.stdin.fileno() if sys.stdin is not None else -1
        self._before = _settings(self._descriptor)

    @property
    def works(self) -> bool:
        return self._before is not None

    def __enter__(self) -> Keys:
        if self.works:
            self._single_keys()
            signal.signal(signal.SIGCONT, self._resume)
            threading.Thread(target=self._run, name="grader-keys", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGCONT, signal.SIG_DFL)
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def _single_keys(self) -> None:
        tty.setcbreak(self._descriptor, termios.TCSADRAIN)

    def _resume(self, *_: object) -> None:
        """The shell has set the terminal its own way meanwhile."""
        with suppress(termios.error):
            self._single_keys()
        self._tell(REDRAW)

    def _run(self) -> None:
        while read := _read(self._descriptor):
            if read[0] == ESCAPE:
                continue
            for character in read.decode(errors="ignore").lower():
                self._tell(character)


def _settings(descriptor: int) -> Any:
    """None where nobody presses keys: a file, a pipe, or a terminal whose foreground is another's."""
    try:
        if os.tcgetpgrp(descriptor) != os.getpgrp():
            return None
        return termios.tcgetattr(descriptor)
    except (OSError, termios.error):
        return None


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 64)
    except OSError:  # the terminal was closed
        return b""
