"""What generated code calls: slow paths of the access checks, the scheduler of a thread block.

Everything here is emitted as LLVM IR once per program. Fast paths stand inline in lower.py; they fall back on
these functions, which decide what a suspicious access is.
"""

from __future__ import annotations

from dataclasses import dataclass

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import (
    ABORTED,
    EXITED,
    FAULT,
    FIRST_STAMP,
    FRAME_HEADER,
    GUARD_STAMP,
    HOST_INITIALISED,
    INITIALISED,
    LAST_STAMP,
    LAUNCH,
    LOCAL_WINDOW,
    READABLE,
    SHARED_WINDOW,
    STAMP_STEP,
    STRONG,
    WINDOW,
    WINDOW_BITS,
    WORKER,
    WRITABLE,
    Kind,
)

COLD = "noinline cold nounwind"


@dataclass(frozen=True)
class SharedMap:
    """Where shared arrays lie in the arena: (start, size) of each, dynamic memory last."""

    arrays: tuple[tuple[int, int], ...]
    dynamic_start: int
    arena: int  # bytes
    granule: int  # bytes per cell

    @property
    def cells(self) -> int:
        return self.arena // self.granule


@dataclass(frozen=True)
class Frame:
    """A thread's memory between two suspensions."""

    local_start: int
    local_bytes: int
    stride: int


class Shadow:
    """The four cell arrays of shared memory: last write, first read of the epoch, and their sites."""

    def __init__(self, worker: Value, shared: SharedMap) -> None:
        base, step = WORKER.get(worker, "cells"), shared.cells * 4
        self.write, self.write_site = base, base.at(step)
        self.read, self.read_site = base.at(2 * step), base.at(3 * step)


def runtime_ir(kernel: str, shared: SharedMap, frame: Frame, global_granule: int, kinds: int) -> str:
    """The runtime's functions, for a kernel function `kernel` (worker, frame, pc, tid) -> status."""
    functions = [
        _record(kinds),
        _shared_read(shared),
        _shared_write(shared),
        _shared_read_many(shared),
        _locate(),
        _global_read(global_granule),
        _global_write(global_granule),
        _global_read_many(),
        _generic("read", shared, frame),
        _generic("write", shared, frame),
        _local(frame),
        _tick(),
        _mark_guards(shared),
        _prepare_block(shared),
        _diverged(),
        _run_block(kernel, frame),
        _work(),
    ]
    return "\n".join(f.text() for f in functions)


def _record(kinds: int) -> Fn:
    """Count a fault at its site; the first one of a worker is kept whole."""
    f = Fn(
        "record",
        "void",
        {"w": "ptr", "kind": "i32", "site": "i32", "thread": "i32", "address": "i64", "other": "i64", "osite": "i32"},
        COLD,
    )
    index = f["site"] * kinds + f["kind"]
    entry = WORKER.get(f["w"], "faults").at(index.zext("i64") * FAULT.size)
    count = FAULT.get(entry, "count")
    FAULT.set(entry, "count", count + 1)
    WORKER.set(f["w"], "fault_count", WORKER.get(f["w"], "fault_count") + 1)
    with f.when(count.eq(0)):
        FAULT.set(entry, "block", WORKER.get(f["w"], "block"))
        FAULT.set(entry, "address", f["address"])
        FAULT.set(entry, "other", f["other"])
        FAULT.set(entry, "thread", f["thread"])
        FAULT.set(entry, "other_site", f["osite"] & (STRONG - 1))
    f.ret()
    return f


def _fault(f: Fn, kind: Kind, address: Value, other: Value | None = None, other_site: Value | None = None) -> None:
    f.call(
        "void",
        "record",
        f["w"],
        f.const("i32", int(kind)),
        f["site"] & (STRONG - 1),
        f["me"] & (STAMP_STEP - 1),
        address,
        other if other is not None else f.const("i64", 0),
        other_site if other_site is not None else f.const("i32", 0),
    )


ACCESS = {"w": "ptr", "me": "i32", "address": "i64", "width": "i32", "site": "i32"}


def _check_alignment(f: Fn) -> None:
    with f.when((f["address"].trunc("i32") & (f["width"] - 1)).ne(0), likely=False):
        _fault(f, Kind.MISALIGNED, f["address"])


def _shared_cells(f: Fn, shared: SharedMap) -> tuple[Value, Value]:
    """First cell and number of cells of an access; leaves the function if it is outside the arena."""
    with f.when(f["address"].ugt(f.const("i64", shared.arena) - f["width"].zext("i64")), likely=False):
        _fault(f, Kind.OUT_OF_BOUNDS, f["address"])
        f.ret(f.const("i32", 0))
        f.label(f.fresh("dead"))
    first = f["address"].udiv(shared.granule)
    last = (f["address"] + f["width"].zext("i64") - 1).udiv(shared.granule)
    return first, last - first + 1


def _both_strong(f: Fn, site: Value, other: Value) -> Value:
    return (site & other).uge(STRONG)


def _shared_read(shared: SharedMap) -> Fn:
    """Is this read of shared memory in bounds, initialised, and ordered after the last write? 1 if so."""
    f = Fn("shared_read", "i32", ACCESS, COLD)
    shadow = Shadow(f["w"], shared)
    _check_alignment(f)
    first, count = _shared_cells(f, shared)
    now = f["me"] & ~(STAMP_STEP - 1)
    base = WORKER.get(f["w"], "base")
    with f.count(count) as k:
        cell = first + k
        written = shadow.write.index("i32", cell).load("i32")
        with f.when(written.ult(base) | written.eq(GUARD_STAMP), likely=False):
            guard = written.eq(GUARD_STAMP)
            with f.when(guard):
                _fault(f, Kind.OUT_OF_BOUNDS, f["address"])
            with f.when(guard ^ 1):
                _fault(f, Kind.UNINITIALISED_READ, f["address"])
            f.ret(f.const("i32", 0))
            f.label(f.fresh("dead"))
        site = shadow.write_site.index("i32", cell).load("i32")
        fresh = written.uge(now)
        with f.when(fresh & written.ne(f["me"]), likely=False):
            with f.when(_both_strong(f, f["site"], site) ^ 1):
                _fault(f, Kind.RACE, f["address"], written.zext("i64"), site)
        # After an own write the read stamp stays old, so that a later read of another thread is looked at.
        with f.when(fresh ^ 1):
            read = shadow.read.index("i32", cell)
            with f.when(read.load("i32").ult(now)):
                read.store(f["me"])
                shadow.read_site.index("i32", cell).store(f["site"])
    f.ret(f.const("i32", 1))
    return f


def _shared_write(shared: SharedMap) -> Fn:
    """Check and note a write to shared memory. 0: it must not happen."""
    f = Fn("shared_write", "i32", ACCESS, COLD)
    shadow = Shadow(f["w"], shared)
    _check_alignment(f)
    first, count = _shared_cells(f, shared)
    now = f["me"] & ~(STAMP_STEP - 1)
    with f.count(count) as k:
        cell = first + k
        write, read = shadow.write.index("i32", cell), shadow.read.index("i32", cell)
        written, seen = write.load("i32"), read.load("i32")
        with f.when(written.eq(GUARD_STAMP), likely=False):
            _fault(f, Kind.OUT_OF_BOUNDS, f["address"])
            f.ret(f.const("i32", 0))
            f.label(f.fresh("dead"))
        for stamp, sites in ((written, shadow.write_site), (seen, shadow.read_site)):
            with f.when(stamp.uge(now) & stamp.ne(f["me"]), likely=False):
                site = sites.index("i32", cell).load("i32")
                with f.when(_both_strong(f, f["site"], site) ^ 1):
                    _fault(f, Kind.RACE, f["address"], stamp.zext("i64"), site)
        write.store(f["me"])
        shadow.write_site.index("i32", cell).store(f["site"])
        read.store(f.const("i32", 0))
    f.ret(f.const("i32", 1))
    return f


MANY = {"w": "ptr", "me": "i32", "address": "i64", "width": "i32", "table": "ptr", "n": "i64"}


def _shared_read_many(shared: SharedMap) -> Fn:
    """Check the loads of a group one by one: `table` holds an (offset i64, site i32, pad) per load.

    The usual case, the first read of good cells since a barrier, is settled here.
    """
    f = Fn("shared_read_many", "void", MANY, COLD)
    shadow = Shadow(f["w"], shared)
    now = f["me"] & ~(STAMP_STEP - 1)
    base = WORKER.get(f["w"], "base")
    age = now - base
    cells = f["width"].zext("i64").udiv(shared.granule)
    last = f.const("i64", shared.arena) - f["width"].zext("i64")
    with f.count(f["n"]) as i:
        entry = f["table"].at(i * 16)
        address = f["address"] + entry.load("i64")
        site = entry.at(8).load("i32")
        strange, next_ = f.fresh("strange"), f.fresh("next")
        plain = address.ule(last) & (address.trunc("i32") & (f["width"] - 1)).eq(0)
        f.stop_when(strange, plain ^ 1)
        first = address.udiv(shared.granule)
        with f.count(cells) as k:
            read = shadow.read.index("i32", first + k)
            with f.when(read.load("i32").ult(now)):
                written = shadow.write.index("i32", first + k).load("i32")
                f.stop_when(strange, (written - base).uge(age))
                read.store(f["me"])
                shadow.read_site.index("i32", first + k).store(site)
        f.jump(next_)
        f.label(strange)
        f.call("i32", "shared_read", f["w"], f["me"], address, f["width"], site)
        f.jump(next_)
        f.label(next_)
    f.ret()
    return f


def _global_read_many() -> Fn:
    """The same for loads of an array that no kernel may write."""
    f = Fn("global_read_many", "void", MANY, COLD)
    with f.count(f["n"]) as i:
        entry = f["table"].at(i * 16)
        address = f["address"] + entry.load("i64")
        f.call("ptr", "global_read", f["w"], f["me"], address, f["width"], entry.at(8).load("i32"))
    f.ret()
    return f


def _locate() -> Fn:
    """The window record that an address points into."""
    f = Fn("locate", "ptr", {"w": "ptr", "address": "i64"}, "nounwind alwaysinline")
    index = f["address"] >> WINDOW_BITS
    last = f.const("i64", 1023)
    index = f.select(index.ult(last), index, last)
    f.ret(LAUNCH.get(WORKER.get(f["w"], "launch"), "windows").at(index * WINDOW.size))
    return f


def _global_place(f: Fn, window: Value) -> Value:
    """Offset of an access in its array; records and returns the sink where it is outside."""
    size, width = WINDOW.get(window, "size"), f["width"].zext("i64")
    start = (f["address"] >> WINDOW_BITS << WINDOW_BITS) + (1 << (WINDOW_BITS - 1))
    offset = f["address"] - start
    inside = offset.ult(size) & (offset + width).ule(size)
    with f.when(inside ^ 1, likely=False):
        _fault(f, Kind.OUT_OF_BOUNDS, f["address"])
        f.ret(WORKER.get(f["w"], "sink"))
        f.label(f.fresh("dead"))
    return offset


class GlobalShadow:
    """The four cell arrays of a window: stamps are `(block + 2) << 32 | epoch stamp`."""

    def __init__(self, window: Value) -> None:
        self.write, self.write_site = WINDOW.get(window, "write"), WINDOW.get(window, "write_site")
        self.read, self.read_site = WINDOW.get(window, "read"), WINDOW.get(window, "read_site")


def _conflict(f: Fn, stamp: Value, site: Value, mine: Value) -> None:
    """Record a race with the access that left `stamp`: same block and epoch, or another block."""
    now = mine & ~(STAMP_STEP - 1)
    same_block = (stamp >> 32).eq(mine >> 32)
    weak = _both_strong(f, f["site"], site) ^ 1
    with f.when(same_block & stamp.uge(now) & stamp.ne(mine) & weak, likely=False):
        _fault(f, Kind.RACE, f["address"], stamp, site)
    with f.when((same_block ^ 1) & stamp.ugt((1 << 33) - 1) & weak, likely=False):
        _fault(f, Kind.BLOCK_RACE, f["address"], stamp, site)


def _mine(f: Fn) -> Value:
    return WORKER.get(f["w"], "block_stamp") | f["me"].zext("i64")


def _global_read(granule: int) -> Fn:
    """Host address of a checked read, or the sink's."""
    f = Fn("global_read", "ptr", ACCESS, COLD)
    window = f.call("ptr", "locate", f["w"], f["address"])
    _check_alignment(f)
    offset = _global_place(f, window)
    host = WINDOW.get(window, "host").at(offset)
    shadow = GlobalShadow(window)
    flags = WINDOW.get(window, "flags")
    with f.when((flags & WRITABLE).eq(0)):
        f.ret(host)
        f.label(f.fresh("dead"))
    mine = _mine(f)
    now = mine & ~(STAMP_STEP - 1)
    first = offset.udiv(granule)
    count = (offset + f["width"].zext("i64") - 1).udiv(granule) - first + 1
    with f.count(count) as k:
        cell = first + k
        written = shadow.write.index("i64", cell).load("i64")
        site = shadow.write_site.index("i32", cell).load("i32")
        with f.when(written.eq(0) & (flags & INITIALISED).eq(0), likely=False):
            _fault(f, Kind.UNINITIALISED_READ, f["address"])
            f.ret(host)
            f.label(f.fresh("dead"))
        same_block = (written >> 32).eq(mine >> 32)
        weak = _both_strong(f, f["site"], site) ^ 1
        fresh = same_block & written.uge(now)
        with f.when(fresh & written.ne(mine) & weak, likely=False):
            _fault(f, Kind.RACE, f["address"], written, site)
        with f.when(fresh ^ 1):
            read = shadow.read.index("i64", cell)
            seen = read.load("i64")
            with f.when((seen >> 32).ne(mine >> 32) | seen.ult(now)):
                read.store(mine)
                shadow.read_site.index("i32", cell).store(f["site"])
    f.ret(host)
    return f


def _global_write(granule: int) -> Fn:
    """Host address for a checked write, or the sink's."""
    f = Fn("global_write", "ptr", ACCESS, COLD)
    window = f.call("ptr", "locate", f["w"], f["address"])
    _check_alignment(f)
    offset = _global_place(f, window)
    with f.when((WINDOW.get(window, "flags") & WRITABLE).eq(0), likely=False):
        _fault(f, Kind.READ_ONLY_WRITE, f["address"])
        f.ret(WORKER.get(f["w"], "sink"))
        f.label(f.fresh("dead"))
    shadow = GlobalShadow(window)
    mine = _mine(f)
    first = offset.udiv(granule)
    count = (offset + f["width"].zext("i64") - 1).udiv(granule) - first + 1
    now = mine & ~(STAMP_STEP - 1)
    with f.count(count) as k:
        cell = first + k
        write = shadow.write.index("i64", cell)
        _conflict(f, write.load("i64"), shadow.write_site.index("i32", cell).load("i32"), mine)
        seen = shadow.read.index("i64", cell).load("i64")
        site = shadow.read_site.index("i32", cell).load("i32")
        weak = _both_strong(f, f["site"], site) ^ 1
        with f.when((seen >> 32).eq(mine >> 32) & seen.uge(now) & seen.ne(mine) & weak, likely=False):
            _fault(f, Kind.RACE, f["address"], seen, site)
        write.store(mine)
        shadow.write_site.index("i32", cell).store(f["site"])
    f.ret(WINDOW.get(window, "host").at(offset))
    return f


def _local(frame: Frame) -> Fn:
    """Host address of an access to the thread's own local memory."""
    f = Fn("local_access", "ptr", {**ACCESS, "frame": "ptr"}, COLD)
    _check_alignment(f)
    limit = f.const("i64", frame.local_bytes) - f["width"].zext("i64")
    with f.when(f["address"].ugt(limit) | limit.icmp("slt", 0), likely=False):
        _fault(f, Kind.OUT_OF_BOUNDS, f["address"] + window_of(LOCAL_WINDOW))
        f.ret(WORKER.get(f["w"], "sink"))
        f.label(f.fresh("dead"))
    f.ret(f["frame"].at(f["address"] + frame.local_start))
    return f


def window_of(window: int) -> int:
    return (window << WINDOW_BITS) + (1 << (WINDOW_BITS - 1))


def _generic(direction: str, shared: SharedMap, frame: Frame) -> Fn:
    """Host address of an access through a generic pointer: shared, local or global."""
    f = Fn(f"generic_{direction}", "ptr", {**ACCESS, "frame": "ptr"}, COLD)
    window = f["address"] >> WINDOW_BITS
    rest = (f["w"], f["me"]), (f["width"], f["site"])
    with f.when(window.eq(SHARED_WINDOW)):
        address = f["address"] - window_of(SHARED_WINDOW)
        ok = f.call("i32", f"shared_{direction}", *rest[0], address, *rest[1])
        host = WORKER.get(f["w"], "shared").at(address)
        f.ret(f.select(ok.ne(0), host, WORKER.get(f["w"], "sink")))
        f.label(f.fresh("dead"))
    with f.when(window.eq(LOCAL_WINDOW)):
        address = f["address"] - window_of(LOCAL_WINDOW)
        f.ret(f.call("ptr", "local_access", *rest[0], address, *rest[1], f["frame"]))
        f.label(f.fresh("dead"))
    f.ret(f.call("ptr", f"global_{direction}", *rest[0], f["address"], *rest[1]))
    return f


def _tick() -> Fn:
    """Called from a loop after every so many instructions. 1: this thread must end."""
    f = Fn("tick", "i32", {"w": "ptr", "me": "i32", "site": "i32", "spent": "i64"}, COLD)
    launch = WORKER.get(f["w"], "launch")
    spent = WORKER.get(f["w"], "spent") + f["spent"]
    WORKER.set(f["w"], "spent", spent)
    WORKER.set(f["w"], "instructions", WORKER.get(f["w"], "instructions") + f["spent"])
    stop = LAUNCH.get(launch, "stop")
    with f.when(spent.ugt(LAUNCH.get(launch, "budget")) | stop.ne(0)):
        _fault(f, Kind.DID_NOT_FINISH, f.const("i64", 0), spent)
        LAUNCH.set(launch, "stop", f.const("i32", 1))
        f.ret(f.const("i32", 1))
        f.label(f.fresh("dead"))
    f.ret(f.const("i32", 0))
    return f


def _mark_guards(shared: SharedMap) -> Fn:
    """Clear the shadow of shared memory; mark as guard what belongs to no array."""
    f = Fn("mark_guards", "void", {"w": "ptr"}, "noinline nounwind")
    shadow = Shadow(f["w"], shared)
    fill = "call void @llvm.memset.p0.i64(ptr {}, i8 {}, i64 {}, i1 false)"
    f.line(fill.format(shadow.write, -1, shared.cells * 4))
    f.line(fill.format(shadow.read, 0, shared.cells * 4))
    for start, size in shared.arrays:
        at = shadow.write.at(start // shared.granule * 4)
        f.line(fill.format(at, 0, -(-size // shared.granule) * 4))
    dynamic = LAUNCH.get(WORKER.get(f["w"], "launch"), "dynamic_shared").zext("i64")
    cells = (dynamic + shared.granule - 1).udiv(shared.granule)
    f.line(fill.format(shadow.write.at(shared.dynamic_start // shared.granule * 4), 0, cells * 4))
    WORKER.set(f["w"], "now", f.const("i32", FIRST_STAMP))
    f.ret()
    return f


def _prepare_block(shared: SharedMap) -> Fn:
    f = Fn("prepare_block", "void", {"w": "ptr", "block": "i64"}, "noinline nounwind")
    worker, launch = f["w"], WORKER.get(f["w"], "launch")
    with f.when(WORKER.get(worker, "now").ugt(LAST_STAMP) | WORKER.get(worker, "marked").eq(0)):
        f.call("void", "mark_guards", worker)
        WORKER.set(worker, "marked", f.const("i32", 1))
    now = WORKER.get(worker, "now") + STAMP_STEP
    WORKER.set(worker, "now", now)
    WORKER.set(worker, "base", now)
    WORKER.set(worker, "block", f["block"])
    WORKER.set(worker, "block_stamp", (f["block"] + 2) << 32)
    x, y = LAUNCH.get(launch, "grid_x").zext("i64"), LAUNCH.get(launch, "grid_y").zext("i64")
    WORKER.set(worker, "ctaid_x", f["block"].urem(x).trunc("i32"))
    row = f["block"].udiv(x)
    WORKER.set(worker, "ctaid_y", row.urem(y).trunc("i32"))
    WORKER.set(worker, "ctaid_z", row.udiv(y).trunc("i32"))
    f.ret()
    return f


def _run_block(kernel: str, frame: Frame) -> Fn:
    """Run a block's threads from barrier to barrier. All must meet at the same one."""
    f = Fn("run_block", "void", {"w": "ptr"}, "noinline nounwind")
    worker = f["w"]
    launch = WORKER.get(worker, "launch")
    threads = LAUNCH.get(launch, "threads")
    frames, status = WORKER.get(worker, "frames"), WORKER.get(worker, "status")
    with f.count(threads) as t:
        frames.at(t.zext("i64") * frame.stride).store(f.const("i32", 0))
    first = f.alloca("i32")
    differs = f.alloca("i32")
    with f.loop() as done:
        first.store(f.const("i32", -2))  # no thread has stopped yet
        differs.store(f.const("i32", 0))
        with f.count(threads) as t:
            mine = frames.at(t.zext("i64") * frame.stride)
            at = status.index("i32", t)
            pc = mine.load("i32")
            with f.when(pc.ne(-1)):
                WORKER.set(worker, "spent", f.const("i64", 0))
                at.store(f.call("i32", kernel, worker, mine, pc, t))
            now = at.load("i32")
            f.stop_when(done, now.eq(ABORTED))
            seen = first.load("i32")
            first.store(f.select(seen.eq(-2), now, seen))
            differs.store(differs.load("i32") | (seen.ne(-2) & seen.ne(now)).zext("i32"))
        with f.when(differs.load("i32").ne(0), likely=False):
            f.call("void", "diverged", worker)
            f.jump(done)
            f.label(f.fresh("dead"))
        f.stop_when(done, first.load("i32").eq(EXITED))
        f.stop_when(done, LAUNCH.get(launch, "stop").ne(0))
        next_stamp = WORKER.get(worker, "now") + STAMP_STEP
        WORKER.set(worker, "now", next_stamp)
        with f.when(next_stamp.ugt(LAST_STAMP + (1 << 27)), likely=False):
            f.call(
                "void", "record", worker, f.const("i32", int(Kind.DID_NOT_FINISH)), first.load("i32"),
                f.const("i32", 0), f.const("i64", 0), f.const("i64", 0), f.const("i32", 0),
            )  # fmt: skip
            f.jump(done)
            f.label(f.fresh("dead"))
    f.ret()
    return f


def _diverged() -> Fn:
    """Threads stand at different barriers, or some have left: say who, at the first barrier that waits."""
    f = Fn("diverged", "void", {"w": "ptr"}, COLD)
    worker = f["w"]
    threads = LAUNCH.get(WORKER.get(worker, "launch"), "threads")
    status = WORKER.get(worker, "status")
    waiting, left, other = f.alloca("i32"), f.alloca("i64"), f.alloca("i32")
    elsewhere, who = f.alloca("i32"), f.alloca("i32")
    for variable in (waiting, other, elsewhere, who):
        variable.store(f.const("i32", 0))
    left.store(f.const("i64", 0))
    who.store(f.const("i32", -1))
    with f.count(threads) as t:
        now = status.index("i32", t).load("i32")
        with f.when(now.ne(EXITED) & waiting.load("i32").eq(0)):
            waiting.store(now)
    with f.count(threads) as t:
        now = status.index("i32", t).load("i32")
        with f.when(now.ne(waiting.load("i32"))):
            left.store(left.load("i64") + 1)
            with f.when(who.load("i32").eq(-1)):
                who.store(t)
                other.store(now)
    f.call(
        "void", "record", worker, f.const("i32", int(Kind.BARRIER_DIVERGENCE)), waiting.load("i32"),
        who.load("i32"), f.const("i64", 0), left.load("i64"), other.load("i32"),
    )  # fmt: skip
    f.ret()
    return f


def _work() -> Fn:
    """What one OS thread does: take the next block, in index order, until none is left."""
    f = Fn("work", "void", {"w": "ptr"}, "nounwind")
    launch = WORKER.get(f["w"], "launch")
    counter = LAUNCH.at(launch, "next_block")
    with f.loop() as done:
        block = f.emit("i64", f"atomicrmw add ptr {counter}, i64 1 seq_cst")
        f.stop_when(done, block.uge(LAUNCH.get(launch, "blocks")))
        f.stop_when(done, LAUNCH.get(launch, "stop").ne(0))
        f.call("void", "prepare_block", f["w"], block)
        f.call("void", "run_block", f["w"])
    f.ret()
    return f


__all__ = ["FRAME_HEADER", "HOST_INITIALISED", "READABLE", "Frame", "SharedMap", "runtime_ir"]
