"""The roofline: what the GPU allows at each arithmetic intensity, and where the kernel is, case by case."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from string import ascii_uppercase

from grader.model.result import Check, Result, Status
from grader.reports.speed import timed, units
from grader.reports.text import number, readable

# The drawing's own units; the text in it is set in them too (report.css).
WIDTH, HEIGHT = 360.0, 230.0
LEFT, RIGHT, TOP, BOTTOM = 40.0, 12.0, 12.0, 34.0


@dataclass(frozen=True)
class Point:
    letter: str
    case: str
    status: Status
    intensity: float  # FLOP for each byte that must come from or go to memory
    tflops: float
    share: float | None  # of the roof
    x: float
    y: float


@dataclass(frozen=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True)
class Roofline:
    points: tuple[Point, ...]
    memory: tuple[float, float, float, float]  # x1, y1, x2, y2
    compute: tuple[float, float, float, float] | None
    bandwidth: float  # TB/s
    peak: float | None  # TFLOPS of the units
    units: str  # "the FP32 units"
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]

    @property
    def spoken(self) -> str:
        roofs = f"The memory moves {readable(self.bandwidth)} TB/s"
        if self.peak is not None:
            roofs += f", {self.units} do {readable(self.peak)} TFLOPS"
        points = "; ".join(
            f"{p.case}: {readable(p.intensity)} FLOP per byte, {readable(p.tflops)} TFLOPS" for p in self.points
        )
        return f"{roofs}. {points}."


def make(result: Result) -> Roofline | None:
    """From the cases' own measurements; None where nothing was timed, or not enough is known of the GPU."""
    gpu = result.machine.get("gpu")
    bandwidth = number(gpu.get("memory_gb_per_second")) if isinstance(gpu, dict) else None
    measured = [found for check in timed(result) if (found := _measured(check))]
    if not measured or bandwidth is None or not bandwidth > 0:
        return None
    bandwidth /= 1000
    peak = _peak(timed(result))
    x_axis = _Axis(
        [i for _, i, _ in measured] + ([peak / bandwidth] if peak else []), LEFT, WIDTH - RIGHT, margin=2.0
    )
    tops = [bandwidth * x_axis.low, *([peak] if peak else [bandwidth * x_axis.high])]
    y_axis = _Axis([t for _, _, t in measured] + tops, HEIGHT - BOTTOM, TOP, margin=1.4)
    ridge = min(peak / bandwidth, x_axis.high) if peak else x_axis.high
    start = max(x_axis.low, y_axis.low / bandwidth)
    return Roofline(
        points=_placed(measured, x_axis, y_axis),
        memory=(x_axis.at(start), y_axis.at(start * bandwidth), x_axis.at(ridge), y_axis.at(ridge * bandwidth)),
        compute=(x_axis.at(ridge), y_axis.at(peak), x_axis.at(x_axis.high), y_axis.at(peak)) if peak else None,
        bandwidth=bandwidth,
        peak=peak,
        units=units(timed(result)[0].measurements),
        x_ticks=x_axis.ticks(),
        y_ticks=y_axis.ticks(),
    )


class _Axis:
    """A logarithmic axis over these values; `begin` and `end` in the drawing's units."""

    def __init__(self, values: Iterable[float], begin: float, end: float, *, margin: float) -> None:
        values = list(values)
        self.low, self.high = min(values) / margin, max(values) * margin
        self._begin, self._end = begin, end

    def at(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return round(self._begin + share * (self._end - self._begin), 1)

    def ticks(self) -> tuple[Tick, ...]:
        """At powers of ten, and between them where these are few."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5)):
            values = [step * 10.0**power for power in powers for step in steps]
            inside = [value for value in values if self.low <= value <= self.high]
            if len(inside) >= 3:
                break
        return tuple(Tick(self.at(value), f"{value:g}") for value in inside)


def _measured(check: Check) -> tuple[Check, float, float] | None:
    """(check, intensity, TFLOPS)."""
    intensity, tflops = check.measurements.intensity, check.measurements.tflops
    usable = intensity and tflops and intensity > 0 and tflops > 0 and math.isfinite(intensity * tflops)
    return (check, intensity, tflops) if usable and intensity and tflops else None


def _peak(checks: Iterable[Check]) -> float | None:
    """TFLOPS of the units, as a case that they bound tells it."""
    for check in checks:
        share, tflops = check.measurements.roof_share, check.measurements.tflops
        if check.measurements.roof == "compute" and share and tflops and share > 0 and tflops > 0:
            return tflops / share
    return None


def _placed(measured: list[tuple[Check, float, float]], x_axis: _Axis, y_axis: _Axis) -> tuple[Point, ...]:
    """In the cases' order, each with a letter of its own."""
    return tuple(
        Point(
            letter=letter,
            case=check.case or check.id,
            status=check.status,
            intensity=intensity,
            tflops=tflops,
            share=check.measurements.roof_share,
            x=x_axis.at(intensity),
            y=y_axis.at(tflops),
        )
        for letter, (check, intensity, tflops) in zip(ascii_uppercase, measured, strict=False)
    )
