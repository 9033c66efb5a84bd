"""Warp collectives of the interpreter.

What a lane brings, with the mask of lanes that must come; and what it takes from all that came.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grader.ptx.definition import matrix, warp
from grader.ptx.definition.fragments import product
from grader.ptx.definition.meetings import Met
from grader.ptx.definition.state import State, items_of, space_of
from grader.ptx.syntax import Immediate, Instruction, Operand, Pair

EVERY_LANE = 0xFFFFFFFF
Bring = Callable[[State, Instruction], "tuple[int, Any]"]
Take = Callable[[State, Instruction, Met], None]


def _bring_value(thread: State, instruction: Instruction) -> tuple[int, int]:
    type_ = instruction.opcode.split(".")[-1]
    return thread.read(instruction.operands[-1], "b32"), thread.read(instruction.operands[1], type_)


def _bring_vote(thread: State, instruction: Instruction) -> tuple[int, int]:
    return thread.read(instruction.operands[-1], "b32"), thread.read(instruction.operands[1], "pred")


def _bring_nothing(thread: State, instruction: Instruction) -> tuple[int, None]:
    mask = instruction.operands[-1] if len(instruction.operands) > 1 else Immediate(0)
    return thread.read(mask, "b32"), None


def _bring_registers(thread: State, instruction: Instruction) -> tuple[int, list[list[int]]]:
    """Those of every source operand."""
    if instruction.base not in ("mma", "wmma"):
        return EVERY_LANE, [[thread.read(r, "b32") for r in items_of(instruction.operands[1])]]
    shape = product(instruction.opcode)
    pairs = zip(instruction.operands[1:], (shape.a, shape.b, shape.c), strict=True)
    return EVERY_LANE, [[thread.read(r, f"b{f.register_bits}") for r in items_of(o)] for o, f in pairs]


def _bring_row(thread: State, instruction: Instruction) -> tuple[int, bytes]:
    """Of the matrices of 8 by 8 halves that ldmatrix reads: the row that this lane points at."""
    if thread.lane >= 8 * len(items_of(instruction.operands[0])):
        return EVERY_LANE, b""
    space = space_of(instruction.opcode.split("."))
    return EVERY_LANE, bytes(thread.memory(space, instruction.operands[1], 16))


def _assign(thread: State, target: Operand, type_: str, values: tuple[int, int]) -> None:
    """A result, and the predicate behind a bar."""
    first, second = (target.first, target.second) if isinstance(target, Pair) else (target, None)
    thread.write(first, type_, values[0])
    if second is not None:
        thread.write(second, "pred", values[1])


def _shuffle(thread: State, instruction: Instruction, met: Met) -> None:
    target, _, b, c, _ = instruction.operands
    mode, index, clamp = instruction.opcode.split(".")[2], thread.read(b, "b32"), thread.read(c, "b32")
    _assign(thread, target, "b32", warp.shuffle(mode, thread.lane, index, clamp, met))


def _vote(thread: State, instruction: Instruction, met: Met) -> None:
    mode = instruction.opcode.split(".")[2]
    thread.write(instruction.operands[0], "b32" if mode == "ballot" else "pred", warp.vote(mode, met))


def _match(thread: State, instruction: Instruction, met: Met) -> None:
    everyone = instruction.opcode.split(".")[1] == "all"
    result = warp.match_all(met) if everyone else (warp.match_any(thread.lane, met), 0)
    _assign(thread, instruction.operands[0], "b32", result)


def _reduce(thread: State, instruction: Instruction, met: Met) -> None:
    _, _, operation, type_ = instruction.opcode.split(".")
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


def _load_matrices(thread: State, instruction: Instruction, met: Met) -> None:
    trans = "trans" in instruction.opcode.split(".")
    lanes = met.once(lambda rows: matrix.load_rows([row for row in rows.values() if row], trans))
    for register, value in zip(items_of(instruction.operands[0]), lanes[thread.lane], strict=True):
        thread.write(register, "b32", value)


def _store_matrices(thread: State, instruction: Instruction, met: Met) -> None:
    parts = instruction.opcode.split(".")
    rows = met.once(lambda lanes: matrix.store_rows([registers for (registers,) in lanes.values()], "trans" in parts))
    if thread.lane < len(rows):
        thread.memory(space_of(parts), instruction.operands[0], 16)[:] = rows[thread.lane]


def _transpose(thread: State, instruction: Instruction, met: Met) -> None:
    lanes = met.once(lambda brought: matrix.transpose([registers[0] for (registers,) in brought.values()]))
    thread.write(instruction.operands[0], "b32", lanes[thread.lane])


COLLECTIVES: dict[str, tuple[Bring, Take]] = {
    "shfl": (_bring_value, _shuffle),
    "vote": (_bring_vote, _vote),
    "match": (_bring_value, _match),
    "redux": (_bring_value, _reduce),
    "elect": (_bring_nothing, _elect),
    "activemask": (_bring_nothing, _active),
    "mma": (_bring_registers, _multiply),
    "wmma": (_bring_registers, _multiply),
    "ldmatrix": (_bring_row, _load_matrices),
    "stmatrix": (_bring_registers, _store_matrices),
    "movmatrix": (_bring_registers, _transpose),
}
