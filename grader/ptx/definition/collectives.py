"""Warp collectives of the interpreter: what a lane brings, and what it takes from all that met."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grader.ptx.definition import matrix, warp, warpgroup
from grader.ptx.definition.computation import number, pack, unpack
from grader.ptx.definition.fragments import ELEMENT_BITS, a_fragment, product
from grader.ptx.definition.matrix import gather
from grader.ptx.definition.meetings import Met
from grader.ptx.definition.state import SHARED_STRETCH, State
from grader.ptx.opcodes.traits import CollectiveKind
from grader.ptx.syntax import Instruction, Operand, Pair, Vector, items_of

EVERY_LANE = 0xFFFFFFFF
Bring = Callable[[State, Instruction], Any]
Take = Callable[[State, Instruction, Met], None]


def _mask(thread: State, instruction: Instruction) -> int:
    """The lanes that must take part; 0: those that happen to arrive."""
    if instruction.traits.masked:
        return thread.read(instruction.operands[-1], "b32")
    return 0 if instruction.traits.collective is CollectiveKind.ACTIVE_MASK else EVERY_LANE


def bring(thread: State, instruction: Instruction) -> tuple[int, Any]:
    """The lanes that must take part, and what this one brings."""
    return _mask(thread, instruction), COLLECTIVES[instruction.op.row][0](thread, instruction)


def take(thread: State, instruction: Instruction, met: Met) -> None:
    """Write what this lane gets."""
    COLLECTIVES[instruction.op.row][1](thread, instruction, met)


def _value(thread: State, instruction: Instruction) -> int:
    return thread.read(instruction.operands[1], instruction.op.type)


def _predicate(thread: State, instruction: Instruction) -> int:
    return thread.read(instruction.operands[1], "pred")


def _nothing(_thread: State, _: Instruction) -> None:
    return None


def _registers(thread: State, instruction: Instruction) -> list[list[int]]:
    return [[thread.read(r, "b32") for r in items_of(instruction.operands[1])]]


def _fragments(thread: State, instruction: Instruction) -> list[list[int]]:
    shape = product(instruction.opcode)
    sources, extra = instruction.operands[1:4], instruction.operands[4:]
    pairs = zip(sources, (shape.a, shape.b, shape.c), strict=True)
    brought = [[thread.read(r, f"b{f.register_bits}") for r in items_of(o)] for o, f in pairs]
    return brought + [[thread.read(o, "b32")] for o in extra]


def _row(thread: State, instruction: Instruction) -> bytes:
    """The row that this lane points at, of the matrices that ldmatrix reads."""
    if thread.lane >= 8 * len(items_of(instruction.operands[0])):
        return b""
    return bytes(thread.memory(instruction.op.space, instruction.operands[1], 16))


def _assign(thread: State, target: Operand, type_: str, values: tuple[int, int]) -> None:
    """Write `d|p`: a result and an optional predicate."""
    first, second = (target.first, target.second) if isinstance(target, Pair) else (target, None)
    thread.write(first, type_, values[0])
    if second is not None:
        thread.write(second, "pred", values[1])


def _shuffle(thread: State, instruction: Instruction, met: Met) -> None:
    target, _, b, c, _ = instruction.operands
    mode, index, clamp = instruction.modifiers[1], thread.read(b, "b32"), thread.read(c, "b32")
    _assign(thread, target, "b32", warp.shuffle(mode, thread.lane, index, clamp, met))


def _vote(thread: State, instruction: Instruction, met: Met) -> None:
    mode = instruction.modifiers[1]
    thread.write(instruction.operands[0], "b32" if mode == "ballot" else "pred", warp.vote(mode, met))


def _match(thread: State, instruction: Instruction, met: Met) -> None:
    everyone = instruction.modifiers[0] == "all"
    result = warp.match_all(met) if everyone else (warp.match_any(thread.lane, met), 0)
    _assign(thread, instruction.operands[0], "b32", result)


def _reduce(thread: State, instruction: Instruction, met: Met) -> None:
    operation, type_ = instruction.modifiers[1], instruction.op.type
    thread.write(instruction.operands[0], type_, warp.reduce(operation, type_, met))


def _elect(thread: State, instruction: Instruction, met: Met) -> None:
    _assign(thread, instruction.operands[0], "b32", warp.elect(thread.lane, met))


def _active(thread: State, instruction: Instruction, met: Met) -> None:
    thread.write(instruction.operands[0], "b32", warp.members(met))


def _multiply(thread: State, instruction: Instruction, met: Met) -> None:
    opcode = instruction.opcode
    results = met.once(lambda lanes: matrix.multiply(opcode, *zip(*lanes.values(), strict=True)))
    type_ = f"b{product(opcode).d.register_bits}"
    for register, value in zip(items_of(instruction.operands[0]), results[thread.lane], strict=True):
        thread.write(register, type_, value)


def _group_registers(thread: State, instruction: Instruction) -> list[int] | None:
    """The registers of A, if it lies in registers."""
    a = instruction.operands[1]
    return [thread.read(item, "b32") for item in a.items] if isinstance(a, Vector) else None


def _multiply_group(thread: State, instruction: Instruction, met: Met) -> None:
    """wgmma.mma_async: this thread's elements of D. Operands as in lowering/warpgroups.py."""
    shape, (d, a, b, counts, *rest) = warpgroup.group_product(instruction.opcode), instruction.operands
    numbers = [number("s32", thread.read(operand, "s32")) for operand in rest]
    signs = (numbers[0], numbers[1]) if shape.d != "s32" else (1, 1)
    flags = numbers[2:] if shape.transposes else [0, 0]
    flags = [0, *flags] if isinstance(a, Vector) and shape.transposes else flags
    size = ELEMENT_BITS[shape.a] // 8

    def stored(place: Operand, flag: int) -> Callable[[int, int], int]:
        matrix = warpgroup.described(thread.read(place, "b64"), size, by_row=not flag)
        own = thread.rank * SHARED_STRETCH
        return lambda row, k: int.from_bytes(thread.at("shared", own + matrix.address(row, k), size), "little")

    left, right = None if isinstance(a, Vector) else stored(a, flags[0]), stored(b, flags[1])
    held = a_fragment(shape.a, warpgroup.WARP_ROWS, shape.k)
    registers = gather(held, [met[lane] for lane in range(EVERY_LANE.bit_count())]) if left is None else []

    def element(row: int, k: int) -> int:
        return left(row, k) if left else registers[row % warpgroup.WARP_ROWS * shape.k + k]

    wide = 16 if shape.d == "f16" else 32
    old = [part for item in items_of(d) for part in unpack(thread.read(item, "b32"), 32 // wide, wide)]
    if not thread.read(counts, "pred"):
        old = [0] * len(old)
    index = thread.special["%tid.x"]  # of blocks in one dimension
    new = [
        warpgroup.summed(shape, c, [(element(row, k), right(column, k)) for k in range(shape.k)], signs)
        for c, (row, column) in zip(old, warpgroup.places(shape.n, index % 128), strict=True)
    ]
    for i, item in enumerate(items_of(d)):
        thread.write(item, "b32", pack(new[i * 32 // wide : (i + 1) * 32 // wide], wide))


def _load_matrices(thread: State, instruction: Instruction, met: Met) -> None:
    trans = "trans" in instruction.modifiers
    lanes = met.once(lambda rows: matrix.load_rows([row for row in rows.values() if row], trans))
    for register, value in zip(items_of(instruction.operands[0]), lanes[thread.lane], strict=True):
        thread.write(register, "b32", value)


def _store_matrices(thread: State, instruction: Instruction, met: Met) -> None:
    trans = "trans" in instruction.modifiers
    rows = met.once(lambda lanes: matrix.store_rows([registers for (registers,) in lanes.values()], trans))
    if thread.lane < len(rows):
        thread.memory(instruction.op.space, instruction.operands[0], 16)[:] = rows[thread.lane]


def _transpose(thread: State, instruction: Instruction, met: Met) -> None:
    lanes = met.once(lambda brought: matrix.transpose([registers[0] for (registers,) in brought.values()]))
    thread.write(instruction.operands[0], "b32", lanes[thread.lane])


def _synchronise(_thread: State, _instruction: Instruction, _met: Met) -> None:
    """__syncwarp() has no result."""


# By the key of the row in opcodes/rows.py.
COLLECTIVES: dict[str, tuple[Bring, Take]] = {
    "bar.warp": (_nothing, _synchronise),
    "shfl": (_value, _shuffle),
    "vote": (_predicate, _vote),
    "match": (_value, _match),
    "redux": (_value, _reduce),
    "elect": (_nothing, _elect),
    "activemask": (_nothing, _active),
    "mma": (_fragments, _multiply),
    "wmma.mma": (_fragments, _multiply),
    "wgmma.wait_group": (_nothing, _synchronise),
    "wgmma.mma_async": (_group_registers, _multiply_group),
    "ldmatrix": (_row, _load_matrices),
    "stmatrix": (_registers, _store_matrices),
    "movmatrix": (_registers, _transpose),
}
