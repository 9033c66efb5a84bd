"""The confidence interval of a median ratio, from rounds that are correlated with neighbouring rounds.

Rounds are grouped into blocks whose medians are treated as independent: the causes of correlation (a clock that
steps, a warm cache) are shorter than a block. Slow drift makes the blocks differ more, so it widens the
interval. Pure functions, independent of any GPU.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import msgspec

LEVEL = 0.95  # probability that the interval contains the true ratio, over all looks together
MIN_HALF_WIDTH = 0.01  # share of the ratio: fresh processes differ by this much, whatever a single process suggests
MIN_BLOCKS = 6  # fewer cannot estimate their own spread

Block = Sequence[float]


class Interval(msgspec.Struct, frozen=True):
    """low <= ratio <= high; `ratio` is the median of all rounds."""

    ratio: float
    low: float
    high: float


def interval(blocks: Sequence[Block], *, looks: int = 1) -> Interval:
    """The median ratio of the rounds in `blocks`, with its interval.

    `looks` is how often the data may be examined before the verdict. Each look gets a share of the level
    (Bonferroni), so that looking often does not produce a verdict by chance.
    """
    if len(blocks) < MIN_BLOCKS:
        raise ValueError(f"{len(blocks)} blocks; an interval needs {MIN_BLOCKS}")
    ratio = statistics.median(value for block in blocks for value in block)
    medians = [statistics.median(block) for block in blocks]
    error = statistics.stdev(medians) / math.sqrt(len(medians))
    half = t_quantile(1 - (1 - LEVEL) / looks / 2, len(medians) - 1) * error
    return around(ratio, min(ratio, statistics.fmean(medians)) - half, max(ratio, statistics.fmean(medians)) + half)


def around(ratio: float, low: float, high: float) -> Interval:
    """Never narrower than MIN_HALF_WIDTH on either side."""
    return Interval(ratio, min(low, ratio * (1 - MIN_HALF_WIDTH)), max(high, ratio * (1 + MIN_HALF_WIDTH)))


def combined(processes: Sequence[Interval]) -> Interval:
    """Combines fresh processes: the median of each of the three numbers, so that one outlier changes none of them."""
    ratio = statistics.median(p.ratio for p in processes)
    return around(
        ratio,
        statistics.median(p.low for p in processes),
        statistics.median(p.high for p in processes),
    )


def t_quantile(probability: float, degrees: int) -> float:
    """Student's t: P(T <= quantile) = probability, for a probability above one half. By bisection."""
    low, high = 0.0, 1.0
    while t_probability(high, degrees) < probability:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if t_probability(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def t_probability(value: float, degrees: int) -> float:
    """P(T <= value) in closed form (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan2(value, math.sqrt(degrees))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    if degrees % 2 == 0:
        return 0.5 + sine / 2 * _series(square, [(2 * i - 1) / (2 * i) for i in range(1, degrees // 2)])
    if degrees == 1:
        return 0.5 + angle / math.pi
    inner = _series(square, [2 * i / (2 * i + 1) for i in range(1, (degrees - 1) // 2)])
    return 0.5 + (angle + sine * math.cos(angle) * inner) / math.pi


def _series(x: float, factors: Sequence[float]) -> float:
    """1 + f1 x + f1 f2 x^2 + ..."""
    total = term = 1.0
    for factor in factors:
        term *= factor * x
        total += term
    return total
