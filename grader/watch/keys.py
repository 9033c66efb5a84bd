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

ESCAPE = 0x1B  # starts the sequence of an arrow or function key, which arrives in one read
REDRAW = "\f"  # Ctrl-L; also sent when the terminal is ours again after Ctrl-Z


class Keys:
    """Reports each key press, in lower case. `works` is False if stdin is not a terminal that we control.

    Ctrl-C and Ctrl-Z work as usual. The terminal is restored on exit.
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
        """The shell has changed the terminal's settings in the meantime."""
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
    """None if there are no keys: a file, a pipe, or a terminal where we are in the background."""
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
