"""Whether an access is ordered after the earlier ones to the same bytes; if not, they race."""

from __future__ import annotations

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import BLOCK_SCOPE, LANES_ROW, LAUNCH, STAMP_STEP, STRONG, WARPS, WORKER, Kind
from grader.ptx.runtime.faults import fault, leave
from grader.ptx.runtime.shadow import Slot

FIRST_KERNEL_STAMP = 1 << 33  # smaller global stamps are the host's


def functions() -> list[Fn]:
    return [unordered(), concurrent()]


def unordered() -> Fn:
    """1 if the access of this block at `stamp` may happen at the same time as what thread `me` does now."""
    f = Fn("unordered", "i1", {"w": "ptr", "me": "i32", "stamp": "i32"}, "nounwind")
    mine, theirs = f["me"] & (STAMP_STEP - 1), f["stamp"] & (STAMP_STEP - 1)
    with f.when(f["stamp"].ult(WORKER.get(f["w"], "barrier")) | mine.eq(theirs)):
        leave(f, f.const("i1", 0))
    in_warp = (mine >> 5).eq(theirs >> 5)
    row = f.select(in_warp, lanes_row(f["w"], mine), known_row(f["w"], mine >> 5))
    known = row.index("i32", f.select(in_warp, theirs & 31, theirs >> 5)).load("i32")
    f.ret(f["stamp"].uge(known))
    return f


def known_row(worker: Value, row: Value) -> Value:
    return WORKER.get(worker, "known").index("i32", row * WARPS)


def lanes_row(worker: Value, thread: Value) -> Value:
    """For each lane of its warp, the time up to which the lane's accesses are ordered before those of `thread`."""
    return known_row(worker, thread + LANES_ROW)


def is_unordered(f: Fn, stamp: Value) -> Value:
    return f.call("i1", "unordered", f["w"], f["me"], stamp)


def is_weak(f: Fn, other_site: Value) -> Value:
    """At least one of the two accesses is neither atomic nor volatile."""
    return (f["site"] & other_site).ult(STRONG)


def is_atomic_everywhere(site: Value) -> Value:
    """It is atomic or volatile for the threads of other blocks too."""
    return (site & (STRONG | BLOCK_SCOPE)).eq(STRONG)


def changes(f: Fn, host: Value) -> Value:
    """1 if the store would change the bytes at `host`."""
    differs = f.alloca("i8")
    differs.store(f.const("i8", 1))
    with f.when(f["bytes"].ne("null")):
        differs.store(f.const("i8", 0))
        with f.count(f["width"].zext("i64")) as k:
            difference = host.at(k).load("i8") ^ f["bytes"].at(k).load("i8")
            differs.store(differs.load("i8") | difference)
    return differs.load("i8").ne(0)


def is_own(f: Fn, stamp: Value) -> Value:
    return ((stamp ^ f["me"]) & (STAMP_STEP - 1)).eq(0)


def shared_conflict(f: Fn, stamp: Value, site: Value, matters: Value | None = None) -> None:
    matters = matters if matters is not None else f.const("i1", 1)
    with f.when(is_unordered(f, stamp) & matters, likely=False), f.when(is_weak(f, site)):
        fault(f, Kind.RACE, f["address"], stamp.zext("i64"), site)


def concurrent() -> Fn:
    """1 if the access to global memory at `stamp`, of any block, may happen at the same time as what `me` does now.

    Where blocks run side by side, what lies between them is seen elsewhere (crossings.py).
    """
    f = Fn("concurrent", "i1", {"w": "ptr", "me": "i32", "stamp": "i64"}, "nounwind")
    block, low = (f["stamp"] >> 32) - 2, f["stamp"].trunc("i32")
    with f.when(f["stamp"].ult(FIRST_KERNEL_STAMP)):
        leave(f, f.const("i1", 0))
    with f.when(block.eq(WORKER.get(f["w"], "block"))):
        leave(f, is_unordered(f, low))
    with f.when(is_parallel(f)):
        leave(f, f.const("i1", 0))
    f.ret(f.call("i1", "apart", f["w"], f["me"], block.trunc("i32"), low))
    return f


def is_parallel(f: Fn) -> Value:
    return LAUNCH.get(WORKER.get(f["w"], "launch"), "serial").eq(0)


def is_concurrent(f: Fn, stamp: Value) -> Value:
    return f.call("i1", "concurrent", f["w"], f["me"], stamp)


def global_conflict(f: Fn, slot: Slot, matters: Value | None = None) -> None:
    """A race with an access of this block, or with another block's. `matters`: to other threads of this block."""
    stamp, site = slot.stamp, slot.site
    own_block = ((stamp >> 32) - 2).eq(WORKER.get(f["w"], "block"))
    both_atomic = is_atomic_everywhere(f["site"]) & is_atomic_everywhere(site)
    matters = matters if matters is not None else f.const("i1", 1)
    harmful = f.select(own_block, is_weak(f, site) & matters, both_atomic ^ 1)
    with f.when(harmful & stamp.ne(0), likely=False), f.when(is_concurrent(f, stamp)):
        for here, kind in ((own_block, Kind.RACE), (own_block ^ 1, Kind.BLOCK_RACE)):
            with f.when(here):
                fault(f, kind, f["address"], stamp, site)
