"""stdout and stderr that are closed, full, or left by their reader."""

from __future__ import annotations

import os
import sys


def open_closed() -> None:
    """Give a process that was started without stdout or stderr (`>&-`) ones that go nowhere.

    Otherwise the next file to be opened would get their number, and what is printed would end up in it.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            setattr(sys, name, os.fdopen(descriptor, "r" if name == "stdin" else "w"))


def give_up_stdout() -> None:
    """Whoever read it has gone (`| head`), or it is full: let Python's last flush go nowhere, in silence."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
