"""CSV that is safe to open in a spreadsheet: a text cell never starts a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

Cell = str | float | None

# Characters that start a formula in spreadsheets, or are stripped before that check (OWASP, CSV injection); the
# full-width forms count in Japanese spreadsheets.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def encode(rows: Iterable[Sequence[Cell]], *, delimiter: str = ",", line_end: str = "\n") -> bytes:
    """UTF-8. Numbers are written as numbers; all text is made safe."""
    return raw(([shown(cell) for cell in row] for row in rows), delimiter=delimiter, line_end=line_end)


def raw(rows: Iterable[Sequence[str]], *, delimiter: str = ",", line_end: str = "\n") -> bytes:
    """Cells unchanged, for a file that goes back to where it came from."""
    return "".join(_line(row, delimiter) + line_end for row in rows).encode(errors="replace")


def delimiter(first_line: str) -> str:
    """Spreadsheets use semicolons in locales with a decimal comma."""
    return max(",;\t", key=first_line.count)


def _line(row: Sequence[str], delimiter: str) -> str:
    """csv quotes the characters of its line end. Given both, a lone one inside a cell does not split a line."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator="\r\n").writerow(row)
    return text.getvalue().removesuffix("\r\n")


def shown(cell: Cell) -> str:
    """None is an empty cell: unknown, and never zero."""
    if cell is None:
        return ""
    return safe(cell) if isinstance(cell, str) else number(cell)


def number(value: float) -> str:
    """Without an exponent or insignificant digits."""
    return f"{value:.4f}".rstrip("0").rstrip(".")


def meant(cell: str) -> str:
    """What was meant by a cell that comes back from a spreadsheet, perhaps made safe before."""
    return cell[1:] if cell.startswith("'") and cell[1:].lstrip(" ").startswith(FORMULA) else cell


def safe(text: str) -> str:
    """Prefixed with an apostrophe if a spreadsheet would take it as a formula; it then shows the text."""
    text = text.replace("\0", "")
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text
