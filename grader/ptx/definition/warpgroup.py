"""wgmma: the matrix product of a warpgroup. PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions".

D is 64 by n, in the registers of four warps of 16 rows each. A lies in registers or, like B, in shared memory, where
a descriptor says. How floating-point products are added up is in tensor_cores.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from grader.ptx.definition import tensor_cores
from grader.ptx.definition.computation import clamp, number, wrap
from grader.ptx.definition.formats import FORMATS, Real, decode
from grader.ptx.definition.fragments import ELEMENT_BITS, UnknownShape
from grader.ptx.opcodes.opcode import read_opcode

ROWS = 64
WARP_ROWS = 16
OPERAND_BYTES = 32  # of A or B along k
LEAST_N, MOST_N = 8, 256
SUMS = {"f16": ("f16", "f32"), "bf16": ("f32",), "tf32": ("f32",), "e4m3": ("f16", "f32"), "e5m2": ("f16", "f32"),
        "s8": ("s32",), "u8": ("s32",)}  # fmt: skip
ADDRESS_BITS, ADDRESS_UNIT = 14, 16  # of each field of a descriptor that is in bytes
SPANS = (0, 128, 64, 32)  # bytes that are swizzled together, by the descriptor's highest two bits


@dataclass(frozen=True)
class GroupProduct:
    """D = A·B + D; `a` and `b` are the types of elements."""

    n: int
    k: int
    d: str
    a: str
    b: str
    saturate: bool

    @property
    def words(self) -> int:
        """Registers of D in each lane."""
        return self.n // 2 // (2 if self.d == "f16" else 1)

    @property
    def transposes(self) -> bool:
        """Whether a matrix may also be stored the other way round: only if its elements have 16 bits."""
        return ELEMENT_BITS[self.a] == 16


@cache
def group_product(opcode: str) -> GroupProduct:
    """Raises UnknownShape."""
    mods = read_opcode(opcode).modifiers
    shape = re.fullmatch(r"m64n(\d+)k(\d+)", mods[3] if len(mods) > 3 else "")
    types = [m for m in mods[4:] if m in ELEMENT_BITS]
    if shape is None or len(types) != 3 or set(mods[4:]) - {*types, "satfinite"}:
        raise UnknownShape(opcode)
    n, k = map(int, shape.groups())
    d, a, b = types
    fits = k * ELEMENT_BITS.get(a, 0) == 8 * OPERAND_BYTES and n % 8 == 0 and LEAST_N <= n <= MOST_N
    same = a == b or {a, b} <= {"e4m3", "e5m2"} or {a, b} <= {"s8", "u8"}
    if not fits or not same or d not in SUMS.get(a, ()):
        raise UnknownShape(opcode)
    return GroupProduct(n, k, d, a, b, "satfinite" in mods)


def places(n: int, thread: int) -> list[tuple[int, int]]:
    """Row and column of each element of D that a thread of the warpgroup holds."""
    warp, lane = divmod(thread, 32)
    row, column = WARP_ROWS * warp + lane // 4, lane % 4 * 2
    return [(row + 8 * (i // 2 % 2), 8 * (i // 4) + column + i % 2) for i in range(n // 2)]


@dataclass(frozen=True)
class Matrix:
    """Where a descriptor says that the elements lie. Rows are those of A, or columns of B.

    `by_row`: those of one row lie next to each other (K-major).
    """

    start: int
    leading: int
    stride: int
    span: int
    by_row: bool
    element: int  # bytes

    def address(self, row: int, k: int) -> int:
        """Offset in shared memory of an element."""
        lines, inside = (row, k * self.element) if self.by_row else (k, row * self.element)
        if self.span:
            far = 0 if self.by_row else inside // self.span * self.leading
            at = self.start + lines // 8 * self.stride + lines % 8 * self.span + far
            at += inside if self.by_row else inside % self.span
            return at ^ (at >> 7 & self.span // 16 - 1) << 4
        between = (self.stride, self.leading) if self.by_row else (self.leading, self.stride)
        return self.start + lines // 8 * between[0] + lines % 8 * 16 + inside // 16 * between[1] + inside % 16


def described(descriptor: int, element: int, *, by_row: bool) -> Matrix:
    def field(at: int) -> int:
        return (descriptor >> at & (1 << ADDRESS_BITS) - 1) * ADDRESS_UNIT

    return Matrix(field(0), field(16), field(32), SPANS[descriptor >> 62], by_row, element)


# Sums -----------------------------------------------------------------------------------------------------------

Factors = Sequence[tuple[int, int]]  # bit patterns of A and B


def summed(shape: GroupProduct, start: int, factors: Factors, signs: tuple[int, int] = (1, 1)) -> int:
    """One element of D. `signs`: what A and B are multiplied by."""
    if shape.d == "s32":
        total = number("s32", start) + sum(number(shape.a, x) * number(shape.b, y) for x, y in factors)
        return wrap("s32", clamp("s32", total) if shape.saturate else total)
    flipped = signs[0] * signs[1] < 0
    values = [(_decoded(shape.a, x), _decoded(shape.b, y)) for x, y in factors]
    if flipped:
        values = [(a._replace(negative=not a.negative), b) for a, b in values]
    return tensor_cores.summed(tensor_cores.of_wgmma(shape.a, shape.b, shape.d), (shape.d, start), values)


@cache
def _decoded(type_: str, bits: int) -> Real:
    return decode(FORMATS[type_], bits)
