"""The cases as rows: what each kind of check says about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from grader.model import families
from grader.model.exercise import Exercise
from grader.model.measurements import FloorMeasured, Measurements
from grader.model.result import Check, Result, Status
from grader.reports.text import as_ratio, readable

# The columns of the table of cases, in the order in which they are graded.
COLUMNS = {family.name: family.title for family in families.per_case()}

STATUS_WORDS = {Status.NOT_JUDGED: "not judged", Status.ERROR: "grader failed"}


# A gauge ends here, in units of the baseline's speed; what is faster fills it.
GAUGE_END = 1.5


@dataclass(frozen=True)
class Gauge:
    """A ratio against its threshold, in percent of the gauge's length."""

    ratio: float
    low: float
    high: float
    threshold: float


@dataclass(frozen=True)
class Cell:
    status: Status
    word: str
    detail: str
    gauge: Gauge | None = None  # for what was timed
    ratio: str = ""


@dataclass(frozen=True)
class TableRow:
    case: str
    summary: str
    cells: dict[str, tuple[Cell, ...]]  # by column; one for each device that judged it

    @property
    def secret(self) -> bool:
        """An instructor's own case, by the name that grade run gives it."""
        return self.case.startswith("secret-")


def tables(result: Result, exercise: Exercise | None) -> tuple[tuple[TableRow, ...], tuple[TableRow, ...]]:
    """The exercise's own cases, and those drawn from the seed or kept secret by an instructor."""
    by_case: dict[str, list[Check]] = {}
    for check in result.checks:
        if check.case is not None:
            by_case.setdefault(check.case, []).append(check)
    own = (
        {*exercise.cases, *exercise.speed_cases}
        if exercise
        else {c.case for c in result.checks if c.rubric == "performance"}
    )
    rows = [_row(case, checks) for case, checks in by_case.items()]
    return tuple(r for r in rows if r.case in own), tuple(r for r in rows if r.case not in own)


def columns(rows: Iterable[TableRow]) -> dict[str, str]:
    """The columns in which any of the rows has something."""
    filled = {column for row in rows for column, cells in row.cells.items() if cells}
    return {column: title for column, title in COLUMNS.items() if column in filled}


def any_ran(rows: Iterable[TableRow]) -> bool:
    return any(cell.status is not Status.SKIPPED for row in rows for cells in row.cells.values() for cell in cells)


def all_passed(rows: Iterable[TableRow]) -> bool:
    return all(cell.status is Status.PASSED for row in rows for cells in row.cells.values() for cell in cells)


def others(result: Result) -> tuple[tuple[Check, Cell], ...]:
    """The checks that belong to no case: compile, launch, rules, quality."""
    return tuple((check, _cell(check)) for check in result.checks if check.case is None)


def outcome(check: Check) -> str:
    """A check's status in a word: "right", "too slow", "not judged"."""
    return word(check) or check.status.value


def word(check: Check) -> str:
    """The same in a column of cases; "" where the status says it all."""
    family = families.of(check.family)
    if check.findings and all(finding.unwritten for finding in check.findings):
        return "not written"
    words = {Status.PASSED: family.passed, Status.FAILED: family.failed, **STATUS_WORDS}
    return words.get(check.status, "")


def judged_on(result: Result) -> str:
    """On what the columns were judged, where a GPU was there: "Result and speed: on the NVIDIA H200"."""
    gpu = result.machine.get("gpu")
    name = str(gpu.get("name") or "GPU") if isinstance(gpu, Mapping) else ""
    on_gpu = [title for family_, title in COLUMNS.items() if _all_on_gpu(result, family_)]
    there = f"Graded on {host(result)}. " if host(result) else ""
    if not name or not on_gpu:
        return there.rstrip()
    return f"{there}{' and '.join(on_gpu).capitalize()}: on the {name}. The rest: by the CPU engine."


def host(result: Result) -> str:
    """The machine of grade run --host; empty if it was graded here."""
    return str(result.machine.get("host") or "")


def repeated(result: Result, exercise: str) -> list[str]:
    """The command that grades the same again."""
    there = ["--host", host(result)] if host(result) else []
    return ["grade", "run", exercise, result.submission.path, "--seed", str(result.seed), *there]


def _all_on_gpu(result: Result, column: str) -> bool:
    devices = {c.device for c in result.checks if c.family == column and c.status is not Status.SKIPPED}
    return devices == {"cuda"}


def _row(case: str, checks: list[Check]) -> TableRow:
    cells: dict[str, tuple[Cell, ...]] = dict.fromkeys(COLUMNS, ())
    for check in checks:
        column = check.family
        cells[column] = (*cells.get(column, ()), _cell(check))
    summary = next((c.measurements.summary for c in checks if c.measurements.summary), "")
    return TableRow(case, summary, cells)


def _cell(check: Check) -> Cell:
    ratio = check.measurements.ratio
    text = "" if ratio is None else as_ratio(ratio, check.measurements.threshold)
    for floor in check.measurements.floors or ():
        text += f"; {floor.route} {as_ratio(floor.ratio, floor.required)}"
    return Cell(check.status, outcome(check), _detail(check), _gauge(check), text)


def _detail(check: Check) -> str:
    if check.status is Status.SKIPPED and f"[{check.case}]" in (check.reason or ""):
        return ""  # the cause stands in the same row
    if check.status in (Status.SKIPPED, Status.NOT_JUDGED, Status.ERROR):
        return check.reason or check.message
    measured = check.measurements
    if measured.ratio is not None:
        return _speed(measured, measured.ratio) + ("" if check.required else "; for information")
    return "" if measured.max_abs_error is None else _error(measured, measured.max_abs_error)


def _error(measured: Measurements, worst: float) -> str:
    allowed = f", allowed {readable(measured.tolerance)}" if measured.tolerance else ""
    parts = [f"largest error {readable(worst)}{allowed}"]
    if measured.mismatches:
        parts.insert(0, f"{readable(measured.mismatches)} of {readable(measured.elements)} elements")
    return "; ".join(parts)


def _speed(measured: Measurements, ratio: float) -> str:
    """ "1.53 of cuBLAS strided (1.52 to 1.55); 7.94 TFLOPS"."""
    low, high, threshold = measured.ratio_low, measured.ratio_high, measured.threshold
    text = f"{as_ratio(ratio, threshold)} of {baseline(measured)}"
    if low is not None and high is not None:
        text += f" ({as_ratio(low, threshold)} to {as_ratio(high, threshold)})"
    text += ", borderline" if measured.borderline else ""
    text += "".join(f"; {floor(one)}" for one in measured.floors or ())
    return text + (f"; {readable(measured.tflops)} TFLOPS" if measured.tflops else "")


def floor(measured: FloorMeasured) -> str:
    """ "8.04 of cuBLAS, all groups padded to the longest, 1.30 required"."""
    ratio = as_ratio(measured.ratio, measured.required)
    borderline = ", borderline" if measured.borderline else ""
    return f"{ratio} of {measured.label}, {measured.required:.2f} required{borderline}"


def baseline(measured: Measurements) -> str:
    """ "cuBLAS strided", "the device copy": with the route, where there are several."""
    _, _, route = (measured.baseline or "").partition(" ")
    return f"{against(measured)} {route}".rstrip()


def against(measured: Measurements) -> str:
    """What the submission was timed against: "cuBLAS"."""
    earlier = "the device copy" if measured.route == "copy" else "cuBLAS"  # Results that do not say it
    return measured.against or earlier


def _gauge(check: Check) -> Gauge | None:
    measured = check.measurements
    ratio, threshold = measured.ratio, measured.threshold
    if ratio is None or threshold is None or not ratio >= 0:
        return None
    low, high = (ratio if end is None else end for end in (measured.ratio_low, measured.ratio_high))
    return Gauge(*(round(100 * min(max(value, 0.0) / GAUGE_END, 1.0), 2) for value in (ratio, low, high, threshold)))
