"""The checks of global and constant memory: inside an array, aligned, initialised, writable, no race."""

from __future__ import annotations

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import (
    BLIND,
    COUNTS,
    DROPS,
    FIRST,
    FIRST_WINDOW,
    INITIALISED,
    LAUNCH,
    MERGES,
    QUIET,
    STRONG,
    TRIES,
    WINDOW,
    WINDOW_BITS,
    WINDOWS,
    WORKER,
    WRITABLE,
    Kind,
)
from grader.ptx.runtime.crossings import note_touch, reading, writing
from grader.ptx.runtime.faults import check_alignment, fault, leave
from grader.ptx.runtime.order import (
    changes,
    global_conflict,
    is_atomic_everywhere,
    is_concurrent,
    is_unordered,
    is_weak,
)
from grader.ptx.runtime.shadow import ACCESS, COLD, MANY, PEEK, STORE, GlobalCell, Slot, cells_of, locked
from grader.ptx.runtime.threads import note_news

LAST_WINDOW = WINDOWS - 1
PLACE = {"window": "ptr", "offset": "i64"}


def functions() -> list[Fn]:
    return [
        locate(),
        global_read(),
        cells_read(),
        global_write(),
        cells_write(),
        cell_write(),
        global_update(),
        global_read_many(),
        global_peek(),
    ]


def locate() -> Fn:
    """The window record that an address points into."""
    f = Fn("locate", "ptr", {"w": "ptr", "address": "i64"}, "nounwind alwaysinline")
    index = (f["address"] >> WINDOW_BITS) - FIRST_WINDOW
    last = f.const("i64", LAST_WINDOW)
    index = f.select(index.ult(last), index, last)
    f.ret(LAUNCH.get(WORKER.get(f["w"], "launch"), "windows").at(index * WINDOW.size))
    return f


def _global_place(f: Fn, window: Value) -> Value:
    """Offset of an access in its array; if it is outside, records the fault and returns the sink."""
    size, width = WINDOW.get(window, "size"), f["width"].zext("i64")
    offset = f["address"] - WINDOW.get(window, "base")
    inside = offset.ult(size) & (offset + width).ule(size)
    with f.when(inside ^ 1, likely=False):
        fault(f, Kind.OUT_OF_BOUNDS, f["address"])
        leave(f, WORKER.get(f["w"], "sink"))
    return offset


def _mine(f: Fn) -> Value:
    return WORKER.get(f["w"], "block_stamp") | f["me"].zext("i64")


def global_read() -> Fn:
    """Host address of a checked read, or the sink's."""
    f = Fn("global_read", "ptr", ACCESS, COLD)
    window = f.call("ptr", "locate", f["w"], f["address"])
    check_alignment(f)
    offset = _global_place(f, window)
    with f.when((WINDOW.get(window, "flags") & WRITABLE).ne(0)), locked(f):
        f.call("void", "cells_read", *(f[name] for name in ACCESS), window, offset)
    f.ret(WINDOW.get(window, "host").at(offset))
    return f


def cells_read() -> Fn:
    """The cells of a read: whether each was written, and before this read; records who reads."""
    f = Fn("cells_read", "void", {**ACCESS, **PLACE}, COLD)
    initialised = (WINDOW.get(f["window"], "flags") & INITIALISED).ne(0)
    first, count = cells_of(f, f["offset"], "global_shift")
    with f.count(count) as k:
        note_touch(f, f["window"], first + k, reading(f))
        cell = GlobalCell(f["window"], first + k)
        with f.when((cell.write.stamp.ne(0) | initialised) ^ 1, likely=False):
            _note_read(f, cell)  # if another thread writes it later, the two race
            with f.when((f["site"] & MERGES).eq(0)):
                fault(f, Kind.UNINITIALISED_READ, f["address"])
            f.ret()
            f.label(f.fresh("dead"))
        _conflict_with_writes(f, cell)
        _note_read(f, cell)
    f.ret()
    return f


def _note_read(f: Fn, cell: GlobalCell) -> None:
    """Keep the block's first reader, unless it is ordered before this one, and one reader of another block."""
    mine, seen = _mine(f), cell.read.stamp
    other_block = (seen >> 32).ne(mine >> 32)
    with f.when(other_block & seen.ne(0)):  # it would hide behind this block's own reads
        _keep(f, cell.elsewhere, seen, cell.read.site)
    low = seen.trunc("i32")
    first_one = other_block | low.ult(WORKER.get(f["w"], "barrier")) | (is_unordered(f, low) ^ 1)
    with f.when(first_one):
        cell.read.set(mine, f["site"])
    with f.when(first_one ^ 1):
        cell.also.set(mine, f["site"])


def _keep(f: Fn, slot: Slot, stamp: Value, site: Value) -> None:
    """Keep the earlier access if this one is not ordered after it: a later one may follow this one but not that."""
    with f.when(slot.stamp.eq(0) | (is_concurrent(f, slot.stamp) ^ 1)):
        slot.set(stamp, site)


def global_write() -> Fn:
    """Host address for a checked write, or the sink's."""
    f = Fn("global_write", "ptr", STORE, COLD)
    window = f.call("ptr", "locate", f["w"], f["address"])
    check_alignment(f)
    offset = _global_place(f, window)
    with f.when((WINDOW.get(window, "flags") & WRITABLE).eq(0), likely=False):
        fault(f, Kind.READ_ONLY_WRITE, f["address"])
        leave(f, WORKER.get(f["w"], "sink"))
    with locked(f):
        f.call("void", "cells_write", *(f[name] for name in STORE), window, offset)
    f.ret(WINDOW.get(window, "host").at(offset))
    return f


def cells_write() -> Fn:
    """The cells of a write: whether earlier reads and writes are ordered before it; records who writes."""
    f = Fn("cells_write", "void", {**STORE, **PLACE}, COLD)
    first, count = cells_of(f, f["offset"], "global_shift")
    with f.count(count) as k:
        note_touch(f, f["window"], first + k, writing(f))
        cell = GlobalCell(f["window"], first + k)
        untouched = (cell.write.stamp | cell.read.stamp).eq(0) & (f["site"] & QUIET).eq(0)
        with f.when(untouched):
            note_news(f)
            cell.write.set(_mine(f), f["site"])
        with f.when(untouched ^ 1):
            f.call("void", "cell_write", *(f[name] for name in STORE), f["window"], f["offset"], first + k)
    f.ret()
    return f


def cell_write() -> Fn:
    """A write to a cell that was read or written before."""
    f = Fn("cell_write", "void", {**STORE, **PLACE, "cell": "i64"}, COLD)
    mine, cell = _mine(f), GlobalCell(f["window"], f["cell"])
    matters = changes(f, WINDOW.get(f["window"], "host").at(f["offset"]))
    atomic = is_atomic_everywhere(f["site"])
    with f.when(atomic):
        _lost_update(f, cell, matters)
    counts = atomic & (f["site"] & COUNTS).ne(0)
    with f.when(matters & (counts ^ 1)):
        note_news(f)
    _conflict_with_writes(f, cell, matters)
    global_conflict(f, cell.read, matters)
    seen = cell.read.stamp
    with f.when((seen >> 32).eq(mine >> 32) & seen.trunc("i32").uge(WORKER.get(f["w"], "barrier"))):
        global_conflict(f, cell.also, matters)
        cell.also.clear()
    with f.when(cell.elsewhere.stamp.ne(0)), f.when(_was_seen(f, cell) ^ 1):
        global_conflict(f, cell.elsewhere, matters)
    with f.when((f["site"] & QUIET).ne(0)):
        _note_read(f, cell)
        f.ret()
        f.label(f.fresh("dead"))
    with f.when(atomic ^ 1):
        cell.elsewhere.clear()
    # A plain access of this block from before its atomics still races with the atomics of other blocks,
    # except of blocks that have looked at the value it left.
    for slot in (cell.read, cell.write):
        before, site = slot.stamp, slot.site
        plain = (before >> 32).eq(mine >> 32) & (is_atomic_everywhere(site) ^ 1)
        with f.when(atomic & plain):
            cell.elsewhere.set(before, site | FIRST)
    _note_hidden(f, cell)
    cell.write.set(mine, f["site"])
    cell.read.clear()
    f.ret()
    return f


def _conflict_with_writes(f: Fn, cell: GlobalCell, matters: Value | None = None) -> None:
    """A block that has looked at an atomic write comes after it, and after the writes before it."""
    atomic = cell.write.site.uge(STRONG)
    with f.when(atomic ^ 1):
        global_conflict(f, cell.write, matters)
    with f.when(atomic & (is_atomic_everywhere(f["site"]) ^ 1)), f.when(_has_looked(f, cell) ^ 1):
        global_conflict(f, cell.write, matters)
        global_conflict(f, cell.hidden, matters)


def _was_seen(f: Fn, cell: GlobalCell) -> Value:
    """1 if the access in `elsewhere` came before an atomic write of its own block that this block has looked at."""
    return (cell.elsewhere.site & FIRST).ne(0) & _has_looked(f, cell)


def _has_looked(f: Fn, cell: GlobalCell) -> Value:
    """1 if an earlier access of this block, ordered before this one, looked at the last value written to the cell."""
    found = f.alloca("i1")
    found.store(f.const("i1", 0))
    for slot in (cell.read, cell.write):
        site, stamp = slot.site, slot.stamp
        looks = (site & (BLIND | DROPS)).eq(0) & (site.uge(STRONG) if slot is cell.write else stamp.ne(0))
        with f.when(looks & (stamp >> 32).eq(_mine(f) >> 32)), f.when(is_concurrent(f, stamp) ^ 1):
            found.store(f.const("i1", 1))
    return found.load("i1")


def _lost_update(f: Fn, cell: GlobalCell, matters: Value) -> None:
    """Atomic operations do not race, but one that overwrites another's update may come before or after it.

    A block that has looked at the element since then knows the value that it overwrites. But a compare-and-swap that
    is tried only once fails unnoticed if another operation comes in between.
    """
    matters = matters & (f["site"] & QUIET).eq(0) & is_atomic_everywhere(f["site"])

    def conflict(slot: Slot) -> None:
        stamp, site = slot.stamp, slot.site
        with f.when(stamp.ne(0) & is_atomic_everywhere(site)), f.when(is_concurrent(f, stamp)):
            own_block = (stamp >> 32).eq(_mine(f) >> 32)
            for here, kind in ((own_block, Kind.RACE), (own_block ^ 1, Kind.BLOCK_RACE)):
                with f.when(here):
                    fault(f, kind, f["address"], stamp, site)

    with f.when(matters & (f["site"] & TRIES).ne(0), likely=False):
        conflict(cell.write)
        conflict(cell.hidden)
    overwrites = (f["site"] & BLIND).ne(0) | ((cell.write.site & BLIND).ne(0) & (f["site"] & DROPS).ne(0))
    with f.when(matters & overwrites, likely=False), f.when(_has_looked(f, cell) ^ 1):
        conflict(cell.write)


def _note_hidden(f: Fn, cell: GlobalCell) -> None:
    """As in shared memory: plain reads must know one more atomic write, of another block if there was one."""
    both_atomic = is_weak(f, cell.write.site) ^ 1
    stamp, site, hidden = cell.write.stamp, cell.write.site, cell.hidden.stamp
    here = _mine(f) >> 32
    other_block = (stamp >> 32).ne(here)
    with f.when(both_atomic & other_block):
        cell.hidden.set(stamp, site)
    free = hidden.eq(0) | (hidden >> 32).eq(here)
    own = both_atomic & free & (other_block ^ 1)
    with f.when(own), f.when(is_concurrent(f, hidden) ^ 1), f.when(is_concurrent(f, stamp)):
        cell.hidden.set(stamp, site)
    with f.when(both_atomic ^ 1):
        cell.hidden.clear()


def global_update() -> Fn:
    """Host address for a checked atomic operation, or the sink's. An element never written is reported only once."""
    f = Fn("global_update", "ptr", STORE, COLD)
    window = f.call("ptr", "locate", f["w"], f["address"])
    offset = _global_place(f, window)
    with f.when((WINDOW.get(window, "flags") & (WRITABLE | INITIALISED)).eq(WRITABLE)):
        first, count = cells_of(f, offset, "global_shift")
        with f.count(count) as k, f.when(GlobalCell(window, first + k).write.stamp.eq(0), likely=False):
            fault(f, Kind.UNINITIALISED_READ, f["address"])
    f.ret(f.call("ptr", "global_write", *(f[name] for name in STORE)))
    return f


def global_peek() -> Fn:
    """Host address of what an atomic operation may change, or the sink's. Records nothing."""
    f = Fn("global_peek", "ptr", PEEK, COLD)
    window = f.call("ptr", "locate", f["w"], f["address"])
    size, width = WINDOW.get(window, "size"), f["width"].zext("i64")
    offset = f["address"] - WINDOW.get(window, "base")
    inside = offset.ult(size) & (offset + width).ule(size) & (WINDOW.get(window, "flags") & WRITABLE).ne(0)
    f.ret(f.select(inside, WINDOW.get(window, "host").at(offset), WORKER.get(f["w"], "sink")))
    return f


def global_read_many() -> Fn:
    """Check the loads of a group one by one, in an array that kernels may not write."""
    f = Fn("global_read_many", "void", MANY, COLD)
    with f.count(f["n"]) as i:
        entry = f["table"].at(i * 16)
        address = f["address"] + entry.load("i64")
        f.call("ptr", "global_read", f["w"], f["me"], address, f["width"], entry.at(8).load("i32"))
    f.ret()
    return f
