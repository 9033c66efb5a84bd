"""The checks of global and constant memory: which array, inside it, aligned, initialised, allowed, no race."""

from __future__ import annotations

from grader.ptx.faults import check_alignment, fault, leave
from grader.ptx.ir import Fn, Value
from grader.ptx.machine import INITIALISED, LAUNCH, WINDOW, WINDOW_BITS, WORKER, WRITABLE, Kind
from grader.ptx.order import changes, global_conflict, is_atomic_everywhere, is_unordered
from grader.ptx.shadow import ACCESS, COLD, MANY, STORE, GlobalShadow, cells_of

LAST_WINDOW = 1023


def functions() -> list[Fn]:
    return [locate(), global_read(), global_write(), global_update(), global_read_many()]


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


def _note_strong(f: Fn) -> None:
    with f.when(is_atomic_everywhere(f["site"])):
        WORKER.set(f["w"], "acquired", f.const("i32", 1))


def global_read() -> Fn:
    """Host address of a checked read, or the sink's."""
    f = Fn("global_read", "ptr", ACCESS, COLD)
    window = f.call("ptr", "locate", f["w"], f["address"])
    check_alignment(f)
    offset = _global_place(f, window)
    host = WINDOW.get(window, "host").at(offset)
    flags = WINDOW.get(window, "flags")
    with f.when((flags & WRITABLE).eq(0)):
        leave(f, host)
    shadow, mine = GlobalShadow(window), _mine(f)
    barrier = WORKER.get(f["w"], "barrier")
    _note_strong(f)
    first, count = cells_of(f, offset, "global_shift")
    with f.count(count) as k:
        cell = first + k
        written = shadow.write.index("i64", cell).load("i64")
        with f.when(written.eq(0) & (flags & INITIALISED).eq(0), likely=False):
            fault(f, Kind.UNINITIALISED_READ, f["address"])
            leave(f, host)
        global_conflict(f, written, shadow.write_site.index("i32", cell).load("i32"), mine)
        read, read_site = shadow.read.index("i64", cell), shadow.read_site.index("i32", cell)
        seen = read.load("i64")
        other_block = (seen >> 32).ne(mine >> 32)
        with f.when(other_block & seen.ne(0)):  # it would hide behind this block's own reads
            shadow.elsewhere.index("i64", cell).store(seen)
            shadow.elsewhere_site.index("i32", cell).store(read_site.load("i32"))
        low = seen.trunc("i32")
        first_one = other_block | low.ult(barrier) | (is_unordered(f, low) ^ 1)
        with f.when(first_one):
            read.store(mine)
            read_site.store(f["site"])
        with f.when(first_one ^ 1):
            shadow.also.index("i64", cell).store(mine)
            shadow.also_site.index("i32", cell).store(f["site"])
    f.ret(host)
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
    shadow, mine = GlobalShadow(window), _mine(f)
    _note_strong(f)
    first, count = cells_of(f, offset, "global_shift")
    matters = changes(f, WINDOW.get(window, "host").at(offset))
    barrier = WORKER.get(f["w"], "barrier")
    with f.count(count) as k:
        cell = first + k
        write, read = shadow.write.index("i64", cell), shadow.read.index("i64", cell)
        global_conflict(f, write.load("i64"), shadow.write_site.index("i32", cell).load("i32"), mine, matters)
        seen = read.load("i64")
        global_conflict(f, seen, shadow.read_site.index("i32", cell).load("i32"), mine, matters)
        with f.when((seen >> 32).eq(mine >> 32) & seen.trunc("i32").uge(barrier)):
            also = shadow.also.index("i64", cell)
            global_conflict(f, also.load("i64"), shadow.also_site.index("i32", cell).load("i32"), mine, matters)
            also.store(f.const("i64", 0))
        elsewhere, elsewhere_site = shadow.elsewhere.index("i64", cell), shadow.elsewhere_site.index("i32", cell)
        global_conflict(f, elsewhere.load("i64"), elsewhere_site.load("i32"), mine, matters)
        atomic = is_atomic_everywhere(f["site"])
        with f.when(atomic ^ 1):
            elsewhere.store(f.const("i64", 0))
        # What this block did plainly before it became atomic is still not safe from the atomics of other blocks.
        for stamp, site in ((read, shadow.read_site), (write, shadow.write_site)):
            before, its_site = stamp.load("i64"), site.index("i32", cell).load("i32")
            plain = (before >> 32).eq(mine >> 32) & (is_atomic_everywhere(its_site) ^ 1)
            with f.when(atomic & plain):
                elsewhere.store(before)
                elsewhere_site.store(its_site)
        write.store(mine)
        shadow.write_site.index("i32", cell).store(f["site"])
        read.store(f.const("i64", 0))
    f.ret(WINDOW.get(window, "host").at(offset))
    return f


def global_update() -> Fn:
    """Host address for a checked atomic operation, or the sink's. Of what nothing wrote it is told once."""
    f = Fn("global_update", "ptr", STORE, COLD)
    window = f.call("ptr", "locate", f["w"], f["address"])
    offset = _global_place(f, window)
    with f.when((WINDOW.get(window, "flags") & (WRITABLE | INITIALISED)).eq(WRITABLE)):
        first, count = cells_of(f, offset, "global_shift")
        with f.count(count) as k:
            written = GlobalShadow(window).write.index("i64", first + k).load("i64")
            with f.when(written.eq(0), likely=False):
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
