"""ldmatrix, stmatrix and movmatrix: loading, storing and transposing matrices of 8 by 8 halves.

PTX ISA, "Warp-level matrix load/store/transpose instruction". The definition is definition/matrix.py.
"""

from __future__ import annotations

from grader.ptx.ir import Value
from grader.ptx.lowering.accesses import checked_at
from grader.ptx.lowering.addresses import address_of
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.lowering.mail import lane_of, word_of
from grader.ptx.lowering.whole_warps import ROW_BYTES, leads, must_be_whole
from grader.ptx.syntax import Instruction, Operand, items_of


def _matrices(u: KernelBuilder, ins: Instruction) -> int:
    mods = ins.modifiers
    if "m8n8" not in mods or ins.op.type != "b16":
        raise u.unsupported()
    return next(count for name, count in (("x1", 1), ("x2", 2), ("x4", 4)) if name in mods)


def bring_row(u: KernelBuilder, ins: Instruction, sources: tuple[Operand, ...]) -> list[Value]:
    """Lane i brings row i of the matrices, which have eight rows each."""
    f, count = u.f, _matrices(u, ins)
    words = [f.alloca("i32") for _ in range(4)]
    address = address_of(u, sources[0])
    with f.when(lane_of(u).ult(8 * count)):
        pointer = checked_at(u, "read", ins.op.space, address, ROW_BYTES)
        for k, word in enumerate(words):
            word.store(pointer.at(4 * k).load("i32", 1))
    return [word.load("i32") for word in words]


def bring_registers(u: KernelBuilder, _: Instruction, sources: tuple[Operand, ...]) -> list[Value]:
    return [u.value(item, "b32") for item in items_of(sources[0])]


def load_matrices(u: KernelBuilder, ins: Instruction) -> None:
    """ldmatrix: two neighbours in a row, or with .trans in a column, from the lanes that brought these rows."""
    must_be_whole(u, leads(u))
    group, pair = lane_of(u) >> 2, lane_of(u) & 3
    items = items_of(ins.operands[0])
    if len(items) != _matrices(u, ins):
        raise u.unsupported()
    for matrix, item in enumerate(items):
        if "trans" in ins.modifiers:
            low, high = (_half(u, (pair << 1) + i + 8 * matrix, group) for i in (0, 1))
            u.assign(item, low | (high << 16))
        else:
            u.assign(item, word_of(u, group + 8 * matrix, pair))


def _half(u: KernelBuilder, lane: Value, i: Value) -> Value:
    """Half `i` of the row that `lane` brought, as an i32."""
    return (word_of(u, lane, i >> 1) >> ((i & 1) << 4)) & 0xFFFF


def store_matrices(u: KernelBuilder, ins: Instruction) -> None:
    """stmatrix: lane i collects row i and writes it."""
    f, count = u.f, _matrices(u, ins)
    must_be_whole(u, leads(u))
    trans = "trans" in ins.modifiers
    address = address_of(u, ins.operands[0])
    with f.when(lane_of(u).ult(8 * count)):
        matrix, row = lane_of(u) >> 3, lane_of(u) & 7
        words = []
        for k in range(4):
            if trans:
                column = f.const("i32", 8 * k)  # lanes 8k and 8k + 4 hold columns 2k and 2k + 1
                halves = [_half_of_word(u, column + (row >> 1) + 4 * i, matrix, row & 1) for i in (0, 1)]
                words.append(halves[0] | (halves[1] << 16))
            else:
                words.append(word_of(u, (row << 2) + k, matrix))
        pointer = checked_at(u, "write", ins.op.space, address, ROW_BYTES, values=words)
        for k, word in enumerate(words):
            pointer.at(4 * k).store(word, 1)


def _half_of_word(u: KernelBuilder, lane: Value, k: Value, part: Value) -> Value:
    return (word_of(u, lane, k) >> (part << 4)) & 0xFFFF


def transpose(u: KernelBuilder, ins: Instruction) -> None:
    """movmatrix: two halves from the lanes that hold them in the transposed matrix."""
    must_be_whole(u, leads(u))
    group, pair = lane_of(u) >> 2, lane_of(u) & 3
    none = u.f.const("i32", 0)
    low, high = (_half_of_word(u, (((pair << 1) + i) << 2) + (group >> 1), none, group & 1) for i in (0, 1))
    u.assign(ins.operands[0], low | (high << 16))
