"""What the hardware would count of a kernel, line by line, and what there is to be won.

The CPU counts it, from the addresses of every lane. A Result never depends on it for its verdict or its points.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1, description="a share: 1 is all there is")]


class LineCounts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What warps did on one line. Of each kind of access: how often, what it moved, and how little would do.

    A sector is 32 bytes of global memory; in a wavefront, shared memory serves each of its banks once.
    """

    line: Count
    instructions: Count = 0  # of PTX, executed by warps
    lanes: Count = 0  # that took part in them, together
    multiply_adds: Count = 0  # of these instructions, those that compute with floats
    global_requests: Count = 0
    global_loads: Count = 0  # of these
    global_sectors: Count = 0
    least_sectors: Count = 0
    shared_requests: Count = 0
    shared_loads: Count = 0
    shared_wavefronts: Count = 0
    least_wavefronts: Count = 0
    local_requests: Count = 0
    updates: Count = 0  # of lanes, by atomic operations
    busiest: Count = 0  # of these, the most that one address got


class KernelCounts(msgspec.Struct, frozen=True, omit_defaults=True):
    """One launch. If not every warp was counted, those that were lie evenly among the blocks."""

    kernel: str
    blocks: Count
    warps: Count  # of all blocks
    counted: Count  # of these
    lines: tuple[LineCounts, ...] = ()
    busy: Share = 1.0  # of the multiprocessors' time: 1 if all end together, judged by the work of each block


Kind = Literal[
    "bank-conflicts", "scattered", "shared-loads", "global-loads", "contended", "local-memory", "divergent", "idle"
]


class Saving(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something to be won. What `takes` and `least` count depends on the kind:

    bank-conflicts, scattered: wavefronts or sectors of a warp's access, and how few would do
    shared-loads, global-loads: loads for each multiply-add
    contended: updates of one address; the share is that of all updates
    local-memory: accesses for each thousand instructions
    divergent: lanes of a warp that are active, of 32
    idle: blocks, and how many multiprocessors there are
    """

    kind: Kind
    kernel: str
    line: Count  # 0: the whole kernel
    takes: float
    least: float
    share: Share  # of what it is about, that could be saved
    weight: Share  # of the kernel's time, roughly: what the order of savings follows from
