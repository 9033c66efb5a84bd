"""Copies of tiles that a tensor map describes, at run time. PTX ISA, "Tensors" and "cp.async.bulk.tensor".

A tile is copied row by row, in pieces of 16 bytes of shared memory; what lies outside the tensor is filled by a load
and left out by a store. A load reads at once, into a place of its own where the bytes lie as they will in shared
memory, and is in flight from there (flights.py). A store is carried out at once, as that of a bulk copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import (
    FIRST_WINDOW,
    IN_FLIGHT_STAMP,
    IN_LOCAL_MEMORY,
    LOCAL_WINDOW,
    MAX_TILES,
    NOT_A_MAP,
    OTHER_RANK,
    STAGE_BYTES,
    STAMP_STEP,
    TILE,
    WINDOW_BITS,
    WORKER,
    Kind,
)
from grader.ptx.runtime.bulk_copies import CHUNK, note_reads
from grader.ptx.runtime.faults import leave
from grader.ptx.runtime.shadow import COLD
from grader.ptx.tensor_maps import ELEMENT_BYTES, FORMAT, MAGIC, MAX_RANK, SWIZZLE_BYTES

TENSOR_ALIGN = 128  # bytes, of a tile in shared memory
MAP_ALIGN = 64
LOADS, STORES = 0, 1  # how a tile is copied; a reduction is REDUCES + its operation
REDUCES = 2
REDUCTIONS = ("add", "min", "max", "and", "or", "xor")
FLOAT32, BFLOAT16 = (7, 10), 9  # of CU_TENSOR_MAP_DATA_TYPE_*
INTEGERS = {2: ("i32", "u"), 3: ("i32", ""), 4: ("i64", "u"), 5: ("i64", "")}  # LLVM type, and whether it is unsigned
COPY_OF_TILE = {
    "w": "ptr", "me": "i32", "shared": "i64", "map": "ptr", "at": "ptr", "site": "i32", "global_site": "i32"
}  # fmt: skip


def functions() -> list[Fn]:
    return [tensor_map(), tensor_bytes(), tensor_known(), tile_good(), tile_copy(), piece_copy(), element_reduce(),
            tensor_load(), tile_note(), stage()]  # fmt: skip


# What a map says ------------------------------------------------------------------------------------------------


def _byte(map_: Value, name: str, i: int) -> Value:
    return FORMAT.at(map_, name).at(i).load("i8").zext("i64")


def _element_bytes(map_: Value) -> Value:
    """Looked up in a number that has four bits for each type."""
    table = sum(size << 4 * i for i, size in enumerate(ELEMENT_BYTES))
    return (map_.fn.const("i64", table) >> (_byte(map_, "modes", 0) << 2)) & 15


def _extent(map_: Value, i: int) -> Value:
    """Elements of a tile in dimension i."""
    size = _byte(map_, "boxes", i) + 1
    if i == 0:
        return size
    step = _byte(map_, "steps", i - 1)
    return (size + step - 1).udiv(step)


def tensor_map() -> Fn:
    """Host address of the map at a generic address, for so many coordinates; null if there is none."""
    f = Fn("tensor_map", "ptr", {"w": "ptr", "me": "i32", "address": "i64", "site": "i32", "rank": "i64"}, COLD)
    null = f.const("ptr", "null")

    def refuse(other: Value | int) -> None:
        kind, who = f.const("i32", int(Kind.NO_TENSOR_MAP)), f["me"] & (STAMP_STEP - 1)
        what = other if isinstance(other, Value) else f.const("i64", other)
        f.call("void", "record", f["w"], kind, f["site"], who, f["address"], what, f.const("i32", 0))
        leave(f, null)

    with f.when(((f["address"] >> WINDOW_BITS) - FIRST_WINDOW).eq(LOCAL_WINDOW), likely=False):
        refuse(IN_LOCAL_MEMORY)
    host = f.call("ptr", "global_read", f["w"], f["me"], f["address"], f.const("i32", MAP_ALIGN), f["site"])
    with f.when(host.eq(WORKER.get(f["w"], "sink")), likely=False):
        leave(f, null)
    with f.when(FORMAT.get(host, "magic").ne(MAGIC), likely=False):
        refuse(NOT_A_MAP)
    rank = _byte(host, "modes", 1)
    with f.when(rank.ne(f["rank"]), likely=False):
        refuse((rank << 8) | OTHER_RANK)
    f.ret(host)
    return f


def tensor_bytes() -> Fn:
    """Bytes of a tile in shared memory."""
    f = Fn("tensor_bytes", "i32", {"map": "ptr"}, COLD)
    size = _element_bytes(f["map"])
    for i in range(MAX_RANK):
        size = size * _extent(f["map"], i)
    f.ret(size.trunc("i32"))
    return f


def _span(map_: Value) -> Value:
    """Bytes that are swizzled together, or 0."""
    table = sum(size << 8 * i for i, size in enumerate(SWIZZLE_BYTES))
    return (map_.fn.const("i64", table) >> (_byte(map_, "modes", 2) << 3)) & 0xFF


def tensor_known() -> Fn:
    """1 if this engine knows what the map asks for: no interleaving; rows that are as long as what is swizzled."""
    f = Fn("tensor_known", "i32", {"map": "ptr", "how": "i32"}, COLD)
    interleaved = (_byte(f["map"], "modes", 3) >> 4).ne(0)
    span = _span(f["map"])
    row = _extent(f["map"], 0) * _element_bytes(f["map"])
    short = span.ne(0) & row.ne(span)
    type_ = _byte(f["map"], "modes", 0)
    integer = (type_ - min(INTEGERS)).ult(len(INTEGERS))
    summed = integer | type_.eq(FLOAT32[0]) | type_.eq(FLOAT32[1]) | type_.eq(BFLOAT16)
    known = f.select(f["how"].eq(REDUCES), summed, integer) | f["how"].ult(REDUCES)
    f.ret((known & (interleaved ^ 1) & (short ^ 1)).zext("i32"))
    return f


# Checks ---------------------------------------------------------------------------------------------------------


def tile_good() -> Fn:
    """1 if the tile's place in shared memory is aligned and lies in an array; `writes`: as a load uses it."""
    f = Fn("tile_good", "i32", {**COPY_OF_TILE, "bytes": "i32", "writes": "i32"}, COLD)
    who, none, zero = f["me"] & (STAMP_STEP - 1), f.const("i32", 0), f.const("i64", 0)
    with f.when((f["shared"] & (TENSOR_ALIGN - 1)).ne(0), likely=False):
        kind = f.const("i32", int(Kind.MISALIGNED_TILE))
        f.call("void", "record", f["w"], kind, f["site"], who, f["shared"], zero, none)
        leave(f, none)
    good = f.alloca("i32")
    good.store(f.const("i32", 1))
    width, null, stamp = f.const("i32", CHUNK), f.const("ptr", "null"), f.const("i32", IN_FLIGHT_STAMP)
    with f.count(f["bytes"].zext("i64") >> 4) as k:
        address = f["shared"] + (k << 4)
        with f.when(f["writes"].ne(0)):
            ok = f.call("i32", "shared_write", f["w"], f["me"], address, width, f["site"], null, stamp)
            good.store(good.load("i32") & ok)
        with f.when(f["writes"].eq(0)):
            ok = f.call("i32", "shared_read", f["w"], f["me"], address, width, f["site"])
            good.store(good.load("i32") & ok)
            with f.when(ok.ne(0)):
                note_reads(f, address, f["site"])
        with f.when(good.load("i32").eq(0)):  # once is enough
            leave(f, none)
    f.ret(f.const("i32", 1))
    return f


# Copying --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Piece:
    """16 bytes of a tile: where they lie in shared memory; whether the row is inside; the first element's coordinate
    in the innermost dimension, and its address."""

    shared: Value
    inside: Value
    coordinate: Value
    address: Value


@contextmanager
def _pieces(f: Fn) -> Iterator[_Piece]:
    """Of the tile whose first element has the coordinates `at` (i32 each)."""
    map_, size = f["map"], _element_bytes(f["map"])
    extents = [_extent(map_, i) for i in range(MAX_RANK)]
    rows = f.const("i64", 1)
    for extent in extents[1:]:
        rows = rows * extent
    row_bytes = extents[0] * size
    mask = (f.const("i64", 0x70301000) >> (_byte(map_, "modes", 2) << 3)) & 0x70
    with f.count(rows) as row:
        inside, offset, left = f.const("i1", 1), FORMAT.get(map_, "base"), row
        for i, extent in enumerate(extents[1:], 1):
            position = left.urem(extent) * _byte(map_, "steps", i - 1)
            left = left.udiv(extent)
            coordinate = f["at"].index("i32", i).load("i32").sext("i64") + position
            inside = inside & coordinate.ult(FORMAT.get(map_, f"dim{i}").zext("i64") + 1)
            offset = offset + coordinate * FORMAT.get(map_, f"stride{i}")
        with f.count(row_bytes >> 4) as k:
            plain = f["shared"] + row * row_bytes + (k << 4)
            swizzled = plain ^ ((plain >> 3) & mask)
            first = f["at"].load("i32").sext("i64") + (k << 4).udiv(size)
            yield _Piece(swizzled, inside, first, offset + first * size)


def tile_copy() -> Fn:
    """Copies a tile: from global memory to `stage`, or from shared memory to global memory."""
    f = Fn("tile_copy", "void", {**COPY_OF_TILE, "stage": "ptr", "how": "i32"}, COLD)
    size = _element_bytes(f["map"])
    width = FORMAT.get(f["map"], "dim0").zext("i64") + 1
    with _pieces(f) as piece:
        zero, per = f.const("i64", 0), f.const("i64", CHUNK).udiv(size)

        def clamped(value: Value, most: Value) -> Value:
            low = f.select(value.icmp("slt", 0), f.const("i64", 0), value)
            return f.select(low.icmp("slt", most), low, most)

        first = clamped(zero - piece.coordinate, per)
        end = clamped(width - piece.coordinate, per)
        end = f.select(piece.inside, f.select(end.ult(first), first, end), first)
        host = f.select(f["how"].eq(LOADS), f["stage"].at(piece.shared - f["shared"]), _shared_at(f, piece.shared))
        arguments = (f["w"], f["me"], f["map"], piece.address, host, first, end, f["global_site"], f["how"])
        f.call("void", "piece_copy", *arguments)
    f.ret()
    return f


def _shared_at(f: Fn, address: Value) -> Value:
    return WORKER.get(f["w"], "shared").at(address)


def piece_copy() -> Fn:
    """Of 16 bytes at `host`, the elements from `first` to `end` lie in the tensor, at `address` and behind."""
    f = Fn(
        "piece_copy",
        "void",
        {"w": "ptr", "me": "i32", "map": "ptr", "address": "i64", "host": "ptr", "first": "i64", "end": "i64",
         "site": "i32", "how": "i32"},
        COLD,
    )  # fmt: skip
    size, null = _element_bytes(f["map"]), f.const("ptr", "null")
    move = "call void @llvm.memmove.p0.p0.i32(ptr {}, ptr {}, i32 {}, i1 false)"
    whole = f["first"].eq(0) & (f["end"] * size).eq(CHUNK) & (f["address"] & (CHUNK - 1)).eq(0)
    loads = f["how"].eq(LOADS)
    with f.when(loads & ((f["end"] - f["first"]) * size).ne(CHUNK)):
        _fill(f, size)
    width = f.const("i32", CHUNK)
    with f.when(whole & loads):
        there = f.call("ptr", "global_read", f["w"], f["me"], f["address"], width, f["site"])
        f.line(move.format(f["host"], there, CHUNK))
        f.ret()
        f.label(f.fresh("dead"))
    with f.when(whole & f["how"].eq(STORES)):
        there = f.call("ptr", "global_write", f["w"], f["me"], f["address"], width, f["site"], null)
        f.line(move.format(there, f["host"], CHUNK))
        f.ret()
        f.label(f.fresh("dead"))
    width = size.trunc("i32")
    with f.count(f["end"] - f["first"]) as k:
        offset = (f["first"] + k) * size
        access, here = (f["w"], f["me"], f["address"] + offset, width, f["site"]), f["host"].at(offset)
        with f.when(loads):
            f.line(move.format(here, f.call("ptr", "global_read", *access), width))
        with f.when(f["how"].eq(STORES)):
            f.line(move.format(f.call("ptr", "global_write", *access, null), here, width))
        with f.when(f["how"].uge(REDUCES)):
            there = f.call("ptr", "global_update", *access, null)
            f.call("void", "element_reduce", f["map"], there, here, f["how"] - REDUCES)
    f.ret()
    return f


def _fill(f: Fn, size: Value) -> None:
    """What lies outside the tensor is zero, or NaN: all bits but the sign."""
    nan = (_byte(f["map"], "modes", 3) & 1).ne(0)
    ones = f.const("i64", -1)
    sign = f.const("i64", -(1 << 63))
    for bits in (32, 16, 8):
        repeated = sum(1 << i for i in range(bits - 1, 64, bits)) - (1 << 64)
        sign = f.select(size.eq(bits // 8), f.const("i64", repeated), sign)
    value = f.select(nan, ones ^ sign, f.const("i64", 0))
    for at in (0, 8):
        f["host"].at(at).store(value, 1)


def element_reduce() -> Fn:
    """One element of global memory, at `there`, takes in one of shared memory, at `here`."""
    f = Fn("element_reduce", "void", {"map": "ptr", "there": "ptr", "here": "ptr", "operation": "i32"}, COLD)
    type_ = _byte(f["map"], "modes", 0)
    for number, (kind, unsigned) in INTEGERS.items():
        with f.when(type_.eq(number)):
            value = f["here"].load(kind, 1)
            for k, name in enumerate(REDUCTIONS):
                with f.when(f["operation"].eq(k)):
                    exact = unsigned + name if name in ("min", "max") else name
                    f.emit(kind, f"atomicrmw {exact} ptr {f['there']}, {value.typed} seq_cst")
    for number in FLOAT32:
        with f.when(type_.eq(number)):
            _add(f, "i32", lambda bits: _flushed(f, bits).bitcast("float"), lambda x: _flushed(f, x.bitcast("i32")))
    with f.when(type_.eq(BFLOAT16)):
        _add(f, "i16", lambda bits: (bits.zext("i32") << 16).bitcast("float"), lambda x: _to_bfloat16(f, x))
    f.ret()
    return f


def _add(f: Fn, kind: str, number: object, code: object) -> None:
    """Compare and swap until no other thread came in between. `number`, `code`: from bits to FP32 and back."""
    assert callable(number) and callable(code)
    seen = f.alloca(kind)
    seen.store(f["there"].load(kind, 1))
    with f.loop() as done:
        old = seen.load(kind)
        total = f.emit("float", f"fadd {number(old).typed}, {number(f['here'].load(kind, 1))}")
        new = code(total)
        swap = f"cmpxchg ptr {f['there']}, {kind} {old}, {kind} {new} seq_cst seq_cst"
        pair = f.emit(f"{{{kind}, i1}}", swap)
        seen.store(f.emit(kind, f"extractvalue {pair.typed}, 0"))
        f.stop_when(done, f.emit("i1", f"extractvalue {pair.typed}, 1"))


def _flushed(f: Fn, bits: Value) -> Value:
    """A subnormal is a zero of its sign."""
    return f.select((bits & 0x7F80_0000).eq(0), bits & -(1 << 31), bits)


def _to_bfloat16(f: Fn, x: Value) -> Value:
    """Rounded to nearest even; NaN is the canonical one."""
    bits = x.bitcast("i32")
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    nan = (bits & 0x7FFF_FFFF).ugt(0x7F80_0000)
    return f.select(nan, f.const("i32", 0x7FFF), rounded).trunc("i16")


# Loads ----------------------------------------------------------------------------------------------------------


def stage() -> Fn:
    """Room for so many bytes, of the worker's, used in turn: what is in flight there is never that much."""
    f = Fn("stage", "ptr", {"w": "ptr", "bytes": "i32"}, COLD)
    used, size = WORKER.get(f["w"], "staged"), f["bytes"].zext("i64")
    start = f.select((used + size).ugt(STAGE_BYTES), f.const("i64", 0), used)
    WORKER.set(f["w"], "staged", start + size)
    f.ret(WORKER.get(f["w"], "stage").at(start))
    return f


def tile_note() -> Fn:
    """Remember how the tile at `target` lies there, instead of what was there before."""
    f = Fn("tile_note", "void", {"w": "ptr", "map": "ptr", "target": "i64", "bytes": "i32", "site": "i32"}, COLD)
    known, place = WORKER.get(f["w"], "tile_count"), f.alloca("i32")
    place.store(known)
    with f.count(known) as i, f.when(TILE.get(tile_at(f, i), "target").eq(f["target"])):
        place.store(i)
    at = place.load("i32")
    with f.when(at.ult(MAX_TILES)):
        entry = tile_at(f, at)
        row = (_extent(f["map"], 0) * _element_bytes(f["map"])).trunc("i32")
        values = {"target": f["target"], "bytes": f["bytes"], "site": f["site"], "row": row}
        for name, value in {**values, "span": _span(f["map"]).trunc("i32")}.items():
            TILE.set(entry, name, value)
        WORKER.set(f["w"], "tile_count", f.select(at.eq(known), known + 1, known))
    f.ret()
    return f


def tile_at(f: Fn, i: Value) -> Value:
    return WORKER.get(f["w"], "tiles").at((i * TILE.size).zext("i64"))


def tensor_load() -> Fn:
    """From global to shared memory: in flight until somebody looks at the mbarrier."""
    f = Fn("tensor_load", "void", {**COPY_OF_TILE, "bytes": "i32", "mbarrier": "i64", "mbarrier_site": "i32"}, COLD)
    zero = f.const("i32", 0)
    ok = f.call("i32", "mbarrier_valid", f["w"], f["me"], f["mbarrier"], f["mbarrier_site"], zero)
    with f.when(ok.eq(0), likely=False):
        f.ret()
        f.label(f.fresh("dead"))
    tile = tuple(f[name] for name in COPY_OF_TILE)
    WORKER.set(f["w"], "tile_bytes", f["bytes"])
    good = f.call("i32", "tile_good", *tile, f["bytes"], f.const("i32", 1))
    place = f.call("ptr", "stage", f["w"], f["bytes"])
    with f.when(good.ne(0)):
        f.call("void", "tile_copy", *tile, place, f.const("i32", LOADS))
        f.call("void", "tile_note", f["w"], f["map"], f["shared"], f["bytes"], f["site"])
    target = f.select(good.ne(0), f["shared"], f.const("i64", -1))
    flight = (f["mbarrier"], target, place, f["bytes"], f["site"], f["me"] & (STAMP_STEP - 1), zero, zero)
    f.call("void", "flight_start", f["w"], *flight)
    WORKER.set(f["w"], "tile_bytes", zero)
    f.ret()
    return f
