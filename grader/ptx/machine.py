"""The machine that PTX runs on here: its address map, its shadow state, the structs of its runtime.

Addresses. Every array owns a window of 64 GiB and starts in its middle, so that an index far out of range
still points into the window of the array that it was meant for, and a finding can name it.

Shadow state. Memory is tracked in cells of one *granule*, the narrowest access that the program makes, so that
neighbouring bytes of an FP8 tile never share a cell. A cell holds a stamp for the last write and one for the
first read since; a stamp is `epoch * 1024 + thread`. A barrier starts a new epoch. Threads of a block run one
after the other between two barriers, so these two stamps suffice to find every conflicting pair of accesses,
whatever the order of execution on a GPU would have been.
"""

from __future__ import annotations

from enum import IntEnum

from grader.ptx.ir import Layout

WINDOW_BITS = 36
SHARED_WINDOW = 1
LOCAL_WINDOW = 2
PARAM_WINDOW = 4  # kernel parameter i points into window 4 + i
VARIABLE_WINDOW = 72  # module variables

MAX_SHARED_BYTES = 232448  # static plus dynamic, a block of compute capability 9.0
SHARED_GUARD = 1024  # bytes between shared arrays that belong to none
ARENA_TAIL = 16384  # at the arena's end; no group of accesses spans more
STAMP_STEP = 1024  # threads of a block at most
FIRST_STAMP = STAMP_STEP
LAST_STAMP = 0xF000_0000  # from here the shadow is cleared and stamps start over
GUARD_STAMP = 0xFFFF_FFFF
STRONG = 0x8000_0000  # flag on a site: atomic or volatile, so no race with its like

HOST_INITIALISED = 1 << 32  # global write stamp of what the host wrote; blocks count from 2

READABLE, WRITABLE, INITIALISED = 1, 2, 4  # flags of a window

EXITED = 0
ABORTED = -1  # status of a thread that trapped or must stop: its block ends


def window_base(window: int) -> int:
    """The address at which window `window`'s array starts."""
    return (window << WINDOW_BITS) + (1 << (WINDOW_BITS - 1))


class Kind(IntEnum):
    """What a fault record says; the strings of Report.kind are made from these."""

    OUT_OF_BOUNDS = 0
    UNINITIALISED_READ = 1
    MISALIGNED = 2
    RACE = 3  # shared memory or global memory, within one block
    BLOCK_RACE = 4  # global memory, between two blocks
    READ_ONLY_WRITE = 5
    BARRIER_DIVERGENCE = 6
    COLLECTIVE_MISMATCH = 7
    DID_NOT_FINISH = 8
    TRAP = 9


# One record per site and kind and worker.
FAULT = Layout(
    count="i64",
    block="i64",
    address="i64",
    other="i64",  # the stamp of the other access, or what the kind needs
    thread="i32",
    other_site="i32",
)

# One per launch, shared by the workers.
LAUNCH = Layout(
    next_block="i64",
    blocks="i64",
    grid_x="i32",
    grid_y="i32",
    grid_z="i32",
    block_x="i32",
    block_y="i32",
    block_z="i32",
    threads="i32",
    dynamic_shared="i32",
    stop="i32",  # not 0: end as soon as possible
    arguments="ptr",  # the parameter block
    windows="ptr",  # WINDOW records
    budget="i64",  # instructions that one thread may run
    thread_index="ptr",  # i32 x, y, z, 0 per thread
)

# One per worker, that is per OS thread.
WORKER = Layout(
    launch="ptr",
    shared="ptr",  # host address of the arena
    cells="ptr",  # its shadow: four i32 arrays, see Shadow in runtime.py
    now="i32",
    base="i32",  # `now` when the block started: older stamps belong to earlier blocks
    frames="ptr",
    status="ptr",  # i32 per thread
    faults="ptr",
    fault_count="i64",
    block="i64",
    block_stamp="i64",  # (block + 2) << 32
    ctaid_x="i32",
    ctaid_y="i32",
    ctaid_z="i32",
    live="i32",
    spent="i64",  # instructions of the thread that is running, counted in ticks
    sink="ptr",  # where an access that is out of bounds goes instead
    instructions="i64",
    marked="i32",  # shadow guards are in place
)

WINDOW = Layout(
    host="ptr",
    size="i64",
    flags="i32",
    pad="i32",
    write="ptr",  # i64 stamp per cell, or null for what no kernel may write
    write_site="ptr",  # i32 per cell
    read="ptr",
    read_site="ptr",
)

FRAME_HEADER = 16  # pc i32, then padding
