"""The access checks, as functions that generated code calls where its inline test is not satisfied.

Fast paths stand in accesses.py. What is decided here: is the access inside its array, aligned, initialised, allowed,
and ordered against every other access to the same bytes?
"""

from __future__ import annotations

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import (
    COPY,
    ENOUGH,
    FAULT,
    GUARD_STAMP,
    HEADER,
    IN_FLIGHT_STAMP,
    INITIALISED,
    LAUNCH,
    LOCAL_WINDOW,
    MAIL,
    MAIL_BYTES,
    MAX_COPIES,
    PROGRAM,
    SHARED_WINDOW,
    STAMP_STEP,
    STRONG,
    UNSETTLED,
    WARPS,
    WINDOW,
    WINDOW_BITS,
    WORKER,
    WRITABLE,
    Kind,
    window_base,
)

COLD = "noinline cold nounwind"
ACCESS = {"w": "ptr", "me": "i32", "address": "i64", "width": "i32", "site": "i32"}
# `bytes`: what a store writes, or null. Writing what is there already harms no other thread of the block.
STORE = {**ACCESS, "bytes": "ptr"}
MANY = {"w": "ptr", "me": "i32", "fence": "i32", "address": "i64", "width": "i32", "table": "ptr", "n": "i64"}
LAST_WINDOW = 1023
FIRST_KERNEL_STAMP = 1 << 33  # smaller global stamps are the host's


def functions() -> list[Fn]:
    return [
        record(),
        unordered(),
        shared_read(),
        shared_write(),
        shared_update(),
        shared_read_many(),
        locate(),
        global_read(),
        global_write(),
        global_update(),
        global_read_many(),
        local_access(),
        generic("read"),
        generic("write"),
        generic("update"),
        copy_source(),
        copy_start(),
        copy_wait(),
    ]


def of_program(worker: Value, name: str) -> Value:
    return PROGRAM.get(WORKER.get(worker, "program"), name)


class SharedShadow:
    """The four cell arrays of shared memory: last write, first read of the epoch, and their sites."""

    def __init__(self, worker: Value, step: Value | int) -> None:
        """`step`: bytes of one array, four per cell."""
        self.write = WORKER.get(worker, "cells")
        self.write_site = self.write.at(step)
        self.read = self.write_site.at(step)
        self.read_site = self.read.at(step)


def shared_shadow(f: Fn) -> SharedShadow:
    return SharedShadow(f["w"], (of_program(f["w"], "arena") >> of_program(f["w"], "shared_shift")) << 2)


class GlobalShadow:
    """The cell arrays of a window: stamps are `(block + 2) << 32 | stamp`."""

    def __init__(self, window: Value) -> None:
        self.write, self.write_site = WINDOW.get(window, "write"), WINDOW.get(window, "write_site")
        self.read, self.read_site = WINDOW.get(window, "read"), WINDOW.get(window, "read_site")
        self.elsewhere, self.elsewhere_site = WINDOW.get(window, "elsewhere"), WINDOW.get(window, "elsewhere_site")


# Recording ------------------------------------------------------------------------------------------------------


def record() -> Fn:
    """Count a fault at its site; the first one of a worker is kept whole."""
    f = Fn(
        "record",
        "void",
        {"w": "ptr", "kind": "i32", "site": "i32", "thread": "i32", "address": "i64", "other": "i64", "osite": "i32"},
        COLD,
    )
    index = (f["site"] & (STRONG - 1)) * len(Kind) + f["kind"]
    entry = WORKER.get(f["w"], "faults").at(index.zext("i64") * FAULT.size)
    count = FAULT.get(entry, "count")
    FAULT.set(entry, "count", count + 1)
    total = WORKER.get(f["w"], "fault_count") + 1
    WORKER.set(f["w"], "fault_count", total)
    launch = WORKER.get(f["w"], "launch")
    with f.when(total.ugt(LAUNCH.get(launch, "fault_limit"))):
        LAUNCH.set(launch, "stop", f.const("i32", ENOUGH))
    with f.when(count.eq(0)):
        FAULT.set(entry, "block", WORKER.get(f["w"], "block"))
        FAULT.set(entry, "address", f["address"])
        FAULT.set(entry, "other", f["other"])
        FAULT.set(entry, "thread", f["thread"])
        FAULT.set(entry, "other_site", f["osite"] & (STRONG - 1))
    f.ret()
    return f


def _fault(f: Fn, kind: Kind, address: Value, other: Value | None = None, other_site: Value | None = None) -> None:
    other = other if other is not None else f.const("i64", 0)
    other_site = other_site if other_site is not None else f.const("i32", 0)
    thread = f["me"] & (STAMP_STEP - 1)
    f.call("void", "record", f["w"], f.const("i32", int(kind)), f["site"], thread, address, other, other_site)


def _leave(f: Fn, result: Value) -> None:
    """Return in the middle of a function; what follows goes on in a block that nothing reaches."""
    f.ret(result)
    f.label(f.fresh("dead"))


def _check_alignment(f: Fn) -> None:
    with f.when((f["address"].trunc("i32") & (f["width"] - 1)).ne(0), likely=False):
        _fault(f, Kind.MISALIGNED, f["address"])


# Order ----------------------------------------------------------------------------------------------------------


def unordered() -> Fn:
    """1 if the access of this block at `stamp` may happen at the same time as what thread `me` does now."""
    f = Fn("unordered", "i1", {"w": "ptr", "me": "i32", "stamp": "i32"}, "nounwind")
    mine, theirs = f["me"] & (STAMP_STEP - 1), f["stamp"] & (STAMP_STEP - 1)
    with f.when(f["stamp"].ult(WORKER.get(f["w"], "barrier")) | mine.eq(theirs)):
        _leave(f, f.const("i1", 0))
    with f.when((mine >> 5).ne(theirs >> 5)):
        known = known_row(f["w"], mine >> 5).index("i32", theirs >> 5).load("i32")
        _leave(f, f["stamp"].uge(known))
    mails = WORKER.get(f["w"], "mail")
    mail, other = (mails.at(thread.zext("i64") * MAIL_BYTES) for thread in (mine, theirs))
    in_part = ((MAIL.get(mail, "part_mask") >> (theirs & 31)) & 1).ne(0)
    whole = f["stamp"].ult(MAIL.get(mail, "full_time"))
    part = f["stamp"].ult(MAIL.get(mail, "part_time")) & in_part
    released = MAIL.get(other, "released")
    passed = f["stamp"].ult(released) & released.ule(MAIL.get(mail, "acquired"))
    f.ret((whole | part | passed) ^ 1)
    return f


def known_row(worker: Value, row: Value) -> Value:
    return WORKER.get(worker, "known").index("i32", row * WARPS)


def _is_unordered(f: Fn, stamp: Value) -> Value:
    return f.call("i1", "unordered", f["w"], f["me"], stamp)


def _weak(f: Fn, other_site: Value) -> Value:
    """Not both accesses are atomic or volatile."""
    return (f["site"] & other_site).ult(STRONG)


def _changes(f: Fn, host: Value) -> Value:
    """1 if the store would change the bytes at `host`."""
    differs = f.alloca("i8")
    differs.store(f.const("i8", 1))
    with f.when(f["bytes"].ne("null")):
        differs.store(f.const("i8", 0))
        with f.count(f["width"].zext("i64")) as k:
            difference = host.at(k).load("i8") ^ f["bytes"].at(k).load("i8")
            differs.store(differs.load("i8") | difference)
    return differs.load("i8").ne(0)


def _is_own(f: Fn, stamp: Value) -> Value:
    return ((stamp ^ f["me"]) & (STAMP_STEP - 1)).eq(0)


def _shared_conflict(f: Fn, stamp: Value, site: Value, matters: Value | None = None) -> None:
    matters = matters if matters is not None else f.const("i1", 1)
    with f.when(_is_unordered(f, stamp) & matters, likely=False), f.when(_weak(f, site)):
        _fault(f, Kind.RACE, f["address"], stamp.zext("i64"), site)


def _global_conflict(f: Fn, stamp: Value, site: Value, mine: Value, matters: Value | None = None) -> None:
    """A race with an access of this block, or with another block's that nothing orders before this one.

    Between blocks: the writer ran a fence after it, and this block has since done an atomic or volatile access.
    Which variable carried the signal is not tracked, so a wrong one is not seen; a right one raises nothing.
    """
    low = stamp.trunc("i32")
    same_block = (stamp >> 32).eq(mine >> 32)
    weak = _weak(f, site)
    matters = matters if matters is not None else f.const("i1", 1)
    with f.when(same_block & weak & matters, likely=False), f.when(_is_unordered(f, low)):
        _fault(f, Kind.RACE, f["address"], stamp, site)
    with f.when((same_block ^ 1) & stamp.uge(FIRST_KERNEL_STAMP) & weak, likely=False):
        fenced = LAUNCH.get(WORKER.get(f["w"], "launch"), "fenced")
        when = fenced.index("i32", (stamp >> 32) - 2).load("i32")
        ordered = when.ugt(low) & WORKER.get(f["w"], "acquired").ne(0)
        with f.when(ordered ^ 1):
            _fault(f, Kind.BLOCK_RACE, f["address"], stamp, site)


# Shared memory --------------------------------------------------------------------------------------------------


def _shared_cells(f: Fn) -> tuple[Value, Value]:
    """First cell and number of cells of an access; leaves the function if it is outside the arena."""
    width = f["width"].zext("i64")
    with f.when(f["address"].ugt(of_program(f["w"], "arena") - width), likely=False):
        _fault(f, Kind.OUT_OF_BOUNDS, f["address"])
        _leave(f, f.const("i32", 0))
    return _cells(f, f["address"], "shared_shift")


def _cells(f: Fn, offset: Value, shift: str) -> tuple[Value, Value]:
    by = of_program(f["w"], shift)
    first = offset >> by
    return first, ((offset + f["width"].zext("i64") - 1) >> by) - first + 1


def shared_read() -> Fn:
    """1 if this read of shared memory is in bounds and initialised; races are recorded."""
    f = Fn("shared_read", "i32", ACCESS, COLD)
    shadow = shared_shadow(f)
    _check_alignment(f)
    first, count = _shared_cells(f)
    base, barrier = WORKER.get(f["w"], "base"), WORKER.get(f["w"], "barrier")
    with f.count(count) as k:
        cell = first + k
        written = shadow.write.index("i32", cell).load("i32")
        with f.when(written.eq(GUARD_STAMP), likely=False):
            _fault(f, Kind.OUT_OF_BOUNDS, f["address"])
            _leave(f, f.const("i32", 0))
        in_flight = written.eq(IN_FLIGHT_STAMP)
        with f.when(written.ult(base) | in_flight, likely=False):
            _fault(f, Kind.UNINITIALISED_READ, f["address"], in_flight.zext("i64"))
            _leave(f, f.const("i32", 0))
        last_site = shadow.write_site.index("i32", cell)
        _shared_conflict(f, written, last_site.load("i32"))
        # Who reads back plainly what it changed atomically is no longer safe from the atomics of others.
        with f.when(written.uge(barrier) & last_site.load("i32").uge(STRONG) & f["site"].ult(STRONG)):
            last_site.store(f["site"])
        read = shadow.read.index("i32", cell)
        seen = read.load("i32") & (UNSETTLED - 1)
        # The first reader stays, unless it is ordered before this one. Warps run one after the other.
        with f.when(seen.ult(barrier) | (_is_unordered(f, seen) ^ 1)):
            read.store(f.select(written.ult(barrier), f["me"], f["me"] | UNSETTLED))
            shadow.read_site.index("i32", cell).store(f["site"])
    f.ret(f.const("i32", 1))
    return f


def shared_write() -> Fn:
    """Check a write to shared memory and mark its cells with `stamp`. 0: it must not happen."""
    f = Fn("shared_write", "i32", {**STORE, "stamp": "i32"}, COLD)
    shadow = shared_shadow(f)
    _check_alignment(f)
    first, count = _shared_cells(f)
    matters = _changes(f, WORKER.get(f["w"], "shared").at(f["address"]))
    with f.count(count) as k:
        cell = first + k
        write, read = shadow.write.index("i32", cell), shadow.read.index("i32", cell)
        written, seen = write.load("i32"), read.load("i32") & (UNSETTLED - 1)
        with f.when(written.eq(GUARD_STAMP), likely=False):
            _fault(f, Kind.OUT_OF_BOUNDS, f["address"])
            _leave(f, f.const("i32", 0))
        with f.when(written.ne(IN_FLIGHT_STAMP)):
            _shared_conflict(f, written, shadow.write_site.index("i32", cell).load("i32"), matters)
        _shared_conflict(f, seen, shadow.read_site.index("i32", cell).load("i32"), matters)
        # What this thread did plainly before it became atomic is still not safe from the atomics of others.
        last_site = shadow.write_site.index("i32", cell)
        strong, barrier = f["site"].uge(STRONG), WORKER.get(f["w"], "barrier")
        wrote_plainly = strong & _is_own(f, written) & written.uge(barrier) & last_site.load("i32").ult(STRONG)
        with f.when(wrote_plainly ^ 1):
            write.store(f["stamp"])
            last_site.store(f["site"])
        read.store(f.select(strong & _is_own(f, seen), read.load("i32"), f.const("i32", 0)))
    f.ret(f.const("i32", 1))
    return f


def shared_update() -> Fn:
    """Check an atomic operation: a write that needs what is there. Of what nothing wrote it is told once."""
    f = Fn("shared_update", "i32", {**STORE, "stamp": "i32"}, COLD)
    shadow = shared_shadow(f)
    first, count = _shared_cells(f)
    base = WORKER.get(f["w"], "base")
    with f.count(count) as k:
        written = shadow.write.index("i32", first + k).load("i32")
        in_flight = written.eq(IN_FLIGHT_STAMP)
        with f.when((written.ult(base) & written.ne(GUARD_STAMP)) | in_flight, likely=False):
            _fault(f, Kind.UNINITIALISED_READ, f["address"], in_flight.zext("i64"))
    f.ret(f.call("i32", "shared_write", *(f[name] for name in (*STORE, "stamp"))))
    return f


def shared_read_many() -> Fn:
    """Check the loads of a group one by one: `table` holds an (offset i64, site i32, pad) per load.

    The usual case, the first read of good cells since a barrier, is settled here.
    """
    f = Fn("shared_read_many", "void", MANY, COLD)
    shadow = shared_shadow(f)
    base, barrier = WORKER.get(f["w"], "base"), WORKER.get(f["w"], "barrier")
    age = barrier - base
    width = f["width"].zext("i64")
    by = of_program(f["w"], "shared_shift")
    cells = width >> by
    last = of_program(f["w"], "arena") - width
    with f.count(f["n"]) as i:
        entry = f["table"].at(i * 16)
        address = f["address"] + entry.load("i64")
        site = entry.at(8).load("i32")
        strange, next_ = f.fresh("strange"), f.fresh("next")
        fits = address.ule(last) & (address.trunc("i32") & (f["width"] - 1)).eq(0)
        f.stop_when(strange, fits ^ 1)
        first = address >> by
        with f.count(cells) as k:
            read = shadow.read.index("i32", first + k)
            seen = read.load("i32")
            with f.when(seen.icmp("slt", f["fence"])):  # an unsettled one is negative
                written = shadow.write.index("i32", first + k).load("i32")
                f.stop_when(strange, (written - base).uge(age) | seen.uge(barrier))
                read.store(f["me"])
                shadow.read_site.index("i32", first + k).store(site)
        f.jump(next_)
        f.label(strange)
        f.call("i32", "shared_read", f["w"], f["me"], address, f["width"], site)
        f.jump(next_)
        f.label(next_)
    f.ret()
    return f


# Global and constant memory -------------------------------------------------------------------------------------


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
        _fault(f, Kind.OUT_OF_BOUNDS, f["address"])
        _leave(f, WORKER.get(f["w"], "sink"))
    return offset


def _mine(f: Fn) -> Value:
    return WORKER.get(f["w"], "block_stamp") | f["me"].zext("i64")


def _note_strong(f: Fn) -> None:
    with f.when(f["site"].uge(STRONG)):
        WORKER.set(f["w"], "acquired", f.const("i32", 1))


def global_read() -> Fn:
    """Host address of a checked read, or the sink's."""
    f = Fn("global_read", "ptr", ACCESS, COLD)
    window = f.call("ptr", "locate", f["w"], f["address"])
    _check_alignment(f)
    offset = _global_place(f, window)
    host = WINDOW.get(window, "host").at(offset)
    flags = WINDOW.get(window, "flags")
    with f.when((flags & WRITABLE).eq(0)):
        _leave(f, host)
    shadow, mine = GlobalShadow(window), _mine(f)
    barrier = WORKER.get(f["w"], "barrier")
    _note_strong(f)
    first, count = _cells(f, offset, "global_shift")
    with f.count(count) as k:
        cell = first + k
        written = shadow.write.index("i64", cell).load("i64")
        with f.when(written.eq(0) & (flags & INITIALISED).eq(0), likely=False):
            _fault(f, Kind.UNINITIALISED_READ, f["address"])
            _leave(f, host)
        _global_conflict(f, written, shadow.write_site.index("i32", cell).load("i32"), mine)
        read, read_site = shadow.read.index("i64", cell), shadow.read_site.index("i32", cell)
        seen = read.load("i64")
        other_block = (seen >> 32).ne(mine >> 32)
        with f.when(other_block & seen.ne(0)):  # it would hide behind this block's own reads
            shadow.elsewhere.index("i64", cell).store(seen)
            shadow.elsewhere_site.index("i32", cell).store(read_site.load("i32"))
        low = seen.trunc("i32")
        with f.when(other_block | low.ult(barrier) | (_is_unordered(f, low) ^ 1)):
            read.store(mine)
            read_site.store(f["site"])
    f.ret(host)
    return f


def global_write() -> Fn:
    """Host address for a checked write, or the sink's."""
    f = Fn("global_write", "ptr", STORE, COLD)
    window = f.call("ptr", "locate", f["w"], f["address"])
    _check_alignment(f)
    offset = _global_place(f, window)
    with f.when((WINDOW.get(window, "flags") & WRITABLE).eq(0), likely=False):
        _fault(f, Kind.READ_ONLY_WRITE, f["address"])
        _leave(f, WORKER.get(f["w"], "sink"))
    shadow, mine = GlobalShadow(window), _mine(f)
    _note_strong(f)
    first, count = _cells(f, offset, "global_shift")
    matters = _changes(f, WINDOW.get(window, "host").at(offset))
    with f.count(count) as k:
        cell = first + k
        write, read = shadow.write.index("i64", cell), shadow.read.index("i64", cell)
        _global_conflict(f, write.load("i64"), shadow.write_site.index("i32", cell).load("i32"), mine, matters)
        _global_conflict(f, read.load("i64"), shadow.read_site.index("i32", cell).load("i32"), mine, matters)
        elsewhere, elsewhere_site = shadow.elsewhere.index("i64", cell), shadow.elsewhere_site.index("i32", cell)
        _global_conflict(f, elsewhere.load("i64"), elsewhere_site.load("i32"), mine, matters)
        with f.when(f["site"].ult(STRONG)):
            elsewhere.store(f.const("i64", 0))
        # What this block did plainly before it became atomic is still not safe from the atomics of other blocks.
        for stamp, site in ((read, shadow.read_site), (write, shadow.write_site)):
            before, its_site = stamp.load("i64"), site.index("i32", cell).load("i32")
            plain = (before >> 32).eq(mine >> 32) & its_site.ult(STRONG)
            with f.when(f["site"].uge(STRONG) & plain):
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
        first, count = _cells(f, offset, "global_shift")
        with f.count(count) as k:
            written = GlobalShadow(window).write.index("i64", first + k).load("i64")
            with f.when(written.eq(0), likely=False):
                _fault(f, Kind.UNINITIALISED_READ, f["address"])
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


# Local memory and generic pointers ------------------------------------------------------------------------------


def local_access() -> Fn:
    """Host address of an access to the thread's own local memory; `address` is an offset into it."""
    f = Fn("local_access", "ptr", {**ACCESS, "frame": "ptr"}, COLD)
    _check_alignment(f)
    limit = of_program(f["w"], "local_bytes") - f["width"].zext("i64")
    with f.when(f["address"].ugt(limit) | limit.icmp("slt", 0), likely=False):
        _fault(f, Kind.OUT_OF_BOUNDS, f["address"] + window_base(LOCAL_WINDOW))
        _leave(f, WORKER.get(f["w"], "sink"))
    f.ret(f["frame"].at(f["address"] + of_program(f["w"], "local_start")))
    return f


def generic(direction: str) -> Fn:
    """Host address of an access through a generic pointer: shared, local or global."""
    f = Fn(f"generic_{direction}", "ptr", {**(ACCESS if direction == "read" else STORE), "frame": "ptr"}, COLD)
    bytes_ = (f["bytes"],) if direction != "read" else ()
    window = f["address"] >> WINDOW_BITS
    with f.when(window.eq(SHARED_WINDOW)):
        address = f["address"] - window_base(SHARED_WINDOW)
        stamp = (f["me"],) if direction != "read" else ()
        ok = f.call("i32", f"shared_{direction}", f["w"], f["me"], address, f["width"], f["site"], *bytes_, *stamp)
        host = WORKER.get(f["w"], "shared").at(address)
        _leave(f, f.select(ok.ne(0), host, WORKER.get(f["w"], "sink")))
    with f.when(window.eq(LOCAL_WINDOW)):
        address = f["address"] - window_base(LOCAL_WINDOW)
        _leave(f, f.call("ptr", "local_access", f["w"], f["me"], address, f["width"], f["site"], f["frame"]))
    f.ret(f.call("ptr", f"global_{direction}", f["w"], f["me"], f["address"], f["width"], f["site"], *bytes_))
    return f


# Asynchronous copies --------------------------------------------------------------------------------------------


def _copy_entry(f: Fn, i: Value) -> Value:
    return f["frame"].at((i * COPY.size).zext("i64") + of_program(f["w"], "copies_start"))


def _copy_bytes(f: Fn, target: Value, source: Value, size: Value, filled: Value) -> None:
    """The first `filled` of `size` bytes come from the source, the rest are zero."""
    host = WORKER.get(f["w"], "shared").at(target)
    f.line(f"call void @llvm.memcpy.p0.p0.i32(ptr {host}, ptr {source}, i32 {filled}, i1 false)")
    rest = (size - filled).zext("i64")
    f.line(f"call void @llvm.memset.p0.i64(ptr {host.at(filled.zext('i64'))}, i8 0, i64 {rest}, i1 false)")


def copy_source() -> Fn:
    """Host address of what cp.async reads, or the sink's: `filled` bytes, not 0, aligned to `width`."""
    f = Fn("copy_source", "ptr", {**ACCESS, "filled": "i32"}, COLD)
    with f.when(f["filled"].eq(f["width"])):
        _leave(f, f.call("ptr", "global_read", f["w"], f["me"], f["address"], f["width"], f["site"]))
    _check_alignment(f)
    one, sink = f.const("i32", 1), WORKER.get(f["w"], "sink")
    last = f.alloca("ptr")
    with f.count(f["filled"].zext("i64")) as k:
        last.store(f.call("ptr", "global_read", f["w"], f["me"], f["address"] + k, one, f["site"]))
        with f.when(last.load("ptr").eq(sink)):
            _leave(f, sink)
    f.ret(last.load("ptr").at(f.const("i64", 1) - f["filled"].zext("i64")))
    return f


def copy_start() -> Fn:
    """cp.async: check both ends, mark the target as in flight, and remember the copy.

    The bytes arrive at the wait and no sooner, so that a read without a wait is seen. A copy that finds no room in
    the list arrives at once.
    """
    f = Fn("copy_start", "void", {**ACCESS, "source": "ptr", "filled": "i32", "frame": "ptr"}, COLD)
    n = HEADER.get(f["frame"], "copies")
    room = n.ult(MAX_COPIES)
    stamp = f.select(room, f.const("i32", IN_FLIGHT_STAMP), f["me"])
    null = f.const("ptr", "null")
    ok = f.call("i32", "shared_write", f["w"], f["me"], f["address"], f["width"], f["site"], null, stamp).ne(0)
    with f.when(ok & (room ^ 1)):
        _copy_bytes(f, f["address"], f["source"], f["width"], f["filled"])
    with f.when(ok & room):
        entry = _copy_entry(f, n)
        COPY.set(entry, "target", f["address"])
        COPY.set(entry, "source", f["source"])
        COPY.set(entry, "bytes", f["width"])
        COPY.set(entry, "filled", f["filled"])
        COPY.set(entry, "site", f["site"])
        COPY.set(entry, "group", HEADER.get(f["frame"], "group"))
        HEADER.set(f["frame"], "copies", n + 1)
    f.ret()
    return f


def copy_wait() -> Fn:
    """Carry out the copies of all groups but the last `keep`; the rest move to the front of the list."""
    f = Fn("copy_wait", "void", {"w": "ptr", "me": "i32", "keep": "i32", "frame": "ptr"}, COLD)
    kept = f.alloca("i32")
    kept.store(f.const("i32", 0))
    group = HEADER.get(f["frame"], "group")
    with f.count(HEADER.get(f["frame"], "copies")) as i:
        entry = _copy_entry(f, i)
        due = (group - COPY.get(entry, "group")).ugt(f["keep"])
        with f.when(due):
            target, size = COPY.get(entry, "target"), COPY.get(entry, "bytes")
            site, null = COPY.get(entry, "site"), f.const("ptr", "null")
            f.call("i32", "shared_write", f["w"], f["me"], target, size, site, null, f["me"])
            _copy_bytes(f, target, COPY.get(entry, "source"), size, COPY.get(entry, "filled"))
        with f.when(due ^ 1):
            n = kept.load("i32")
            move = "call void @llvm.memmove.p0.p0.i32(ptr {}, ptr {}, i32 {}, i1 false)"
            f.line(move.format(_copy_entry(f, n), entry, COPY.size))
            kept.store(n + 1)
    HEADER.set(f["frame"], "copies", kept.load("i32"))
    f.ret()
    return f
