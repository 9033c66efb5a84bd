"""The cases as rows: what each kind of check says about them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from grader.model.exercise import Exercise
from grader.model.result import Check, Result, Status
from reports.problems import family
from reports.text import number, readable

# The columns of the table of cases, in the order in which they are graded.
COLUMNS = {"memory": "Memory and threads", "correct": "Result", "speed": "Speed"}

# What a status is called in that column; elsewhere by its own name.
WORDS = {
    ("memory", Status.PASSED): "clean",
    ("memory", Status.FAILED): "faulty",
    ("correct", Status.PASSED): "right",
    ("correct", Status.FAILED): "wrong",
    ("speed", Status.PASSED): "fast enough",
    ("speed", Status.FAILED): "too slow",
}
STATUS_WORDS = {Status.NOT_JUDGED: "not judged", Status.ERROR: "grader failed"}


@dataclass(frozen=True)
class Cell:
    status: Status
    word: str
    detail: str
    device: str


@dataclass(frozen=True)
class Row:
    case: str
    summary: str
    cells: dict[str, tuple[Cell, ...]]  # by column; one for each device that judged it

    @property
    def secret(self) -> bool:
        """An instructor's own case, by the name that grade run gives it."""
        return self.case.startswith("secret-")


def tables(result: Result, exercise: Exercise | None) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """The exercise's own cases, and those drawn from the seed or kept secret by an instructor."""
    by_case: dict[str, list[Check]] = {}
    for check in result.checks:
        if check.case is not None:
            by_case.setdefault(check.case, []).append(check)
    own = exercise.cases if exercise else {c.case for c in result.checks if family(c) == "speed"}
    rows = [_row(case, checks) for case, checks in by_case.items()]
    return tuple(r for r in rows if r.case in own), tuple(r for r in rows if r.case not in own)


def columns(rows: Iterable[Row]) -> dict[str, str]:
    """The columns in which any of the rows has something."""
    filled = {column for row in rows for column, cells in row.cells.items() if cells}
    return {column: title for column, title in COLUMNS.items() if column in filled}


def others(result: Result) -> tuple[tuple[Check, Cell], ...]:
    """The checks that belong to no case: compile, launch, rules, quality."""
    return tuple((check, _cell(check)) for check in result.checks if check.case is None)


def _row(case: str, checks: list[Check]) -> Row:
    cells: dict[str, tuple[Cell, ...]] = dict.fromkeys(COLUMNS, ())
    for check in checks:
        column = family(check)
        cells[column] = (*cells.get(column, ()), _cell(check))
    summary = next((str(c.measurements["summary"]) for c in checks if c.measurements.get("summary")), "")
    return Row(case, summary, cells)


def _cell(check: Check) -> Cell:
    word = WORDS.get((family(check), check.status)) or STATUS_WORDS.get(check.status, check.status.value)
    return Cell(check.status, word, _detail(check), (check.device or "").upper())


def _detail(check: Check) -> str:
    if check.status is Status.SKIPPED and f"[{check.case}]" in (check.reason or ""):
        return ""  # the cause stands in the same row
    if check.status in (Status.SKIPPED, Status.NOT_JUDGED, Status.ERROR):
        return check.reason or check.message
    measured = check.measurements
    if family(check) == "correct" and "max_abs_error" in measured:
        return _error(measured)
    if family(check) == "speed" and "ratio" in measured:
        return _speed(measured)
    return ""


def _error(measured: dict[str, Any]) -> str:
    worst, tolerance = number(measured["max_abs_error"]), number(measured.get("tolerance"))
    parts = [f"largest error {readable(worst)}" + (f", allowed {readable(tolerance)}" if tolerance else "")]
    mismatches, elements = number(measured.get("mismatches")), number(measured.get("elements"))
    if mismatches:
        parts.insert(0, f"{readable(mismatches)} of {readable(elements)} elements")
    return "; ".join(parts)


def _speed(measured: dict[str, Any]) -> str:
    ratio, low, high = (number(measured.get(key)) for key in ("ratio", "ratio_low", "ratio_high"))
    text = f"{readable(ratio)} of {measured.get('baseline') or 'cuBLAS'}"
    return text + (f" ({readable(low)} to {readable(high)})" if low is not None and high is not None else "")
