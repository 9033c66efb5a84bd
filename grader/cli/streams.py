"""Messages on stderr; streams that are closed, full, without a reader, or unable to encode a character."""

from __future__ import annotations

import io
import os
import sys

import click

from grader.cli.wrap import WIDTH, wrapped


def say(text: str) -> None:
    """To stderr. Whatever the text quotes does not steer the terminal."""
    from grader.reports.text import inert

    lines = (wrapped(inert(line), width=WIDTH) for line in f"grade: {text}".split("\n"))
    click.echo("\n".join(lines), err=True)


def open_closed() -> None:
    """Give a process started without stdout or stderr (`>&-`) ones that discard everything.

    Otherwise the next file opened would get their number, and output would end up in it.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            setattr(sys, name, os.fdopen(descriptor, "r" if name == "stdin" else "w"))


def replace_unknown() -> None:
    """Print a question mark for characters that the terminal's encoding lacks, where Python would fail."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def give_up_stdout() -> None:
    """The reader is gone (`| head`) or the disk is full: silently discard Python's last flush."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
