"""Does the interval hold the truth as often as it says, on series that behave as a GPU's do?"""

from __future__ import annotations

import math

import numpy as np
import pytest

from grader.timing.gate import Decision, decide
from grader.timing.session import LOOKS, ROUNDS_PER_BLOCK
from grader.timing.statistics import (
    LEVEL,
    MIN_BLOCKS,
    MIN_HALF_WIDTH,
    Interval,
    combined,
    interval,
    t_probability,
    t_quantile,
)

RUNS = 400
TRUTH = 0.75


def correlated(rng: np.random.Generator, rounds: int, spread: float, correlation: float) -> np.ndarray:
    """AR(1) around TRUTH: each round remembers the one before."""
    noise = rng.normal(0, spread * math.sqrt(1 - correlation**2), rounds)
    series = np.empty(rounds)
    state = rng.normal(0, spread)
    for i in range(rounds):
        state = correlation * state + noise[i]
        series[i] = TRUTH * (1 + state)
    return series


def blocks_of(series: np.ndarray) -> list[list[float]]:
    return [block.tolist() for block in series.reshape(-1, ROUNDS_PER_BLOCK)]


def misses(series: list[np.ndarray]) -> float:
    found = [interval(blocks_of(s), looks=len(LOOKS)) for s in series]
    return sum(not f.low <= TRUTH <= f.high for f in found) / len(found)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("blocks", LOOKS)
def test_covers_the_truth_where_rounds_are_correlated(correlation: float, blocks: int) -> None:
    """The spread is large, so that the statistics and not the least width are tested."""
    rng = np.random.default_rng(5)
    rounds = blocks * ROUNDS_PER_BLOCK
    assert misses([correlated(rng, rounds, 0.15, correlation) for _ in range(RUNS)]) <= 1 - LEVEL


def test_covers_the_middle_of_a_drift() -> None:
    rng = np.random.default_rng(6)
    drift = TRUTH * np.linspace(-0.1, 0.1, LOOKS[0] * ROUNDS_PER_BLOCK)
    assert misses([correlated(rng, len(drift), 0.05, 0.5) + drift for _ in range(RUNS)]) <= 1 - LEVEL


def test_a_level_for_each_look_keeps_the_level_of_all_together() -> None:
    """A true ratio on the threshold must not be decided by looking often enough."""
    rng = np.random.default_rng(7)
    decided = 0
    for _ in range(RUNS):
        blocks = blocks_of(correlated(rng, LOOKS[-1] * ROUNDS_PER_BLOCK, 0.15, 0.5))
        looks = (interval(blocks[:n], looks=len(LOOKS)) for n in LOOKS)
        decided += any(decide(found, TRUTH) is not Decision.ACROSS for found in looks)
    assert decided / RUNS <= 1 - LEVEL + 0.01


def test_one_round_that_stands_out_moves_nothing() -> None:
    blocks = [[0.8] * ROUNDS_PER_BLOCK for _ in range(LOOKS[0])]
    blocks[3][2] = 0.1
    assert interval(blocks).ratio == 0.8


def test_is_never_narrower_than_what_processes_differ_by() -> None:
    found = interval([[0.8] * 4] * MIN_BLOCKS)
    assert (found.low, found.high) == (0.8 * (1 - MIN_HALF_WIDTH), 0.8 * (1 + MIN_HALF_WIDTH))


def test_too_few_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match=f"an interval needs {MIN_BLOCKS}"):
        interval([[0.8]] * (MIN_BLOCKS - 1))


def test_one_stray_process_of_three_moves_nothing() -> None:
    alike = Interval(0.7, 0.68, 0.72)
    assert combined([alike, Interval(0.3, 0.2, 0.4), alike]) == alike


@pytest.mark.parametrize(
    ("probability", "degrees", "quantile"),  # from printed tables
    [
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 7, 2.365),
        (0.995, 8, 3.355),
        (0.975, 15, 2.131),
        (0.95, 30, 1.697),
    ],
)
def test_students_t(probability: float, degrees: int, quantile: float) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(quantile, abs=6e-4)
    assert t_probability(-quantile, degrees) == pytest.approx(1 - probability, abs=1e-4)
