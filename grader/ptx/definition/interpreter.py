"""Runs a whole kernel the slow, obvious way: one thread at a time, each instruction by its definition.

Tests compare generated code with it. A thread is a generator that yields where it waits for others; blocks run one
after the other. Every access must lie within one allocation.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any

from grader.ptx.analysis.suspensions import is_phase_wait, operation_of
from grader.ptx.definition.collectives import bring, take
from grader.ptx.definition.computation import wrap
from grader.ptx.definition.effects import EFFECTS, compute
from grader.ptx.definition.mbarrier import is_complete
from grader.ptx.definition.meetings import (
    LANES,
    AllArrive,
    Answer,
    Arrival,
    Barrier,
    Meetings,
    Met,
    Phase,
    Place,
)
from grader.ptx.definition.spaces import Dim3, GridState, InterpreterError, place_variables
from grader.ptx.definition.state import State
from grader.ptx.machine import NAMED_BARRIERS
from grader.ptx.opcodes.traits import BarrierKind, Flow
from grader.ptx.syntax import Function, Instruction, Label, Module, Operand, Register, Symbol, Vector, items_of
from grader.ptx.tensor_maps import TensorMap, encode

DEEPEST_CALL = 64


class _Exited(Exception):  # noqa: N818  (no error)
    """A thread has executed `exit`, at any depth of calls."""


Waiting = Generator[Place, Answer, None]


def run(
    module: Module,
    kernel: str,
    grid: Dim3,
    block: Dim3,
    arguments: Sequence[Any],
    shared_bytes: int = 0,
    cluster: Dim3 | None = None,
) -> None:
    """Run a kernel. Arguments are ints, bytes (a struct by value), tensor maps, or objects with a writable buffer
    (pointers).

    `cluster`: blocks of a cluster; None: as the kernel says itself.
    """
    launch = GridState(module, grid, block, shared_bytes)
    place_variables(launch)
    function = module.kernels[kernel]
    launch.cluster = cluster or function.cluster
    placed = [a if isinstance(a, int | bytes | TensorMap) else launch.memory.map(a) for a in arguments]
    values = [_encoded(a, placed) if isinstance(a, TensorMap) else a for a in placed]
    parameters = {p.name: _parameter(v, p.bytes) for p, v in zip(function.parameters, values, strict=True)}
    launch.symbols |= {name: launch.memory.map(data) for name, data in parameters.items()}
    for first in _positions(grid, launch.cluster):
        _run_cluster(launch, function, parameters, first)


def _positions(size: Dim3, step: Dim3 = (1, 1, 1)) -> list[Dim3]:
    """The positions in a grid or a block, x the fastest."""
    x, y, z = (range(0, count, by) for count, by in zip(size, step, strict=True))
    return [(i, j, k) for k in z for j in y for i in x]


def _encoded(described: TensorMap, placed: Sequence[int | bytes | TensorMap]) -> bytes:
    array = placed[described.array]
    assert isinstance(array, int)
    return encode(described, array).tobytes()


def _parameter(value: int | bytes, size: int) -> bytearray:
    return bytearray(value if isinstance(value, bytes) else wrap("b64", value).to_bytes(8, "little")[:size])


def _run_cluster(launch: GridState, function: Function, parameters: dict[str, bytearray], first: Dim3) -> None:
    """Runs the threads of its blocks in index order, each up to where it waits, until all have ended."""
    places = _positions(launch.block)
    stride = -(-len(places) // LANES) * LANES
    inside = _positions(launch.cluster)
    cluster = [memoryview(bytearray(launch.static_bytes + launch.shared_bytes)) for _ in inside]
    running: dict[int, Waiting] = {}
    meetings = Meetings(stride)

    def advance(index: int, answer: Answer | None) -> None:
        try:
            meetings.waits[index] = next(running[index]) if answer is None else running[index].send(answer)
        except (StopIteration, _Exited):
            del running[index]

    for rank, (x, y, z) in enumerate(inside):
        block = (first[0] + x, first[1] + y, first[2] + z)
        for index, place in enumerate(places):
            thread = Thread(launch, cluster, block, place, index, meetings)
            running[rank * stride + index] = thread.call(function, parameters)
    for index in list(running):
        advance(index, None)
    while running:
        for index, answer in meetings.released(set(running)).items():
            advance(index, answer)


def _existing(barrier: int) -> int:
    if barrier >= NAMED_BARRIERS:
        raise InterpreterError(f"no barrier {barrier}")
    return barrier


class Thread(State):
    """A running thread: a generator that yields where it waits for others."""

    def __init__(
        self,
        launch: GridState,
        cluster: Sequence[memoryview],
        block: Dim3,
        place: Dim3,
        index: int,
        meetings: Meetings,
    ) -> None:
        super().__init__(launch, cluster, block, place, index)
        self.meetings, self.depth = meetings, 0
        self.index = self.rank * meetings.stride + index

    def call(self, function: Function, parameters: dict[str, bytearray]) -> Waiting:
        """Runs a function; `parameters` holds its parameters and results by name."""
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
            flow = item.traits.flow
            if flow is Flow.RETURN:
                return
            if flow is Flow.EXIT:
                raise _Exited
            if item.traits.branches:
                at = labels[self._target(function, item)]
            elif flow is Flow.CALL:
                yield from self._call(item)
            elif item.traits.barrier or item.traits.collective:
                yield from self._wait(item)
            elif not item.traits.hint:
                EFFECTS.get(item.op.row, compute)(self, item)

    def _wait(self, item: Instruction) -> Waiting:
        if is_phase_wait(item):
            if not is_complete(self, item):
                yield Phase(partial(is_complete, self, item))
            self.write(item.operands[0], "pred", 1)
        elif item.traits.collective:
            mask, brought = bring(self, item)
            met = yield Arrival(operation_of(item), mask, brought)
            assert isinstance(met, Met)
            take(self, item, met)
        else:
            yield from self._barrier(item)

    def _target(self, function: Function, branch: Instruction) -> str:
        if branch.traits.flow is Flow.BRANCH:
            return self._name(branch.operands[0])
        targets, index = function.tables[self._name(branch.operands[1])], self.read(branch.operands[0], "u32")
        if index >= len(targets):
            raise InterpreterError(f"brx.idx {index} of {len(targets)} labels")
        return targets[index]

    def _holds(self, instruction: Instruction) -> bool:
        if instruction.guard is None:
            return True
        return self.registers.get(instruction.guard, 0) != instruction.guard_negated

    def _name(self, operand: Operand) -> str:
        assert isinstance(operand, Symbol)
        return operand.name

    def _barrier(self, instruction: Instruction) -> Waiting:
        """bar.sync a{, b} waits; bar.red.op d, a{, b}, {!}p also combines a predicate of all threads."""
        mods, operands = instruction.modifiers, list(instruction.operands)
        if instruction.traits.barrier is BarrierKind.CLUSTER:
            if instruction.traits.arrives:
                self.arrived += 1
                self.meetings.at_cluster[self.index] = self.arrived
            else:
                yield AllArrive(self.arrived)
            return
        if instruction.traits.arrives:
            barrier = (self.rank, _existing(self.read(operands[0], "u32")))
            self.meetings.arrived[barrier] = self.meetings.arrived.get(barrier, 0) + 1
            return
        target, predicate = None, 0
        if instruction.traits.result:
            target, predicate = operands.pop(0), self.read(operands.pop(), "pred")
        values = [self.read(operand, "u32") for operand in operands]
        met = yield Barrier(_existing(values[0]), values[1] if len(values) > 1 else None, predicate)
        if target is None:
            return
        assert isinstance(met, list)
        combine: dict[str, Callable[[list[int]], int]] = {"popc": sum, "and": min, "or": max}
        name = next(m for m in mods if m in combine)
        self.write(target, instruction.op.type, combine[name](met))

    def _callee(self, operands: list[Operand]) -> str:
        """Takes the target from the operands of a call, and the prototype that a call through a pointer has."""
        target = operands.pop(0)
        if not isinstance(target, Register):
            return self._name(target)
        operands.pop()
        address = self.read(target, "u64")
        if address not in self.launch.functions:
            raise InterpreterError(f"no function at {address:#x}")
        return self.launch.functions[address]

    def _call(self, instruction: Instruction) -> Waiting:
        operands = list(instruction.operands)
        results = [self._name(o) for o in items_of(operands.pop(0))] if isinstance(operands[0], Vector) else []
        name = self._callee(operands)
        arguments = [self._name(o) for o in items_of(operands[0])] if operands else []
        if name == "vprintf":  # nothing is printed here
            return
        if name == "free":
            return
        if name == "malloc":
            size = int.from_bytes(self.parameters[arguments[0]], "little")
            self.parameters[results[0]][:] = self.launch.memory.map(bytearray(size)).to_bytes(8, "little")
            return
        if name not in self.launch.module.functions:
            raise InterpreterError(f"{name} is not defined in the module")
        callee = self.launch.module.functions[name]
        frame = {p.name: bytearray(self.parameters[a]) for p, a in zip(callee.parameters, arguments, strict=True)}
        frame |= {r.name: bytearray(r.bytes) for r in callee.results}
        yield from self.call(callee, frame)
        for result, outside in zip(callee.results, results, strict=True):
            self.parameters[outside][:] = frame[result.name]
