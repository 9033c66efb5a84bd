"""Makes the picture of a wrong output for the report. Bounded, however large the output is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grader.diagnosis import mismatch
from grader.diagnosis.mismatch import Region
from grader.model import picture
from grader.model.exercise import Case
from grader.model.judged import Judged
from grader.model.picture import MARKS, Closeup, Picture
from grader.reference_kernels.mistakes.untouched import untouched

# The edge of a tile, unless that makes too many; K and N are multiples of 16.
EDGE = 16
MOST_TILES = 4096  # in all regions together; as text so many bytes
MOST_REGIONS = 64

# As many values around the first wrong element as fit next to each other on a phone.
VALUE_ROWS, VALUE_COLUMNS = 8, 6

UNSET = "unset"

_CODE = {mark: code for code, mark in enumerate(MARKS)}


def of_output(case: Case, judged: Judged, actual: np.ndarray, reference: np.ndarray) -> Picture:
    """Raises ValueError if `reference` is of a different kind than `actual`, or than the values in `judged`."""
    actual = actual if judged.values is None else judged.values
    if (actual.dtype.kind == "f") != (reference.dtype.kind == "f"):
        raise ValueError(f"{actual.dtype} is not drawn next to {reference.dtype}")
    wrong = mismatch.rows(judged.wrong)
    regions = mismatch.regions(case, judged.output, len(wrong))
    return of(
        judged.output,
        actual.reshape(wrong.shape),
        reference.reshape(wrong.shape),
        wrong,
        regions,
        tolerance=judged.tolerance,
    )


def of(
    output: str,
    actual: np.ndarray,
    reference: np.ndarray,
    wrong: np.ndarray,
    regions: Sequence[Region],
    *,
    tolerance: float | None = None,
) -> Picture:
    """All three arrays (rows, columns); `wrong` is True somewhere, the regions cover all rows.

    Without `tolerance`, as for FP8 bytes, elements are only right or wrong, not more or less wrong.
    """
    codes = _codes(actual, reference, wrong, tolerance)
    shown = _shown(wrong, regions)
    edge = _edge([region.stop - region.start for region in shown], wrong.shape[1])
    return Picture(
        output=output,
        columns=wrong.shape[1],
        tile=edge,
        regions=tuple(
            picture.PictureRegion(r.name, r.stop - r.start, _texts(_tiles(codes[r.start : r.stop], edge)))
            for r in shown
        ),
        first=_closeup(actual, reference, wrong, codes, regions),
        tolerance=tolerance,
        omitted=sum(1 for r in regions if r.stop > r.start) - len(shown),
    )


def _codes(actual: np.ndarray, reference: np.ndarray, wrong: np.ndarray, tolerance: float | None) -> np.ndarray:
    """For each element, the index of its mark in MARKS."""
    if tolerance is None:
        codes = np.where(wrong, _CODE[picture.WRONG], 0).astype(np.uint8)
    else:
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.abs(np.subtract(actual, reference, dtype=np.float64))
        steps = [10.0**power * tolerance for power in range(1, len(picture.LEVELS))]
        codes = np.where(wrong, 1 + np.digitize(error, steps), 0).astype(np.uint8)
        codes[wrong & ~np.isfinite(actual)] = _CODE[picture.NOT_FINITE]
    if actual.dtype.kind == "f":
        codes[wrong & untouched(actual)] = _CODE[picture.NEVER_WRITTEN]
    return codes


def _shown(wrong: np.ndarray, regions: Sequence[Region]) -> list[Region]:
    """The regions that have rows; if there are too many, those with wrong elements first."""
    filled = [r for r in regions if r.stop > r.start]
    if len(filled) <= MOST_REGIONS:
        return filled
    first = sorted(filled, key=lambda r: not wrong[r.start : r.stop].any())[:MOST_REGIONS]
    return sorted(first)


def _edge(rows: Sequence[int], columns: int) -> int:
    edge = EDGE
    while sum(-(-count // edge) for count in rows) * -(-columns // edge) > MOST_TILES:
        edge *= 2
    return edge


def _tiles(codes: np.ndarray, edge: int) -> np.ndarray:
    """The worst code of each tile."""
    rows, columns = (np.arange(0, count, edge) for count in codes.shape)
    worst: np.ndarray = np.maximum.reduceat(np.maximum.reduceat(codes, rows, axis=0), columns, axis=1)
    return worst


def _texts(codes: np.ndarray) -> tuple[str, ...]:
    marks = np.frombuffer(MARKS.encode(), np.uint8)[codes]
    return tuple(row.tobytes().decode() for row in marks)


def _closeup(
    actual: np.ndarray, reference: np.ndarray, wrong: np.ndarray, codes: np.ndarray, regions: Sequence[Region]
) -> Closeup:
    """The first wrong element: its tile, and the values around it, starting one before it if possible."""
    region, row, column = mismatch.first(wrong, regions)
    rows, columns = region.stop - region.start, wrong.shape[1]
    top, left = row // EDGE * EDGE, column // EDGE * EDGE
    bottom, right = min(top + EDGE, rows), min(left + EDGE, columns)
    first_row = max(top, min(row - 1, bottom - VALUE_ROWS))
    first_column = max(left, min(column - 1, right - VALUE_COLUMNS))
    values = np.s_[
        region.start + first_row : region.start + min(first_row + VALUE_ROWS, bottom),
        first_column : min(first_column + VALUE_COLUMNS, right),
    ]
    return Closeup(
        region=region.name,
        row=top,
        column=left,
        marks=_texts(codes[region.start + top : region.start + bottom, left:right]),
        values_row=first_row,
        values_column=first_column,
        expected=_numbers(reference[values]),
        got=_numbers(actual[values]),
    )


def _numbers(values: np.ndarray) -> tuple[str, ...]:
    """Floats to three digits, or UNSET if nothing was written; bytes as 0x3f."""
    if values.dtype.kind != "f":
        return tuple(" ".join(f"{value:#04x}" for value in row) for row in values.tolist())
    missing = untouched(values).tolist()
    return tuple(
        " ".join(UNSET if unset else f"{value:.3g}" for value, unset in zip(row, holes, strict=True))
        for row, holes in zip(values.tolist(), missing, strict=True)
    )
