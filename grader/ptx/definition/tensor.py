"""Tensor copies of the interpreter, element by element. PTX ISA, "Tensors" and "cp.async.bulk.tensor"."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from grader.ptx.definition.atomic import ATOMICS
from grader.ptx.definition.mbarrier import complete, moves
from grader.ptx.definition.spaces import InterpreterError
from grader.ptx.definition.state import State
from grader.ptx.structs import Struct
from grader.ptx.syntax import Instruction, Operand, Vector
from grader.ptx.tensor_maps import ELEMENT_BYTES, FORMAT, MAGIC, SWIZZLE_BYTES, TENSOR_MAP_BYTES

# The PTX types of the elements that a reduction can add, by CU_TENSOR_MAP_DATA_TYPE_*.
TYPES = {2: "u32", 3: "s32", 4: "u64", 5: "s64", 6: "f16", 7: "f32", 9: "bf16", 10: "f32"}


@dataclass(frozen=True)
class Tile:
    """What a tensor map says: `dim` and `box` in elements, `stride` in bytes, innermost first."""

    base: int
    type: int
    dim: tuple[int, ...]
    stride: tuple[int, ...]
    box: tuple[int, ...]  # elements that are copied
    step: tuple[int, ...]
    swizzle: int
    fills_nan: bool

    @property
    def element(self) -> int:
        return ELEMENT_BYTES[self.type]

    @property
    def bytes(self) -> int:
        return self.element * int(np.prod(self.box))

    def elements(self, at: Sequence[int], shared: int) -> Iterator[tuple[int, int | None]]:
        """Of each element its address in shared memory, and in global memory (None: it lies outside the tensor)."""
        for number, index in enumerate(product(*(range(extent) for extent in reversed(self.box)))):
            position = [a + s * i for a, s, i in zip(at, self.step, reversed(index), strict=True)]
            inside = all(0 <= p < size for p, size in zip(position, self.dim, strict=True))
            offset = sum(p * stride for p, stride in zip(position, self.stride, strict=True))
            yield swizzled(shared + number * self.element, self.swizzle), self.base + offset if inside else None


def swizzled(address: int, mode: int) -> int:
    """The 16-byte pieces of 32, 64 or 128 bytes change places: bits 7 to 9 say how."""
    pieces = SWIZZLE_BYTES[mode] // 16
    return address ^ ((address >> 7 & pieces - 1) << 4) if mode else address


def _tile(thread: State, operand: Operand, rank: int) -> tuple[Tile, list[int]]:
    """The map, and the coordinates."""
    assert isinstance(operand, Vector)
    place, coordinates = operand.items
    items = coordinates.items if isinstance(coordinates, Vector) else (coordinates,)
    data = thread.at("generic", thread.read(place, "u64"), TENSOR_MAP_BYTES)
    record = Struct(FORMAT, np.frombuffer(bytes(data), np.uint8))
    modes, boxes, steps = (record.get(name).to_bytes(8, "little") for name in ("modes", "boxes", "steps"))
    type_, known_rank, swizzle, fill = modes[:4]
    if record.get("magic") != MAGIC or known_rank != rank:
        raise InterpreterError(f"no tensor map of rank {rank}")
    step = (1, *steps[: rank - 1])
    box = tuple(-(-(boxes[i] + 1) // step[i]) for i in range(rank))
    stride = (ELEMENT_BYTES[type_], *(record.get(f"stride{i}") for i in range(1, rank)))
    dim = tuple(record.get(f"dim{i}") + 1 for i in range(rank))
    if fill >> 4 or (swizzle and box[0] * ELEMENT_BYTES[type_] != SWIZZLE_BYTES[swizzle]):
        raise InterpreterError("a tensor map that is not known")
    at = [thread.read(item, "b32") for item in items]
    signed = [value - (value >> 31 << 32) for value in at]
    return Tile(record.get("base"), type_, dim, stride, box, step, swizzle, bool(fill & 1)), signed


def _rank(instruction: Instruction) -> int:
    return next(int(m[0]) for m in instruction.modifiers if m[1:] == "d" and m[0].isdigit())


def _copy(thread: State, instruction: Instruction) -> None:
    """A load: target, map with coordinates, mbarrier [, mask]. A store: map with coordinates, source."""
    operands = instruction.operands
    if "bulk_group" in instruction.modifiers:
        for here, there in _pairs(thread, instruction):
            there[:] = here
        return
    tile, at = _tile(thread, operands[1], _rank(instruction))
    target, signal = thread.read(operands[0], "u64"), thread.read(operands[2], "u64")
    outside = bytes(tile.element)
    if tile.fills_nan:
        outside = ((1 << 8 * tile.element - 1) - 1).to_bytes(tile.element, "little")
    for moved in moves(thread, operands[3:]):
        for shared, address in tile.elements(at, target + moved):
            value = outside if address is None else thread.at("global", address, tile.element)
            thread.at("shared", shared, tile.element)[:] = value
        complete(thread, signal + moved, tile.bytes)


def _pairs(thread: State, instruction: Instruction) -> Iterator[tuple[memoryview, memoryview]]:
    """Each element of a store: in shared memory, and in global memory."""
    place, source = instruction.operands
    tile, at = _tile(thread, place, _rank(instruction))
    for shared, address in tile.elements(at, thread.read(source, "u64")):
        if address is not None:
            yield thread.at("shared", shared, tile.element), thread.at("global", address, tile.element)


def _reduce(thread: State, instruction: Instruction) -> None:
    tile, _ = _tile(thread, instruction.operands[0], _rank(instruction))
    type_ = TYPES[tile.type]
    operation = ATOMICS[next(m for m in instruction.modifiers if m in ATOMICS)]
    for here, there in _pairs(thread, instruction):
        old, value = (int.from_bytes(data, "little") for data in (there, here))
        there[:] = operation(type_, False, old, value).to_bytes(len(there), "little")


def _registers(thread: State, instruction: Instruction) -> None:
    """setmaxnreg"""
    count = thread.read(instruction.operands[0], "u32")
    if count % 8 or not 24 <= count <= 256:
        raise InterpreterError(f"{count} registers")


EFFECTS: dict[str, Callable[[State, Instruction], None]] = {
    "cp.async.bulk.tensor": _copy,
    "cp.reduce.async.bulk.tensor": _reduce,
    "setmaxnreg": _registers,
}
