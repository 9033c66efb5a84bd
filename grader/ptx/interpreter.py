"""Runs a whole kernel the slow, obvious way: one thread at a time, each instruction by its definition.

The generated code of small kernels is held against it. A thread is a generator that yields at a barrier;
blocks run one after the other. Every access must lie inside one allocation. Warp collectives and asynchronous
copies are not known.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from grader.ptx import semantics
from grader.ptx.definition.atomic import ATOMICS
from grader.ptx.definition.instruction import WIDTHS, number, wrap
from grader.ptx.definition.spaces import Dim3, InterpreterError, Launch, inside, place_variables
from grader.ptx.parser import (
    Address,
    Function,
    Immediate,
    Instruction,
    Label,
    Module,
    Operand,
    Pair,
    Register,
    Symbol,
    Vector,
)

# Where generic addressing sees the two windows; every other allocation gets a stretch of its own below them.
SHARED_WINDOW = 1 << 60
LOCAL_WINDOW = 1 << 61
DEEPEST_CALL = 64


class _Exited(Exception):  # noqa: N818  (no error)
    """A thread ended by `exit`, at whatever depth of calls."""


@dataclass(frozen=True)
class Barrier:
    """Where a thread waits.

    A barrier's number, how many threads it waits for (None: all), and a predicate.
    """

    number: int
    threads: int | None
    predicate: int


Waiting = Generator[Barrier, "list[int]", None]


def run(
    module: Module,
    kernel: str,
    grid: Dim3,
    block: Dim3,
    arguments: Sequence[Any],
    shared_bytes: int = 0,
) -> None:
    """Run a kernel.

    Arguments are ints, bytes (a struct by value), or anything with a writable buffer (a pointer).
    """
    launch = Launch(module, grid, block, shared_bytes)
    place_variables(launch)
    function = module.kernels[kernel]
    values = [a if isinstance(a, int | bytes) else launch.memory.map(a) for a in arguments]
    parameters = {p.name: _parameter(v, p.bytes) for p, v in zip(function.parameters, values, strict=True)}
    for z in range(grid[2]):
        for y in range(grid[1]):
            for x in range(grid[0]):
                _run_block(launch, function, parameters, (x, y, z))


def _parameter(value: int | bytes, size: int) -> bytearray:
    return bytearray(value if isinstance(value, bytes) else wrap("b64", value).to_bytes(8, "little")[:size])


def _run_block(launch: Launch, function: Function, parameters: dict[str, bytearray], block: Dim3) -> None:
    """Runs every thread to its next barrier, in index order, until all have ended."""
    shared = memoryview(bytearray(launch.static_bytes + launch.shared_bytes))
    width, height, depth = launch.block
    places = [(x, y, z) for z in range(depth) for y in range(height) for x in range(width)]
    running: dict[int, Waiting] = {}
    waits: dict[int, Barrier] = {}
    for index, place in enumerate(places):
        running[index] = Thread(launch, shared, block, place, index).call(function, parameters)
        _advance(running, waits, index, None)
    while running:
        for index, answer in _released(waits, len(running)).items():
            del waits[index]
            _advance(running, waits, index, answer)


def _advance(running: dict[int, Waiting], waits: dict[int, Barrier], index: int, answer: list[int] | None) -> None:
    try:
        waits[index] = next(running[index]) if answer is None else running[index].send(answer)
    except (StopIteration, _Exited):
        del running[index]


def _released(waits: dict[int, Barrier], alive: int) -> dict[int, list[int]]:
    """Threads whose barrier is complete, each with the predicates of all that met there."""
    for barrier_number in sorted({barrier.number for barrier in waits.values()}):
        met = {index: barrier for index, barrier in waits.items() if barrier.number == barrier_number}
        counts = {barrier.threads for barrier in met.values()}
        if len(counts) == 1 and len(met) == (counts.pop() or alive):
            return {index: [barrier.predicate for barrier in met.values()] for index in met}
    raise InterpreterError(f"{len(waits)} threads wait at barriers that will not complete")


class Thread:
    """One thread's registers, carry flag and local memory."""

    def __init__(self, launch: Launch, shared: memoryview, block: Dim3, place: Dim3, index: int) -> None:
        self.launch, self.shared = launch, shared
        self.special = _special_registers(launch, block, place, index)
        self.local = bytearray()
        self.carry = 0
        self.depth = 0
        self.function: Function
        self.registers: dict[str, int] = {}
        self.parameters: dict[str, bytearray] = {}
        self.locals: dict[str, int] = {}

    def call(self, function: Function, parameters: dict[str, bytearray]) -> Waiting:
        """Runs a function; `parameters` holds its parameters and results by their names in it."""
        outer = (getattr(self, "function", function), self.registers, self.parameters, self.locals)
        self.depth += 1
        if self.depth > DEEPEST_CALL:
            raise InterpreterError(f"calls nest deeper than {DEEPEST_CALL}")
        local_top = len(self.local)
        self.function, self.registers, self.locals = function, {}, {}
        self.parameters = parameters | self._parameter_variables(function)
        self._allocate_locals(function)
        yield from self._instructions(function)
        del self.local[local_top:]
        self.depth -= 1
        self.function, self.registers, self.parameters, self.locals = outer

    def _parameter_variables(self, function: Function) -> dict[str, bytearray]:
        variables = (v for v in function.variables.values() if v.space == "param")
        return {v.name: bytearray(v.size) for v in variables}

    def _allocate_locals(self, function: Function) -> None:
        for variable in function.variables.values():
            if variable.space == "local":
                self.local.extend(bytes(-len(self.local) % max(variable.align, 16)))
                self.locals[variable.name] = len(self.local)
                self.local.extend(bytes(variable.size))

    def _instructions(self, function: Function) -> Waiting:
        labels = {item.name: i for i, item in enumerate(function.body) if isinstance(item, Label)}
        at = 0
        while at < len(function.body):
            item = function.body[at]
            at += 1
            if isinstance(item, Label) or not self._holds(item):
                continue
            if item.base == "ret":
                return
            if item.base == "bra":
                at = labels[self._name(item.operands[0])]
            elif item.base == "brx":
                targets = function.tables[self._name(item.operands[1])]
                at = labels[targets[self._read(item.operands[0], "u32")]]
            elif item.base in ("bar", "barrier"):
                yield from self._barrier(item)
            elif item.base == "call":
                yield from self._call(item)
            else:
                _EXECUTE.get(item.base, Thread._compute)(self, item)

    def _holds(self, instruction: Instruction) -> bool:
        if instruction.guard is None:
            return True
        return self.registers.get(instruction.guard, 0) != instruction.guard_negated

    def _name(self, operand: Operand) -> str:
        assert isinstance(operand, Symbol)
        return operand.name

    # Operands

    def _read(self, operand: Operand, type_: str) -> int:
        """An operand's bit pattern, in the width of the instruction's type."""
        if isinstance(operand, Register):
            negated = operand.name.startswith("!")
            name = operand.name.removeprefix("!")
            value = self.special[name] if name in self.special else self.registers.get(name, 0)
            return 1 - value if negated else wrap(type_, value)
        if isinstance(operand, Immediate):
            return wrap(type_, _literal(operand, type_))
        if isinstance(operand, Symbol):
            return self._address_of(operand.name)
        if isinstance(operand, Address):
            return self._read(operand.base, "u64") + operand.offset
        raise InterpreterError(f"operand not known: {operand}")

    def _address_of(self, name: str) -> int:
        """A variable's address in its own state space."""
        for table in (self.locals, self.launch.shared, self.launch.symbols):
            if name in table:
                return table[name]
        raise InterpreterError(f"{name} has no address")

    def _write(self, operand: Operand, type_: str, value: int) -> None:
        """Into a register that may be wider: a signed type is extended by its sign, others by zeros."""
        assert isinstance(operand, Register)
        if operand.name != "_":
            self.registers[operand.name] = wrap(self.function.registers[operand.name], number(type_, value))

    # Instructions

    def _compute(self, instruction: Instruction) -> None:
        opcode, (target, *sources) = instruction.opcode, instruction.operands
        types = semantics.signature(opcode)
        values = [self._read(s, t) for s, t in zip(sources, types.operands, strict=False)]
        if len(types.operands) == len(values) + 1:
            values.append(self.carry)
        results = semantics.evaluate(opcode, values)
        results = results if isinstance(results, tuple) else (results,)
        targets = [target.first, target.second] if isinstance(target, Pair) else [target]
        if ".cc." in opcode:
            self.carry = results[1]
        for register, type_, result in zip(targets, types.results, results, strict=False):
            self._write(register, type_, result)

    def _move(self, instruction: Instruction) -> None:
        target, source = instruction.operands
        type_ = instruction.opcode.split(".")[-1]
        if isinstance(source, Vector):
            lane = f"b{WIDTHS[type_] // len(source.items)}"
            lanes = [self._read(item, lane) for item in source.items]
            result = semantics.evaluate(f"mov.pack{len(lanes)}.{type_}", lanes)
            assert isinstance(result, int)
            self._write(target, type_, result)
        elif isinstance(target, Vector):
            opcode = f"mov.unpack{len(target.items)}.{type_}"
            lanes = semantics.evaluate(opcode, [self._read(source, type_)])  # type: ignore[assignment]
            lane = f"b{WIDTHS[type_] // len(target.items)}"
            for item, value in zip(target.items, lanes, strict=True):
                self._write(item, lane, value)
        else:
            self._write(target, type_, self._read(source, type_))

    def _to_or_from_generic(self, instruction: Instruction) -> None:
        parts = instruction.opcode.split(".")
        target, source = instruction.operands
        sign = -1 if "to" in parts else 1
        window = {"shared": SHARED_WINDOW, "local": LOCAL_WINDOW}.get(_space(parts), 0)
        self._write(target, parts[-1], self._read(source, parts[-1]) + sign * window)

    def _load(self, instruction: Instruction) -> None:
        parts = instruction.opcode.split(".")
        target, source = instruction.operands[:2]
        for register, data in zip(_items(target), self._cells(parts, source), strict=True):
            self._write(register, parts[-1], int.from_bytes(data, "little"))

    def _store(self, instruction: Instruction) -> None:
        parts = instruction.opcode.split(".")
        target, source = instruction.operands[:2]
        for value, data in zip(_items(source), self._cells(parts, target), strict=True):
            data[:] = self._read(value, parts[-1]).to_bytes(len(data), "little")

    def _cells(self, parts: list[str], operand: Operand) -> list[memoryview]:
        """The memory of each element that a load, store or atomic touches."""
        count = 2 if "v2" in parts else 4 if "v4" in parts else 1
        size = WIDTHS[parts[-1]] // 8
        data = self._memory(_space(parts), operand, size * count)
        return [data[i : i + size] for i in range(0, size * count, size)]

    def _memory(self, space: str, operand: Operand, size: int) -> memoryview:
        assert isinstance(operand, Address)
        if isinstance(operand.base, Symbol) and operand.base.name in self.parameters:
            return inside(memoryview(self.parameters[operand.base.name]), operand.offset, size)
        address = wrap("b64", self._read(operand, "u64"))
        if space == "generic" and SHARED_WINDOW <= address < LOCAL_WINDOW:
            space, address = "shared", address - SHARED_WINDOW
        elif space == "generic" and address >= LOCAL_WINDOW:
            space, address = "local", address - LOCAL_WINDOW
        if space == "shared":
            return inside(self.shared, address, size)
        if space == "local":
            return inside(memoryview(self.local), address, size)
        return self.launch.memory.at(address, size)

    def _atomic(self, instruction: Instruction) -> None:
        """atom and red: read, combine, write; one thread runs at a time, so nothing comes between."""
        parts = instruction.opcode.split(".")
        operands = list(instruction.operands)
        target = operands.pop(0) if instruction.base == "atom" else None
        type_ = parts[-1]
        cells = self._cells(parts, operands[0])
        values = [[self._read(item, type_) for item in _items(operand)] for operand in operands[1:]]
        operation = ATOMICS[next(p for p in parts if p in ATOMICS)]
        olds = [int.from_bytes(data, "little") for data in cells]
        for data, old, *arguments in zip(cells, olds, *values, strict=True):
            in_shared = data.obj is self.shared.obj
            data[:] = operation(type_, in_shared, old, *arguments).to_bytes(len(data), "little")
        if target is not None:
            for register, old in zip(_items(target), olds, strict=True):
                self._write(register, type_, old)

    def _barrier(self, instruction: Instruction) -> Waiting:
        """bar.sync a{, b} waits; bar.red.op d, a{, b}, {!}p also combines a predicate of every thread."""
        parts = instruction.opcode.split(".")
        if "warp" in parts or "arrive" in parts or "cluster" in parts:
            raise InterpreterError(f"{instruction.opcode} is not known")
        operands = list(instruction.operands)
        if "red" not in parts:
            values = [self._read(operand, "u32") for operand in operands]
            yield Barrier(values[0], values[1] if len(values) > 1 else None, 0)
            return
        target, predicate = operands.pop(0), self._read(operands.pop(), "pred")
        values = [self._read(operand, "u32") for operand in operands]
        met = yield Barrier(values[0], values[1] if len(values) > 1 else None, predicate)
        combine: dict[str, Callable[[list[int]], int]] = {"popc": sum, "and": min, "or": max}
        name = next(p for p in parts if p in combine)
        self._write(target, parts[-1], combine[name](met))

    def _call(self, instruction: Instruction) -> Waiting:
        operands = list(instruction.operands)
        results = [self._name(o) for o in _items(operands.pop(0))] if isinstance(operands[0], Vector) else []
        name = self._name(operands.pop(0))
        arguments = [self._name(o) for o in _items(operands[0])] if operands else []
        if name == "vprintf":  # prints nothing here
            return
        if name not in self.launch.module.functions:
            raise InterpreterError(f"{name} is not defined in the module")
        callee = self.launch.module.functions[name]
        frame = {p.name: bytearray(self.parameters[a]) for p, a in zip(callee.parameters, arguments, strict=True)}
        frame |= {r.name: bytearray(r.bytes) for r in callee.results}
        yield from self.call(callee, frame)
        for result, outside in zip(callee.results, results, strict=True):
            self.parameters[outside][:] = frame[result.name]

    def _exit(self, _: Instruction) -> None:
        raise _Exited

    def _trap(self, _: Instruction) -> None:
        raise InterpreterError("trap")

    def _nothing(self, _: Instruction) -> None:
        """Fences and prefetches: with one thread at a time, memory is always up to date."""


_EXECUTE: dict[str, Callable[[Thread, Instruction], None]] = {
    "ld": Thread._load,
    "ldu": Thread._load,
    "st": Thread._store,
    "mov": Thread._move,
    "exit": Thread._exit,
    "trap": Thread._trap,
    "cvta": Thread._to_or_from_generic,
    "atom": Thread._atomic,
    "red": Thread._atomic,
    **dict.fromkeys(("membar", "fence", "prefetch", "prefetchu"), Thread._nothing),
}


def _items(operand: Operand) -> Sequence[Operand]:
    return operand.items if isinstance(operand, Vector) else (operand,)


def _space(parts: list[str]) -> str:
    for part in parts:
        space = part.split("::")[0]
        if space in ("param", "global", "shared", "local", "const"):
            return space
    return "generic"


def _literal(immediate: Immediate, type_: str) -> int:
    """The bits of a literal in the instruction's type; a float literal of the other width is converted."""
    width = WIDTHS[type_]
    if immediate.float_width in (0, width):
        return immediate.bits
    source, target = ("<d", "<f") if width == 32 else ("<f", "<d")
    value = struct.unpack(source, immediate.bits.to_bytes(immediate.float_width // 8, "little"))[0]
    return int.from_bytes(struct.pack(target, value), "little")


def _special_registers(launch: Launch, block: Dim3, place: Dim3, index: int) -> dict[str, int]:
    vectors = {"%tid": place, "%ntid": launch.block, "%ctaid": block, "%nctaid": launch.grid}
    registers = {
        f"{name}.{axis}": v for name, vector in vectors.items() for axis, v in zip("xyz", vector, strict=True)
    }
    lane = index % 32
    registers |= {"%laneid": lane, "%lanemask_eq": 1 << lane, "%lanemask_lt": (1 << lane) - 1}
    registers |= {"%lanemask_le": (2 << lane) - 1, "%lanemask_gt": wrap("b32", ~((2 << lane) - 1))}
    registers |= {"%lanemask_ge": wrap("b32", ~((1 << lane) - 1)), "%dynamic_smem_size": launch.shared_bytes}
    return registers
