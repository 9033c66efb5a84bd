"""A CSV file exported by a platform, to be filled with grades and imported again.

Everything else goes back unchanged: all other cells, the order, the delimiter, the line ends, the byte
order mark.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Sequence

import msgspec

from grader.batch import table
from grader.errors import UsageError

MAX_BYTES = 64 << 20
LONGEST_CELL = 16 << 20  # a worksheet contains what students wrote online


class Sheet(msgspec.Struct):
    """`header` is the number of the line with the column names; students follow below."""

    rows: list[list[str]]
    header: int
    delimiter: str = ","
    line_end: str = "\n"
    bom: bool = False

    @property
    def columns(self) -> list[str]:
        return [cell.strip() for cell in self.rows[self.header]]

    def find(self, name: str) -> int | None:
        """A column by its name, ignoring case: Moodle has used both Maximum Grade and Maximum grade."""
        wanted = name.casefold()
        return next((at for at, column in enumerate(self.columns) if column.casefold() == wanted), None)

    def reader(self, name: str) -> Callable[[int], str]:
        """A line's value in this column; "" if the sheet has no such column."""
        column = self.find(name)
        return lambda row: self.cell(row, column)

    def cell(self, row: int, column: int | None) -> str:
        """Lines may be shorter than the header."""
        cells = self.rows[row]
        return cells[column].strip() if column is not None and column < len(cells) else ""

    def put(self, row: int, column: int, value: str) -> None:
        cells = self.rows[row]
        cells += [""] * (column + 1 - len(cells))
        cells[column] = value

    def encode(self) -> bytes:
        body = table.raw(self.rows, delimiter=self.delimiter, line_end=self.line_end)
        return codecs.BOM_UTF8 + body if self.bom else body


def read(content: bytes, name: str, first: Sequence[str], shown: Sequence[str] = ()) -> Sheet:
    """Reads a sheet whose header starts with one of the columns `first`. Raises UsageError, which names the file, and
    of these columns those `shown`, or all."""
    if len(content) > MAX_BYTES:
        raise UsageError(f"{name} is larger than {MAX_BYTES >> 20} MiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(
            f"{name} is not UTF-8; export it again, and do not open and save it in a spreadsheet"
        ) from None
    start = text.split("\n", 1)[0]
    delimiter = table.delimiter(start)
    limit = csv.field_size_limit(LONGEST_CELL)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise UsageError(f"{name} is not a CSV file: {error}") from None
    finally:
        csv.field_size_limit(limit)
    header = next((at for at, row in enumerate(rows) if row and row[0].strip() in first), None)
    if header is None:
        raise UsageError(
            f"{name} has no line that starts with {' or '.join(shown or first)}: is it the right export?"
        )
    line_end = "\r\n" if start.endswith("\r") else "\n"
    return Sheet(rows, header, delimiter, line_end, content.startswith(codecs.BOM_UTF8))
