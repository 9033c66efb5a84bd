"""For kernels that run warp by warp: the loop over blocks and their warps, and the checks of what lanes access.

A cell of shared memory has a stamp of its last write and one of its reads since: of a thread, or a time + SEVERAL.
Times are 2 * STAMP_STEP apart here, so that this is no thread's stamp. Between two barriers only one thread may use a
cell that is written. What is not plainly right ends the launch, and the scalar engine runs it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import (
    ABORTED,
    ENOUGH,
    EXITED,
    LAST_TIME,
    LAUNCH,
    SEVERAL,
    STAMP_STEP,
    WARP_HEADER,
    WINDOW,
    WORKER,
)
from grader.ptx.runtime.library import declarations
from grader.ptx.runtime.shadow import COLD, of_program, shared_shadow
from grader.ptx.runtime.threads import NOINLINE, lanes_of, launch_of
from grader.ptx.runtime.times import advance_time

CELLS = 16  # at a time
VECTOR, FLAGS = f"<{CELLS} x i32>", f"<{CELLS} x i1>"
ADDRESSES, POINTERS = f"<{CELLS} x i64>", f"<{CELLS} x ptr>"
COUNT = "<" + ", ".join(f"i32 {cell}" for cell in range(CELLS)) + ">"
TRUE = "splat (i1 true)"
SIZES = (1, 2, 4, 8)  # bytes of an element
MOST_BYTES = 16  # that a lane accesses at once
PATIENCE = 8  # a shift: of the budget for a thread's instructions, what is spent on a warp before giving up
HALF = 'nounwind noinline "min-legal-vector-width"="512"'
# `at`: the address of each lane, i64. `offset`: added to each. `room`: of each of `count` elements, all lanes'.
LANES = {"w": "ptr", "me": "i32", "mask": "i32", "at": "ptr", "offset": "i64", "count": "i32", "room": "ptr"}


def blocks_and_cells() -> list[Fn]:
    """What every kernel needs."""
    return [leave_it(), lanes_tick(), read_cells(), check_writes(), run_warps(), work_warps()]


def moves() -> list[Fn]:
    """Accesses of lanes that are anywhere."""
    makers = (shared_gather, shared_scatter, array_gather, global_gather, global_scatter)
    return [make(size) for size in SIZES for make in makers]


def leave_it() -> Fn:
    """The scalar engine is to run this launch."""
    f = Fn("leave_it", "void", {"w": "ptr"}, COLD)
    at = LAUNCH.at(launch_of(f), "stop")
    f.line(f"cmpxchg ptr {at}, i32 0, i32 {ENOUGH} seq_cst seq_cst")
    f.ret()
    return f


def _leave_it(f: Fn) -> None:
    f.call("void", "leave_it", f["w"])


def lanes_tick() -> Fn:
    """Called from a loop after so many instructions. 1: it takes long, or the launch ends."""
    f = Fn("lanes_tick", "i32", {"w": "ptr", "spent": "i64"}, COLD)
    spent = WORKER.get(f["w"], "spent") + f["spent"]
    WORKER.set(f["w"], "spent", spent)
    launch = launch_of(f)
    endless = spent.ugt(LAUNCH.get(launch, "budget") >> PATIENCE)
    f.ret((endless | LAUNCH.get(launch, "stop").ne(0)).zext("i32"))
    return f


# Sixteen cells ---------------------------------------------------------------------------------------------------


def _all(f: Fn, value: Value) -> Value:
    kind = f"<{CELLS} x {value.type}>"
    one = f.emit(kind, f"insertelement {kind} poison, {value.typed}, i64 0")
    return f.emit(kind, f"shufflevector {one.typed}, {kind} poison, {VECTOR} zeroinitializer")


def _flags(f: Fn, relation: str, a: Value, b: Value) -> Value:
    return f.emit(FLAGS, f"icmp {relation} {a.typed}, {b}")


def _pick(f: Fn, flags: Value, yes: Value, no: Value) -> Value:
    return f.emit(VECTOR, f"select {flags.typed}, {yes.typed}, {no.typed}")


def _any(f: Fn, flags: Value) -> Value:
    return f.emit("i16", f"bitcast {flags.typed} to i16").ne(0)


def _cells_of_lanes(f: Fn, before: Value, count: Value, lanes: Value) -> tuple[Value, Value]:
    """The stamp of each cell's thread, and whether it runs the instruction. Cell k is of lane k >> shift."""
    index = f.const(VECTOR, COUNT)
    lane = (_all(f, before) + index) >> _all(f, f["shift"])
    runs = f.emit(FLAGS, f"trunc {(_all(f, lanes) >> lane).typed} to {FLAGS}")
    return _all(f, f["me"]) + lane, runs & _flags(f, "ult", index, _all(f, count))


def read_cells() -> Fn:
    """Check and mark reads of half a warp. `table` holds `n` runs of cells: start, count, cells before it.

    `cells`: of the half's first lane, as bytes of the shadow. Its stamp is `me`.
    """
    parameters = {"w": "ptr", "cells": "i64", "me": "i32", "shift": "i32", "lanes": "i32", "table": "ptr", "n": "i32"}
    f = Fn("read_cells", "void", parameters, HALF)
    shadow = shared_shadow(f)
    barrier, base = WORKER.get(f["w"], "barrier"), WORKER.get(f["w"], "base")
    several = _all(f, barrier + SEVERAL)
    with f.count(f["n"]) as i:
        entry = f["table"].at((i * 12).zext("i64"))
        start, count, before = (entry.at(4 * k).load("i32") for k in range(3))
        stamp, mine = _cells_of_lanes(f, before, count, f["lanes"])
        place = f["cells"] + (start << 2).sext("i64")
        read = shadow.read.at(place)
        seen, written = read.load(VECTOR, 4), shadow.write.at(place).load(VECTOR, 4)
        new = mine & _flags(f, "ult", seen, several)
        old = _flags(f, "ult", written - _all(f, base), _all(f, barrier - base))
        good = old | _flags(f, "eq", written, stamp)
        with f.when(_any(f, new & (good ^ f.const(FLAGS, TRUE))), likely=False):
            _leave_it(f)
        first = _flags(f, "ult", seen, _all(f, barrier)) | _flags(f, "eq", seen, stamp)
        read.store(_pick(f, new, _pick(f, first, stamp, several), seen), 4)
    f.ret()
    return f


def check_writes() -> Fn:
    """Check the writes of half a warp to a run of cells that somebody has used since the barrier, or that are no
    memory of the kernel's."""
    parameters = {
        "w": "ptr", "cells": "i64", "me": "i32", "shift": "i32", "start": "i32", "count": "i32", "before": "i32",
        "lanes": "i32",
    }  # fmt: skip
    f = Fn("check_writes", "void", parameters, HALF)
    shadow = shared_shadow(f)
    barrier = _all(f, WORKER.get(f["w"], "barrier"))
    stamp, mine = _cells_of_lanes(f, f["before"], f["count"], f["lanes"])
    place = f["cells"] + (f["start"] << 2).sext("i64")
    for array in (shadow.write, shadow.read):
        known = array.at(place).load(VECTOR, 4)
        good = _flags(f, "ult", known, barrier) | _flags(f, "eq", known, stamp)
        with f.when(_any(f, mine & (good ^ f.const(FLAGS, TRUE))), likely=False):
            _leave_it(f)
    f.ret()
    return f


# Lane by lane ----------------------------------------------------------------------------------------------------


@contextmanager
def _each_lane(f: Fn) -> Iterator[tuple[Value, Value]]:
    """Its number, i32, and its address."""
    left = f.alloca("i32")
    left.store(f["mask"])
    with f.loop() as done:
        mask = left.load("i32")
        f.stop_when(done, mask.eq(0))
        left.store(mask & (mask - 1))
        lane = f.call("i32", "llvm.cttz.i32", mask, f.const("i1", 0))
        yield lane, f["at"].index("i64", lane.zext("i64")).load("i64") + f["offset"]


def _copy(f: Fn, size: int, lane: Value, memory: Value, *, out: bool) -> None:
    """Elements between memory and the room; `out`: to memory."""
    type_ = f"i{8 * size}"
    with f.count(f["count"]) as k:
        here = memory.index(type_, k.zext("i64"))
        there = f["room"].index(type_, (k * 32 + lane).zext("i64"))
        source, target = (there, here) if out else (here, there)
        target.store(source.load(type_, 1), 1)


def shared_gather(size: int) -> Fn:
    f = Fn(f"shared_gather_{size}", "void", LANES, HALF)
    _shared_move(f, size, writes=False)
    return f


def shared_scatter(size: int) -> Fn:
    f = Fn(f"shared_scatter_{size}", "void", LANES, HALF)
    _shared_move(f, size, writes=True)
    return f


def _shared_move(f: Fn, size: int, *, writes: bool) -> None:
    host, width = WORKER.get(f["w"], "shared"), (f["count"] * size).zext("i64")
    last = of_program(f["w"], "arena") - width
    with _each_half(f) as (half, flags, address):
        inside = f.emit(FLAGS, f"icmp ule {address.typed}, {_all(f, last)}")
        _need(f, flags, inside & _aligned(f, address, width))
        _mark(f, flags, address, _stamps(f, half), width, writes=writes)
        _move(f, size, half, flags, f.emit(POINTERS, f"getelementptr i8, ptr {host}, {address.typed}"), out=writes)
    f.ret()


def _mark(f: Fn, flags: Value, address: Value, me: Value, width: Value, *, writes: bool) -> None:
    """Check and mark the cells of some lanes, of which several may use one cell."""
    shadow, by = shared_shadow(f), of_program(f["w"], "shared_shift")
    barrier, base = WORKER.get(f["w"], "barrier"), WORKER.get(f["w"], "base")
    several, first = _all(f, barrier + SEVERAL), (address >> _all(f, by)) << f.const(ADDRESSES, "splat (i64 2)")
    late, age = _all(f, barrier), _all(f, barrier - base)
    with f.count(width >> by) as k:
        place = first + _all(f, k << 2)
        write, read = (
            f.emit(POINTERS, f"getelementptr i8, ptr {a}, {place.typed}") for a in (shadow.write, shadow.read)
        )
        written, seen = _gather(f, "i32", write, flags), _gather(f, "i32", read, flags)
        if writes:
            for stamp in (written, seen):
                _need(f, flags, _flags(f, "ult", stamp, late) | _flags(f, "eq", stamp, me))
            _scatter(f, me, write, flags)
            _need(f, flags, _flags(f, "eq", _gather(f, "i32", write, flags), me))  # else two lanes store to one cell
        else:
            new = flags & _flags(f, "ult", seen, several)
            _need(f, new, _flags(f, "ult", written - _all(f, base), age) | _flags(f, "eq", written, me))
            mark = _pick(f, _flags(f, "ult", seen, late) | _flags(f, "eq", seen, me), me, several)
            _scatter(f, mark, read, new)
            # Where several lanes read one cell, not all of their marks are there now.
            _scatter(f, several, read, new & _flags(f, "ne", _gather(f, "i32", read, new), mark))


def array_gather(size: int) -> Fn:
    """From an array that the kernel may not write: `window` is its record."""
    f = Fn(f"array_gather_{size}", "void", {**LANES, "window": "ptr"}, HALF)
    width, bytes_ = (f["count"] * size).zext("i64"), WINDOW.get(f["window"], "size")
    room = f.select(bytes_.ult(width), f.const("i64", 0), bytes_ - width + 1)
    base = _all(f, WINDOW.get(f["window"], "base"))
    with _each_half(f) as (half, flags, address):
        offset = address - base
        inside = f.emit(FLAGS, f"icmp ult {offset.typed}, {_all(f, room)}")
        _need(f, flags, inside & _aligned(f, offset, width))
        places = f.emit(POINTERS, f"getelementptr i8, ptr {WINDOW.get(f['window'], 'host')}, {offset.typed}")
        _move(f, size, half, flags, places, out=False)
    f.ret()
    return f


@contextmanager
def _each_half(f: Fn) -> Iterator[tuple[Value, Value, Value]]:
    """Its number, which of its lanes run the instruction, and their addresses."""
    with f.count(f.const("i32", 2)) as half:
        bits = (f["mask"] >> (half << 4)) & 0xFFFF
        with f.when(bits.ne(0)):
            flags = f.emit(FLAGS, f"bitcast {bits.trunc('i16').typed} to {FLAGS}")
            address = f["at"].at((half << 7).zext("i64")).load(ADDRESSES, 8) + _all(f, f["offset"])
            yield half, flags, address


def _stamps(f: Fn, half: Value) -> Value:
    return _all(f, f["me"] + (half << 4)) + f.const(VECTOR, COUNT)


def _need(f: Fn, flags: Value, good: Value) -> None:
    """Leave it to the scalar engine unless this is so in all these lanes."""
    with f.when(_any(f, flags & (good ^ f.const(FLAGS, TRUE))), likely=False):
        _leave_it(f)
        f.ret()
        f.label(f.fresh("dead"))


def _aligned(f: Fn, address: Value, width: Value) -> Value:
    return f.emit(FLAGS, f"icmp eq {(address & _all(f, width - 1)).typed}, zeroinitializer")


def _move(f: Fn, size: int, half: Value, flags: Value, places: Value, *, out: bool) -> None:
    """The elements of half a warp between memory and the room; `out`: to memory."""
    type_ = f"i{8 * size}"
    with f.count(f["count"]) as k:
        here = f.emit(POINTERS, f"getelementptr {type_}, {places.typed}, {_all(f, k.zext('i64')).typed}")
        there = f["room"].index(type_, ((k << 5) + (half << 4)).zext("i64"))
        if out:
            _scatter(f, there.load(f"<{CELLS} x {type_}>", size), here, flags)
        else:
            there.store(_gather(f, type_, here, flags), size)


def _gather(f: Fn, type_: str, places: Value, flags: Value) -> Value:
    kind, bytes_ = f"<{CELLS} x {type_}>", int(type_[1:]) // 8
    name = f"llvm.masked.gather.v{CELLS}{type_}.v{CELLS}p0"
    return f.emit(kind, f"call {kind} @{name}({places.typed}, i32 {bytes_}, {flags.typed}, {kind} zeroinitializer)")


def _scatter(f: Fn, values: Value, places: Value, flags: Value) -> None:
    type_ = values.type[1:-1].split()[-1]
    name = f"llvm.masked.scatter.v{CELLS}{type_}.v{CELLS}p0"
    f.line(f"call void @{name}({values.typed}, {places.typed}, i32 {int(type_[1:]) // 8}, {flags.typed})")


def _intrinsics() -> str:
    lines = []
    for type_ in (f"i{8 * size}" for size in SIZES):
        kind = f"<{CELLS} x {type_}>"
        lines.append(
            f"declare {kind} @llvm.masked.gather.v{CELLS}{type_}.v{CELLS}p0({POINTERS}, i32, {FLAGS}, {kind})"
        )
        lines.append(
            f"declare void @llvm.masked.scatter.v{CELLS}{type_}.v{CELLS}p0({kind}, {POINTERS}, i32, {FLAGS})"
        )
    return "\n".join(lines) + "\n"


def global_gather(size: int) -> Fn:
    """As the scalar engine checks each lane; what it records ends the launch."""
    f = Fn(f"global_gather_{size}", "void", LANES, NOINLINE)
    with _each_lane(f) as (lane, address):
        width = f["count"] * size
        memory = f.call("ptr", "global_read", f["w"], f["me"] + lane, address, width, f.const("i32", 0))
        _copy(f, size, lane, memory, out=False)
    f.ret()
    return f


def global_scatter(size: int) -> Fn:
    f = Fn(f"global_scatter_{size}", "void", LANES, NOINLINE)
    given, type_ = f.alloca(f"[{MOST_BYTES} x i8]", 16), f"i{8 * size}"
    with _each_lane(f) as (lane, address):
        with f.count(f["count"]) as k:
            value = f["room"].index(type_, (k * 32 + lane).zext("i64")).load(type_, 1)
            given.index(type_, k.zext("i64")).store(value, 1)
        access = (f["w"], f["me"] + lane, address, f["count"] * size, f.const("i32", 0), given)
        memory = f.call("ptr", "global_write", *access)
        f.line(f"call void @llvm.memcpy.p0.p0.i32(ptr {memory}, ptr {given}, {(f['count'] * size).typed}, i1 false)")
    f.ret()
    return f


# Blocks ----------------------------------------------------------------------------------------------------------


def run_warps() -> Fn:
    """Run a block: its warps one after the other, each to its next barrier, at which all must meet."""
    f = Fn("run_warps", "void", {"w": "ptr"}, NOINLINE)
    worker, launch = f["w"], launch_of(f)
    warps = (LAUNCH.get(launch, "threads") + 31) >> 5
    frames, stride = WORKER.get(worker, "frames"), of_program(worker, "stride") << 5
    kernel = of_program(worker, "kernel")
    WORKER.set(worker, "base", _new_time(f))
    with f.count(warps) as warp:
        frame = frames.at(warp.zext("i64") * stride)
        absent = f.const("i32", 32) - lanes_of(f, warp << 5)
        lanes = f.const("i32", -1) >> absent
        WARP_HEADER.set(frame, "live", lanes)
        WARP_HEADER.set(frame, "whole", lanes)
    at, first = f.alloca("i32"), f.alloca("i32")
    at.store(f.const("i32", 0))
    with f.loop() as done:
        with f.count(warps) as warp:
            WORKER.set(worker, "spent", f.const("i64", 0))
            frame = frames.at(warp.zext("i64") * stride)
            status = f.call_pointer("i32", kernel, worker, frame, at.load("i32"), warp)
            first.store(f.select(warp.eq(0), status, first.load("i32")))
            with f.when(status.eq(ABORTED) | status.ne(first.load("i32")), likely=False):
                _leave_it(f)
            f.stop_when(done, LAUNCH.get(launch, "stop").ne(0))
        with f.when(WORKER.get(worker, "fault_count").ne(0) | _takes_long(f), likely=False):
            _leave_it(f)
        f.stop_when(done, LAUNCH.get(launch, "stop").ne(0) | first.load("i32").eq(EXITED))
        at.store(first.load("i32"))
        WORKER.set(worker, "passed", WORKER.get(worker, "passed") + 1)
        _new_time(f)
    f.ret()
    return f


def _new_time(f: Fn) -> Value:
    """Everything before is ordered before everything after."""
    advance_time(f)
    now = advance_time(f)
    WORKER.set(f["w"], "barrier", now)
    return now


def _takes_long(f: Fn) -> Value:
    launch, passed = launch_of(f), WORKER.get(f["w"], "passed")
    many = passed.ugt(LAUNCH.get(launch, "barriers")) | passed.ugt(LAUNCH.get(launch, "stale"))
    return many | WORKER.get(f["w"], "now").uge(LAST_TIME - 4 * STAMP_STEP)


def work_warps() -> Fn:
    """The loop of one OS thread: take the next block, in index order, until none is left."""
    f = Fn("work_warps", "void", {"w": "ptr"}, "nounwind")
    launch = launch_of(f)
    with f.loop() as done:
        f.stop_when(done, LAUNCH.get(launch, "stop").ne(0))
        block = f.emit("i64", f"atomicrmw add ptr {LAUNCH.at(launch, 'next_block')}, i64 1 seq_cst")
        f.stop_when(done, block.uge(LAUNCH.get(launch, "blocks")))
        f.call("void", "prepare_block", f["w"], block)
        f.call("void", "run_warps", f["w"])
    f.ret()
    return f


@cache
def _texts() -> dict[str, tuple[str, list[str]]]:
    head, first, rest = declarations() + _intrinsics(), blocks_and_cells(), moves()
    found = {"work_warps": (head + "\n".join(f.text() for f in first), [f.name for f in first])}
    given = first[0].declaration() + "\n"
    return found | {f.name: (head + given + f.text(), [f.name]) for f in rest}


def parts_for(kernel: str) -> dict[str, tuple[str, list[str]]]:
    """The modules that the IR of a kernel calls, by one function of each: their text and the names of all."""
    return {name: part for name, part in _texts().items() if name == "work_warps" or f"@{name}(ptr %w" in kernel}


@cache
def declarations_of_lanes() -> str:
    """What a kernel's module needs to call these, besides the runtime."""
    return "\n".join(f.declaration() for f in (*blocks_and_cells(), *moves())) + "\n"
