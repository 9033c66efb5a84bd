"""Asynchronous copies into shared memory: cp.async."""

from __future__ import annotations

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import COPY, HEADER, IN_FLIGHT_STAMP, MAX_COPIES, WORKER
from grader.ptx.runtime.faults import check_alignment, leave
from grader.ptx.runtime.shadow import ACCESS, COLD, of_program

MAX_COPY_BYTES = 16  # of one cp.async


def functions() -> list[Fn]:
    return [copy_source(), copy_start(), copy_wait()]


def copy_entry(f: Fn, frame: Value, i: Value) -> Value:
    return frame.at((i * COPY.size).zext("i64") + of_program(f["w"], "copies_start"))


def _bytes_of(f: Fn, source: Value, filled: Value) -> Value:
    """The bytes of a copy: the first `filled` come from the source, the rest are zero."""
    bytes_ = f.alloca(f"[{MAX_COPY_BYTES} x i8]", 16)
    f.line(f"call void @llvm.memset.p0.i64(ptr {bytes_}, i8 0, i64 {MAX_COPY_BYTES}, i1 false)")
    f.line(f"call void @llvm.memcpy.p0.p0.i32(ptr {bytes_}, ptr {source}, i32 {filled}, i1 false)")
    return bytes_


def _land(f: Fn, target: Value, bytes_: Value, size: Value) -> None:
    host = WORKER.get(f["w"], "shared").at(target)
    f.line(f"call void @llvm.memcpy.p0.p0.i32(ptr {host}, ptr {bytes_}, i32 {size}, i1 false)")


def copy_source() -> Fn:
    """Host address of what cp.async reads, or the sink's: `filled` bytes, not 0, aligned to `width`."""
    f = Fn("copy_source", "ptr", {**ACCESS, "filled": "i32"}, COLD)
    with f.when(f["filled"].eq(f["width"])):
        leave(f, f.call("ptr", "global_read", f["w"], f["me"], f["address"], f["width"], f["site"]))
    check_alignment(f)
    one, sink = f.const("i32", 1), WORKER.get(f["w"], "sink")
    last = f.alloca("ptr")
    with f.count(f["filled"].zext("i64")) as k:
        last.store(f.call("ptr", "global_read", f["w"], f["me"], f["address"] + k, one, f["site"]))
        with f.when(last.load("ptr").eq(sink)):
            leave(f, sink)
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
    bytes_ = _bytes_of(f, f["source"], f["filled"])
    ok = f.call("i32", "shared_write", f["w"], f["me"], f["address"], f["width"], f["site"], bytes_, stamp).ne(0)
    with f.when(ok & (room ^ 1)):
        _land(f, f["address"], bytes_, f["width"])
    with f.when(ok & room):
        entry = copy_entry(f, f["frame"], n)
        COPY.set(entry, "target", f["address"])
        COPY.set(entry, "source", f["source"])
        COPY.set(entry, "bytes", f["width"])
        COPY.set(entry, "filled", f["filled"])
        COPY.set(entry, "site", f["site"])
        COPY.set(entry, "group", HEADER.get(f["frame"], "group"))
        COPY.set(entry, "mark", f.const("i32", 0))
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
        entry = copy_entry(f, f["frame"], i)
        due = (group - COPY.get(entry, "group")).ugt(f["keep"])
        with f.when(due):
            target, size = COPY.get(entry, "target"), COPY.get(entry, "bytes")
            site, bytes_ = COPY.get(entry, "site"), _bytes_of(f, COPY.get(entry, "source"), COPY.get(entry, "filled"))
            f.call("i32", "shared_write", f["w"], f["me"], target, size, site, bytes_, f["me"])
            _land(f, target, bytes_, size)
        with f.when(due ^ 1):
            n = kept.load("i32")
            move = "call void @llvm.memmove.p0.p0.i32(ptr {}, ptr {}, i32 {}, i1 false)"
            f.line(move.format(copy_entry(f, f["frame"], n), entry, COPY.size))
            kept.store(n + 1)
    HEADER.set(f["frame"], "copies", kept.load("i32"))
    f.ret()
    return f
