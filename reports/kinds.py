"""What each kind of finding is called, and what a student does about it."""

from __future__ import annotations

import re
from typing import NamedTuple


class Kind(NamedTuple):
    """`at_fault`: the finding's line is the guilty one; else it only says which kernel is meant."""

    title: str
    next_step: str
    at_fault: bool = True


KINDS = {
    "compile-error": Kind(
        "Does not compile", "Mend the first error, then grade again: later ones often follow from it."
    ),
    "compile-warning": Kind("Compiler warning", "Read it once: it is often the bug of the next hour."),
    "missing-kernel": Kind(
        "Kernel not found",
        'Keep the name that problem.md gives, and extern "C": without it C++ changes the name.',
    ),
    "wrong-signature": Kind(
        "Wrong signature", "Copy the parameters from problem.md, in their order and with their types."
    ),
    "bad-launch": Kind(
        "Bad launch",
        "Set that member of Launch to what it may be: grid and block at least 1, at most 1024 threads in a block, "
        "shared_bytes what one block takes, in bytes, and a variant that has a kernel.",
    ),
    "out-of-bounds": Kind(
        "Outside the array",
        "Find which index can grow past the end: a last tile or vector that is not full, or the end of a group. "
        "Guard the access; a tile in shared memory gets 0 for what is not there.",
    ),
    "uninitialised-read": Kind(
        "Read before anything was written",
        "Find the path on which nothing is stored there first: a thread that skips its load, "
        "or a part of the tile that no thread fills.",
    ),
    "misaligned-access": Kind(
        "Misaligned access",
        "A vector access of n bytes wants an address that n divides; where rows start anywhere, narrow it.",
    ),
    "race": Kind(
        "Race between threads",
        "Within a block: a __syncthreads() between the two accesses, where every thread reaches it; a loop "
        "that reuses a tile needs one before its next load too.",
    ),
    "barrier-divergence": Kind(
        "Not every thread reaches the barrier",
        "Let threads without work skip the loads and stores, never the __syncthreads(): "
        "turn an early return into a condition around the work.",
    ),
    "collective-mismatch": Kind(
        "Warp operation with the wrong lanes",
        "The mask must name exactly the lanes that arrive: compute it before the branch, or leave it first.",
    ),
    "read-only-write": Kind(
        "Write to read-only memory",
        "Inputs and __device__ tables are read-only: write to the output, or to the workspace.",
    ),
    "did-not-finish": Kind(
        "Did not finish",
        "Look at what ends the loop: does its counter advance on every path, in the last round too?",
    ),
    "forbidden-instruction": Kind(
        "Not allowed in this exercise",
        "Do it by hand: problem.md names what is forbidden, and why. The compiled code decides, not the source.",
    ),
    "trap": Kind(
        "Stopped itself",
        "An assert() failed, __trap() was reached, or a null pointer was followed: see why, at that line.",
    ),
    "out-of-memory": Kind(
        "Took too much memory",
        "Look for an array far larger than the problem, or a template that expands without end.",
    ),
    "wrong-values": Kind(
        "Wrong result",
        "Take the first wrong element and follow by hand which inputs your kernel reads for it.",
        at_fault=False,
    ),
    "speed": Kind("Too slow", "See below what your kernel leaves unused, and take the hints one at a time."),
    "rules": Kind("Against the exercise's rules", "Do by hand what the exercise asks you to do by hand."),
    "no-spills": Kind(
        "Registers spilled to memory",
        "Keep fewer values alive at once: a smaller tile per thread, or fewer threads in a block.",
    ),
    "formatted": Kind("Format", "An editor's formatter mends it in one go."),
    "commented": Kind("No comment", "Say above the kernel what a block computes and how."),
}


class _Special(NamedTuple):
    """A finding of `kind` whose message says this wants a step, and maybe a title, of its own."""

    kind: str
    said: re.Pattern[str]
    next_step: str
    title: str = ""


COPIED_LATER = "Read before its copy has arrived"

# The first that fits counts.
_SPECIAL = (
    _Special(
        "race",
        re.compile("reads.*blocks run in any order"),
        "Blocks run in any order. If they add to one element, use atomicAdd. If one reads what another stored, that "
        "one needs __threadfence() and __syncthreads() before one of its threads raises an atomic flag or counter; "
        "who sees it needs a __syncthreads() before it reads.",
    ),
    _Special(
        "race",
        re.compile("blocks run in any order"),
        "No barrier is between blocks: let one block alone write each element. Look for a guard of rows or "
        "columns that is missing, and for blocks that share a place; a sum of several blocks wants atomics.",
    ),
    _Special(
        "race",
        re.compile("within its own block only"),
        "Where several blocks meet, use the atomic without _block in its name.",
    ),
    _Special(
        "race",
        re.compile("fence.proxy.async comes between"),
        "A bulk copy sees what threads stored only behind a fence.proxy.async: put it after the stores, before the "
        "barrier that the copying thread waits at.",
    ),
    _Special(
        "race",
        re.compile("ends while its bulk copy"),
        "Let the thread that copies commit the copy to a group, and wait for that group before it ends.",
    ),
    _Special(
        "race",
        re.compile("which the bulk copy of line"),
        "Wait at the copy's mbarrier before reading; it must expect the bytes of all copies together.",
        COPIED_LATER,
    ),
    _Special(
        "race",
        re.compile("the copy of line"),
        "Wait until the copy has arrived before anybody reads, and until all have read before the next copy: with "
        "cp.async, wait for its group and then a barrier; with an mbarrier, count who arrives and check the parity.",
    ),
    _Special(
        "race",
        re.compile("none of the kernel's barriers"),
        "Look at the barrier that should lie between: how many threads it counts, its parity, and that each arrives "
        "only after its last access.",
    ),
    _Special(
        "uninitialised-read",
        re.compile("cp.async nobody has waited for"),
        "Wait for the copy, then a barrier: cp.async.wait_group N or __pipeline_wait_prior(N) leaves the last N "
        "groups under way, empty ones counted. With an mbarrier: count who arrives and check the parity.",
        COPIED_LATER,
    ),
    _Special(
        "barrier-divergence",
        re.compile("waits here for ever"),
        "Count the threads that arrive at this mbarrier in a phase, and the bytes that come: as many as it was told "
        "to expect, and no more. Then the parity: it begins at 0 and changes with every phase.",
        "Waits for ever at an mbarrier",
    ),
    _Special(
        "barrier-divergence",
        re.compile(r"arrives at|a count of|expect more|mbarrier"),
        "Count the threads that arrive at this mbarrier in a phase, and the bytes that come: as many as it was told "
        "to expect, and no more.",
        "Wrong use of an mbarrier",
    ),
    _Special(
        "did-not-finish",
        re.compile("what other threads may change"),
        "See who should store what this loop waits for, and whether they get there; of other blocks only those with "
        "a lower index are sure to run. If it waits for nobody, see what ends it.",
    ),
    _Special(
        "out-of-bounds",
        re.compile("before its start"),
        "Find which index can fall below 0: a subtraction, or an index type too small for it.",
    ),
    _Special(
        "out-of-bounds",
        re.compile("lies in no array"),
        "Find where this pointer comes from: it was never set, or is no pointer of this kernel's arguments.",
    ),
    # The launch function sets this array's size: that is its mistake as often as the index's.
    _Special(
        "out-of-bounds",
        re.compile("dynamic shared memory"),
        "This array is as large as launch->shared_bytes says, in bytes: compare it with the largest index, times "
        "sizeof(float). If it is large enough, find which index grows past the end.",
    ),
    # "x[17] = 1.0625 (0x3f880000): expected 0x38": the input is known already, and its bits say what is right.
    _Special(
        "wrong-values",
        re.compile(r"\w(?:\[\d+\])+ = [^;]*?0x[0-9a-f]+[^;]*: expected "),
        "Convert the first wrong element by hand, bit by bit, and compare.",
    ),
)


def next_step(kind: str, message: str) -> str:
    """What to do about a finding."""
    special = _special(kind, message)
    return special.next_step if special else kind_of(kind).next_step


def title(kind: str, message: str) -> str:
    """What a finding is called."""
    special = _special(kind, message)
    return special.title if special and special.title else kind_of(kind).title


def _special(kind: str, message: str) -> _Special | None:
    return next((one for one in _SPECIAL if one.kind == kind and one.said.search(message)), None)


def kind_of(name: str) -> Kind:
    """The kind by its name in the Result; a kind unknown here keeps its own name."""
    return KINDS.get(name) or Kind(name.replace("-", " ").capitalize(), "")
