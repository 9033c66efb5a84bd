"""Describes where the wrong elements of a matrix are: a partial tile, some columns, whole groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from grader.model.exercise import Array, Case

# Tile heights and widths that kernels are written with; guesses, tried from the smallest.
TILES = (8, 16, 32, 64, 128)

# A wrong value lands within the tolerance of the right one by luck, now and then; a box that is
# this full of wrong elements is called wrong throughout.
FULL = 0.98
EVERY = "every element"


class Region(NamedTuple):
    """Consecutive rows of an output that belong together; `name` ends in its number: "group 3"."""

    name: str
    start: int
    stop: int


class MatrixPosition(NamedTuple):
    """The first wrong element, counted from its region's first row."""

    region: Region
    row: int
    column: int


def rows(values: np.ndarray) -> np.ndarray:
    """An output as (rows, last dimension)."""
    return values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1)


def regions(case: Case, name: str, count: int) -> Sequence[Region]:
    """The groups, if the output's rows are those of M_sizes, stacked; otherwise all rows as one region."""
    sizes = case.arguments.get("M_sizes")
    if isinstance(sizes, Array) and int(sizes.data.sum()) == count:
        ends = np.cumsum(sizes.data, dtype=np.int64).tolist()
        starts = [0, *ends[:-1]]
        return [Region(f"group {g}", s, e) for g, (s, e) in enumerate(zip(starts, ends, strict=True))]
    return [Region(name, 0, count)]


def describe_line(wrong: np.ndarray) -> str:
    """Where the wrong elements of a one-dimensional output are; empty if words say no more than the count."""
    at = np.flatnonzero(wrong)
    if at.size == wrong.size:
        return EVERY if wrong.size > 1 else ""
    if at.size > 1 and at[0] > 0 and at.size == wrong.size - at[0]:
        return f"the last {at.size} elements"
    text = _span(at, wrong.size, "element")
    return "" if " of " in text or at.size == 1 else text


def first(wrong: np.ndarray, regions: Sequence[Region]) -> MatrixPosition:
    """`wrong` (rows, columns) is True somewhere."""
    row, column = divmod(int(np.argmax(wrong)), wrong.shape[1])
    region = next(r for r in regions if r.start <= row < r.stop)
    return MatrixPosition(region, row - region.start, column)


def describe(wrong: np.ndarray, regions: Sequence[Region]) -> str:
    """`wrong` (rows, columns) is True where an element is wrong; the regions cover all rows."""
    regions = [r for r in regions if r.stop > r.start]
    parts = [wrong[r.start : r.stop] for r in regions]
    if _is_full(wrong) and all(_is_full(part) for part in parts):
        return _exactly(EVERY, parts)
    tiles = _row_tiles(parts)
    if tiles:
        tile = " or ".join(tiles)
        return f"{_partial_tile(parts)} of {_names(parts, regions)} (the rows that full tiles of {tile} leave over)"
    phrases: dict[str, list[int]] = {}
    for index, part in enumerate(parts):
        if part.any():
            phrases.setdefault(_phrase(part), []).append(index)
    if len(phrases) > 3:
        return f"scattered over {_names(parts, regions)}"
    return "; ".join(
        f"{_exactly(phrase, [parts[i] for i in at])} of "
        f"{_names([parts[i] for i in at], [regions[i] for i in at], len(regions))}"
        for phrase, at in phrases.items()
    )


def _exactly(phrase: str, parts: Sequence[np.ndarray]) -> str:
    """ "nearly every element" where some are right by luck."""
    return f"nearly {phrase}" if phrase == EVERY and not all(part.all() for part in parts) else phrase


def _partial_tile(parts: Sequence[np.ndarray]) -> str:
    columns = {_columns(part) for part in parts if part.any()}
    only = columns.pop() if len(columns) == 1 else ""
    return f"{only} in the last partial tile" if only else "the last partial tile"


def _row_tiles(parts: Sequence[np.ndarray]) -> list[str]:
    """The tile heights whose partial last tile is exactly the wrong rows of every region."""
    trailing = [_trailing_rows(part) for part in parts]
    rows = [part.shape[0] for part in parts]
    if all(count in (0, height) for count, height in zip(trailing, rows, strict=True)):
        return []  # whole regions, or not at the end: no tile shows
    return [str(tile) for tile in TILES if trailing == [height % tile for height in rows]]


def _trailing_rows(part: np.ndarray) -> int | None:
    """How many rows at the end are wrong, if they are entirely wrong and all others right; otherwise None."""
    rows = np.flatnonzero(part.any(axis=1))
    if rows.size == 0:
        return 0
    count = part.shape[0] - int(rows[0])
    return count if _is_full(_box(part)) and rows[-1] == part.shape[0] - 1 else None


def _phrase(part: np.ndarray) -> str:
    """Where the wrong elements of one region lie; there is at least one."""
    if _is_full(part):
        return EVERY
    if int(part.sum()) == 1:
        row, column = np.argwhere(part)[0]
        return f"row {row}, column {column}"
    rows, columns = part.any(axis=1), part.any(axis=0)
    filled = part[np.ix_(rows, columns)].mean() >= FULL
    where_rows, where_columns = _rows(part), _columns(part)
    spans = ", ".join(s for s in (where_rows, where_columns) if s)
    if filled and spans:
        return spans
    return f"scattered elements in {spans}" if spans else "scattered elements"


def _rows(part: np.ndarray) -> str:
    """ "the last 8 rows", "rows 0 to 15", "every 16th row from row 15"; empty where all rows are meant."""
    rows = np.flatnonzero(part.any(axis=1))
    count = part.shape[0]
    if rows[0] > 0 and rows.size == count - rows[0]:
        return f"the last {rows.size} rows" if rows.size > 1 else f"the last row (row {rows[0]})"
    return _span(rows, count, "row")


def _columns(part: np.ndarray) -> str:
    return _span(np.flatnonzero(part.any(axis=0)), part.shape[1], "column")


def _span(indices: np.ndarray, count: int, what: str) -> str:
    """Indices in words: all of them (empty text), one, a range, every n-th, or the range they lie in."""
    if indices.size == count:
        return ""
    low, high = int(indices[0]), int(indices[-1])
    if indices.size == 1:
        return f"{what} {low}"
    steps = np.unique(np.diff(indices))
    if steps.size == 1 and steps[0] > 1 and indices.size > 2:
        return f"every {_ordinal(int(steps[0]))} {what} from {what} {low}"
    if steps.size == 1 and steps[0] == 1:
        return f"{what}s {low} to {high}"
    return f"{indices.size} of {count} {what}s"


def _names(parts: Sequence[np.ndarray], regions: Sequence[Region], of: int | None = None) -> str:
    """The regions that hold a wrong element: "every group", "group 3", "groups 1, 2 and 5"."""
    bad = [r.name for r, part in zip(regions, parts, strict=True) if part.any()]
    total = len(regions) if of is None else of
    if len(bad) == 1:
        return bad[0]
    kind = bad[0].rsplit(" ", 1)[0]
    if len(bad) == total:
        return f"every {kind}"
    if len(bad) > 4:
        return f"{len(bad)} of {total} {kind}s (the first: {bad[0]})"
    numbers = [name.rsplit(" ", 1)[-1] for name in bad]
    return f"{kind}s {', '.join(numbers[:-1])} and {numbers[-1]}"


def _box(part: np.ndarray) -> np.ndarray:
    """The smallest rectangle that holds every wrong element."""
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    return part[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _is_full(part: np.ndarray) -> bool:
    return part.size > 0 and bool(part.mean() >= FULL)


def _ordinal(number: int) -> str:
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0, "th")
    return f"{'other' if number == 2 else f'{number}{suffix}'}"
