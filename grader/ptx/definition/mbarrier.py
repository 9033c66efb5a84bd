"""mbarriers and bulk copies of the interpreter. PTX ISA, "mbarrier" and "Asynchronous copy".

An mbarrier is what its 8 bytes of shared memory hold. Copies that it waits for arrive as soon as they are started,
which is one of the orders that a GPU may choose.
"""

from __future__ import annotations

from dataclasses import dataclass

from grader.ptx.definition.spaces import InterpreterError
from grader.ptx.definition.state import State, space_of
from grader.ptx.syntax import Address, Instruction, Operand

SIZE = 8
FIELDS = {"pending": 20, "expected": 20, "bytes": 22, "phase": 2}  # bits, from the lowest
MOST = (1 << 20) - 1


@dataclass
class Mbarrier:
    pending: int  # arrivals that the phase still waits for
    expected: int  # that the next one will wait for
    bytes: int = 0  # that the phase still waits for; below zero where they came first
    phase: int = 0

    @classmethod
    def read(cls, data: memoryview) -> Mbarrier:
        word, values = int.from_bytes(data, "little"), {}
        for name, bits in FIELDS.items():
            values[name], word = word & ((1 << bits) - 1), word >> bits
        signed = values["bytes"] - ((values["bytes"] >> 21) << 22)
        return cls(values["pending"], values["expected"], signed, values["phase"])

    def write(self, data: memoryview) -> None:
        """The phase completes where nothing is missing."""
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
    space = space_of([p for p in instruction.opcode.split(".") if p.startswith("shared")])
    return thread.memory(space, operand, SIZE)


def is_complete(thread: State, instruction: Instruction) -> bool:
    """Of the phase that a wait names by its parity, or by the state that an arrival gave."""
    phase = Mbarrier.read(_memory(thread, instruction, instruction.operands[1])).phase
    if "parity" in instruction.opcode.split("."):
        return (phase ^ thread.read(instruction.operands[2], "b32")) & 1 == 1
    return phase != thread.read(instruction.operands[2], "b64") & 3


def mbarrier(thread: State, instruction: Instruction) -> None:
    _, operation, *parts = instruction.opcode.split(".")
    operands = list(instruction.operands)
    if operation == "pending_count":
        thread.write(operands[0], "b32", thread.read(operands[1], "b64") >> 32)
        return
    target = None if isinstance(operands[0], Address) else operands.pop(0)
    data = _memory(thread, instruction, operands[0])
    number = thread.read(operands[1], "u32") if len(operands) > 1 else 1
    if operation == "init":
        Mbarrier(number, number).write(data)
        return
    if operation == "inval":
        data[:] = bytes(SIZE)
        return
    barrier = Mbarrier.read(data)
    if operation in ("expect_tx", "complete_tx"):
        barrier.bytes += number if operation == "expect_tx" else -number
    elif operation in ("arrive", "arrive_drop"):
        state = barrier.pending << 32 | barrier.phase
        if "expect_tx" in parts:
            barrier.bytes, number = barrier.bytes + number, 1
        barrier.arrive(number)
        barrier.expected -= number if operation == "arrive_drop" else 0
        if target is not None:
            thread.write(target, "b64", state)
    else:
        raise InterpreterError(f"{instruction.opcode} is not known")
    barrier.write(data)


def arrive_after_copies(thread: State, instruction: Instruction) -> None:
    """cp.async.mbarrier.arrive: the copies so far, then the arrival. Without .noinc it is one more than expected."""
    for target, data in [copy for group in (*thread.groups, thread.copies) for copy in group]:
        target[:] = data
    thread.groups, thread.copies = [[] for _ in thread.groups], []
    if ".noinc" in instruction.opcode:
        place = _memory(thread, instruction, instruction.operands[0])
        barrier = Mbarrier.read(place)
        barrier.arrive(1)
        barrier.write(place)


def bulk(thread: State, instruction: Instruction) -> None:
    """cp.async.bulk between global and shared memory; its groups have nothing to wait for."""
    parts, operands = instruction.opcode.split(".")[3:], instruction.operands
    if parts[0] in ("commit_group", "wait_group", "prefetch"):
        return
    spaces = [p.split("::")[0] for p in parts[:2]]
    if sorted(spaces) != ["global", "shared"]:
        raise InterpreterError(f"{instruction.opcode} is not known")
    size = thread.read(operands[2], "u32")
    if size % 16:
        raise InterpreterError(f"a bulk copy of {size} bytes")
    for at in range(0, size, 16):
        target, source = (
            thread.at(space, thread.read(operand, "u64") + at, 16)
            for space, operand in zip(spaces, operands[:2], strict=True)
        )
        target[:] = source
    if spaces[0] == "shared":
        data = thread.memory("shared", operands[3], SIZE)
        barrier = Mbarrier.read(data)
        barrier.bytes -= size
        barrier.write(data)
