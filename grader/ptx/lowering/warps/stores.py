"""Stores of a warp."""

from __future__ import annotations

from grader.ptx.analysis.strides import HALF
from grader.ptx.ir import Value
from grader.ptx.lowering.warps.builder import WarpBuilder
from grader.ptx.lowering.warps.cells import (
    CELLS,
    FLAGS,
    VECTOR,
    Run,
    cell_bytes,
    lane_shift,
    of_lanes,
    runs_of,
    stamps_of,
)
from grader.ptx.lowering.warps.lanes import LANES, NotTaken
from grader.ptx.lowering.warps.places import Shape, base_of, half_of, halves_of, shape_of, spread
from grader.ptx.syntax import Address, Instruction, Operand, items_of


def store(u: WarpBuilder, ins: Instruction) -> None:
    op, (target, source, *_) = ins.op, ins.operands
    if op.space not in ("shared", "global"):
        raise NotTaken(ins.opcode)
    values = [u.value(item, f"b{8 * op.element_bytes}") for item in items_of(source)]
    if op.space == "shared" and shape_of(u, target, op.bytes, op.element_bytes) is Shape.ROW:
        _store_rows(u, target, values, op.bytes)
        return
    address = base_of(u, target)
    if op.space == "global" or op.element_bytes < 4:
        u.takes_lanes_one_by_one()
    f, size = u.f, op.element_bytes
    assert isinstance(target, Address)
    room = f.alloca(f"[{LANES * op.count} x i{8 * size}]", 64)
    for k, value in enumerate(values):
        f.raw(f"store {f.wide_typed(value)}, ptr {room.at(k * LANES * size)}, align {size}")
    arguments = (u.worker, u.first_stamp, u.mask, spread(u, address), f.const("i64", target.offset))
    f.call("void", f"{op.space}_scatter_{size}", *arguments, f.const("i32", op.count), room)


def _store_rows(u: WarpBuilder, target: Operand, values: list[Value], width: int) -> None:
    """Each half stores a row. The cells of the second are looked at after the first is marked."""
    assert isinstance(target, Address)
    halves = halves_of(u, target)
    starts = [place + target.offset for place in halves.places]
    granule = u.shared.granule
    last = u.shared.arena - HALF * width - 4 * HALF * granule
    for start in starts:
        u.require(start.ule(last) & (start & (width - 1)).eq(0))
    shift = lane_shift(Shape.ROW, width, granule)
    for half, (start, lanes) in enumerate(zip(starts, halves.lanes, strict=True)):
        first = cell_bytes(u, start)
        for run in runs_of(Shape.ROW, [0], width, granule):
            _mark(u, half, first, lanes, run, shift)
        _write(u, half, start, lanes, values)


def _mark(u: WarpBuilder, half: int, first: Value, lanes: Value, run: Run, shift: int) -> None:
    """Mark cells as written. Fast if no thread has written or read them since the last barrier."""
    f = u.f
    mine, stamps = of_lanes(u, lanes, run, shift), stamps_of(u, half, run, shift)
    write, read = (array.at(first).at(4 * run.start) for array in (u.shadow.write, u.shadow.read))
    written, name = write.load(VECTOR, 4), f"llvm.umax.v{CELLS}i32"
    u.helper(name, f"declare {VECTOR} @{name}({VECTOR}, {VECTOR})")
    newest = f.call(VECTOR, name, written, read.load(VECTOR, 4))
    now = f.scalar(VECTOR, f"insertelement {VECTOR} poison, {u.barrier_time.typed}, i64 0")
    barrier = f.scalar(VECTOR, f"shufflevector {VECTOR} {now}, {VECTOR} poison, <{CELLS} x i32> zeroinitializer")
    late = f.scalar(FLAGS, f"icmp uge {VECTOR} {newest}, {barrier}")
    bad = f.scalar(FLAGS, f"and {FLAGS} {late}, {mine}")
    with f.when(f.scalar("i16", f"bitcast {bad.typed} to i16").ne(0), likely=False):
        by = u.first_stamp + HALF * half
        numbers = (f.const("i32", n) for n in (shift, run.start, run.count, run.before))
        f.call("void", "check_writes", u.worker, first, by, *numbers, lanes)
    marked = f.scalar(VECTOR, f"select {mine.typed}, {stamps.typed}, {written.typed}")
    write.store(marked, 4)


def _write(u: WarpBuilder, half: int, start: Value, lanes: Value, values: list[Value]) -> None:
    f, count = u.f, len(values)
    type_, items = values[0].type, HALF * len(values)
    parts = [half_of(u, value, half) for value in values]
    row = parts[0] if count == 1 else _interleaved(u, type_, parts)
    kind, flags = f"<{items} x {type_}>", f"<{items} x i1>"
    mine = f.scalar(f"<{HALF} x i1>", f"bitcast i16 {lanes.trunc('i16')} to <{HALF} x i1>")
    if count > 1:
        order = ", ".join(f"i32 {item // count}" for item in range(items))
        text = f"shufflevector <{HALF} x i1> {mine}, <{HALF} x i1> poison, <{items} x i32> <{order}>"
        mine = f.scalar(flags, text)
    host, size = u.shared_host.at(start), int(type_[1:]) // 8
    before = host.load(kind, size)
    host.store(f.scalar(kind, f"select {mine.typed}, {row.typed}, {before.typed}"), size)


def _interleaved(u: WarpBuilder, type_: str, parts: list[Value]) -> Value:
    """The elements of each lane next to each other. `parts`: two or four, each of one element per lane."""
    f = u.f

    def two(a: Value, b: Value, items: int) -> Value:
        kind, order = f"<{items} x {type_}>", ", ".join(f"i32 {i}" for i in range(2 * items))
        whole = f"<{2 * items} x {type_}>"
        return f.scalar(whole, f"shufflevector {kind} {a}, {kind} {b}, <{2 * items} x i32> <{order}>")

    count, items = len(parts), HALF
    whole = list(parts)
    while len(whole) > 1:
        whole = [two(a, b, items) for a, b in zip(whole[::2], whole[1::2], strict=True)]
        items *= 2
    kind = f"<{items} x {type_}>"
    order = ", ".join(f"i32 {HALF * (item % count) + item // count}" for item in range(items))
    return f.scalar(kind, f"shufflevector {whole[0].typed}, {kind} poison, <{items} x i32> <{order}>")
