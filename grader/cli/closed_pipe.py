"""When whoever read our output has gone (`grade run 1 | head`)."""

from __future__ import annotations

import os
import sys


def give_up_stdout() -> None:
    """Let all further output, and Python's last flush, go nowhere in silence."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
