"""What it would cost to pad every group to the longest: rows needed and rows computed, by case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from grader.model.result import Result


@dataclass(frozen=True)
class Padding:
    """One case. `heights`: each group's rows as a percentage of the longest group's, for the drawing."""

    case: str
    needed: int  # rows
    padded: int
    waste: float  # share of the padded rows
    heights: tuple[float, ...]


def by_case(result: Result) -> tuple[Padding, ...]:
    """The cases whose speed is judged, if their exercise is about padding."""
    return tuple(_padding(case, rows) for case, rows in _group_rows(result))


def _group_rows(result: Result) -> Iterator[tuple[str, tuple[int, ...]]]:
    timed = {check.case for check in result.checks if check.rubric == "performance" and check.case}
    found = {c.case: rows for c in result.checks if c.case in timed and (rows := c.measurements.group_rows)}
    for case, rows in found.items():
        if case and min(rows) >= 0 < max(rows):
            yield case, rows


def _padding(case: str, rows: tuple[int, ...]) -> Padding:
    longest, needed = max(rows), sum(rows)
    padded = longest * len(rows)
    heights = tuple(round(100 * one / longest, 2) for one in rows)
    return Padding(case, needed, padded, 1 - needed / padded, heights)
