"""wmma.load and wmma.store: fragments from and to memory. PTX ISA, "Warp-level Matrix Load/Store"."""

from __future__ import annotations

import re

from grader.ptx.definition.fragments import wmma_fragment
from grader.ptx.ir import Value
from grader.ptx.lowering.accesses import checked_at
from grader.ptx.lowering.addresses import address_of
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.lowering.mail import lane_of
from grader.ptx.lowering.whole_warps import ROW_BYTES
from grader.ptx.syntax import Instruction, Operand, items_of


class _Chunks:
    """The contiguous pieces of memory that hold this lane's elements of a fragment."""

    def __init__(self, u: KernelBuilder, ins: Instruction, operands: tuple[Operand, ...]) -> None:
        """`operands`: the address and, unless rows (or columns) are dense, the stride between them."""
        mods, type_ = ins.modifiers, ins.op.type
        which, layout = mods[1], "col" if "col" in mods else "row"
        shape = next(m for m in mods if re.fullmatch(r"m\d+n\d+k\d+", m))
        self.u, self.space = u, ins.op.space
        try:
            self.fragment = wmma_fragment(which if which in "ab" else "c", shape, type_, layout)
        except KeyError as error:
            raise u.unsupported() from error
        by_rows = which not in "ab" or layout == "row"
        self.inner = self.fragment.columns if by_rows else self.fragment.rows
        self.contiguous = which in "ab" or layout == "row"
        least = self.inner if self.contiguous else self.fragment.rows
        self.base = address_of(u, operands[0])
        stride = u.value(operands[1], "u32") if len(operands) > 1 else u.f.const("i32", least)
        self.stride = stride.zext("i64")
        most = min(self.fragment.elements, self.inner, 8 * ROW_BYTES // self.fragment.bits)
        self.per_chunk = most if self.contiguous else 1

    @property
    def width(self) -> int:
        """Bytes. Elements of less than a byte lie side by side in a word."""
        return self.per_chunk * self.fragment.bits // 8

    @property
    def starts(self) -> range:
        return range(0, self.fragment.elements, self.per_chunk)

    def address(self, start: int) -> Value:
        """The address of the chunk that begins with this lane's element `start`."""
        size = self.fragment.rows * self.fragment.columns
        position = (lane_of(self.u) * self.fragment.elements + start) & (size - 1)
        major, minor = position.udiv(self.inner), position & (self.inner - 1)
        if not self.contiguous:
            major, minor = minor, major
        return self.base + ((major.zext("i64") * self.stride + minor.zext("i64")) * self.fragment.bits >> 3)

    def pieces(self) -> int:
        """Bits that are loaded or stored at once: a register, or an element where elements are not adjacent."""
        return min(8 * self.width, self.fragment.register_bits)


def load_fragment(u: KernelBuilder, ins: Instruction) -> None:
    chunks = _Chunks(u, ins, ins.operands[1:])
    items = items_of(ins.operands[0])
    if len(items) != chunks.fragment.registers:
        raise u.unsupported()
    bits = chunks.pieces()
    values: list[Value] = []
    for start in chunks.starts:
        pointer = checked_at(u, "read", chunks.space, chunks.address(start), chunks.width)
        values += [pointer.at(k).load(f"i{bits}", 1) for k in range(0, chunks.width, bits // 8)]
    per = len(values) // len(items)
    for k, item in enumerate(items):
        u.assign(item, _joined(values[k * per : (k + 1) * per]))


def _joined(parts: list[Value]) -> Value:
    """One register from its parts, lowest first."""
    if len(parts) == 1:
        return parts[0]
    width = int(parts[0].type[1:])
    kind = f"i{width * len(parts)}"
    whole = parts[0].zext(kind)
    for k, part in enumerate(parts[1:], 1):
        whole = whole | (part.zext(kind) << (k * width))
    return whole


def store_fragment(u: KernelBuilder, ins: Instruction) -> None:
    address, source, *stride = ins.operands
    chunks = _Chunks(u, ins, (address, *stride))
    bits, register = chunks.pieces(), chunks.fragment.register_bits
    values = [
        (u.value(item, f"b{register}") >> shift).trunc(f"i{bits}")
        for item in items_of(source)
        for shift in range(0, register, bits)
    ]
    per = chunks.width * 8 // bits
    for number, start in enumerate(chunks.starts):
        parts = values[number * per : (number + 1) * per]
        pointer = checked_at(u, "write", chunks.space, chunks.address(start), chunks.width, values=parts)
        for k, part in enumerate(parts):
            pointer.at(k * bits // 8).store(part, 1)


HANDLERS = {"wmma.load": load_fragment, "wmma.store": store_fragment}
