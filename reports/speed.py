"""How fast each case is compared with cuBLAS's routes, and what limits it: for the chart and the advice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from grader.model.measurements import NOTHING, LaunchedKernel, Measurements
from grader.model.result import Check, Result, Status
from grader.reports import occupancy
from grader.reports.cases import against, baseline, floor
from grader.reports.problems import Occurrence, Problem
from grader.reports.text import as_ratio, number, us

# What routes are called in Results that do not say it.
EARLIER_ROUTES = {
    "grouped": "cuBLAS, one grouped call",
    "sequential": "cuBLAS, group by group",
    "streams": "cuBLAS, parallel streams",
    "strided": "cuBLAS, strided batch",
    "copy": "device copy of the same bytes",
    "single_matrix": "cuBLAS, one matrix with as many FLOPs",
}

BEST_KNOWN = "best known kernel on this GPU"
SINGLE_MATRIX = "single_matrix"  # the route whose time has a name of its own

# Below these shares of what is there, the advice begins with it.
FEW_BLOCKS = 1.0  # blocks for each multiprocessor
LOW_OCCUPANCY = 0.25
NEAR_THE_ROOF = 0.5


@dataclass(frozen=True)
class Bar:
    """One contender. `length`, `low` and `high` are percent of the chart's width; so is Chart.threshold."""

    name: str
    kind: str  # yours, gate, route, other: how it is drawn
    time_us: float
    ratio: float  # of the baseline's speed
    length: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Chart:
    """One case: contenders by speed; longer is faster."""

    case: str
    status: Status
    counts: bool  # for the verdict
    bars: tuple[Bar, ...]
    threshold: float | None
    allowed_us: float | None
    tflops: float | None
    floors: tuple[str, ...] = ()  # further requirements, with what was reached


@dataclass(frozen=True)
class Launched:
    """A kernel as it was launched for a case, and what bounds it."""

    case: str
    kernel: str
    blocks: int | None
    waves: float | None  # of blocks, one after the other
    added_us: float | None  # to the kernels before it, where there are several
    registers: int | None
    shared_bytes: int | None
    occupancy: float | None
    limited_by: str
    roof: str  # "the FP32 units", "the memory bandwidth"
    roof_share: float | None


def timed(result: Result) -> tuple[Check, ...]:
    return tuple(c for c in result.checks if _positive(c.measurements.time_us))


def charts(result: Result) -> tuple[Chart, ...]:
    return tuple(chart for check in timed(result) if (chart := _chart(check)))


def launched(result: Result) -> tuple[Launched, ...]:
    measured = tuple(row for check in timed(result) for row in _launched(check, result.machine))
    return measured or tuple(_planned(result))


def _planned(result: Result) -> Iterator[Launched]:
    """Without a GPU: what the launch functions ask for, as an H200 would hold it."""
    by_case = next((check.measurements.planned for check in result.checks if check.measurements.planned), {})
    for case, rows in by_case.items():
        for row in rows:
            share, limited = occupancy.computed(row)
            yield Launched(
                case=case,
                kernel=row.name,
                blocks=row.grid_blocks,
                waves=occupancy.waves(row, share),
                added_us=None,
                registers=row.registers,
                shared_bytes=row.shared_bytes,
                occupancy=share,
                limited_by=limited,
                roof="",
                roof_share=None,
            )


def slow(case: str, measured: Measurements) -> str:
    """ "variable: 66.3 µs; at most 58 µs is allowed. cuBLAS takes ..."; "" where nothing was measured."""
    own, base, allowed = _positive(measured.time_us), _positive(measured.baseline_us), _allowed(measured)
    if own is None or base is None or allowed is None:
        return ""
    name = _first(against(measured))
    ratio = as_ratio(measured.ratio or base / own, measured.threshold)
    missed = [f" It reaches {floor(one)}." for one in measured.floors or () if not one.passed]
    return (
        f"{case}: {us(own)} µs; at most {us(allowed)} µs is allowed. "
        f"{name} takes {us(base)} µs, so yours reaches {ratio} of its speed."
    ) + "".join(missed)


def slowest_first(problem: Problem) -> list[Occurrence]:
    """The cases that are too slow; none where the problem is another."""
    slow = [o for o in problem.occurrences if problem.kind == "speed"]
    return sorted(slow, key=lambda o: o.measured.ratio or 0.0)


def advice(measured: Measurements, machine: Mapping[str, Any]) -> str:
    """Where a kernel that is too slow has most to gain, by what was measured; "" where nothing says so."""
    row = next((row for row in measured.launched if row.grid_blocks is not None), None)
    multiprocessors = number(_gpu(machine).get("multiprocessors"))
    share = measured.roof_share
    if row is None or row.grid_blocks is None or share is None:
        return ""
    if row.spill_bytes:
        return "Registers are spilled to memory, so each access to them is slow: keep fewer values live at once."
    if multiprocessors and row.grid_blocks < FEW_BLOCKS * multiprocessors:
        return (
            f"It launches {row.grid_blocks} blocks for {multiprocessors:.0f} multiprocessors, so some have "
            "nothing to do: use smaller tiles where the problem is small, or split the sum over K."
        )
    occupied = row.occupancy
    if occupied is not None and occupied < LOW_OCCUPANCY:
        return (
            f"Only {occupied:.0%} of a multiprocessor's thread slots are in use, too few to hide the latency of "
            "memory: use fewer registers or less shared memory per block."
        )
    if share < NEAR_THE_ROOF and measured.roof == "compute":
        return (
            f"{_first(units(measured))} are {share:.0%} busy; the rest of the time they wait for operands. Let each "
            "thread compute several elements of C in registers, so that each value it loads is used more often."
        )
    if share < NEAR_THE_ROOF:
        return (
            f"It reaches {share:.0%} of the memory bandwidth: let neighbouring threads read neighbouring addresses, "
            "16 bytes each, and keep enough loads in flight."
        )
    return ""


def _allowed(measured: Measurements) -> float | None:
    """The time that meets every requirement."""
    own, base, threshold = map(_positive, (measured.time_us, measured.baseline_us, measured.threshold))
    if base is None or threshold is None:
        return None
    floors = [own * one.ratio / one.required for one in measured.floors or ()] if own else []
    return min([base / threshold, *filter(_positive, floors)])


def _chart(check: Check) -> Chart | None:
    measured = check.measurements
    base = _positive(measured.baseline_us)
    if base is None:
        return None
    times = list(_contenders(measured, base))
    longest = 1.02 * max(1.0, *(base / time for _, _, time in times))
    threshold = _positive(measured.threshold)

    def percent(ratio: float | None) -> float | None:
        return None if ratio is None else round(100 * min(max(ratio, 0.0) / longest, 1.0), 2)

    def bar(name: str, kind: str, time: float) -> Bar:
        """The submission's ratio is the median over the rounds, not the quotient of two medians."""
        own = measured if kind == "yours" else NOTHING
        ratio = own.ratio or base / time
        ends = percent(own.ratio_low), percent(own.ratio_high)
        return Bar(name, kind, time, ratio, percent(ratio) or 0.0, *ends)

    return Chart(
        case=check.case or check.id,
        status=check.status,
        counts=check.required,
        bars=tuple(bar(*contender) for contender in times),
        threshold=percent(threshold),
        allowed_us=_allowed(measured),
        floors=tuple(floor(one) for one in measured.floors or ()),
        tflops=_positive(measured.tflops),  # 0 where the exercise has no FLOPs to count
    )


def _contenders(measured: Measurements, base: float) -> Iterator[tuple[str, str, float]]:
    """(name, kind, µs): the submission, the baseline, other routes from the fastest on, then what is only shown."""
    own = _positive(measured.time_us)
    assert own is not None
    yield "your kernel", "yours", own
    gate = measured.route or ""
    yield _label(measured, gate) or baseline(measured), "gate", base
    times = {route: time for route, us in (measured.routes_us or {}).items() if (time := _positive(us))}
    for name, time in sorted(times.items(), key=lambda item: item[1]):
        if name != gate:
            yield _label(measured, name) or name, "route", time
    for name, shown in {SINGLE_MATRIX: measured.single_matrix_us, **(measured.shown_us or {})}.items():
        if time_ := _positive(shown):
            yield _label(measured, name) or name, "other", time_
    if best := _positive(measured.best_known_us):
        yield BEST_KNOWN, "other", best


def _roof(measured: Measurements) -> str:
    words = {"compute": units(measured), "memory": "the memory bandwidth"}
    return words.get(measured.roof or "", measured.roof or "")


def _label(measured: Measurements, route: str) -> str:
    return (measured.route_labels or EARLIER_ROUTES).get(route, "")


def _first(name: str) -> str:
    """As a sentence begins with it."""
    return name.replace("the ", "The ", 1) if name.startswith("the ") else name


def units(measured: Measurements) -> str:
    """Whose roof of computing is meant."""
    return measured.units or "the FP32 units"


def _launched(check: Check, machine: Mapping[str, Any]) -> Iterator[Launched]:
    measured = check.measurements
    for row in measured.launched:
        yield Launched(
            case=check.case or check.id,
            kernel=row.name,
            blocks=row.grid_blocks,
            waves=_waves(row, machine),
            added_us=_positive((measured.kernels_us or {}).get(row.name)),
            registers=row.registers,
            shared_bytes=row.shared_bytes,
            occupancy=row.occupancy,
            limited_by=occupancy.limit(row, str(_gpu(machine).get("compute_capability", ""))),
            roof=_roof(measured),
            roof_share=measured.roof_share,
        )


def _waves(row: LaunchedKernel, machine: Mapping[str, Any]) -> float | None:
    multiprocessors = number(_gpu(machine).get("multiprocessors"))
    if not row.grid_blocks or not row.blocks_per_sm or not multiprocessors:
        return None
    return _positive(row.grid_blocks / (row.blocks_per_sm * multiprocessors))


def _gpu(machine: Mapping[str, Any]) -> Mapping[str, Any]:
    gpu = machine.get("gpu")
    return gpu if isinstance(gpu, Mapping) else {}


def _positive(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value > 0 else None
