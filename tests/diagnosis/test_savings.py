"""What there is to be won, from figures that leave no doubt; silent where nothing is."""

from __future__ import annotations

import pytest

from grader.diagnosis import savings
from grader.model.counted import KernelCounts, LineCounts, Saving

# Each warp runs a hundred instructions, of which 40 multiply-adds; a tile in registers with wide loads.
GOOD = LineCounts(
    7,
    instructions=100_000,
    lanes=3_200_000,
    multiply_adds=80_000,
    shared_requests=5_000,
    shared_wavefronts=10_000,
    least_wavefronts=10_000,
    global_requests=500,
    global_sectors=2_000,
    least_sectors=2_000,
)


def of(*lines: LineCounts, busy: float = 1.0, blocks: int = 500) -> list[tuple[str, int]]:
    return [(one.kind, one.line) for one in found(*lines, busy=busy, blocks=blocks)]


def found(*lines: LineCounts, busy: float = 1.0, blocks: int = 500) -> tuple[Saving, ...]:
    return savings.of([KernelCounts("k", blocks, warps=8 * blocks, counted=8 * blocks, lines=lines, busy=busy)])


def test_where_nothing_is_to_be_won_nothing_is_said() -> None:
    assert of(GOOD) == []


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (LineCounts(9, 1000, 32_000, shared_requests=2000, shared_wavefronts=64_000, least_wavefronts=2000),
         "bank-conflicts"),
        (LineCounts(9, 1000, 32_000, global_requests=2000, global_sectors=64_000, least_sectors=8000), "scattered"),
        (LineCounts(9, 60_000, 60_000), "divergent"),
        (LineCounts(9, 1000, 32_000, updates=4000, busiest=4000), "contended"),
        (LineCounts(9, 10_000, 320_000, local_requests=10_000), "local-memory"),
        (LineCounts(9, 10_000, 320_000, multiply_adds=90_000, shared_requests=190_000, shared_loads=190_000,
                    shared_wavefronts=190_000, least_wavefronts=190_000), "shared-loads"),
        (LineCounts(9, 10_000, 320_000, multiply_adds=90_000, global_requests=190_000, global_loads=190_000,
                    global_sectors=400_000, least_sectors=400_000), "global-loads"),
    ],
)  # fmt: skip
def test_each_kind_is_found_on_its_line(line: LineCounts, kind: str) -> None:
    assert of(GOOD, line) == [(kind, 9)]


def test_what_a_line_takes_is_told_for_one_access() -> None:
    conflicts = LineCounts(9, 1000, 32_000, shared_requests=2000, shared_wavefronts=64_000, least_wavefronts=2000)
    (saving,) = found(GOOD, conflicts)
    assert (saving.takes, saving.least, saving.share) == (32, 1, 62 / 64)


def test_a_conflict_that_hardly_matters_is_left_out() -> None:
    assert of(GOOD, LineCounts(9, 10, 320, shared_requests=10, shared_wavefronts=320, least_wavefronts=10)) == []


def test_what_would_bring_more_comes_first() -> None:
    little = LineCounts(8, 1000, 32_000, shared_requests=1000, shared_wavefronts=16_000, least_wavefronts=1000)
    much = LineCounts(9, 1000, 32_000, shared_requests=2000, shared_wavefronts=64_000, least_wavefronts=2000)
    assert of(GOOD, little, much) == [("bank-conflicts", 9), ("bank-conflicts", 8)]


def test_idle_multiprocessors_are_the_whole_kernels() -> None:
    assert of(GOOD, busy=0.4, blocks=64) == [("idle", 0)]
