"""The checks of global and constant memory: which array, inside it, aligned, initialised, allowed, no race."""

from __future__ import annotations

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import INITIALISED, LAUNCH, STRONG, WINDOW, WINDOW_BITS, WORKER, WRITABLE, Kind
from grader.ptx.runtime.faults import check_alignment, fault, leave
from grader.ptx.runtime.order import (
    changes,
    global_conflict,
    is_atomic_everywhere,
    is_concurrent,
    is_unordered,
    is_weak,
)
from grader.ptx.runtime.shadow import ACCESS, COLD, MANY, STORE, GlobalCell, cells_of, locked

LAST_WINDOW = 1023
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
    ]


def locate() -> Fn:
    """The window record that an address points into."""
    f = Fn("locate", "ptr", {"w": "ptr", "address": "i64"}, "nounwind alwaysinline")
    index = f["address"] >> WINDOW_BITS
    last = f.const("i64", LAST_WINDOW)
    index = f.select(index.ult(last), index, last)
    f.ret(LAUNCH.get(WORKER.get(f["w"], "launch"), "windows").at(index * WINDOW.size))
    return f


def _global_place(f: Fn, window: Value) -> Value:
    """Offset of an access in its array; records it and returns the sink where it is outside."""
    size, width = WINDOW.get(window, "size"), f["width"].zext("i64")
    start = (f["address"] >> WINDOW_BITS << WINDOW_BITS) + (1 << (WINDOW_BITS - 1))
    offset = f["address"] - start
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
    """The cells of a read: was something written there, and is it ordered before; who reads is noted."""
    f = Fn("cells_read", "void", {**ACCESS, **PLACE}, COLD)
    mine, barrier = _mine(f), WORKER.get(f["w"], "barrier")
    initialised = (WINDOW.get(f["window"], "flags") & INITIALISED).ne(0)
    first, count = cells_of(f, f["offset"], "global_shift")
    with f.count(count) as k:
        cell = GlobalCell(f["window"], first + k)
        with f.when((cell.write.stamp.ne(0) | initialised) ^ 1, likely=False):
            fault(f, Kind.UNINITIALISED_READ, f["address"])
            f.ret()
            f.label(f.fresh("dead"))
        global_conflict(f, cell.write)
        with f.when(cell.write.site.uge(STRONG)):
            global_conflict(f, cell.hidden)
        seen = cell.read.stamp
        other_block = (seen >> 32).ne(mine >> 32)
        with f.when(other_block & seen.ne(0)):  # it would hide behind this block's own reads
            cell.elsewhere.set(seen, cell.read.site)
        low = seen.trunc("i32")
        first_one = other_block | low.ult(barrier) | (is_unordered(f, low) ^ 1)
        with f.when(first_one):
            cell.read.set(mine, f["site"])
        with f.when(first_one ^ 1):
            cell.also.set(mine, f["site"])
    f.ret()
    return f


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
    with f.when(is_atomic_everywhere(f["site"])):
        f.call("void", "signal", f["w"], f["me"])
    f.ret(WINDOW.get(window, "host").at(offset))
    return f


def cells_write() -> Fn:
    """The cells of a write: is what was read and written there ordered before; who writes is noted."""
    f = Fn("cells_write", "void", {**STORE, **PLACE}, COLD)
    first, count = cells_of(f, f["offset"], "global_shift")
    with f.count(count) as k:
        cell = GlobalCell(f["window"], first + k)
        untouched = (cell.write.stamp | cell.read.stamp).eq(0)
        with f.when(untouched):
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
    global_conflict(f, cell.write, matters)
    global_conflict(f, cell.read, matters)
    seen = cell.read.stamp
    with f.when((seen >> 32).eq(mine >> 32) & seen.trunc("i32").uge(WORKER.get(f["w"], "barrier"))):
        global_conflict(f, cell.also, matters)
        cell.also.clear()
    global_conflict(f, cell.elsewhere, matters)
    with f.when(atomic ^ 1):
        cell.elsewhere.clear()
    # What this block did plainly before it became atomic is still not safe from the atomics of other blocks.
    for slot in (cell.read, cell.write):
        before, site = slot.stamp, slot.site
        plain = (before >> 32).eq(mine >> 32) & (is_atomic_everywhere(site) ^ 1)
        with f.when(atomic & plain):
            cell.elsewhere.set(before, site)
    _note_hidden(f, cell)
    cell.write.set(mine, f["site"])
    cell.read.clear()
    f.ret()
    return f


def _note_hidden(f: Fn, cell: GlobalCell) -> None:
    """As in shared memory: the oldest atomic write that this one is not ordered after stays known to plain reads."""
    both_atomic = is_weak(f, cell.write.site) ^ 1
    stamp, site, hidden = cell.write.stamp, cell.write.site, cell.hidden.stamp
    with f.when(both_atomic), f.when(is_concurrent(f, hidden) ^ 1), f.when(is_concurrent(f, stamp)):
        cell.hidden.set(stamp, site)
    with f.when(both_atomic ^ 1):
        cell.hidden.clear()


def global_update() -> Fn:
    """Host address for a checked atomic operation, or the sink's. Of what nothing wrote it is told once."""
    f = Fn("global_update", "ptr", STORE, COLD)
    window = f.call("ptr", "locate", f["w"], f["address"])
    offset = _global_place(f, window)
    with f.when((WINDOW.get(window, "flags") & (WRITABLE | INITIALISED)).eq(WRITABLE)):
        first, count = cells_of(f, offset, "global_shift")
        with f.count(count) as k, f.when(GlobalCell(window, first + k).write.stamp.eq(0), likely=False):
            fault(f, Kind.UNINITIALISED_READ, f["address"])
    f.ret(f.call("ptr", "global_write", *(f[name] for name in STORE)))
    return f


def global_read_many() -> Fn:
    """The loads of a group from an array that no kernel may write, one by one."""
    f = Fn("global_read_many", "void", MANY, COLD)
    with f.count(f["n"]) as i:
        entry = f["table"].at(i * 16)
        address = f["address"] + entry.load("i64")
        f.call("ptr", "global_read", f["w"], f["me"], address, f["width"], entry.at(8).load("i32"))
    f.ret()
    return f
