"""Histograms as rectangles: where each bar lies, for a template to draw as SVG."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

# In the SVG's own units, which are pixels: a chart is as wide as the page of a phone.
WIDTH, HEIGHT = 340.0, 150.0
TOP, BOTTOM = 18.0, 22.0  # for the counts, and for the axis
GAP = 2.0

LABELS = 6  # about so many along the axis


@dataclass(frozen=True)
class HistogramBar:
    """`parts` stand on each other, from below: (which series, y, height)."""

    x: float
    width: float
    count: int
    top: float
    parts: tuple[tuple[int, float, float], ...]
    says: str  # "from 0.2 to 0.3"


@dataclass(frozen=True)
class Histogram:
    bars: tuple[HistogramBar, ...]
    labels: tuple[tuple[float, str], ...]  # x and what stands there
    mark: float | None  # x of a line, where there is one
    count: int
    median: float
    width: float = WIDTH
    height: float = HEIGHT
    floor: float = HEIGHT - BOTTOM


def histogram(
    values: Iterable[tuple[float, int]],
    *,
    step: float,
    bars: int,
    last_is_open: bool = True,
    mark: float | None = None,
) -> Histogram:
    """(value, series) in bars of `step` from 0 up; the last holds all that is more, and the first what is less."""
    values = list(values)
    counts: Counter[tuple[int, int]] = Counter()
    for value, series in values:
        counts[_bar(value, step, bars), series] += 1
    totals = [sum(count for (bar, _), count in counts.items() if bar == number) for number in range(bars)]
    width = WIDTH / bars
    scale = (HEIGHT - TOP - BOTTOM) / max(1, *totals)
    drawn = []
    for number, total in enumerate(totals):
        parts, y = [], HEIGHT - BOTTOM
        for series in sorted({series for bar, series in counts if bar == number}):
            height = round(counts[number, series] * scale, 2)
            y = round(y - height, 2)
            parts.append((series, y, height))
        says = f"{_short(number * step)} or more"
        if number < bars - 1 or not last_is_open:
            says = f"{_short(number * step)} to {_short((number + 1) * step)}"
        drawn.append(
            HistogramBar(round(number * width + GAP / 2, 2), round(width - GAP, 2), total, y, tuple(parts), says)
        )
    every = max(1, round(bars / LABELS / 2) * 2)
    labels = [(round(n * width, 2), _short(n * step)) for n in range(0, bars + 1, every)]
    at = round(min(mark / step, bars) * width, 2) if mark is not None else None
    return Histogram(tuple(drawn), tuple(labels), at, len(values), median(value for value, _ in values))


def _bar(value: float, step: float, bars: int) -> int:
    """A value at a boundary counts above it; 0.3 / 0.1 is 2.9999999999999996."""
    return min(max(math.floor(value / step + 1e-9), 0), bars - 1)


def _short(value: float) -> str:
    return f"{value:.3g}"
