"""CSV that a spreadsheet opens without running anything: a cell of text never begins a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

Cell = str | float | None

# What spreadsheets take for a formula at the start of a cell, or strip before they look (OWASP, CSV injection); the
# wide forms count in Japanese ones.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def encode(rows: Iterable[Sequence[Cell]], *, delimiter: str = ",", line_end: str = "\n") -> bytes:
    """UTF-8. Numbers are written as such, and all text made safe."""
    return raw(([shown(cell) for cell in row] for row in rows), delimiter=delimiter, line_end=line_end)


def raw(rows: Iterable[Sequence[str]], *, delimiter: str = ",", line_end: str = "\n") -> bytes:
    """The cells as they are: those of a file that goes back to where it came from."""
    return "".join(_line(row, delimiter) + line_end for row in rows).encode(errors="replace")


def delimiter(first_line: str) -> str:
    """Spreadsheets write semicolons where numbers have a comma."""
    return max(",;\t", key=first_line.count)


def _line(row: Sequence[str], delimiter: str) -> str:
    """csv quotes the characters of the line end it is told: told both, a lone one within a cell splits no line."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator="\r\n").writerow(row)
    return text.getvalue().removesuffix("\r\n")


def shown(cell: Cell) -> str:
    """None is an empty cell: unknown, and never zero."""
    if cell is None:
        return ""
    return safe(cell) if isinstance(cell, str) else number(cell)


def number(value: float) -> str:
    """Without an exponent, and without digits that mean nothing."""
    return f"{value:.4f}".rstrip("0").rstrip(".")


def safe(text: str) -> str:
    """With an apostrophe in front where a spreadsheet would calculate: it then shows the text."""
    text = text.replace("\0", "")
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text
