"""The picture of a wrong output as shapes: a path for each mark, so that 4000 tiles stay a few kilobytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from grader.model import picture
from grader.model.measurements import Measurements
from grader.model.picture import Picture
from grader.reports.text import plural, readable

# How wide a group is drawn at most, and how large a tile, in CSS pixels: a phone's width.
MOST_WIDTH, MOST_TILE = 288, 12
SHOWN_REGIONS = 16

# More is in no picture that the grader makes.
MOST_MARKS = 20_000
MOST_CLOSE = 16

CLASSES = {
    picture.RIGHT: "right",
    "1": "off1",
    "2": "off2",
    "3": "off3",
    "4": "off4",
    picture.WRONG: "off4",
    picture.NOT_FINITE: "nan",
    picture.NEVER_WRITTEN: "unwritten",
}


@dataclass(frozen=True)
class Shape:
    css_class: str
    path: str


@dataclass(frozen=True)
class Grid:
    """Marks as shapes, a unit each; `width` and `height` in CSS pixels."""

    columns: int
    rows: int
    width: int
    height: int
    shapes: tuple[Shape, ...]
    lines: str  # between neighbours, as a path


@dataclass(frozen=True)
class DrawnRegion:
    name: str
    detail: str  # "1,000 rows; 3 of 8 tiles wrong"
    grid: Grid


@dataclass(frozen=True)
class DrawnValue:
    expected: str
    got: str
    wrong: bool


@dataclass(frozen=True)
class Values:
    """What stands about the first wrong element: column numbers, and rows of values with their number."""

    columns: tuple[int, ...]
    rows: tuple[tuple[int, tuple[DrawnValue, ...]], ...]


@dataclass(frozen=True)
class Drawn:
    output: str
    tile: int
    groups: tuple[DrawnRegion, ...]
    others: str  # the groups that are not drawn, in words
    legend: tuple[tuple[str, str], ...]  # (css class, words), of what is in the picture
    first: picture.Closeup
    tile_grid: Grid
    tile_size: str
    values: Values


def draw(measured: Measurements) -> Drawn | None:
    """None where there is no picture, or none that this version reads."""
    kept = measured.picture
    if kept is None:
        return None
    marks = [*(row for region in kept.regions for row in region.marks), *kept.first.marks]
    if not _is_drawable(kept, marks):
        return None
    wrong = [region for region in kept.regions if _wrong(region)]
    regions = wrong[:SHOWN_REGIONS]
    first = kept.first
    return Drawn(
        output=kept.output,
        tile=kept.tile,
        groups=tuple(DrawnRegion(r.name, _detail(r), _grid(r.marks)) for r in regions),
        others=_others(kept, wrong, len(regions)),
        legend=tuple(_legend(set("".join(marks)), kept.tolerance)),
        first=first,
        tile_grid=_grid(first.marks),
        tile_size=f"{len(first.marks)}×{len(first.marks[0])}",
        values=_values(first),
    )


def _is_drawable(kept: Picture, marks: list[str]) -> bool:
    """Of the size that grader.picture makes, and of its marks: a Result may come from anywhere."""
    values = (*kept.first.expected, *kept.first.got)
    return (
        bool(kept.first.marks and kept.first.marks[0])
        and max(len(kept.first.marks), *map(len, kept.first.marks)) <= MOST_CLOSE
        and sum(map(len, marks)) + len(marks) <= MOST_MARKS
        and sum(map(len, values)) <= MOST_MARKS
        and all(set(row) <= set(picture.MARKS) for row in marks)
    )


def _others(kept: Picture, wrong: list[picture.PictureRegion], shown: int) -> str:
    """ "Right: group 0, group 2. 3 further wrong ones are not drawn."."""
    right = [region.name for region in kept.regions if not _wrong(region)]
    parts = []
    if right:
        more = f" and {len(right) - SHOWN_REGIONS} more" if len(right) > SHOWN_REGIONS else ""
        parts.append(f"Right: {', '.join(right[:SHOWN_REGIONS])}{more}.")
    if len(wrong) > shown:
        parts.append(f"{plural(len(wrong) - shown, 'further wrong one')} not drawn.")
    if kept.omitted:
        parts.append(f"{plural(kept.omitted, 'further group')} not drawn.")
    return " ".join(parts)


def _wrong(region: picture.PictureRegion) -> int:
    return sum(mark != picture.RIGHT for row in region.marks for mark in row)


def _detail(region: picture.PictureRegion) -> str:
    tiles, wrong = sum(map(len, region.marks)), _wrong(region)
    said = "all right" if not wrong else f"all {tiles:,} tiles wrong" if wrong == tiles else ""
    return f"{plural(region.rows, 'row')}; " + (said or f"{wrong:,} of {plural(tiles, 'tile')} wrong")


def _grid(marks: tuple[str, ...]) -> Grid:
    columns, rows = max(map(len, marks), default=0), len(marks)
    paths: dict[str, list[str]] = {}
    for y, row in enumerate(marks):
        for x, length, mark in _runs(row):
            paths.setdefault(CLASSES[mark], []).append(f"M{x} {y}h{length}v1h-{length}z")
    shapes = tuple(Shape(css_class, "".join(parts)) for css_class, parts in paths.items())
    lines = [f"M{x} 0v{rows}" for x in range(1, columns)] + [f"M0 {y}h{columns}" for y in range(1, rows)]
    width = min(MOST_WIDTH, MOST_TILE * columns)
    return Grid(columns, rows, width, max(2, round(width * rows / max(columns, 1))), shapes, "".join(lines))


def _runs(row: str) -> Iterator[tuple[int, int, str]]:
    """(start, length, mark) of equal neighbours."""
    start = 0
    for at in range(1, len(row) + 1):
        if at == len(row) or row[at] != row[start]:
            yield start, at - start, row[start]
            start = at


def _legend(marks: set[str], tolerance: float | None) -> Iterator[tuple[str, str]]:
    yield "right", "right"
    for power, level in enumerate(picture.LEVELS, start=1):
        if level in marks and tolerance is not None:
            last = level == picture.LEVELS[-1]
            bound = readable(tolerance * 10 ** (power - last))
            yield CLASSES[level], f"off by {bound} or more" if last else f"off by less than {bound}"
    for mark, words in (
        (picture.WRONG, "wrong"),
        (picture.NOT_FINITE, "NaN or infinite"),
        (picture.NEVER_WRITTEN, "never written"),
    ):
        if mark in marks:
            yield CLASSES[mark], words


def _values(first: picture.Closeup) -> Values:
    rows = []
    for down, (right, got) in enumerate(zip(first.expected, first.got, strict=False)):
        pairs = list(zip(right.split(), got.split(), strict=False))
        row = first.values_row + down
        values = (
            DrawnValue(expected, actual, _is_wrong(first, row, first.values_column + across))
            for across, (expected, actual) in enumerate(pairs)
        )
        rows.append((row, tuple(values)))
    width = max((len(values) for _, values in rows), default=0)
    return Values(tuple(range(first.values_column, first.values_column + width)), tuple(rows))


def _is_wrong(first: picture.Closeup, row: int, column: int) -> bool:
    down, across = row - first.row, column - first.column
    inside = 0 <= down < len(first.marks) and 0 <= across < len(first.marks[down])
    return inside and first.marks[down][across] != picture.RIGHT
