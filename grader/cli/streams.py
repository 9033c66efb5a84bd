"""What is said on stderr; streams that are closed, full, left by their reader, or unable to show a character."""

from __future__ import annotations

import io
import os
import sys

import click

from grader.cli.wrap import WIDTH, wrapped


def say(text: str) -> None:
    """On stderr."""
    lines = (wrapped(line, width=WIDTH) for line in f"grade: {text}".split("\n"))
    click.echo("\n".join(lines), err=True)


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


def replace_unknown() -> None:
    """A question mark in place of what the terminal's encoding does not have; Python would give up."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def give_up_stdout() -> None:
    """Whoever read it has gone (`| head`), or it is full: let Python's last flush go nowhere, in silence."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
