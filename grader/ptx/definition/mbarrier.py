"""mbarriers and bulk copies of the interpreter. PTX ISA, "mbarrier" and "Asynchronous copy".

The state of an mbarrier is in its 8 bytes of shared memory. Copies complete as soon as they are started, which is one
of the orders that a GPU may choose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from grader.ptx.definition.atomic import ATOMICS
from grader.ptx.definition.spaces import InterpreterError
from grader.ptx.definition.state import SHARED_STRETCH, State
from grader.ptx.syntax import Address, Instruction, Operand, items_of

SIZE = 8
FIELDS = {"pending": 20, "expected": 20, "bytes": 22, "phase": 2}  # bits, from the lowest
MOST = (1 << 20) - 1


@dataclass
class Mbarrier:
    pending: int  # arrivals that the current phase waits for
    expected: int  # arrivals that the next phase will wait for
    bytes: int = 0  # that the current phase waits for; negative if they came before they were expected
    phase: int = 0

    @classmethod
    def read(cls, data: memoryview) -> Mbarrier:
        word, values = int.from_bytes(data, "little"), {}
        for name, bits in FIELDS.items():
            values[name], word = word & ((1 << bits) - 1), word >> bits
        signed = values["bytes"] - ((values["bytes"] >> 21) << 22)
        return cls(values["pending"], values["expected"], signed, values["phase"])

    def write(self, data: memoryview) -> None:
        """Completes the phase if nothing is pending."""
        if self.pending == 0 and self.bytes == 0:
            self.pending, self.phase = self.expected, (self.phase + 1) & 3
        word, at = 0, 0
        for name, bits in FIELDS.items():
            word |= (getattr(self, name) & ((1 << bits) - 1)) << at
            at += bits
        data[:] = word.to_bytes(SIZE, "little")

    def arrive(self, count: int) -> None:
        if not 1 <= count <= self.pending:
            raise InterpreterError(f"{count} arrivals at an mbarrier that waits for {self.pending}")
        self.pending -= count


def _memory(thread: State, instruction: Instruction, operand: Operand) -> memoryview:
    return thread.memory(instruction.op.space, operand, SIZE)


def is_complete(thread: State, instruction: Instruction) -> bool:
    """Is the phase complete that a wait names, by its parity or by the state that an arrival returned?"""
    phase = Mbarrier.read(_memory(thread, instruction, instruction.operands[1])).phase
    if "parity" in instruction.modifiers:
        return (phase ^ thread.read(instruction.operands[2], "b32")) & 1 == 1
    return phase != thread.read(instruction.operands[2], "b64") & 3


@contextmanager
def _changed(thread: State, instruction: Instruction, operand: Operand) -> Iterator[Mbarrier]:
    data = _memory(thread, instruction, operand)
    barrier = Mbarrier.read(data)
    yield barrier
    barrier.write(data)


def _init(thread: State, instruction: Instruction) -> None:
    place, count = instruction.operands
    number = thread.read(count, "u32")
    Mbarrier(number, number).write(_memory(thread, instruction, place))


def _inval(thread: State, instruction: Instruction) -> None:
    _memory(thread, instruction, instruction.operands[0])[:] = bytes(SIZE)


def _expect(thread: State, instruction: Instruction) -> None:
    place, count = instruction.operands
    sign = 1 if instruction.modifiers[0] == "expect_tx" else -1
    with _changed(thread, instruction, place) as barrier:
        barrier.bytes += sign * thread.read(count, "u32")


def _arrive(thread: State, instruction: Instruction) -> None:
    """arrive and arrive_drop. Operands: [state,] address[, count or bytes]."""
    operands = list(instruction.operands)
    target = None if isinstance(operands[0], Address) else operands.pop(0)
    number = thread.read(operands[1], "u32") if len(operands) > 1 else 1
    with _changed(thread, instruction, operands[0]) as barrier:
        state = barrier.pending << 32 | barrier.phase
        if "expect_tx" in instruction.modifiers:
            barrier.bytes, number = barrier.bytes + number, 1
        barrier.arrive(number)
        barrier.expected -= number if instruction.modifiers[0] == "arrive_drop" else 0
    if target is not None:
        thread.write(target, "b64", state)


def _pending_count(thread: State, instruction: Instruction) -> None:
    target, state = instruction.operands
    thread.write(target, "b32", thread.read(state, "b64") >> 32)


def _arrive_after_copies(thread: State, instruction: Instruction) -> None:
    """cp.async.mbarrier.arrive: complete the copies, then arrive. Without .noinc the arrival was not expected."""
    for target, data in [copy for group in (*thread.groups, thread.copies) for copy in group]:
        target[:] = data
    thread.groups, thread.copies = [[] for _ in thread.groups], []
    if "noinc" in instruction.modifiers:
        with _changed(thread, instruction, instruction.operands[0]) as barrier:
            barrier.arrive(1)


def _bulk_copy(thread: State, instruction: Instruction) -> None:
    """Between global and shared memory. Operands: destination, source, bytes [, mbarrier of a load]."""
    operands = instruction.operands
    spaces = [m.split("::")[0] for m in instruction.modifiers[2:4]]
    if sorted(spaces) != ["global", "shared"]:
        raise InterpreterError(f"{instruction.opcode} is not known")
    size = thread.read(operands[2], "u32")
    if size % 16:
        raise InterpreterError(f"a bulk copy of {size} bytes")
    target, source = (thread.read(operand, "u64") for operand in operands[:2])
    for moved in moves(thread, operands[4:]):
        for at in range(0, size, 16):
            to = target + at + (moved if spaces[0] == "shared" else 0)
            thread.at(spaces[0], to, 16)[:] = thread.at(spaces[1], source + at, 16)
        if spaces[0] == "shared":
            complete(thread, thread.read(operands[3], "u64") + moved, size)


def moves(thread: State, mask: Sequence[Operand]) -> list[int]:
    """By how much addresses in shared memory differ: with a mask, for each block of the cluster that it names."""
    if not mask:
        return [0]
    blocks = thread.read(mask[0], "b16")
    return [(rank - thread.rank) * SHARED_STRETCH for rank in range(len(thread.cluster)) if blocks >> rank & 1]


def complete(thread: State, address: int, size: int) -> None:
    """So many bytes have arrived that the mbarrier waits for."""
    data = thread.at("shared", address, SIZE)
    barrier = Mbarrier.read(data)
    barrier.bytes -= size
    barrier.write(data)


def _store_async(thread: State, instruction: Instruction) -> None:
    """Operands: target, value, mbarrier."""
    target, source, place = instruction.operands
    cells = thread.cells(instruction.op, target)
    for value, data in zip(items_of(source), cells, strict=True):
        data[:] = thread.read(value, instruction.op.type).to_bytes(len(data), "little")
    complete(thread, thread.read(place, "u64"), instruction.op.bytes)


def _bulk_reduce(thread: State, instruction: Instruction) -> None:
    """From shared to global memory, element by element. Operands: destination, source, bytes."""
    op, operands = instruction.op, instruction.operands
    size, to, source = (thread.read(operands[i], type_) for i, type_ in ((2, "u32"), (0, "u64"), (1, "u64")))
    if size % 16 or instruction.modifiers[3:5] != ("global", "shared::cta"):
        raise InterpreterError(f"{instruction.opcode} of {size} bytes is not known")
    operation = ATOMICS[next(m for m in op.modifiers if m in ATOMICS)]
    for at in range(0, size, op.element_bytes):
        cell, given = (
            thread.at(space, base + at, op.element_bytes) for space, base in (("global", to), ("shared", source))
        )
        old, value = (int.from_bytes(data, "little") for data in (cell, given))
        cell[:] = operation(op.type, False, old, value).to_bytes(len(cell), "little")


def _nothing(_thread: State, _: Instruction) -> None:
    """Bulk copies complete at once, so their groups have nothing to wait for."""


EFFECTS: dict[str, Callable[[State, Instruction], None]] = {
    "mbarrier.init": _init,
    "mbarrier.inval": _inval,
    "mbarrier.expect_tx": _expect,
    "mbarrier.complete_tx": _expect,
    "mbarrier.arrive": _arrive,
    "mbarrier.arrive_drop": _arrive,
    "mbarrier.pending_count": _pending_count,
    "cp.async.mbarrier.arrive": _arrive_after_copies,
    "cp.async.bulk": _bulk_copy,
    "st.async": _store_async,
    "cp.reduce.async.bulk": _bulk_reduce,
    "cp.async.bulk.commit_group": _nothing,
    "cp.async.bulk.wait_group": _nothing,
}
