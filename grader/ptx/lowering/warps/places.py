"""Where the lanes of a warp access memory, and the proof that they do.

Each half of the warp is looked at by itself. What `analysis/strides.py` guesses decides the shape; the code checks it
for every lane that runs the instruction, together with bounds and alignment, and leaves the launch to the scalar
engine if anything is different.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from grader.ptx.analysis.strides import HALF, SAME
from grader.ptx.ir import Value
from grader.ptx.lowering.addresses import address_of
from grader.ptx.lowering.warps.builder import WarpBuilder
from grader.ptx.lowering.warps.lanes import LANES, wide
from grader.ptx.syntax import Address, Operand, Register

REGION = 256  # bytes
BOTH = "<" + ", ".join(f"i32 {lane // HALF}" for lane in range(LANES)) + ">"  # for each lane, its half


class Shape(Enum):
    UNIFORM = auto()  # the address is the same for all lanes, and not a vector
    SAME = auto()  # it is the same in each half
    ROW = auto()  # the lanes of a half follow each other without a gap
    SHARED = auto()  # a small region, of which several lanes of a half want each part
    ANY = auto()


@dataclass(frozen=True)
class Halves:
    """Of each half of a warp: its lowest place, whichever lanes are there, and its lanes that run the instruction.

    A half without such lanes has the place of the other one.
    """

    places: tuple[Value, Value]  # i64
    lanes: tuple[Value, Value]  # i32, 16 bits


def pattern_of(u: WarpBuilder, operand: Operand) -> tuple[int, ...]:
    """How many bytes from the lowest address each lane of a half is, most likely; empty: nothing is known."""
    assert isinstance(operand, Address) and isinstance(operand.base, Register)
    values = u.strides.get(operand.base.name, SAME).values
    return tuple(value - min(values) for value in values)


def shape_of(u: WarpBuilder, address: Value, operand: Operand, width: int, element: int) -> Shape:
    if not u.f.varies(address):
        return Shape.UNIFORM
    pattern = pattern_of(u, operand)
    if not pattern:
        return Shape.ANY
    if pattern == (0,) * HALF:
        return Shape.SAME
    if pattern == tuple(width * lane for lane in range(HALF)):
        return Shape.ROW
    together = all(pattern.count(place) > 1 and place % width == 0 for place in pattern)
    return Shape.SHARED if together and max(pattern) + width <= REGION and element >= 4 else Shape.ANY


def base_of(u: WarpBuilder, operand: Operand) -> Value:
    """The address without its constant offset, i64."""
    assert isinstance(operand, Address)
    return address_of(u, Address(operand.base, 0))


def halves_of(u: WarpBuilder, places: Value, pattern: tuple[int, ...]) -> Halves:
    """Of a vector of places, in each half as the pattern says; checks that they are."""
    f = u.f
    lanes = (u.mask & 0xFFFF, u.mask >> HALF)
    starts = []
    for half, mask in enumerate(lanes):
        first = f.call("i32", "llvm.cttz.i32", mask | (1 << HALF), f.const("i1", 0)) & (HALF - 1)
        place = f.scalar("i64", f"extractelement {wide('i64')} {places}, {(first + HALF * half).typed}")
        if any(pattern):
            kind, text = f"<{HALF} x i64>", ", ".join(f"i64 {offset}" for offset in pattern)
            place = place - f.scalar("i64", f"extractelement {kind} <{text}>, {first.typed}")
        starts.append(place)
    here = [mask.ne(0) for mask in lanes]
    first, second = f.select(here[0], starts[0], starts[1]), f.select(here[1], starts[1], starts[0])
    expected = both(u, first, second)
    if any(pattern):
        text = ", ".join(f"i64 {offset}" for offset in pattern * 2)
        expected = f.lanes("i64", f"add {wide('i64')} {expected}, <{text}>")
    u.require_of_all(places.eq(expected))
    return Halves((first, second), lanes)


def both(u: WarpBuilder, first: Value, second: Value) -> Value:
    """A vector with one value in its first half and another in its second."""
    f, pair = u.f, f"<2 x {first.type}>"
    one = f.scalar(pair, f"insertelement {pair} poison, {first.typed}, i64 0")
    two = f.scalar(pair, f"insertelement {pair} {one}, {second.typed}, i64 1")
    return f.lanes(first.type, f"shufflevector {pair} {two}, {pair} poison, <{LANES} x i32> {BOTH}")


def joined(u: WarpBuilder, type_: str, first: Value, second: Value) -> Value:
    """Two vectors of half a warp as one."""
    f, half = u.f, f"<{HALF} x {type_}>"
    order = ", ".join(f"i32 {lane}" for lane in range(LANES))
    return f.lanes(type_, f"shufflevector {half} {first}, {half} {second}, <{LANES} x i32> <{order}>")


def half_of(u: WarpBuilder, value: Value, half: int) -> Value:
    """Half a vector."""
    order = ", ".join(f"i32 {HALF * half + lane}" for lane in range(HALF))
    kind = wide(value.type)
    return u.f.scalar(
        f"<{HALF} x {value.type}>",
        f"shufflevector {u.f.wide_typed(value)}, {kind} poison, <{HALF} x i32> <{order}>",
    )


def spread(u: WarpBuilder, value: Value) -> Value:
    """A vector of addresses, in memory."""
    room = u.f.alloca(f"[{LANES} x i64]", 64)
    u.f.raw(f"store {u.f.wide_typed(value)}, ptr {room}, align 64")
    return room
