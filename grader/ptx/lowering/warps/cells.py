"""The shadow cells of what half a warp accesses in shared memory, up to sixteen at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from grader.ptx.analysis.strides import HALF
from grader.ptx.ir import Value
from grader.ptx.lowering.warps.builder import WarpBuilder
from grader.ptx.lowering.warps.places import Shape

CELLS = HALF  # in one vector
VECTOR = f"<{CELLS} x i32>"
FLAGS = f"<{CELLS} x i1>"
ONE_LANE = 31  # a shift that makes every cell the first lane's
NEVER = 0x7FFF_FFFF  # later than any time
COUNT = "<" + ", ".join(f"i32 {cell}" for cell in range(CELLS)) + ">"


@dataclass(frozen=True)
class Run:
    """Cells that follow each other: the first one's number from the place of the half, how many, and how many of the
    same access come before it."""

    start: int
    count: int
    before: int = 0


def runs_of(shape: Shape, offsets: Iterable[int], width: int, granule: int) -> list[Run]:
    """Of loads at these offsets. Where lanes are in a row, each lane has its own cells."""
    each = width // granule
    if shape is Shape.ROW:
        return [Run(o // granule + CELLS * k, CELLS, CELLS * k) for o in sorted(set(offsets)) for k in range(each)]
    cells = sorted({o // granule + k for o in offsets for k in range(each)})
    runs: list[Run] = []
    for cell in cells:
        if runs and runs[-1].start + runs[-1].count == cell and runs[-1].count < CELLS:
            runs[-1] = Run(runs[-1].start, runs[-1].count + 1)
        else:
            runs.append(Run(cell, 1))
    return runs


def lane_shift(shape: Shape, width: int, granule: int) -> int:
    """By how much a cell's number is shifted to give its lane."""
    return (width // granule).bit_length() - 1 if shape is Shape.ROW else ONE_LANE


def of_lanes(u: WarpBuilder, lanes: Value, run: Run, shift: int) -> Value:
    """Which of the cells belong to lanes that run the instruction."""
    f = u.f
    if shift == ONE_LANE:
        return f.scalar(FLAGS, f"bitcast i16 {f.const('i16', (1 << run.count) - 1)} to {FLAGS}")
    flags = f.scalar(FLAGS, f"bitcast i16 {lanes.trunc('i16')} to {FLAGS}")
    if shift == 0:
        return flags
    order = ", ".join(f"i32 {(run.before + cell) >> shift}" for cell in range(CELLS))
    return f.scalar(FLAGS, f"shufflevector {FLAGS} {flags}, {FLAGS} poison, <{CELLS} x i32> <{order}>")


def oldest_read(
    u: WarpBuilder, shape: Shape, halves: list[tuple[Value, Value]], runs: list[Run], shift: int
) -> Value:
    """The least stamp of a read of these cells. `halves`: the first cell (as bytes of the shadow) and the lanes."""
    f, name = u.f, f"llvm.smin.v{CELLS}i32"
    u.helper(name, f"declare {VECTOR} @{name}({VECTOR}, {VECTOR})")
    found: list[Value] = []
    for cells, lanes in halves:
        absent: dict[tuple[int, int], Value] = {}
        for run in runs:
            stamps = u.shadow.read.at(cells).at(4 * run.start).load(VECTOR, 4)
            if shape is Shape.ROW or run.count < CELLS:
                key = (run.before, run.count)
                if key not in absent:
                    mine = of_lanes(u, lanes, run, shift)
                    never = f"splat (i32 {NEVER})"
                    absent[key] = f.scalar(VECTOR, f"select {mine.typed}, {VECTOR} zeroinitializer, {VECTOR} {never}")
                stamps = f.scalar(VECTOR, f"or {VECTOR} {stamps}, {absent[key]}")
            found.append(stamps)
    while len(found) > 1:  # a tree, not a chain
        pairs = [f.call(VECTOR, name, a, b) for a, b in zip(found[::2], found[1::2], strict=False)]
        found = pairs + found[len(pairs) * 2 :]
    whole = f"llvm.vector.reduce.smin.v{CELLS}i32"
    u.helper(whole, f"declare i32 @{whole}({VECTOR})")
    return f.call("i32", whole, found[0])


def stamps_of(u: WarpBuilder, half: int, run: Run, shift: int) -> Value:
    """The stamp of each cell's lane, now."""
    f = u.f
    first = u.first_stamp + HALF * half
    kind = f"insertelement {VECTOR} poison, {first.typed}, i64 0"
    one = f.scalar(VECTOR, kind)
    all_ = f.scalar(VECTOR, f"shufflevector {VECTOR} {one}, {VECTOR} poison, <{CELLS} x i32> zeroinitializer")
    lanes = ", ".join(f"i32 {(run.before + cell) >> shift}" for cell in range(CELLS))
    return f.scalar(VECTOR, f"add {VECTOR} {all_}, <{lanes}>")


def cell_bytes(u: WarpBuilder, place: Value) -> Value:
    """The cell of a place in shared memory, as bytes of one array of the shadow."""
    scale = (4 // u.shared.granule).bit_length() - 1
    return place << scale if scale else place


def who(u: WarpBuilder, shape: Shape, half: int, lanes: Value) -> Value:
    """The stamp of the first lane of a half or, where all its lanes use the same cells, of whoever is there."""
    f = u.f
    first = u.first_stamp + HALF * half
    if shape is Shape.ROW:
        return first
    lane = f.call("i32", "llvm.cttz.i32", lanes, f.const("i1", 0))
    alone = (lanes & (lanes - 1)).eq(0)
    return f.select(alone, first + lane, u.several)
