"""The machine that PTX runs on here: its address map, its shadow state, the structs of its runtime.

Addresses. Every array owns a window of 64 GiB and starts near its middle, so that an index far out of range
still points into the window of the array that it was meant for, and a finding can name it.

Shadow state. Memory is tracked in cells of one *granule*, the narrowest access that the program makes, so that
neighbouring bytes of an FP8 tile never share a cell. A cell holds a stamp for the last write and one for the
first read since; a stamp is `epoch * 1024 + thread`. A barrier starts a new epoch. Threads of a block run one
after the other between two barriers, so these two stamps suffice to find every conflicting pair of accesses,
whatever the order of execution on a GPU would have been. If threads stop for others in between, the first reader may
be the next writer; so a cell also holds a read by another thread. Atomic accesses do not order each other; so it also
holds an earlier atomic write, for plain reads of what was changed atomically.

A cluster of several blocks runs as if it were one block that has all their threads and, one part after the other, all
their shared memory; only the barriers belong to each block. What this says of a block holds for a cluster, too.

Several OS threads run blocks and share the cells of global memory; a thread locks those that it looks at.

Barriers for some warps, and flags behind fences, order the accesses of some warps before those of others only:
`known` says, per warp, until when the accesses of each warp are ordered before its own. __syncwarp and such flags do
so among the lanes of a warp; `known` says that too, per thread and lane. Order is cumulative: threads that meet learn
what the others knew.
"""

from __future__ import annotations

from enum import IntEnum

from grader.ptx.ir import Layout

WINDOW_BITS = 36
WINDOWS = 1024
FUNCTION_WINDOW = WINDOWS - 1  # addresses of functions; nothing can be read there
HEAP_WINDOW = WINDOWS - 2  # of malloc and new in a kernel
HEAP_BYTES = 64 << 20  # what all threads of a launch may allocate; nothing is used again
HEAP_ALIGN = 16
FIRST_WINDOW = 0x7F0  # what the top of a kernel's addresses is counted from
SHARED_WINDOW = 1
LOCAL_WINDOW = 2
ARGUMENTS_WINDOW = 3  # the kernel's parameters themselves, where their address is taken
PARAM_WINDOW = 4  # kernel parameter i points into window 4 + i
VARIABLE_WINDOW = 72  # module variables

MAX_LOCAL_BYTES = (
    512 << 10
)  # of a thread (CUDA C++ Programming Guide, "Technical Specifications per Compute Capability")
MAX_PARAMETER_BYTES = 32_764  # of a kernel (PTX ISA, "Kernel Function Parameters")
MAX_SHARED_BYTES = 232448  # static plus dynamic, a block of compute capability 9.0
SHARED_GUARD = 1024  # bytes between shared arrays that belong to none
ARENA_TAIL = 16384  # at the arena's end; no group of accesses spans more
STAMP_STEP = 1024  # threads of a block at most
FIRST_STAMP = STAMP_STEP
LAST_STAMP = 0x0800_0000  # a block that starts later finds the shadow cleared and stamps starting over
LAST_TIME = 0x7FFF_F800  # at which time stands still: stamps stay below UNSETTLED
LAST_FENCE = LAST_TIME // 2  # at which it does for fences, of which a loop that waits may run any number
MAX_MEETINGS = (LAST_TIME - LAST_STAMP) // STAMP_STEP - 1  # of one block that all have a time of their own
UNSETTLED = 0x8000_0000  # on a read stamp: look at every later read, for the cell was written since the barrier
SHADOW_ARRAYS = 8  # of i32 per cell of shared memory
GUARD_STAMP = 0xFFFF_FFFF
SINK_BYTES = 1 << 16
RUBBISH = 0x7F  # what a block finds in shared memory where nothing was written: a number that no kernel expects
IN_FLIGHT_STAMP = 0xFFFF_FFFE  # written by a cp.async that no thread has waited for
BEING_READ_STAMP = 0xFFFF_FFFF  # read by a bulk copy that no thread has waited for
ASYNC_THREAD = STAMP_STEP - 1  # who copies what an mbarrier waits for; a block that has such copies has fewer threads
STRONG = 0x8000_0000  # flag on a site: atomic or volatile, so no race with its like
BLOCK_SCOPE = 0x4000_0000  # flag on a strong site: so for the threads of its own block only
FIRST = 0x1000_0000  # flag on the strong site of a write: nothing was there before
BLIND = 0x0800_0000  # flag on a strong site: it overwrites, whatever was there
DROPS = 0x0400_0000  # flag on the site of an atomic operation: its result is unused
TRIES = 0x0200_0000  # and it is a compare-and-swap
QUIET = 0x0100_0000  # flag on the site of an atomic operation: this time it changed nothing, and counts as a look
# Flag on a site: a load that keeps the rest of a word of which some bits are replaced, or whose value is followed.
MERGES = 0x2000_0000
COUNTS = MERGES  # the same flag on the site of an atomic operation: it counts, as a ticket or a number of arrivals

LOCKS = 256  # of the shadow of global memory, for LOCK_BYTES of addresses each; and each has a cache line
LOCK_SHIFT = 6
LOCK_BYTES = 1 << LOCK_SHIFT

READABLE, WRITABLE, INITIALISED = 1, 2, 4  # flags of a window

# A thread's status: a site, with what it waits for. 0: it has left the kernel.
EXITED = 0
ABORTED = -1  # it trapped or must stop: its block ends
RUNNABLE = -2
AT_CLUSTER = 1 << 25  # at the barrier of its cluster
AT_PHASE = 1 << 26  # at an mbarrier whose phase is not complete; the frame says which
AT_YIELD = 1 << 27  # in a loop that may wait for another thread
AT_BARRIER = 1 << 28  # bar.sync 0, for all threads
AT_NAMED = 1 << 29  # any other barrier; the frame says which
AT_WARP = 1 << 30  # a warp collective
SITE_MASK = (1 << 24) - 1


def window_base(window: int) -> int:
    """The address at which window `window`'s array starts."""
    return (window << WINDOW_BITS) + (1 << (WINDOW_BITS - 1))


def kernel_address(window: int) -> int:
    """The same as a kernel sees it, up there where a GPU's arrays lie; a launch moves them from there by chance."""
    return window_base(window) + (FIRST_WINDOW << WINDOW_BITS)


TIME_IS_UP = 1  # who is still in a loop did not finish
ENOUGH = 2  # enough was found; others end quietly


# The address of a COLLECTIVE_MISMATCH: a lane and what is wrong with it; 0: lanes that never come.
ABSENT_LANE = 1  # it is read and not in the mask
OWN_LANE = 64  # it calls with a mask that does not name it


# The address of a BARRIER_DIVERGENCE: 0, a number of threads that cannot come, or this with a barrier's number.
BARRIER_NUMBER = 1 << 32


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
    STUCK_PHASE = 10  # a wait for a phase of an mbarrier that never completes
    NO_MBARRIER = 11  # used as one: nothing made it one, or a store went over it
    MISUSE = 12  # of an mbarrier
    BULK_SIZE = 13  # of a bulk copy: no multiple of 16
    NO_PROXY_FENCE = 14  # a bulk copy of what was stored without fence.proxy.async
    UNFINISHED_COPY = 15  # a block that ends while a bulk copy may still read its shared memory
    EARLY_READ = 16  # of shared memory that nothing has written: another thread does, and no barrier is between
    UNSUPPORTED = 17  # no fault: a thread has reached an instruction that the engine does not know
    COUNTS_DIFFER = 18  # of one named barrier, at the same time
    LEFT_BLOCK = 19  # an access to shared memory of another block of the cluster, which may have ended
    EARLY_ACCUMULATOR = 24  # of wgmma: used before its group was waited for
    NO_PRODUCT_FENCE = 25  # wgmma without wgmma.fence before it, or since its registers were changed
    EARLY_FACTOR = 26  # of wgmma: a register of A that is changed before its group was waited for
    SPLIT_WARPGROUP = 27  # wgmma that not all four warps of a warpgroup run; the `other`: NUMBER_SHIFTS
    WRONG_DESCRIPTOR = 28  # of wgmma: not as the tile was written; the `other` says what
    NO_TENSOR_MAP = 21  # used as one; the `other` says why it is none
    MISALIGNED_TILE = 22  # in shared memory: a tensor copy's end that is no multiple of 128
    REGISTER_COUNT = 23  # of setmaxnreg
    CLUSTER_ORDER = 20  # of arriving and waiting at the cluster's barrier; the `other` says what: ARRIVES_AGAIN, …


# The `other` of a CLUSTER_ORDER record.
ARRIVES_AGAIN = 1  # without having waited in between
NEVER_ARRIVED = 2  # and waits


# The `other` of a NO_TENSOR_MAP record. With OTHER_RANK, the map's rank is above.
NOT_A_MAP, IN_LOCAL_MEMORY, OTHER_RANK = 0, 1, 2


class Misuse(IntEnum):
    """The `other` of a MISUSE record."""

    COUNT = 1  # not from 1 to MAX_COUNT
    TOO_MANY = 2  # more arrivals than the phase waits for
    COMPLETES = 3  # .noComplete, and no arrival is missing after it
    BYTES = 4  # more than MAX_COUNT
    VALID_ALREADY = 5  # init of what is an mbarrier
    PASSED_EARLY = 6  # a wait for a phase that was over, when another was due


BYTES_BITS = 22  # of a number of bytes that an mbarrier waits for, with a sign
MAX_COUNT = (1 << 20) - 1  # arrivals or bytes that an mbarrier can wait for


# One record per site and kind and worker.
FAULT = Layout(
    count="i64",
    block="i64",
    address="i64",
    other="i64",  # the stamp of the other access, or what the kind needs
    thread="i32",
    other_site="i32",
    tile="i32",  # bytes of the tile that a tensor copy or a wgmma was at, or 0
)

# What the runtime must know of a kernel. Granules are powers of two, given as shifts.
PROGRAM = Layout(
    kernel="ptr",  # (worker, frame, pc, tid) -> status
    arena="i64",  # bytes of the arena of shared memory
    shared_shift="i64",
    global_shift="i64",
    arrays="ptr",  # i64 start and size of each static shared array
    array_count="i64",
    dynamic_start="i64",
    blocks="i64",  # of a cluster
    block_bytes="i64",  # of the arena, for each of them
    stride="i64",  # bytes of a frame
    local_start="i64",  # in a frame
    local_bytes="i64",
    copies_start="i64",
    products_start="i64",  # of a PRODUCT for each wgmma
    products="i64",
    polls="i32",  # 1: a thread may wait at an mbarrier
    first_read="i32",  # UNSETTLED if its thread may yet write the cell, so that another reader must be known; or 0
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
    threads="i32",  # of a block; of a cluster all
    block_threads="i32",
    clusters_x="i32",  # of the grid
    clusters_y="i32",
    cluster_x="i32",  # blocks of a cluster
    cluster_y="i32",
    cluster_z="i32",
    named_barriers="i32",  # of all blocks of a cluster
    dynamic_shared="i32",
    stop="i32",  # not 0: end as soon as possible; TIME_IS_UP or ENOUGH
    arguments="ptr",  # the parameter block
    windows="ptr",  # WINDOW records
    budget="i64",  # instructions that one thread may run
    barriers="i64",  # that a block may pass, phases of mbarriers among them
    stale="i64",  # of these, with nothing new in global memory
    stalled="i64",  # where blocks take turns: how many they have passed since there was something new
    running="i32",  # blocks that have begun and not ended
    waiting="i32",  # of these, the ones in which all that run wait in loops
    worn_out="i32",  # 1: in some block time came to stand still, and races were missed
    fault_limit="i64",  # per worker; with more, the launch ends
    thread_index="ptr",  # i32 x, y, z, 0 per thread
    locks="ptr",  # LOCKS of them; 1: an OS thread is at cells that belong to it
    serial="i32",  # 1: one block runs at a time
    heap_used="i64",  # bytes of the device heap
    signals="i32",  # 1: and what they signal to each other is kept
    crossed="i32",  # not serial: two blocks touched one cell as only ordered ones may
    crew="i32",  # workers that take turns
    turn="ptr",  # per worker, TURN_BYTES: a semaphore, and its state
    salt="i64",  # of the seed, for what a kernel can see of the machine
    chance="i64",  # the state of the generator that says whose turn is next
    histories="ptr",  # a HISTORY per block
    heads="ptr",  # the threads of blocks with fences: the last FENCE of each
    fences="ptr",  # FENCE, RELEASE and LOOK records, each counted from 1
    releases="ptr",
    looks="ptr",
    rows="ptr",  # ROW_BYTES each
    stack="ptr",  # of a search: releases to look at
    head_count="i32",
    fence_count="i32",
    release_count="i32",
    look_count="i32",
    row_count="i32",
    searches="i32",
    mute="i32",  # 1: enough has been printed
    lost="i32",  # 1: the records are full, and whatever blocks do counts as ordered from here on
)

# One per worker, that is per OS thread.
WORKER = Layout(
    launch="ptr",
    program="ptr",
    shared="ptr",  # host address of the arena
    cells="ptr",  # its shadow: SHADOW_ARRAYS i32 arrays, see SharedShadow in shadow.py
    now="i32",  # the time, a multiple of STAMP_STEP; barriers and fences advance it
    barrier="i32",  # when all threads last met: older accesses are ordered before everything since
    base="i32",  # when the block started: older stamps belong to earlier blocks
    mail="ptr",  # MAIL_BYTES per thread
    clock="i64",  # moves on when it is read
    number="i32",  # among those that take turns
    earlier="i64",  # what a poll sees that sees no more than it must
    draws="i32",  # since it got its turn: atomic operations that changed global memory, whose result is looked at
    drawing="i32",  # 1: all threads stood in loops, or at barriers behind them, when it last stopped
    sunk="i64",  # faults when the sink was last cleared
    true_count="i32",  # bar.red: threads whose predicate holds, threads that took part
    met_count="i32",
    idle="i64",  # instructions since anybody did more than yield, or another block did
    barrier_site="i32",  # where the last thread waited
    split_site="i32",  # where thread 0 was when all first met at barriers in different places; or 0
    split_other="i32",  # another place, a thread there, and how many threads were not with thread 0
    split_thread="i32",
    split_count="i32",
    frames="ptr",
    status="ptr",  # i32 per thread
    faults="ptr",
    fault_count="i64",
    block="i64",
    block_stamp="i64",  # (block + 2) << 32
    ctaid_x="i32",  # of a cluster's first block
    ctaid_y="i32",
    ctaid_z="i32",
    live="i32",
    spent="i64",  # instructions of the thread that is running, counted in ticks
    sink="ptr",  # where an access that is out of bounds goes instead
    instructions="i64",
    marked="i32",  # shadow guards are in place
    arrived="ptr",  # i32 per named barrier: threads that arrived and did not wait; the number they gave; where
    known="ptr",  # KNOWN_ROWS times a time per warp or lane
    released="i32",  # some thread of the block ran a fence
    mbarriers="ptr",  # MBARRIER_BYTES per 8 bytes of shared memory
    origins="ptr",  # i64 per cell of shared memory: of what was stored there and is what nothing wrote, which read it
    passed="i64",  # barriers and phases that this block has passed
    fresh="i64",  # how many it had passed when it last changed global memory, but for what it draws from
    polls="i32",  # times that all threads waited in vain since an mbarrier changed
    flights="ptr",  # FLIGHT records: what mbarriers wait for
    flight_count="i32",
    marks="i32",  # the last of COPY.mark
    proxied="i32",  # when a thread last ran fence.proxy.async
    cluster_split="i32",  # 1: some thread has arrived at the cluster's barrier and did not wait at once
    stage="ptr",  # STAGE_BYTES, for what tensor copies have read that has not arrived yet
    staged="i64",  # where the next one goes
    tiles="ptr",  # TILE records: what tensor copies brought
    tile_count="i32",
    tile_bytes="i32",  # of the tile that a tensor copy or a wgmma is at; 0: of none
    remote_low="i64",  # where threads used the shared memory of other blocks, from here
    remote_high="i64",  # up to here
)

WINDOW = Layout(
    host="ptr",
    base="i64",  # the address at which its array starts
    size="i64",
    flags="i32",
    pad="i32",
    write="ptr",  # i64 stamp per cell, or null for what no kernel may write
    write_site="ptr",  # i32 per cell
    read="ptr",  # the first read by the block that read last
    read_site="ptr",
    also="ptr",  # a read by another thread of that block, not ordered after the first
    also_site="ptr",
    elsewhere="ptr",  # what these hide: a read by another block, or what came before this block's atomic access
    elsewhere_site="ptr",
    hidden="ptr",  # where the last write is atomic: another thread's atomic one before it, which nothing orders
    hidden_site="ptr",
    touched="ptr",  # i32 per cell, where blocks run side by side: which block touched it first, and who did what
    signal="ptr",  # i32 per cell, where they do not: the RELEASE that who looks at it acquires
)

# What blocks signal to each other, kept until the kernel's end; 0 is none. `before`: the one before it of the same
# thread (of a fence) or block. A point in time of a thread knows other threads up to `barrier` and, where they were
# met since, to what its row says.
HISTORY = Layout(heads="i32", releases="i32", looks="i32", first_fence="i32", last_fence="i32")
FENCE = Layout(time="i32", barrier="i32", row="i32", before="i32")
# `shuffled`, `lanes`: when its thread last met which lanes in a shuffle or vote.
# `left`: what stood there before and goes on in it. `chain`: the first of all those that went on up to here.
# `value`: what stood there then, 8 bytes or 4.
RELEASE = Layout(
    value="i64",
    shuffled="i32",
    lanes="i32",
    block="i32",
    thread="i32",
    time="i32",
    barrier="i32",
    row="i32",
    left="i32",
    chain="i32",
    before="i32",
    found="i32",
)
LOOK = Layout(stamp="i32", release="i32", before="i32")
MAX_FENCES = 1 << 25
MAX_RELEASES = MAX_LOOKS = 1 << 23
MAX_HEADS = 1 << 24
MAX_ROWS = 1 << 19
MAX_STACK = 1 << 20
LOOKS, CHANGES, KEEPS = 1, 2, 4  # of a strong access: who looks acquires; what keeps goes on where others released

CREW = 4  # blocks in flight where blocks draw from each other
TURN_BYTES = 64
TURN = Layout(state="i32")
SEMAPHORE_AT = 16  # in a turn's bytes
IDLE, BUSY, DONE = 0, 1, 2  # a worker: between blocks, in one, none left for it

# A copy that cp.async has started, in the thread's frame until a wait carries it out.
# `mark`: of the first cp.async.mbarrier.arrive behind it; 0: there was none.
COPY = Layout(target="i64", source="ptr", bytes="i32", filled="i32", site="i32", group="i32", mark="i32")
MAX_COPIES = 128

# The head of a frame: where to go on, and what a thread at a barrier waits for. `count`: of threads; 0: all.
HEADER = Layout(
    pc="i32", barrier="i32", count="i32", predicate="i32", copies="i32", group="i32", bulk_group="i32",
    product_group="i32", products_done="i32", cluster="i32",
)  # fmt: skip
# The head of the frame of a warp that runs as a whole: the lanes that have not left, and those that it began with.
# A mask per block of the kernel follows, of the lanes that are to run it.
WARP_HEADER = Layout(live="i32", whole="i32")
SEVERAL = STAMP_STEP  # added to a time, in place of a thread: several threads have read a cell since then
NOT_ARRIVED, ARRIVED, COMPLETED = 0, 1, 2  # a thread at its cluster's barrier
UNALIGNED = 0x8000_0000  # flag on a count: the threads of a warp may stand at different instructions
FRAME_HEADER = (HEADER.size + 15) // 16 * 16

# An mbarrier. `block` is its block's index + 1, or 0; `word` what shared memory shows of it.
# Two times per warp follow: what has arrived in this phase knows, and what all completed phases knew.
MBARRIER = Layout(
    block="i64",
    word="i64",
    phase="i32",
    expected="i32",
    pending="i32",
    bytes="i32",
    witness="i32",  # one more than the thread that waited first
    witnessed="i32",  # the phase when it last went on
    again_site="i32",  # where it went on again in that same phase, or in the first, with nothing complete
    copy_site="i32",  # the last copy that arrived in this phase
    came="i32",  # bytes that copies have brought in this phase
)

# A copy on its way. An mbarrier waits for a bulk copy to `target` in shared memory, or (no bytes) for those copies of
# `thread` by cp.async that have a mark up to this one. Or (NO_MBARRIER) a bulk copy reads `target`, for a group.
# `source` may be IN_FLIGHT_RECORD: then the bytes are `low` and `high`.
FLIGHT = Layout(
    mbarrier="i64", target="i64", source="ptr", bytes="i32", site="i32", thread="i32", mark="i32", group="i32",
    low="i64", high="i64",
)  # fmt: skip
# A wgmma in a thread's frame. `group`: the group of its last run, counted from 1. `times`: how often it ran; those in
# the same place of the source count as one.
PRODUCT = Layout(group="i32", times="i32", site="i32")

# A tile that a tensor copy brings to shared memory: its rows, and what is swizzled together, in bytes.
TILE = Layout(target="i64", bytes="i32", site="i32", row="i32", span="i32")
MAX_TILES = 1 << 10  # in a cluster at different places; what more there is goes unchecked

# The `other` of a WRONG_DESCRIPTOR: what is wrong, then what the tile has, and what the descriptor says; of a
# SPLIT_WARPGROUP the thread that ran it most often, then how often that is, and how often the other did.
NUMBER_SHIFTS, NUMBER_MASK = (12, 36), (1 << 24) - 1
SWIZZLE_DIFFERS, STRIDE_DIFFERS, LONG_ROWS, STARTS_INSIDE = 1, 2, 3, 4

NO_MBARRIER = -1
OF_WARPGROUP = 1  # the `mark` of a matrix product that reads `target`
IN_FLIGHT_RECORD = 1
MAX_FLIGHTS = 1 << 14
STAGE_BYTES = 1 << 23  # more than all shared memory of a cluster

# Mail of a thread: what it brings to a warp collective, and what the collective gave to it.
MAIL_WORDS = 32  # the registers of a matrix product, or less
MAIL = Layout(
    operation="i32",  # which collective; meeting_places.py has their numbers
    mask="i32",  # lanes that must take part; 0: whoever is there (activemask)
    orders="i32",  # 1: orders memory among its lanes (__syncwarp)
    ballot="i32",  # published: lanes that brought a word with bit 0 set
    members="i32",  # published: lanes that took part
    met="i32",  # when this thread last met others, but for a barrier of the block
    shuffled="i32",  # when this thread last took part in a collective that orders no memory
    looked="i32",  # the last LOOK then
)
MAIL_BROUGHT = MAIL.size
MAIL_PUBLISHED = MAIL_BROUGHT + 4 * MAIL_WORDS
MAIL_BYTES = MAIL_PUBLISHED + 4 * MAIL_WORDS
NAMED_BARRIERS = 16
MAX_CLUSTER = 8  # blocks
WARPS = 32  # of a block at most
RELEASED_ROW = WARPS  # of `known`: what the block's fences have released
ARRIVED_ROW = WARPS + 1  # and what arrived at each named barrier
# Per warp, with a time per lane: what its own fences have released.
LANES_RELEASED_ROW = ARRIVED_ROW + MAX_CLUSTER * NAMED_BARRIERS
CLUSTER_ROW = LANES_RELEASED_ROW + WARPS  # what has arrived at the cluster's barrier
CLUSTER_DONE_ROW = CLUSTER_ROW + 1  # and what had arrived when it was last complete
LANES_ROW = CLUSTER_DONE_ROW + 1  # per thread, with a time per lane of its warp
ASYNC_WARP = ASYNC_THREAD >> 5
KNOWN_ROWS = LANES_ROW + STAMP_STEP
ROW_BYTES = 2 * 4 * WARPS  # of a thread's knowledge: a time per lane of its warp, and one per warp
MBARRIER_BYTES = MBARRIER.size + 2 * 4 * WARPS
POLL_ROUNDS = 256  # in which all threads look at mbarriers in vain; then they would for ever
TURNS = 32  # of a loop that may wait for another thread, before others get their turn
COLLECTIVE_INSTRUCTIONS = 256  # what a warp's way to its next collective costs, about
IDLE_INSTRUCTIONS = 8 * TURNS  # what such turns cost, about
