"""Sentences in 80 columns."""

from __future__ import annotations

import textwrap

WIDTH = 80
NO_BREAK = "\N{NO-BREAK SPACE}"  # a blank at which no line ends


def wrapped(text: str, *, indent: str = "", further: str = "", width: int = WIDTH) -> str:
    """`indent` of the first line, `further` of the others. A path stays whole, to be copied."""
    lines = textwrap.fill(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines.replace(NO_BREAK, " ")
