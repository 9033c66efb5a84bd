"""What a child counts of a submission: by line, and how evenly its blocks share the multiprocessors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from grader.executors import counting, open_cpu
from grader.model.counted import KernelCounts, LineCounts
from grader.model.execution import Invocation, LaunchConfig
from grader.model.exercise import Array
from grader.ptx.counting import Counted
from grader.sandbox.child import Child

SOURCE = b"""\
#include "grader.cuh"
extern "C" __global__ void first_kernel(const float* x, float* y) {
  y[blockIdx.x * 32 + threadIdx.x] =
      x[threadIdx.x * 32];
}
extern "C" __global__ void second_kernel(float* y, int* n) {
  if (y[threadIdx.x] > 0)
    atomicAdd(n, 1);
}
extern "C" __global__ void exotic_kernel(int* n) { asm volatile("brkpt;"); n[0] = 1; }
"""


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADER_CACHE_DIR", "")
        opened = open_cpu()
    assert opened.compile(SOURCE, "mine.cu").ok
    yield opened
    opened.close()


def launch(blocks: int) -> LaunchConfig:
    return LaunchConfig((blocks, 1, 1), (32, 1, 1))


def count(child: Child, *invocations: Invocation) -> tuple[KernelCounts, ...]:
    arrays = (
        Array("x", np.ones(1024, np.float32)),
        Array("y", np.zeros(128, np.float32), "out"),
        Array("n", np.zeros(1, np.int32), "inout"),
    )
    return child.count(invocations, arrays, deadline=60)


FIRST = Invocation("first_kernel", launch(4), ("x", "y"))
SECOND = Invocation("second_kernel", launch(1), ("y", "n"))


def lines(counts: KernelCounts) -> dict[int, LineCounts]:
    return {line.line: line for line in counts.lines}


def test_each_line_has_what_its_accesses_cost(child: Child) -> None:
    (counts,) = count(child, FIRST)
    assert (counts.kernel, counts.blocks, counts.warps, counts.counted) == ("first_kernel", 4, 4, 4)
    load, store = lines(counts)[4], lines(counts)[3]
    assert (load.global_requests, load.global_sectors, load.least_sectors) == (4, 128, 16)
    assert (store.global_requests, store.global_sectors, store.least_sectors) == (4, 16, 16)
    assert load.lanes == 32 * load.instructions


def test_what_is_compiled_beside_a_run_counts_the_same(child: Child) -> None:
    arrays = (Array("x", np.ones(1024, np.float32)), Array("y", np.zeros(128, np.float32), "out"))
    child.counts_later = True
    try:
        assert child.run((FIRST,), arrays, deadline=60).findings == ()
    finally:
        child.counts_later = False
    (counts,) = count(child, FIRST)
    assert lines(counts)[4].global_sectors == 128


def test_a_kernel_is_counted_on_what_the_one_before_it_wrote(child: Child) -> None:
    _, counts = count(child, FIRST, SECOND)
    update = lines(counts)[8]
    assert (update.updates, update.busiest) == (32, 32)


def test_what_cannot_be_run_is_not_counted(child: Child) -> None:
    assert count(child, FIRST, Invocation("exotic_kernel", launch(1), ("n",))) == ()


@pytest.mark.parametrize(
    ("work", "share"),
    [
        (dict.fromkeys(range(132), 10), 1.0),
        (dict.fromkeys(range(66), 10), 0.5),
        (dict.fromkeys(range(133), 10), 133 / 264),
        ({0: 20} | dict.fromkeys(range(1, 132), 10), (20 + 1310) / (132 * 20)),
    ],
)
def test_the_multiprocessors_are_busy_as_long_as_blocks_run(work: dict[int, int], share: float) -> None:
    assert counting.busy(Counted(len(work), len(work), len(work), work, ())) == pytest.approx(share)
