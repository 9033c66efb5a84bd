"""Sentences in 80 columns."""

from __future__ import annotations

import textwrap

WIDTH = 80
NO_BREAK = "\N{NO-BREAK SPACE}"  # a space at which no line breaks


def wrapped(text: str, *, indent: str = "", further: str = "", width: int = WIDTH) -> str:
    """`indent` is for the first line, `further` for the others. Paths are not broken, so that they can be copied."""
    lines = textwrap.fill(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines.replace(NO_BREAK, " ")
