"""What each kind of finding is called, and what the student should do next: plain data."""

from __future__ import annotations

from typing import NamedTuple

from grader.model.details import Detail
from grader.model.result import Finding


class KindText(NamedTuple):
    """`at_fault`: the finding's line is the guilty one; otherwise it only shows which kernel is meant."""

    title: str
    next_step: str
    at_fault: bool = True


class Finer(NamedTuple):
    """What to say instead if the detail is known. Without a title of its own, it keeps its kind's."""

    next_step: str
    title: str = ""


KINDS = {
    "compile-error": KindText(
        "Does not compile", "Fix the first error first, then run again: later errors are often caused by it."
    ),
    "compile-warning": KindText("Compiler warning", "Read it now: warnings like this are often your next bug."),
    "narrow-offset": KindText(
        "Offset in 32 bits", "Convert the first factor, so that the whole product has 64 bits; it costs nothing here."
    ),
    "missing-kernel": KindText(
        "Kernel not found",
        'Keep the name that problem.md gives, and extern "C": without it C++ changes the name.',
    ),
    "wrong-signature": KindText(
        "Wrong signature", "Copy the parameters from problem.md, in the same order and with the same types."
    ),
    "bad-launch": KindText(
        "Invalid launch",
        "Set this field of Launch to a valid value: grid and block at least 1, at most 1024 threads in a block, "
        "shared_bytes in bytes and per block, and a variant that has a kernel.",
    ),
    "out-of-bounds": KindText(
        "Out of bounds",
        "Find the index that can run past the end: <= instead of <, a last tile, row or vector that is not full, the "
        "end of a group, a wrong offset. Guard the access; in shared memory, store 0 for elements that do not exist.",
    ),
    "uninitialised-read": KindText(
        "Uninitialised read",
        "Find the path that reads this element before anything is stored in it: a thread that skips its load, or a "
        "part of the tile that no thread fills.",
    ),
    "misaligned-access": KindText(
        "Misaligned access",
        "The address of an n-byte vector access must be a multiple of n. Where rows can start anywhere, use a "
        "narrower access.",
    ),
    "race": KindText(
        "Race between threads",
        "Put a __syncthreads() between the two accesses, where every thread reaches it. A loop that reuses a tile "
        "also needs one before it loads the next tile. Between the lanes of one warp, __syncwarp() is enough.",
    ),
    "barrier-divergence": KindText(
        "Not every thread reaches the barrier",
        "Threads without work may skip the loads and stores, but not the __syncthreads(): move it, or the call that "
        "leads to it, out of the if; turn an early return into a condition around the work.",
    ),
    "collective-mismatch": KindText(
        "Warp operation with the wrong lanes",
        "The mask must name exactly the lanes that arrive: compute it before the branch, or move the operation out "
        "of the branch.",
    ),
    "read-only-write": KindText(
        "Write to read-only memory",
        "Inputs and __device__ tables are read-only: write to the output or to the workspace.",
    ),
    "did-not-finish": KindText(
        "Never finishes",
        "Check the loop condition: does the counter advance on every path, including the last iteration?",
    ),
    "forbidden-instruction": KindText(
        "Not allowed in this exercise",
        "Do it by hand: problem.md says what is forbidden and why. The compiled code is checked, not the source.",
    ),
    "trap": KindText(
        "Kernel stopped by a trap",
        "__trap() was reached or a null pointer was followed. Find out how the kernel gets to that line.",
    ),
    "out-of-memory": KindText(
        "Out of memory",
        "Look for an array far larger than the problem, or a template that expands forever.",
    ),
    "wrong-values": KindText(
        "Wrong result",
        "Take the first wrong element and work out by hand which inputs your kernel reads for it.",
        at_fault=False,
    ),
    "uncoalesced": KindText(
        "Uncoalesced access",
        "Let threadIdx.x run along a row, and threadIdx.y from row to row: then the threads of a warp access "
        "neighbouring addresses. If both are swapped, swap them back.",
    ),
    "speed": KindText(
        "Too slow", "See below which resources your kernel leaves unused, and take the hints one at a time."
    ),
    "rules": KindText("Against the exercise's rules", "Do by hand what the exercise asks you to do by hand."),
    "no-spills": KindText(
        "Registers spilled to memory",
        "Keep fewer values live at once: a smaller tile per thread, or fewer threads per block.",
    ),
    "formatted": KindText("Formatting", "An editor's formatter fixes this in one go."),
    "commented": KindText("No comment", "Say above the kernel what a block computes and how."),
}

COPIED_LATER = "Read before its copy has arrived"
_COUNT_ARRIVALS = (
    "Count the threads that arrive at this mbarrier in each phase, and the bytes copied: both must be exactly what "
    "it expects."
)
_CONVERT = "Convert the first wrong element by hand, bit by bit, and compare."

# By kind and detail.
FINER: dict[tuple[str, str], Finer] = {
    ("bad-launch", Detail.NOT_SET): Finer(
        "Set launch->grid and launch->block in the launch function, both of them, on every path."
    ),
    ("bad-launch", Detail.ROUNDED_DOWN): Finer(
        "Round up when you count tiles or blocks, (n + SIZE - 1) / SIZE; where there are groups, count the tiles of "
        "the largest, as the first one may be empty. Threads past the edge of the last tile then need a guard."
    ),
    ("bad-launch", Detail.CLUSTER): Finer(
        "A cluster has at most 8 blocks, each component at least 1, agrees with __cluster_dims__ and divides the "
        "grid: round the grid up to a multiple of it. Blocks past the last tile then need a guard."
    ),
    ("bad-launch", Detail.TENSOR_MAP): Finer(
        "tensor_maps is the number of CUtensorMap parameters that the kernel ends in. In each map, dim counts "
        "elements, innermost first; stride counts bytes, from dim[1] on, in multiples of 16; box is what one copy "
        "brings, at most 256 elements along each dimension."
    ),
    ("bad-launch", Detail.TOO_MANY_THREADS): Finer(
        "Use smaller tiles, or let each thread compute several elements: a block can have 1024 threads."
    ),
    ("out-of-bounds", Detail.BEFORE_START): Finer(
        "Find the index that can fall below 0: a subtraction, or an index type that is too small."
    ),
    ("out-of-bounds", Detail.STRAY_POINTER): Finer(
        "Find where this pointer comes from: it was never set, or does not come from the kernel's arguments."
    ),
    # The launch function sets this array's size: that is its mistake as often as the index's.
    ("out-of-bounds", Detail.DYNAMIC_SHARED): Finer(
        "The size of an extern __shared__ array is launch->shared_bytes, in bytes: compare it with the largest "
        "index times sizeof(float). If it is large enough, find the index that runs past the end."
    ),
    ("out-of-bounds", Detail.NOT_REQUESTED): Finer(
        "launch->shared_bytes is 0. Set it in the launch function to the size of the extern __shared__ array, in "
        "bytes; for two tiles, launch->shared_bytes = 2 * TILE * TILE * sizeof(float).",
        "No dynamic shared memory requested",
    ),
    **{
        (kind, Detail.FLAT_BLOCK): Finer(
            "Launch a two-dimensional block, launch->block = dim3(TILE, TILE), or compute row and column from "
            "threadIdx.x: / TILE and % TILE.",
            "Block of one dimension",
        )
        for kind in ("out-of-bounds", "uninitialised-read", "race", "barrier-divergence", "wrong-values")
    },
    ("wrong-values", Detail.UNSET_VARIABLE): Finer(
        "Give the variable a value where it is declared: float sum = 0.0f.", "A variable was never set"
    ),
    ("uninitialised-read", Detail.GLOBAL_MEMORY): Finer(
        "Outputs start out uninitialised. Store a value before you read one back: C[i] = sum, not C[i] += sum."
    ),
    ("uninitialised-read", Detail.COPY_IN_FLIGHT): Finer(
        "Wait for the copy, then add a barrier: cp.async.wait_group N and __pipeline_wait_prior(N) leave the last N "
        "groups in flight, empty ones included. With an mbarrier, count the arrivals and check the parity.",
        COPIED_LATER,
    ),
    ("uninitialised-read", Detail.NO_MBARRIER): Finer(
        "Let one thread run mbarrier.init before any thread uses the mbarrier, with a __syncthreads() in between, "
        "and do not overwrite it.",
        "Not an mbarrier",
    ),
    ("misaligned-access", Detail.FRAGMENT): Finer(
        "The leading dimension of a matrix in memory, in bytes, must be a multiple of 16 (17 or 20 bf16 are 34 or 40 "
        "bytes: pad rows to 24), and the pointer to each fragment a multiple of 32 bytes."
    ),
    ("misaligned-access", Detail.OWN_ALIGNMENT): Finer(
        "An array is aligned as its elements are: floats to 4 bytes. Declare it with the alignment that the access "
        "needs, as in __shared__ __align__(16) float tile[...], or use a narrower access."
    ),
    ("misaligned-access", Detail.BULK_SIZE): Finer(
        "Copy a multiple of 16 bytes, and copy the rest with ordinary loads and stores."
    ),
    ("race", Detail.READ_BETWEEN_BLOCKS): Finer(
        "Nothing orders the blocks within a kernel: compute the value in each block that needs it, or in an earlier "
        "kernel. To add to one element from several blocks, use atomicAdd. To read what another block stored, let "
        "that block run __threadfence() and __syncthreads() before one of its threads sets an atomic flag or "
        "counter; the block that sees it needs a __syncthreads() before it reads."
    ),
    ("race", Detail.PLAIN_READ): Finer(
        "A plain load may be made only once and kept in a register. Read a flag or counter that other blocks change "
        "with atomicAdd(p, 0) or through a volatile pointer, in the loop that waits, and run __threadfence() after "
        "it. A sum that others add to is complete only in the next kernel, or once a counter shows it."
    ),
    ("race", Detail.BOTH_WRITE): Finer(
        "Two threads write one element: check the index and, if only one thread should write, the condition that "
        "chooses it. Only if both writes are intended, put a __syncthreads() between them."
    ),
    ("race", Detail.UNTRIED_SWAP): Finer(
        "When the compare-and-swap runs, the value may have changed since it was read, and nothing is stored. Try "
        "again with the value that it returns, until that is the expected one. A maximum or a sum needs no loop: "
        "atomicMax, atomicAdd."
    ),
    ("race", Detail.UPDATE): Finer(
        "Use atomicAdd, atomicMax or the like. Otherwise two threads can read the same value, and one update is "
        "lost; no barrier prevents that. If each thread should have its own element, check the index.",
        "Update that is not atomic",
    ),
    ("race", Detail.BETWEEN_BLOCKS): Finer(
        "There is no barrier between blocks: only one block may write each element. Check the index: a missing "
        "guard on rows or columns, a wrong row length, a missing group offset, blocks that compute the same index. "
        "For a sum over several blocks, use atomics."
    ),
    ("race", Detail.BLOCK_SCOPE): Finer(
        "Where several blocks use the same element, use the atomic without _block in its name."
    ),
    ("race", Detail.NO_PROXY_FENCE): Finer(
        "A bulk copy sees what threads stored only after a fence.proxy.async: put one after the stores, before the "
        "barrier that the copying thread waits at."
    ),
    ("race", Detail.UNFINISHED_COPY): Finer(
        "The thread that starts the copy must commit it to a group and wait for that group before it returns."
    ),
    ("uninitialised-read", Detail.NO_TENSOR_MAP): Finer(
        "Pass the address of a parameter const __grid_constant__ CUtensorMap, of the map with as many dimensions as "
        "the instruction has coordinates.",
        "No tensor map",
    ),
    ("misaligned-access", Detail.MISALIGNED_TILE): Finer(
        "Declare the shared array with alignas(128), or alignas(1024) if its tiles are swizzled, and let each stage "
        "start at a multiple of that."
    ),
    ("trap", Detail.REGISTER_COUNT): Finer(
        "Give setmaxnreg a multiple of 8 from 24 to 256.", "No such number of registers"
    ),
    ("race", Detail.EARLY_ACCUMULATOR): Finer(
        "Commit the wgmma to a group (wgmma.commit_group) and wait for that group (wgmma.wait_group) before the "
        "accumulators are read or changed."
    ),
    ("race", Detail.NO_PRODUCT_FENCE): Finer(
        "Run wgmma.fence before the first wgmma, and again whenever its registers were changed by anything else."
    ),
    ("race", Detail.CHANGED_REGISTER): Finer(
        "Put a wgmma.fence between that change and the wgmma. Accumulators and registers of A belong to the tensor "
        "cores from the fence to the wait for the group."
    ),
    ("race", Detail.EARLY_FACTOR): Finer(
        "Wait for the wgmma's group (wgmma.wait_group) before registers of A get new values, or use other registers "
        "for the next product."
    ),
    ("collective-mismatch", Detail.SPLIT_WARPGROUP): Finer(
        "Let all four warps of a warpgroup run each wgmma, under no condition that differs between them, and let a "
        "warpgroup start at a multiple of 128 threads.",
        "Not a whole warpgroup",
    ),
    ("misaligned-access", Detail.WRONG_DESCRIPTOR): Finer(
        "Make the descriptor and the tensor map agree: the same swizzle, rows as long as what is swizzled, eight of "
        "them (8 * 128 bytes) as the stride, and tiles that start at a multiple of that (alignas(1024)).",
        "The descriptor does not fit the tile",
    ),
    ("race", Detail.LEFT_BLOCK): Finer(
        "A block that has returned may have lost its shared memory. End the kernel with a cluster.sync() that all "
        "threads of the cluster reach after their last access to shared memory of another block."
    ),
    ("race", Detail.COPY_IN_FLIGHT): Finer(
        "Wait at the copy's mbarrier before reading, with the parity of the phase under way: 0 first, changing with "
        "every phase. The mbarrier must expect the bytes of all copies together.",
        COPIED_LATER,
    ),
    ("race", Detail.WITH_COPY): Finer(
        "Wait until the copy has arrived before any thread reads, and until all have read before the next copy: with "
        "cp.async, wait for its group and then at a barrier; with an mbarrier, count the arrivals and check the "
        "parity."
    ),
    ("race", Detail.WITH_PRODUCT): Finer(
        "Wait for the wgmma's group (wgmma.wait_group) before its tile is given back: every warp that reads it "
        "arrives at the mbarrier that says so, or at the barrier before the next copy, only after that wait."
    ),
    ("race", Detail.OWN_BARRIERS): Finer(
        "Check the barrier that should separate the two: how many threads it counts, its parity, and that each "
        "thread arrives only after its last access."
    ),
    ("barrier-divergence", Detail.STUCK_MBARRIER): Finer(
        f"{_COUNT_ARRIVALS} Then check the parity: it starts at 0 and changes with every phase. If some threads can "
        "go round again before others have waited, a phase passes these by: add a barrier.",
        "Waits forever at an mbarrier",
    ),
    ("barrier-divergence", Detail.PASSED_EARLY): Finer(
        "Check the parity that this wait is given: it starts at 0 and changes with every phase of the mbarrier.",
        "Wait passes too early",
    ),
    ("barrier-divergence", Detail.COUNTS_DIFFER): Finer(
        "Give every bar.sync and bar.arrive of one barrier the same number: all threads that wait there and all that "
        "only arrive, together.",
        "The barrier's counts differ",
    ),
    ("barrier-divergence", Detail.CLUSTER_BARRIER): Finer(
        "Every thread of every block of the cluster must arrive at the cluster's barrier, or have returned: take it "
        "out of the condition, or let the others arrive too.",
        "Not all threads reach the cluster's barrier",
    ),
    ("barrier-divergence", Detail.CLUSTER_ORDER): Finer(
        "Each thread arrives once and waits once, in turn: cluster.sync() does both.",
        "Wrong use of the cluster's barrier",
    ),
    ("barrier-divergence", Detail.MBARRIER_MISUSE): Finer(_COUNT_ARRIVALS, "Wrong use of an mbarrier"),
    ("collective-mismatch", Detail.WHOLE_WARP): Finer(
        "No lane may return or branch away before it: guard the loads and stores instead, and load zeros in lanes "
        "without work.",
        "Lanes are missing in a warp operation",
    ),
    ("did-not-finish", Detail.WAITS_FOR_OTHERS): Finer(
        "Find out which thread should store what this loop waits for, and whether it gets there; of other blocks, "
        "only those with a lower index are sure to run. If the loop waits for no other thread, check its condition."
    ),
    ("did-not-finish", Detail.NO_EFFECT): Finer(
        "k + 1 computes a number and drops it: to advance a counter, write k += 1. A comparison, i == 1, does not "
        "assign either."
    ),
    ("did-not-finish", Detail.RECURSION): Finer(
        "Check the condition that ends the recursion: does it become true for every argument?"
    ),
    ("barrier-divergence", Detail.BARRIER_NUMBER): Finer(
        "Give the barrier a number from 0 to 15; __syncthreads() uses 0.", "No such barrier"
    ),
    ("trap", Detail.COOPERATIVE_LAUNCH): Finer(
        "Let no block wait for all others: there is no cooperative launch here. Give each block separate work, or "
        "let the last block that counts itself done in the workspace do the rest.",
        "grid.sync() in an ordinary launch",
    ),
    ("trap", Detail.BRANCH_INDEX): Finer(
        "Check the index before brx.idx: with one that is not in the list, a GPU may jump anywhere."
    ),
    ("trap", Detail.ASSERTION): Finer(
        "Find out why the condition of the assert() is false here.", "Assertion failed"
    ),
    ("wrong-values", Detail.UNTOUCHED): Finer("", "Not written yet"),
    ("wrong-values", Detail.NOT_WRITTEN): Finer("", "Not written yet"),
    ("wrong-values", Detail.STEP_LEFT): Finer("", "Not finished yet"),
    ("wrong-values", Detail.ONE_SHARED_ARRAY): Finer(
        "Declare one extern __shared__ array, and point each part to its own offset in it: "
        "float* b_tile = memory + TILE * TILE. Then count both in launch->shared_bytes."
    ),
    ("wrong-values", Detail.CONVERSION): Finer(_CONVERT),
    ("wrong-values", Detail.STOCHASTIC_CONVERSION): Finer(_CONVERT),
}


def next_step(finding: Finding) -> str:
    """What to do about it."""
    finer = _finer(finding)
    return finer.next_step if finer else kind_of(finding.kind).next_step


def title(finding: Finding) -> str:
    """The finding's title."""
    finer = _finer(finding)
    return finer.title if finer and finer.title else kind_of(finding.kind).title


def kind_of(name: str) -> KindText:
    """The kind by its name in the Result; a kind unknown here keeps its own name."""
    return KINDS.get(name) or KindText(name.replace("-", " ").capitalize(), "")


def _finer(finding: Finding) -> Finer | None:
    return FINER.get((finding.kind, finding.detail))
