"""Bulk copies at run time. PTX ISA, "Asynchronous copy: cp.async.bulk" and "Async proxy".

A load is in flight until a thread tests its mbarrier (flights.py). A store is carried out at once, but counts as
reading its source until its group has been waited for. It sees earlier stores only after fence.proxy.async.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import (
    ASYNC_THREAD,
    BEING_READ_STAMP,
    FLIGHT,
    GUARD_STAMP,
    HEADER,
    IN_FLIGHT_STAMP,
    MAX_FLIGHTS,
    NO_MBARRIER,
    OF_WARPGROUP,
    STAMP_STEP,
    UNSETTLED,
    WORKER,
    Kind,
)
from grader.ptx.runtime.faults import leave
from grader.ptx.runtime.flights import ending, knows_copies
from grader.ptx.runtime.shadow import COLD, of_program, shared_shadow
from grader.ptx.runtime.times import advance_time

CHUNK = 16  # bytes: the alignment of a bulk copy, and what its checks look at together
BULK = {
    "w": "ptr", "me": "i32", "target": "i64", "source": "i64", "bytes": "i32", "site": "i32", "source_site": "i32"
}  # fmt: skip


def functions() -> list[Fn]:
    return [
        bulk_good(),
        bulk_load(),
        bulk_store(),
        bulk_target(),
        bulk_reads(),
        bulk_fence(),
        bulk_wait(),
        bulk_end(),
    ]


@contextmanager
def _chunks(f: Fn) -> Iterator[Value]:
    """The offset of each 16 bytes of a copy."""
    with f.count(f["bytes"].zext("i64") >> 4) as k:
        yield k << 4


def _refuse_if(f: Fn, bad: Value, kind: Kind, end: str, address: Value, other: Value | None = None) -> None:
    with f.when(bad, likely=False):
        number, none = f.const("i32", int(kind)), f.const("i32", 0)
        who, site = f["me"] & (STAMP_STEP - 1), f["site" if end == "target" else "source_site"]
        f.call("void", "record", f["w"], number, site, who, address, other or f.const("i64", 0), none)
        leave(f, f.const("i32", 0))


def bulk_good() -> Fn:
    """1 if both addresses and the size are multiples of 16, and the end in shared memory lies in an array.

    `shared`: 1 for the target, 0 for the source.
    """
    f = Fn("bulk_good", "i32", {**BULK, "shared": "i32"}, COLD)
    size, is_target = f["bytes"].zext("i64"), f["shared"].ne(0)
    _refuse_if(f, (f["target"] & (CHUNK - 1)).ne(0), Kind.MISALIGNED, "target", f["target"])
    _refuse_if(f, (f["source"] & (CHUNK - 1)).ne(0), Kind.MISALIGNED, "source", f["source"])
    _refuse_if(f, (size & (CHUNK - 1)).ne(0), Kind.BULK_SIZE, "target", f["target"], size)
    shadow, by, arena = shared_shadow(f), of_program(f["w"], "shared_shift"), of_program(f["w"], "arena")
    start = f.select(is_target, f["target"], f["source"])
    with _chunks(f) as offset:
        address = start + offset
        beyond = address.ugt(arena - CHUNK)
        inside = f.select(beyond, f.const("i64", 0), address)
        ends = (shadow.write.index("i32", (inside + last) >> by).load("i32") for last in (0, CHUNK - 1))
        outside = beyond
        for stamp in ends:
            outside = outside | stamp.eq(GUARD_STAMP)
        for end, here in (("target", is_target), ("source", is_target ^ 1)):
            _refuse_if(f, outside & here, Kind.OUT_OF_BOUNDS, end, address)
    f.ret(f.const("i32", 1))
    return f


def _is_good(f: Fn, *, into_shared: bool) -> Value:
    return f.call("i32", "bulk_good", *(f[name] for name in BULK), f.const("i32", int(into_shared))).ne(0)


def bulk_load() -> Fn:
    """From global to shared memory: in flight until a thread tests the mbarrier."""
    f = Fn("bulk_load", "void", {**BULK, "mbarrier": "i64", "mbarrier_site": "i32"}, COLD)
    zero, null, width = f.const("i32", 0), f.const("ptr", "null"), f.const("i32", CHUNK)
    ok = f.call("i32", "mbarrier_valid", f["w"], f["me"], f["mbarrier"], f["mbarrier_site"], zero)
    with f.when(ok.eq(0) | f["bytes"].eq(0), likely=False):
        f.ret()
        f.label(f.fresh("dead"))
    target, source, whole = f.alloca("i64"), f.alloca("ptr"), f.alloca("i1")
    target.store(f.const("i64", -1))
    source.store(null)
    whole.store(f.const("i1", 1))
    with f.when(_is_good(f, into_shared=True)):
        target.store(f["target"])
        with _chunks(f) as offset:
            host = f.call("ptr", "global_read", f["w"], f["me"], f["source"] + offset, width, f["source_site"])
            whole.store(whole.load("i1") & host.ne(WORKER.get(f["w"], "sink")))
            source.store(f.select(offset.eq(0), host, source.load("ptr")))
            stamp = f.const("i32", IN_FLIGHT_STAMP)
            f.call("i32", "shared_write", f["w"], f["me"], f["target"] + offset, width, f["site"], null, stamp)
    pointer = f.select(whole.load("i1"), source.load("ptr"), null)
    to = target.load("i64")
    flight = (f["mbarrier"], to, pointer, f["bytes"], f["site"], f["me"] & (STAMP_STEP - 1), zero, zero)
    f.call("void", "flight_start", f["w"], *flight)
    f.ret()
    return f


def bulk_store() -> Fn:
    """From shared to global memory: carried out at once; counts as reading until its group is waited for."""
    f = Fn("bulk_store", "void", {**BULK, "frame": "ptr"}, COLD)
    width, null = f.const("i32", CHUNK), f.const("ptr", "null")
    with f.when((_is_good(f, into_shared=False) & f["bytes"].ne(0)) ^ 1, likely=False):
        f.ret()
        f.label(f.fresh("dead"))
    with _chunks(f) as offset:
        address = f["source"] + offset
        ok = f.call("i32", "shared_read", f["w"], f["me"], address, width, f["source_site"])
        host = f.call("ptr", "global_write", f["w"], f["me"], f["target"] + offset, width, f["site"], null)
        with f.when(ok.ne(0)):
            shared = WORKER.get(f["w"], "shared").at(address)
            f.line(f"call void @llvm.memmove.p0.p0.i32(ptr {host}, ptr {shared}, i32 {CHUNK}, i1 false)")
            note_reads(f, address, f["source_site"])
    f.call("void", "bulk_reads", *(f[name] for name in BULK), f["frame"])
    f.ret()
    return f


def bulk_target() -> Fn:
    """Check 16 bytes of a reduction from shared to global memory: the host address of what it changes."""
    f = Fn("bulk_target", "ptr", BULK, COLD)
    width, null = f.const("i32", CHUNK), f.const("ptr", "null")
    ok = f.call("i32", "shared_read", f["w"], f["me"], f["source"], width, f["source_site"])
    host = f.call("ptr", "global_update", f["w"], f["me"], f["target"], width, f["site"], null)
    with f.when(ok.ne(0)):
        note_reads(f, f["source"], f["source_site"])
        leave(f, host)
    f.ret(WORKER.get(f["w"], "sink"))
    return f


def bulk_reads() -> Fn:
    """A copy from shared memory has started: it counts as reading until its group is waited for."""
    f = Fn("bulk_reads", "void", {**BULK, "frame": "ptr"}, COLD)
    nowhere, group = f.const("i64", NO_MBARRIER), HEADER.get(f["frame"], "bulk_group")
    null, zero = f.const("ptr", "null"), f.const("i32", 0)
    flight = (nowhere, f["source"], null, f["bytes"], f["source_site"], f["me"] & (STAMP_STEP - 1), zero, group)
    f.call("void", "flight_start", f["w"], *flight)
    f.ret()
    return f


def note_reads(f: Fn, address: Value, by_site: Value) -> None:
    """16 bytes of shared memory are being read; a thread's store to them needs a fence.proxy.async in between."""
    shadow, by = shared_shadow(f), of_program(f["w"], "shared_shift")
    base = WORKER.get(f["w"], "base")
    first = address >> by
    with f.count(((address + (CHUNK - 1)) >> by) - first + 1) as k:
        cell = first + k
        written, site = shadow.write.index("i32", cell).load("i32"), shadow.write_site.index("i32", cell).load("i32")
        stored = written.uge(base) & (written & ASYNC_THREAD).ne(ASYNC_THREAD)
        with f.when(stored & written.uge(WORKER.get(f["w"], "proxied")), likely=False):
            kind, who = f.const("i32", int(Kind.NO_PROXY_FENCE)), f["me"] & (STAMP_STEP - 1)
            f.call("void", "record", f["w"], kind, by_site, who, address, written.zext("i64"), site)
        # If there is no room to record the copy, nothing could end it.
        with f.when(WORKER.get(f["w"], "flight_count").ult(MAX_FLIGHTS)):
            shadow.read.index("i32", cell).store(f.const("i32", BEING_READ_STAMP))
            shadow.read_site.index("i32", cell).store(by_site)


def bulk_fence() -> Fn:
    """fence.proxy.async: bulk copies see earlier stores. Which threads' stores it orders is not tracked."""
    f = Fn("bulk_fence", "void", {"w": "ptr"}, COLD)
    WORKER.set(f["w"], "proxied", advance_time(f))
    f.ret()
    return f


def _is_bulk(entry: Value) -> Value:
    """A copy from shared memory, not a matrix product."""
    return FLIGHT.get(entry, "mbarrier").eq(NO_MBARRIER) & FLIGHT.get(entry, "mark").ne(OF_WARPGROUP)


def bulk_wait() -> Fn:
    """All groups of thread `me` except the last `keep` have ended; a copy that is not yet in a group has not."""
    f = Fn("bulk_wait", "void", {"w": "ptr", "me": "i32", "keep": "i32", "frame": "ptr"}, COLD)
    groups, thread = HEADER.get(f["frame"], "bulk_group"), f["me"] & (STAMP_STEP - 1)

    def has_ended(entry: Value) -> Value:
        mine = _is_bulk(entry) & FLIGHT.get(entry, "thread").eq(thread)
        return mine & (groups - FLIGHT.get(entry, "group")).ugt(f["keep"])

    with ending(f, has_ended) as entry:
        stop_reading(f, entry, WORKER.get(f["w"], "now") | ASYNC_THREAD)
    knows_copies(f, thread)
    f.ret()
    return f


def stop_reading(f: Fn, entry: Value, stamp: Value) -> None:
    shadow, by = shared_shadow(f), of_program(f["w"], "shared_shift")
    first, last = FLIGHT.get(entry, "target"), FLIGHT.get(entry, "bytes").zext("i64") - 1
    with f.count(((first + last) >> by) - (first >> by) + 1) as k:
        read = shadow.read.index("i32", (first >> by) + k)
        with f.when((read.load("i32") | UNSETTLED).eq(BEING_READ_STAMP)):
            read.store(stamp | UNSETTLED)


def bulk_end() -> Fn:
    """The block has ended: its shared memory is gone, so no copy may still be reading it."""
    f = Fn("bulk_end", "void", {"w": "ptr"}, COLD)
    with ending(f, _is_bulk) as entry:
        kind, none = f.const("i32", int(Kind.UNFINISHED_COPY)), f.const("i32", 0)
        site, thread, address = (FLIGHT.get(entry, name) for name in ("site", "thread", "target"))
        f.call("void", "record", f["w"], kind, site, thread, address, f.const("i64", 0), none)
        stop_reading(f, entry, none)
    f.ret()
    return f
