"""A wrong output as a picture: which tiles are wrong and how badly, and the first wrong values."""

from __future__ import annotations

import msgspec

# Marks of an element, or of the worst element of a tile.
RIGHT = "."
LEVELS = "1234"  # the error is below 10, 100 or 1000 times the tolerance, or above that
WRONG = "x"  # wrong, if an error has no size: bytes
NOT_FINITE = "!"
NEVER_WRITTEN = "?"
MARKS = RIGHT + LEVELS + WRONG + NOT_FINITE + NEVER_WRITTEN  # a tile gets the last of these marks in it


class PictureRegion(msgspec.Struct, frozen=True):
    """Rows of the output that belong together. `marks`: a text per row of tiles, a mark per tile."""

    name: str  # "group 3"
    rows: int
    marks: tuple[str, ...]


class Closeup(msgspec.Struct, frozen=True):
    """The tile of the first wrong element, with a mark per element, and the values around that element.

    Rows count within the region. `expected` and `got` have a text per row, with numbers separated by blanks.
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
    """One output. `tile` is the edge of a tile in elements; `omitted` regions are correct or did not fit."""

    output: str
    columns: int
    tile: int
    regions: tuple[PictureRegion, ...]
    first: Closeup
    tolerance: float | None = None
    omitted: int = 0
