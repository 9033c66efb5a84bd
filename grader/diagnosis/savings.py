"""What there is to be won in a correct kernel, from what the hardware would count of it.

The order follows from a rough account of a multiprocessor's cycles. It never says how long a kernel takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from grader.model.counted import KernelCounts, Kind, LineCounts, Saving

# Of an H200's multiprocessor in a cycle (NVIDIA H100 Tensor Core GPU Architecture; CUDA C++ Programming Guide).
ISSUES = 4  # warp instructions: one for each of its schedulers
SECTORS = 2  # that arrive from the L2 cache
WAVEFRONTS = 1
MULTIPROCESSORS = 132
LANES = 32

LEAST_WEIGHT = 0.1  # what would bring less is not worth a line
LEAST_EXCESS = 1.25  # times the least; below it, an access is as good as perfect
FEW_LANES = 0.6  # active in a warp
MANY_MULTIPLY_ADDS = 0.05  # of all instructions: they are what the kernel is for
MANY_LOADS = 1.0  # for each multiply-add: a tile in registers needs a half or less
MANY_UPDATES = 256  # of one address
BUSY = 0.8
A_LOT_OF_LOCAL_MEMORY = 20  # accesses for each thousand instructions


def of(counted: Sequence[KernelCounts]) -> tuple[Saving, ...]:
    """What would bring most comes first."""
    total = sum(_Cycles(kernel).all for kernel in counted)
    found = [saving for kernel in counted for saving in _of_kernel(kernel, max(total, 1e-9))]
    worth = (saving for saving in found if saving.weight >= LEAST_WEIGHT)
    return tuple(sorted(worth, key=lambda saving: -saving.weight))


class _Cycles:
    """About how long a kernel keeps each part of a multiprocessor busy."""

    def __init__(self, kernel: KernelCounts) -> None:
        scale = kernel.warps / max(kernel.counted, 1)
        self.issue = scale * sum(line.instructions for line in kernel.lines) / ISSUES
        self.shared = scale * sum(line.shared_wavefronts for line in kernel.lines) / WAVEFRONTS
        self.moved = scale * sum(line.global_sectors for line in kernel.lines) / SECTORS
        self.scale = scale

    @property
    def all(self) -> float:
        return max(self.issue, self.shared, self.moved)


def _of_kernel(kernel: KernelCounts, total: float) -> Iterator[Saving]:
    cycles = _Cycles(kernel)
    for line in kernel.lines:
        yield from _of_accesses(kernel, line, cycles, total)
        yield from _of_lanes(kernel, line, cycles, total)
    yield from _of_reuse(kernel, cycles, total)
    yield from _of_updates(kernel)
    yield from _of_blocks(kernel, cycles, total)


def _of_accesses(kernel: KernelCounts, line: LineCounts, cycles: _Cycles, total: float) -> Iterator[Saving]:
    """Bank conflicts, scattered lanes, local memory: of one line."""
    accounts: tuple[tuple[Kind, int, int, int, float], ...] = (
        ("bank-conflicts", line.shared_requests, line.shared_wavefronts, line.least_wavefronts, WAVEFRONTS),
        ("scattered", line.global_requests, line.global_sectors, line.least_sectors, SECTORS),
    )
    for kind, requests, moved, least, rate in accounts:
        if requests and moved > LEAST_EXCESS * least:
            saved = cycles.scale * (moved - least) / rate
            share = (moved - least) / moved
            weight = min(saved / total, 1.0)
            yield Saving(kind, kernel.kernel, line.line, moved / requests, least / requests, share, weight)
    per_thousand = 1000 * line.local_requests / max(sum(one.instructions for one in kernel.lines), 1)
    if per_thousand > A_LOT_OF_LOCAL_MEMORY:
        weight = min(per_thousand / 100, 1.0)
        yield Saving("local-memory", kernel.kernel, line.line, per_thousand, 0, 1.0, weight)


def _of_lanes(kernel: KernelCounts, line: LineCounts, cycles: _Cycles, total: float) -> Iterator[Saving]:
    active = line.lanes / max(line.instructions, 1)
    if line.instructions and active < FEW_LANES * LANES:
        idle = 1 - active / LANES
        weight = min(cycles.scale * idle * line.instructions / ISSUES / total, 1.0)
        yield Saving("divergent", kernel.kernel, line.line, active, LANES, idle, weight)


def _of_reuse(kernel: KernelCounts, cycles: _Cycles, total: float) -> Iterator[Saving]:
    """How many loads each multiply-add needs, and from which memory most come."""
    multiply_adds = sum(line.multiply_adds for line in kernel.lines)
    from_global = sum(line.global_loads for line in kernel.lines)
    from_shared = sum(line.shared_loads for line in kernel.lines)
    kind: Kind = "global-loads" if from_global > from_shared else "shared-loads"
    loads = max(from_global, from_shared) / max(multiply_adds, 1)
    instructions = sum(line.instructions for line in kernel.lines)
    if multiply_adds > MANY_MULTIPLY_ADDS * instructions and MANY_LOADS <= loads <= 4 * MANY_LOADS:
        line = max(kernel.lines, key=lambda one: one.multiply_adds).line
        share = 1 - 1 / (2 * loads)
        saved = cycles.scale * max(from_global, from_shared) * share / WAVEFRONTS
        weight = min(saved / total, 1.0)
        yield Saving(kind, kernel.kernel, line, loads, 0.5, share, weight)


def _of_updates(kernel: KernelCounts) -> Iterator[Saving]:
    """Atomic operations on one address wait for each other."""
    line = max(kernel.lines, key=lambda one: one.busiest, default=None)
    if line is not None and line.busiest >= MANY_UPDATES:
        share = line.busiest / max(line.updates, 1)
        yield Saving("contended", kernel.kernel, line.line, line.busiest, 1, min(share, 1.0), min(share, 1.0))


def _of_blocks(kernel: KernelCounts, cycles: _Cycles, total: float) -> Iterator[Saving]:
    if kernel.busy < BUSY:
        idle = 1 - kernel.busy
        yield Saving("idle", kernel.kernel, 0, kernel.blocks, MULTIPROCESSORS, idle, idle * cycles.all / total)
