"""Copies that an mbarrier waits for, at run time: cp.async with cp.async.mbarrier.arrive, and bulk copies.

They arrive only when a thread tests the mbarrier, so that a read without a wait is noticed. They count as the work of
a separate thread, which is known only to threads that have waited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import (
    ASYNC_THREAD,
    ASYNC_WARP,
    COPY,
    FLIGHT,
    HEADER,
    IN_FLIGHT_RECORD,
    IN_FLIGHT_STAMP,
    MAX_COUNT,
    MAX_FLIGHTS,
    MBARRIER,
    NO_MBARRIER,
    STAMP_STEP,
    WORKER,
    Kind,
    Misuse,
)
from grader.ptx.runtime.copies import copy_entry
from grader.ptx.runtime.order import known_row
from grader.ptx.runtime.phases import USE, arriving_row, mbarrier_at, misuse, release
from grader.ptx.runtime.shadow import COLD, of_program, shared_shadow
from grader.ptx.runtime.times import advance_time

MOVE = "call void @llvm.memmove.p0.p0.i32(ptr {}, ptr {}, i32 {}, i1 false)"
FILL = "call void @llvm.memset.p0.i64(ptr {}, i8 0, i64 {}, i1 false)"


def functions() -> list[Fn]:
    return [
        flights_reset(),
        flight_start(),
        flights_land(),
        flight_land(),
        copies_land(),
        bytes_land(),
        copies_arrive(),
        copies_seen(),
    ]


def flight_at(f: Fn, i: Value) -> Value:
    return WORKER.get(f["w"], "flights").at((i * FLIGHT.size).zext("i64"))


def _source(f: Fn, flight: Value) -> Value:
    """The bytes that it copies."""
    source = FLIGHT.get(flight, "source")
    is_here = source.cast("ptrtoint", "i64").eq(IN_FLIGHT_RECORD)
    return f.select(is_here, FLIGHT.at(flight, "low"), source)


def flights_reset() -> Fn:
    """A block starts with nothing in flight."""
    f = Fn("flights_reset", "void", {"w": "ptr"}, "noinline nounwind")
    zero = f.const("i32", 0)
    for name in ("flight_count", "polls", "proxied", "tile_count", "tile_bytes"):
        WORKER.set(f["w"], name, zero)
    f.ret()
    return f


# What an mbarrier waits for -------------------------------------------------------------------------------------


def flight_start() -> Fn:
    """Record a copy in flight. If there is no room for it, a load arrives at once."""
    arguments = {name: FLIGHT.type[name] for name in FLIGHT.type if name not in ("low", "high")}
    f = Fn("flight_start", "void", {"w": "ptr", **arguments}, COLD)
    n = WORKER.get(f["w"], "flight_count")
    entry = flight_at(f, n)
    for name in arguments:
        FLIGHT.set(entry, name, f[name])
    room = n.ult(MAX_FLIGHTS)
    with f.when(room):
        WORKER.set(f["w"], "flight_count", n + 1)
    with f.when((room ^ 1) & f["mbarrier"].ne(NO_MBARRIER), likely=False):
        f.call("void", "flight_land", f["w"], entry)
    f.ret()
    return f


@contextmanager
def ending(f: Fn, is_due: Callable[[Value], Value]) -> Iterator[Value]:
    """Each flight that ends now; the others move to the front of the list."""
    kept = f.alloca("i32")
    kept.store(f.const("i32", 0))
    with f.count(WORKER.get(f["w"], "flight_count")) as i:
        entry = flight_at(f, i)
        due = is_due(entry)
        with f.when(due):
            yield entry
        with f.when(due ^ 1):
            f.line(MOVE.format(flight_at(f, kept.load("i32")), entry, FLIGHT.size))
            kept.store(kept.load("i32") + 1)
    WORKER.set(f["w"], "flight_count", kept.load("i32"))


def flights_land() -> Fn:
    """Everything that the mbarrier waits for arrives."""
    f = Fn("flights_land", "void", {"w": "ptr", "mbarrier": "i64"}, COLD)
    with ending(f, lambda entry: FLIGHT.get(entry, "mbarrier").eq(f["mbarrier"])) as entry:
        f.call("void", "flight_land", f["w"], entry)
    f.ret()
    return f


def flight_land() -> Fn:
    """The bytes arrive, and the mbarrier counts them or the arrival; one that is no longer valid counts nothing."""
    f = Fn("flight_land", "void", {"w": "ptr", "flight": "ptr"}, COLD)
    address, size = FLIGHT.get(f["flight"], "mbarrier"), FLIGHT.get(f["flight"], "bytes")
    site, target = FLIGHT.get(f["flight"], "site"), FLIGHT.get(f["flight"], "target")
    thread = FLIGHT.get(f["flight"], "thread")
    with f.when(size.ne(0) & target.ne(-1)):
        f.call("void", "bytes_land", f["w"], target, _source(f, f["flight"]), size, size, site)
    with f.when(size.eq(0)):
        f.call("void", "copies_land", f["w"], thread, FLIGHT.get(f["flight"], "mark"))
    mbarrier = mbarrier_at(f, address)
    with f.when(MBARRIER.get(mbarrier, "block").eq(WORKER.get(f["w"], "block") + 1)):
        MBARRIER.set(mbarrier, "bytes", MBARRIER.get(mbarrier, "bytes") - size)
        with f.when(size.ne(0)):
            MBARRIER.set(mbarrier, "came", MBARRIER.get(mbarrier, "came") + size)
            MBARRIER.set(mbarrier, "copy_site", site)
        pending = MBARRIER.get(mbarrier, "pending")
        with f.when(size.eq(0) & pending.eq(0), likely=False):
            kind, what = f.const("i32", int(Kind.MISUSE)), f.const("i64", int(Misuse.TOO_MANY))
            f.call("void", "record", f["w"], kind, site, thread, address, what, f.const("i32", 0))
        with f.when(size.eq(0) & pending.ne(0)):
            MBARRIER.set(mbarrier, "pending", pending - 1)
        arriving_row(mbarrier).index("i32", ASYNC_WARP).store(advance_time(f))
        f.call("void", "mbarrier_turn", f["w"], address)
    f.ret()
    return f


def copies_land() -> Fn:
    """The cp.async copies that `thread` started before the mark arrive; the others move to the front of its list."""
    f = Fn("copies_land", "void", {"w": "ptr", "thread": "i32", "mark": "i32"}, COLD)
    frame = WORKER.get(f["w"], "frames").at(f["thread"].zext("i64") * of_program(f["w"], "stride"))
    kept = f.alloca("i32")
    kept.store(f.const("i32", 0))
    with f.count(HEADER.get(frame, "copies")) as i:
        entry = copy_entry(f, frame, i)
        due = (COPY.get(entry, "mark") - 1).ult(f["mark"])
        with f.when(due):
            names = ("target", "source", "bytes", "filled", "site")
            f.call("void", "bytes_land", f["w"], *(COPY.get(entry, name) for name in names))
        with f.when(due ^ 1):
            f.line(MOVE.format(copy_entry(f, frame, kept.load("i32")), entry, COPY.size))
            kept.store(kept.load("i32") + 1)
    HEADER.set(frame, "copies", kept.load("i32"))
    f.ret()
    return f


def bytes_land() -> Fn:
    """`size` bytes arrive, `filled` of them from the source (none if it is null); the rest are zero.

    A cell that is no longer in flight was written in the meantime.
    """
    arguments = {"w": "ptr", "target": "i64", "source": "ptr", "size": "i32", "filled": "i32", "site": "i32"}
    f = Fn("bytes_land", "void", arguments, COLD)
    shadow, by = shared_shadow(f), of_program(f["w"], "shared_shift")
    stamp = WORKER.get(f["w"], "now") | ASYNC_THREAD
    first = f["target"] >> by
    granule = f.const("i64", 1) << by
    with f.count(((f["target"] + f["size"].zext("i64") - 1) >> by) - first + 1) as k:
        cell = first + k
        written = shadow.write.index("i32", cell)
        in_flight = written.load("i32").eq(IN_FLIGHT_STAMP)
        with f.when(in_flight):
            written.store(stamp)
            shadow.write_site.index("i32", cell).store(f["site"])
        with f.when(in_flight ^ 1, likely=False):
            access = (f["w"], stamp, cell * granule, granule.trunc("i32"), f["site"])
            f.call("i32", "shared_write", *access, f.const("ptr", "null"), stamp)
    host = WORKER.get(f["w"], "shared").at(f["target"])
    with f.when(f["source"].ne("null")):
        f.line(f"call void @llvm.memmove.p0.p0.i32(ptr {host}, ptr {f['source']}, i32 {f['filled']}, i1 false)")
        f.line(FILL.format(host.at(f["filled"].zext("i64")), (f["size"] - f["filled"]).zext("i64")))
    f.ret()
    return f


# cp.async and mbarriers -----------------------------------------------------------------------------------------


def copies_arrive() -> Fn:
    """cp.async.mbarrier.arrive: the thread arrives once all copies that `me` has started so far have arrived.

    `more`: 1 if the arrival is in addition to those that the mbarrier already waits for (no .noinc).
    """
    f = Fn("copies_arrive", "void", {**USE, "frame": "ptr", "more": "i32"}, COLD)
    ok = f.call("i32", "mbarrier_valid", *(f[name] for name in USE), f.const("i32", 1))
    with f.when(ok.eq(0), likely=False):
        f.ret()
        f.label(f.fresh("dead"))
    mbarrier = mbarrier_at(f, f["address"])
    pending = MBARRIER.get(mbarrier, "pending") + f["more"]
    with f.when(pending.ugt(MAX_COUNT), likely=False):
        misuse(f, Misuse.COUNT, pending)
    MBARRIER.set(mbarrier, "pending", pending)
    mark = WORKER.get(f["w"], "marks") + 1
    WORKER.set(f["w"], "marks", mark)
    with f.count(HEADER.get(f["frame"], "copies")) as i:
        entry = copy_entry(f, f["frame"], i)
        with f.when(COPY.get(entry, "mark").eq(0)):
            COPY.set(entry, "mark", mark)
    release(f, mbarrier)
    nowhere, null, zero = f.const("i64", -1), f.const("ptr", "null"), f.const("i32", 0)
    flight = (f["address"], nowhere, null, zero, f["site"], f["me"] & (STAMP_STEP - 1), mark, zero)
    f.call("void", "flight_start", f["w"], *flight)
    f.call("void", "mbarrier_turn", f["w"], f["address"])
    f.ret()
    return f


def copies_seen() -> Fn:
    """Thread `me` waits for its copies itself; those that an mbarrier also waits for arrive now."""
    f = Fn("copies_seen", "void", {"w": "ptr", "me": "i32"}, COLD)
    thread = f["me"] & (STAMP_STEP - 1)
    f.call("void", "copies_land", f["w"], thread, f.const("i32", -1))
    knows_copies(f, thread)
    f.ret()
    return f


def knows_copies(f: Fn, thread: Value) -> None:
    """Everything that was copied so far is ordered before what the thread does from now on."""
    known_row(f["w"], thread >> 5).index("i32", ASYNC_WARP).store(advance_time(f))
