"""The checks of shared memory: inside an array, aligned, initialised, no race."""

from __future__ import annotations

from collections.abc import Callable

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import (
    BLIND,
    DROPS,
    FIRST,
    GUARD_STAMP,
    IN_FLIGHT_STAMP,
    MERGES,
    QUIET,
    STAMP_STEP,
    STRONG,
    TRIES,
    UNSETTLED,
    WORKER,
    Kind,
)
from grader.ptx.runtime.faults import check_alignment, fault, leave
from grader.ptx.runtime.order import changes, is_own, is_unordered, is_weak, shared_conflict
from grader.ptx.runtime.shadow import (
    ACCESS,
    COLD,
    MANY,
    PEEK,
    STORE,
    SharedShadow,
    cells_of,
    of_program,
    shared_shadow,
)


def functions() -> list[Fn]:
    return [shared_read(), shared_write(), shared_update(), shared_peek(), shared_read_many()]


def _shared_cells(f: Fn) -> tuple[Value, Value]:
    """First cell and number of cells of an access; leaves the function if it is outside the arena."""
    width = f["width"].zext("i64")
    with f.when(f["address"].ugt(of_program(f["w"], "arena") - width), likely=False):
        fault(f, Kind.OUT_OF_BOUNDS, f["address"])
        leave(f, f.const("i32", 0))
    return cells_of(f, f["address"], "shared_shift")


def shared_read() -> Fn:
    """1 if this read of shared memory is in bounds and initialised; races are recorded."""
    f = Fn("shared_read", "i32", ACCESS, COLD)
    shadow = shared_shadow(f)
    check_alignment(f)
    first, count = _shared_cells(f)
    base, barrier = WORKER.get(f["w"], "base"), WORKER.get(f["w"], "barrier")
    with f.count(count) as k:
        cell = first + k
        written = shadow.write.index("i32", cell).load("i32")
        with f.when(written.eq(GUARD_STAMP), likely=False):
            fault(f, Kind.OUT_OF_BOUNDS, f["address"])
            leave(f, f.const("i32", 0))
        in_flight = written.eq(IN_FLIGHT_STAMP)
        with f.when(written.ult(base) | in_flight, likely=False):
            with f.when((f["site"] & MERGES).ne(0) & (in_flight ^ 1)):
                leave(f, f.const("i32", 1))
            with f.when(in_flight ^ 1):
                note_read(f, shadow, cell, lambda seen: is_unordered(f, seen) ^ 1)
            copy = shadow.write_site.index("i32", cell).load("i32")
            fault(f, Kind.UNINITIALISED_READ, f["address"], in_flight.zext("i64"), copy)
            leave(f, f.const("i32", 0))
        last_site = shadow.write_site.index("i32", cell)
        shared_conflict(f, written, last_site.load("i32"))
        _conflict_with_first(f, written, last_site.load("i32"))
        # A thread that reads with a plain load what it changed atomically can race with other threads' atomics.
        updated = last_site.load("i32").uge(STRONG) & (last_site.load("i32") & BLIND).eq(0)
        with f.when(written.uge(barrier) & updated & f["site"].ult(STRONG)):
            hidden_site = shadow.hidden_site.index("i32", cell).load("i32")
            shared_conflict(f, shadow.hidden.index("i32", cell).load("i32"), hidden_site)
            last_site.store(f["site"])
        note_read(f, shadow, cell, lambda seen: is_unordered(f, seen) ^ 1)
    f.ret(f.const("i32", 1))
    return f


def _conflict_with_first(f: Fn, written: Value, site: Value) -> None:
    """Volatile and atomic accesses do not race, but one that may come before the first write finds nothing there."""
    first = (f["site"] & site).uge(STRONG) & (site & FIRST).ne(0)
    with f.when(first, likely=False), f.when(is_unordered(f, written)):
        fault(f, Kind.EARLY_READ, f["address"], written.zext("i64"), site)


def note_read(f: Fn, shadow: SharedShadow, cell: Value, is_ordered: Callable[[Value], Value]) -> None:
    """Keep the first reader, unless it is ordered before this one, and another in case the first one writes later."""
    read = shadow.read.index("i32", cell)
    seen = read.load("i32") & (UNSETTLED - 1)
    barrier = WORKER.get(f["w"], "barrier")
    base = WORKER.get(f["w"], "base")
    settled = (shadow.write.index("i32", cell).load("i32") - base).ult(barrier - base)
    first_one = seen.ult(barrier) | is_ordered(seen)
    with f.when(first_one):
        read.store(f["me"] | f.select(settled, of_program(f["w"], "first_read"), f.const("i32", UNSETTLED)))
        shadow.read_site.index("i32", cell).store(f["site"])
    with f.when(first_one ^ 1):
        shadow.also.index("i32", cell).store(f["me"])
        shadow.also_site.index("i32", cell).store(f["site"])
        read.store(seen | f.select(settled, f.const("i32", 0), f.const("i32", UNSETTLED)))


def shared_write() -> Fn:
    """Check a write to shared memory and mark its cells with `stamp`. 0 if the write must not happen."""
    f = Fn("shared_write", "i32", {**STORE, "stamp": "i32"}, COLD)
    shadow = shared_shadow(f)
    check_alignment(f)
    first, count = _shared_cells(f)
    matters = changes(f, WORKER.get(f["w"], "shared").at(f["address"]))
    barrier = WORKER.get(f["w"], "barrier")
    with f.count(count) as k:
        cell = first + k
        write, read = shadow.write.index("i32", cell), shadow.read.index("i32", cell)
        written, seen = write.load("i32"), read.load("i32") & (UNSETTLED - 1)
        with f.when(written.eq(GUARD_STAMP), likely=False):
            fault(f, Kind.OUT_OF_BOUNDS, f["address"])
            leave(f, f.const("i32", 0))
        with f.when(written.ne(IN_FLIGHT_STAMP)):
            shared_conflict(f, written, shadow.write_site.index("i32", cell).load("i32"), matters)
        unwritten = written.ult(WORKER.get(f["w"], "base"))
        _conflict_with_reader(f, seen, shadow.read_site.index("i32", cell).load("i32"), unwritten, matters)
        with f.when(seen.uge(barrier)):
            also = shadow.also.index("i32", cell)
            also_site = shadow.also_site.index("i32", cell).load("i32")
            _conflict_with_reader(f, also.load("i32"), also_site, unwritten, matters)
            also.store(f.const("i32", 0))
        with f.when(f["site"].uge(STRONG)):
            _lost_update(f, shadow, cell, matters)
        # A plain write of this thread from before its atomics still races with other threads' atomics.
        last_site = shadow.write_site.index("i32", cell)
        strong = f["site"].uge(STRONG)
        with f.when(strong & (f["site"] & QUIET).eq(0)):
            _note_hidden(f, shadow, cell)
        wrote_plainly = strong & is_own(f, written) & written.uge(barrier) & last_site.load("i32").ult(STRONG)
        quiet = (f["site"] & QUIET).ne(0)
        with f.when(quiet):
            note_read(f, shadow, cell, lambda seen: is_unordered(f, seen) ^ 1)
        with f.when((wrote_plainly | quiet) ^ 1):
            write.store(f["stamp"])
            last_site.store(f.select(strong & unwritten, f["site"] | FIRST, f["site"]))
        read.store(f.select((strong & is_own(f, seen)) | quiet, read.load("i32"), f.const("i32", 0)))
    f.ret(f.const("i32", 1))
    return f


def _conflict_with_reader(f: Fn, seen: Value, site: Value, unwritten: Value, matters: Value) -> None:
    """A read before the first write was reported already; if no copy writes it now, a barrier is missing."""
    shared_conflict(f, seen, site, matters & (unwritten ^ 1))
    stored = f["stamp"].ne(IN_FLIGHT_STAMP)
    with f.when(unwritten & stored & is_weak(f, site), likely=False), f.when(is_unordered(f, seen)):
        kind, thread = f.const("i32", int(Kind.EARLY_READ)), seen & (STAMP_STEP - 1)
        f.call("void", "record", f["w"], kind, site, thread, f["address"], f["me"].zext("i64"), f["site"])


def _lost_update(f: Fn, shadow: SharedShadow, cell: Value, matters: Value) -> None:
    """As in global memory: an atomic that overwrites others' updates, and a compare-and-swap tried only once."""
    written, site = shadow.write.index("i32", cell).load("i32"), shadow.write_site.index("i32", cell).load("i32")
    base, strong = WORKER.get(f["w"], "base"), (f["site"] & site).uge(STRONG)
    matters = matters & strong & (f["site"] & QUIET).eq(0) & written.uge(base) & written.ne(IN_FLIGHT_STAMP)

    def conflict(stamp: Value, site: Value) -> None:
        with f.when(stamp.uge(base)), f.when(is_unordered(f, stamp)):
            fault(f, Kind.RACE, f["address"], stamp.zext("i64"), site)

    with f.when(matters & (f["site"] & TRIES).ne(0), likely=False):
        conflict(written, site)
        conflict(shadow.hidden.index("i32", cell).load("i32"), shadow.hidden_site.index("i32", cell).load("i32"))
    overwrites = (f["site"] & BLIND).ne(0) | ((site & BLIND).ne(0) & (f["site"] & DROPS).ne(0))
    seen = shadow.read.index("i32", cell).load("i32") & (UNSETTLED - 1)
    with f.when(matters & overwrites, likely=False), f.when(seen.ult(base) | is_unordered(f, seen)):
        conflict(written, site)


def _note_hidden(f: Fn, shadow: SharedShadow, cell: Value) -> None:
    """An atomic write hides the one before it: a plain read must know both, even if ordered after the last one.

    Keep the oldest that this thread is not ordered after, because more threads are not ordered after that one.
    """
    hidden = shadow.hidden.index("i32", cell)
    written, site = shadow.write.index("i32", cell).load("i32"), shadow.write_site.index("i32", cell).load("i32")
    both_atomic = written.uge(WORKER.get(f["w"], "barrier")) & site.uge(STRONG)
    with f.when(both_atomic), f.when(is_unordered(f, hidden.load("i32")) ^ 1), f.when(is_unordered(f, written)):
        hidden.store(written)
        shadow.hidden_site.index("i32", cell).store(site)
    with f.when(both_atomic ^ 1):
        hidden.store(f.const("i32", 0))


def shared_update() -> Fn:
    """Check an atomic operation: a write that also reads. An element never written is reported only once."""
    f = Fn("shared_update", "i32", {**STORE, "stamp": "i32"}, COLD)
    shadow = shared_shadow(f)
    first, count = _shared_cells(f)
    base = WORKER.get(f["w"], "base")
    with f.count(count) as k:
        written = shadow.write.index("i32", first + k).load("i32")
        in_flight = written.eq(IN_FLIGHT_STAMP)
        with f.when((written.ult(base) & written.ne(GUARD_STAMP)) | in_flight, likely=False):
            fault(f, Kind.UNINITIALISED_READ, f["address"], in_flight.zext("i64"))
        with f.when(written.uge(base) & (in_flight ^ 1) & written.ne(GUARD_STAMP)):
            _conflict_with_first(f, written, shadow.write_site.index("i32", first + k).load("i32"))
    ok = f.call("i32", "shared_write", *(f[name] for name in (*STORE, "stamp")))
    with (
        f.when(ok.ne(0) & (f["site"] & QUIET).eq(0)),
        f.count(count) as k,
    ):  # a write that reads the old value is not a first write
        site = shadow.write_site.index("i32", first + k)
        site.store(site.load("i32") & ~FIRST)
    f.ret(ok)
    return f


def shared_peek() -> Fn:
    """Host address of what an atomic operation may change, or the sink's. Records nothing."""
    f = Fn("shared_peek", "ptr", PEEK, COLD)
    inside = f["address"].ule(of_program(f["w"], "arena") - f["width"].zext("i64"))
    f.ret(f.select(inside, WORKER.get(f["w"], "shared").at(f["address"]), WORKER.get(f["w"], "sink")))
    return f


def shared_read_many() -> Fn:
    """Check the loads of a group one by one: `table` holds an (offset i64, site i32, pad) per load.

    The usual case, the first read of good cells since a barrier, is handled here.
    """
    f = Fn("shared_read_many", "void", MANY, COLD)
    shadow = shared_shadow(f)
    base, barrier = WORKER.get(f["w"], "base"), WORKER.get(f["w"], "barrier")
    age = barrier - base
    width = f["width"].zext("i64")
    by = of_program(f["w"], "shared_shift")
    cells = width >> by
    first_read, polls = of_program(f["w"], "first_read"), of_program(f["w"], "polls")
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
                read.store(f["me"] | first_read)
                shadow.read_site.index("i32", first + k).store(site)
        f.jump(next_)
        f.label(strange)
        access = (f["w"], f["me"], address, f["width"], site)
        with f.when(polls.ne(0)):
            f.stop_when(next_, f.call("i32", "ordered_read", *access).ne(0))
        f.call("i32", "shared_read", *access)
        f.jump(next_)
        f.label(next_)
    f.ret()
    return f
