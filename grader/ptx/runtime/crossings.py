"""For blocks that run side by side: does a block touch a cell of global memory in a way that needs an order?

Nothing orders these blocks (looks.py), so it does not matter which came first: each cell records which block was the
first, what that block did and what others did. Two reads, or two atomic updates, may meet; anything else is noticed,
whatever the order. Then the launch is run again, one block at a time.
"""

from __future__ import annotations

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import BLIND, ENOUGH, LAUNCH, WINDOW, WORKER
from grader.ptx.runtime.order import is_atomic_everywhere, is_parallel
from grader.ptx.runtime.threads import launch_of

READS, UPDATES, WRITES = 1, 2, 4  # what the first block did; from the fourth bit on what others did
OTHERS, FIRST_BLOCK = 3, 6  # shifts; the first block's index + 1 is on top


def functions() -> list[Fn]:
    return [touch()]


def touch() -> Fn:
    """This block does `what` to a cell of a window. The caller holds its lock."""
    f = Fn("touch", "void", {"w": "ptr", "window": "ptr", "cell": "i64", "what": "i32"}, "noinline nounwind")
    at = WINDOW.get(f["window"], "touched").index("i32", f["cell"])
    mine, known = WORKER.get(f["w"], "block").trunc("i32") + 1, at.load("i32")
    first = known >> FIRST_BLOCK
    own = first.eq(mine) | first.eq(0)
    by_others = f.select(own, known >> OTHERS, known) & (READS | UPDATES | WRITES)
    what = f["what"]
    meets = f.select(what.eq(WRITES), f.const("i32", 0), what)  # its like, and nothing else
    with f.when((by_others & (meets ^ -1)).ne(0), likely=False):
        LAUNCH.set(launch_of(f), "crossed", f.const("i32", 1))
        LAUNCH.set(launch_of(f), "stop", f.const("i32", ENOUGH))
    at.store(f.select(own, known | what | (mine << FIRST_BLOCK), known | (what << OTHERS)))
    f.ret()
    return f


def note_touch(f: Fn, window: Value, cell: Value, what: Value) -> None:
    with f.when(is_parallel(f)):
        f.call("void", "touch", f["w"], window, cell, what)


def reading(f: Fn) -> Value:
    return f.const("i32", READS)


def writing(f: Fn) -> Value:
    """An atomic operation may meet other atomics; a volatile store may not."""
    is_update = is_atomic_everywhere(f["site"]) & (f["site"] & BLIND).eq(0)
    return f.select(is_update, f.const("i32", UPDATES), f.const("i32", WRITES))
