"""A wrong output as a picture: which tiles are wrong and how badly, and the first wrong ones' values."""

from __future__ import annotations

import msgspec

# What a mark says of an element, or of the worst element of a tile.
RIGHT = "."
LEVELS = "1234"  # the error is below 10, 100, 1000 times what is allowed, or above all that
WRONG = "x"  # wrong, where an error has no size: bytes
NOT_FINITE = "!"
NEVER_WRITTEN = "?"
MARKS = RIGHT + LEVELS + WRONG + NOT_FINITE + NEVER_WRITTEN  # a tile's mark is the last of these in it


class PictureRegion(msgspec.Struct, frozen=True):
    """Rows of the output that belong together. `marks`: a text for each row of tiles, a mark for each tile."""

    name: str  # "group 3"
    rows: int
    marks: tuple[str, ...]


class Closeup(msgspec.Struct, frozen=True):
    """The tile of the first wrong element, a mark for each element; and the values about that element.

    Rows count within the region. `expected` and `got` hold a text for each row, its numbers set apart by blanks.
    """

    region: str
    row: int  # of the tile's first element
    column: int
    marks: tuple[str, ...]
    values_row: int  # of the first value
    values_column: int
    expected: tuple[str, ...]
    got: tuple[str, ...]


class Picture(msgspec.Struct, frozen=True):
    """One output. `tile` is the edge of a tile in elements; `omitted` regions hold nothing wrong, or no room."""

    output: str
    columns: int
    tile: int
    regions: tuple[PictureRegion, ...]
    first: Closeup
    tolerance: float | None = None
    omitted: int = 0
