"""Where the lanes of a warp access memory, and the proof that they do.

Each half of the warp is looked at by itself. What `analysis/strides.py` guesses decides the shape; the code checks it
for every lane that runs the instruction, together with bounds and alignment, and leaves the launch to the scalar
engine if anything is different.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from grader.ptx.analysis.strides import HALF
from grader.ptx.ir import Value
from grader.ptx.lowering.addresses import address_of
from grader.ptx.lowering.warps.builder import ROOT, WarpBuilder, located, pattern_of
from grader.ptx.lowering.warps.lanes import LANES, wide
from grader.ptx.syntax import Address, Operand, Register

REGION = 256  # bytes


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


def shape_of(u: WarpBuilder, operand: Operand, width: int, element: int) -> Shape:
    base = _register(operand)
    if base not in u.lanes.varying:
        return Shape.UNIFORM
    pattern = pattern_of(u, base)
    if not pattern:
        return Shape.ANY
    if pattern == (0,) * HALF:
        return Shape.SAME
    if pattern == tuple(width * lane for lane in range(HALF)):
        return Shape.ROW
    together = all(pattern.count(place) > 1 and place % width == 0 for place in pattern)
    return Shape.SHARED if together and max(pattern) + width <= REGION and element >= 4 else Shape.ANY


def _register(operand: Operand) -> str:
    """The base of an address; empty: it is none."""
    assert isinstance(operand, Address)
    return operand.base.name if isinstance(operand.base, Register) else ""


def pattern(u: WarpBuilder, operand: Operand) -> tuple[int, ...]:
    return pattern_of(u, _register(operand))


def base_of(u: WarpBuilder, operand: Operand) -> Value:
    """The address without its constant offset, i64."""
    assert isinstance(operand, Address)
    return address_of(u, Address(operand.base, 0))


def halves_of(u: WarpBuilder, operand: Operand) -> Halves:
    """Where the base of an address is in each half. Proven, here or where the register was written."""
    f, name = u.f, _register(operand)
    lanes = (u.mask & 0xFFFF, u.mask >> HALF)
    if name not in u.roots:
        first, second, proven = located(u, base_of(u, operand), pattern_of(u, name))
    else:
        starts = [ROOT.get(u.roots[name], field) for field in ("first", "second")]
        here, proven = [mask.ne(0) for mask in lanes], ROOT.get(u.roots[name], "proven")
        first, second = f.select(here[0], starts[0], starts[1]), f.select(here[1], starts[1], starts[0])
    u.require((proven | (u.mask ^ -1)).eq(-1))
    return Halves((first, second), lanes)


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
