"""Counts for a submission: from what the engine says of each instruction to what the Result says of each line."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable

from grader.compile import recipe
from grader.model.counted import KernelCounts, LineCounts
from grader.ptx.counting import Count, Counted
from grader.ptx.opcodes.opcode import read_opcode

MULTIPROCESSORS = 132  # of an H200, which the CPU stands for
MOST_SCHEDULED = 100_000  # blocks of which the balance is worked out one by one


def of_lines(kernel: str, counted: Counted) -> KernelCounts:
    lines: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for one in counted.counts:
        number = one.location.line if one.location.file == recipe.SOURCE_NAME else 0
        line = lines[number]
        for name, value in _named(one):
            line[name] = max(line[name], value) if name == "busiest" else line[name] + value
    found = tuple(LineCounts(number, **values) for number, values in sorted(lines.items()))
    return KernelCounts(kernel, counted.blocks, counted.warps, counted.counted, found, busy(counted))


def _named(one: Count) -> Iterable[tuple[str, int]]:
    """What one instruction, or one access, adds to its line."""
    op = read_opcode(one.opcode)
    if not one.memory:
        yield "instructions", one.warps
        yield "lanes", one.lanes
        if op.base == "fma":
            yield "multiply_adds", one.warps
        return
    if op.traits.atomic:
        yield "updates", one.lanes
        yield "busiest", one.busiest
    if one.memory == "local":
        yield "local_requests", one.warps
    elif one.memory == "global":
        yield "global_requests", one.warps
        yield "global_loads", one.warps if op.traits.loads else 0
        yield "global_sectors", one.moved
        yield "least_sectors", one.least
    else:
        yield "shared_requests", one.warps
        yield "shared_loads", one.warps if op.traits.loads else 0
        yield "shared_wavefronts", one.moved
        yield "least_wavefronts", one.least


def busy(counted: Counted) -> float:
    """The share of the multiprocessors' time in use, if each block takes as long as it has instructions.

    Blocks start in order, each where most has ended. A block that was not counted is taken to be like the one before
    it that was.
    """
    if not counted.work:
        return 1.0
    ends = [0] * MULTIPROCESSORS
    last = counted.work[min(counted.work)]
    for block in range(min(counted.blocks, MOST_SCHEDULED)):
        last = counted.work.get(block, last)
        heapq.heapreplace(ends, ends[0] + last)
    return sum(ends) / (MULTIPROCESSORS * max(ends)) if max(ends) else 1.0
