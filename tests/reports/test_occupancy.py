"""How many blocks fit a multiprocessor, and what keeps out more: checked by hand against the limits of an H200."""

from __future__ import annotations

import pytest

from grader.model.measurements import LaunchedKernel
from grader.reports import occupancy


@pytest.mark.parametrize(
    ("threads", "registers", "shared_bytes", "share", "limited"),
    [
        (256, 32, 0, 1.0, "registers and threads"),
        (1024, 64, 0, 0.5, "registers"),
        (256, 16, 100 << 10, 0.25, "shared memory"),
        (32, 16, 0, 0.5, "blocks"),
        (1024, 16, 0, 1.0, "threads"),
    ],
)
def test_what_limits(threads: int, registers: int, shared_bytes: int, share: float, limited: str) -> None:
    launch = LaunchedKernel(block_threads=threads, registers=registers, shared_bytes=shared_bytes)
    assert occupancy.computed(launch) == (share, limited)


def test_waves() -> None:
    launch = LaunchedKernel(grid_blocks=1584, block_threads=256, registers=32, shared_bytes=0)
    assert occupancy.waves(launch, 1.0) == 1584 / (8 * 132)
    assert occupancy.waves(launch, None) is None


NOTHING = [
    LaunchedKernel(),
    LaunchedKernel(block_threads=0, registers=1, shared_bytes=0),
    LaunchedKernel(block_threads=32, registers=1, shared_bytes=-1024),
]


@pytest.mark.parametrize("launch", NOTHING)
def test_figures_that_say_nothing(launch: LaunchedKernel) -> None:
    assert occupancy.computed(launch) == (None, "")
