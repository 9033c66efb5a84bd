"""What is advised follows the engine's own words, so the engine says them here."""

from __future__ import annotations

import pytest

from grader.ptx import asynchronous
from grader.ptx.machine import Kind, Misuse
from reports.kinds import next_step
from tests.ptx.test_findings import run

WHO = "thread (0,0,0) of block (0,0,0)"
MBARRIER = [(Kind.STUCK_PHASE, 2 << 32), (Kind.STUCK_PHASE, 16), *((Kind.MISUSE, misuse) for misuse in Misuse)]


def advised(kind: str, body: str, *, grid: int = 1) -> str:
    """The next step for the first finding of this kernel, which is of that kind."""
    found = run(body, grid=grid, workers=1).findings[0]
    assert found.kind == kind, found
    return next_step(found.kind, found.message)


@pytest.mark.parametrize(("kind", "other"), MBARRIER)
def test_a_stuck_or_misused_mbarrier_is_counted(kind: Kind, other: int) -> None:
    step = next_step("barrier-divergence", asynchronous.message(kind, WHO, "bar[0]", other, 7))
    assert "mbarrier" in step
    assert "__syncthreads" not in step


@pytest.mark.parametrize(
    "body",
    [
        "if (t < 32) return; __syncthreads();",
        "if (t < 32) { __syncthreads(); out[t] = 1; __syncthreads(); } else __syncthreads();",
        'asm volatile("bar.sync 1, 96;");',
    ],
)
def test_syncthreads_is_no_mbarrier(body: str) -> None:
    step = advised("barrier-divergence", body)
    assert "__syncthreads" in step
    assert "mbarrier" not in step
