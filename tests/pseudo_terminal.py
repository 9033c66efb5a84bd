"""A program in a terminal of its own: what it shows is read, keys are pressed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

ROWS, COLUMNS = 24, 80
CLEAR = "\x1b[2J"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_OVERWRITTEN = re.compile(r"[^\n]*\r\x1b\[2K")


class PseudoTerminal:
    """The program's stdin, stdout and stderr, and its controlling terminal: Ctrl-C and Ctrl-Z work."""

    def __init__(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str] = os.environ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(env) | {"TERM": "xterm-256color"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        self._theirs = theirs  # open here too, so that its settings can be read when the program has ended
        self.raw = ""
        self._seen = 0

    def __enter__(self) -> PseudoTerminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    @property
    def settings(self) -> list[object]:
        return termios.tcgetattr(self._theirs)

    @settings.setter
    def settings(self, value: list[object]) -> None:
        termios.tcsetattr(self._theirs, termios.TCSANOW, value)

    @property
    def screens(self) -> list[str]:
        """What stood there between one clearing and the next, as text."""
        return [
            _CONTROL.sub("", _OVERWRITTEN.sub("", screen)) for screen in self.raw.replace("\r\n", "\n").split(CLEAR)
        ]

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def read(self, seconds: float) -> None:
        """What comes within that time; returns at the first of it."""
        if self._pending(seconds):
            self.raw += os.read(self._ours, 1 << 16).decode(errors="replace")

    def _pending(self, seconds: float) -> bool:
        return bool(select.select([self._ours], [], [], seconds)[0])

    @property
    def text(self) -> str:
        """All that was shown, without what steers the terminal."""
        return _CONTROL.sub("", self.raw.replace("\r\n", "\n"))

    def shows(self, wanted: str, *, seconds: float = 40) -> str:
        """Waits for the text behind what was waited for before; everything up to its end."""
        deadline = time.monotonic() + seconds
        while (at := self.text.find(wanted, self._seen)) < 0:
            late = f"{wanted!r} did not come within {seconds} s:\n{self.text[self._seen :]}"
            assert time.monotonic() < deadline, late
            assert self.process.poll() is None or self._pending(0), late
            self.read(0.02)
        begun, self._seen = self._seen, at + len(wanted)
        return self.text[begun : self._seen]

    def ends(self, seconds: float = 20) -> int:
        """The exit status."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"still running:\n{self.raw}"
            self.read(0.05)
        self.read(0)
        return self.process.returncode


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
