"""What a kernel does at places that other threads may change: which loads wait, which only guess, do blocks meet?

A volatile access is a load or a store that is really made, and orders nothing. As a look at a flag counts one that
polls: in a loop that its value ends. Any other races like a plain one. A plain load whose value does no more than
decide whether an atomic operation is tried at the same place, or give a compare-and-swap its first guess, does no
harm: what is true is decided there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Set
from typing import NamedTuple

from grader.ptx.analysis.flow import Block
from grader.ptx.analysis.registers import defs_and_uses, registers_of
from grader.ptx.opcodes.rows import ALIGNED
from grader.ptx.opcodes.traits import Flow
from grader.ptx.syntax import Address, Immediate, Instruction, Operand, Register, Symbol
from grader.ptx.types import BITS

ELSEWHERE = {"shared", "local", "param", "const"}  # not the memory of all blocks
DECIDING = {"min", "max", "and", "or"}  # of no effect where a look says that it would have none
FLOATS = {"f16", "f16x2", "bf16", "bf16x2", "f32", "f64"}
OPERATIONS = {"add", "min", "max", "and", "or", "xor", "inc", "dec", "exch", "cas"}
MOVES = {"mov", "cvta", "add"}
COMPARES = {"set", "setp", "slct"}  # selp follows one
ADDRESSES = 1 << 64


class BetweenBlocks(NamedTuple):
    meet: bool  # what a block does depends on when others do it
    draw: bool  # a block changes what others change too, and looks at what was there


class Looks(NamedTuple):
    polls: frozenset[int]  # volatile loads that poll, by `id`
    guesses: frozenset[int]  # loads that do no harm, by `id`
    waits: frozenset[int]  # loads, by `id`, that poll: volatile and other strong ones
    idle: frozenset[int]  # strong loads and atomic operations whose value decides nothing, by `id`
    between_blocks: BetweenBlocks

    def acquires(self, load: Instruction) -> bool:
        return id(load) in self.polls or (load.op.is_strong and not is_volatile(load))


def looks_of(blocks: list[Block]) -> Looks:
    instructions = [i for b in blocks for i in b.instructions]
    flow = _Values(instructions)
    polls = _polling(blocks, flow, [i for i in instructions if i.traits.loads and is_volatile(i)])
    waits = polls | _polling(blocks, flow, [i for i in instructions if i.traits.loads and i.op.is_strong])
    guesses = frozenset(id(i) for i in instructions if _guesses(i, flow))
    idle = frozenset(id(i) for i in instructions if _looks(i, flow.used) and not _is_decided_by(i, flow))
    return Looks(polls, guesses - polls, waits, idle, _between_blocks(instructions, polls, flow))


def is_volatile(ins: Instruction) -> bool:
    return "volatile" in ins.modifiers


def _is_memory(ins: Instruction) -> bool:
    """What it gives does not follow from its registers alone."""
    traits = ins.traits
    return (
        traits.reads or traits.writes or traits.asynchronous or traits.on_mbarrier or traits.flow is Flow.CALL
        or ins.base == ALIGNED
    )  # fmt: skip


class _Values:
    """Where values go, through everything but memory."""

    def __init__(self, instructions: list[Instruction]) -> None:
        self.instructions = instructions
        self.readers: dict[str, list[Instruction]] = defaultdict(list)
        self._makers: dict[str, list[Instruction]] = defaultdict(list)
        for ins in instructions:
            defs, uses = defs_and_uses(ins)
            for name in uses:
                self.readers[name].append(ins)
            for name in defs:
                self._makers[name].append(ins)
        self.used = frozenset(self.readers)

    def reached(self, names: Set[str]) -> set[str]:
        """All registers that depend on `names`."""
        found, waiting = set(names), list(names)
        while waiting:
            for ins in self.readers[waiting.pop()]:
                if not _is_memory(ins):
                    new = set(defs_and_uses(ins)[0]) - found
                    found |= new
                    waiting += new
        return found

    def place(self, operand: Operand) -> tuple[str, int] | None:
        """The base and the offset of an address: two that are equal are one place."""
        if not isinstance(operand, Address) or isinstance(operand.base, Immediate):
            return None
        base: Operand = operand.base
        offset, seen = operand.offset, set[str]()
        while isinstance(base, Register):
            source = self._moved(base.name) if base.name not in seen else None  # one that nothing sets first
            seen.add(base.name)
            if source is None:
                return base.name, offset % ADDRESSES
            base, offset = source[0], offset + source[1]
        return (base.name, offset % ADDRESSES) if isinstance(base, Symbol) else None

    def _moved(self, name: str) -> tuple[Register | Symbol, int] | None:
        """What a register is a copy of, and by how much it is further."""
        makers = self._makers[name]
        if len(makers) != 1 or makers[0].guard or makers[0].base not in MOVES:
            return None
        source, *rest = makers[0].operands[1:]
        if not isinstance(source, Register | Symbol) or not all(isinstance(o, Immediate) for o in rest):
            return None
        return source, sum(o.bits for o in rest if isinstance(o, Immediate))

    def is_in_shared(self, ins: Instruction) -> bool:
        """Is the generic address of an access known to lead to shared memory?"""
        at = next((o for o in ins.operands if isinstance(o, Address)), None)
        base, seen = at.base if at else None, set[str]()
        while isinstance(base, Register) and base.name not in seen and len(self._makers[base.name]) == 1:
            seen.add(base.name)
            (maker,) = self._makers[base.name]
            if maker.base == "cvta" and "shared" in maker.modifiers and "to" not in maker.modifiers:
                return True
            sources = maker.operands[1:]
            if maker.guard or maker.base not in {*MOVES, "and"} or not sources:
                return False
            if not all(isinstance(o, Immediate) for o in sources[1:]) or not isinstance(
                sources[0], Register | Symbol
            ):
                return False
            base = sources[0]
        return False

    def is_constant_in(self, operand: Operand, inside: Set[int]) -> bool:
        """Nothing among these instructions makes the address."""
        return not any(id(maker) in inside for name in registers_of(operand) for maker in self._makers[name])


# Loads that poll ------------------------------------------------------------------------------------------------


def _polling(blocks: list[Block], flow: _Values, loads: list[Instruction]) -> frozenset[int]:
    if not loads:
        return frozenset()
    found = {id(load) for load in loads if any(_ends(load, loop, blocks, flow) for loop in _loops(blocks))}
    # The compiler tests once in front of a loop: the same line, and a load of its own.
    lines = {(load.location, load.opcode) for load in loads if id(load) in found}
    return frozenset(id(load) for load in loads if (load.location, load.opcode) in lines)


def _loops(blocks: list[Block]) -> Iterator[range]:
    for block in blocks:
        for target in block.successors:
            if target <= block.index:
                yield range(target, block.index + 1)


def _ends(load: Instruction, loop: range, blocks: list[Block], flow: _Values) -> bool:
    """Does the loop go on or end by the value of this load, or by what it tells to others there?"""
    body = [i for b in loop for i in blocks[b].instructions]
    inside = {id(i) for i in body}
    if id(load) not in inside:
        return False
    values = flow.reached(set(registers_of(load.operands[0])))
    for b in loop:
        last = blocks[b].instructions[-1]
        leaves = any(s not in loop for s in blocks[b].successors) and any(s in loop for s in blocks[b].successors)
        if leaves and last.traits.branches and values & set(defs_and_uses(last)[1]):
            return True
    meets = any(i.traits.suspends or i.traits.barrier for i in body)
    if not meets or not flow.is_constant_in(load.operands[1], inside):
        return False
    return any(i.traits.stores and i.op.space == "shared" and values & set(defs_and_uses(i)[1]) for i in body)


# Loads that guess -----------------------------------------------------------------------------------------------


def _guesses(load: Instruction, flow: _Values) -> bool:
    if not load.traits.loads or load.guard or (load.op.is_strong and not is_volatile(load)):
        return False
    place = flow.place(load.operands[1])
    if place is None or not any(_decides(i, place, flow) for i in flow.instructions):
        return False
    values = flow.reached(set(registers_of(load.operands[0])))
    users = {id(i): i for name in values for i in flow.readers[name]}.values()
    return all(_is_harmless(i, values, place, flow) for i in users)


def _decides(ins: Instruction, place: tuple[str, int], flow: _Values) -> bool:
    """An atomic operation there that has no effect, or is tried again, where what was seen before is not true."""
    if not ins.traits.atomic:
        return False
    operation, target = operation_of(ins), ins.operands[1 if ins.traits.result else 0]
    if flow.place(target) != place:
        return False
    return operation in DECIDING or (operation == "cas" and is_looked_at(ins, flow.used))


def _is_harmless(ins: Instruction, values: Set[str], place: tuple[str, int], flow: _Values) -> bool:
    if not _is_memory(ins):
        return True
    if not _decides(ins, place, flow):
        return False
    return operation_of(ins) == "cas" or not any(values & set(registers_of(o)) for o in ins.operands)


# Looks that decide ----------------------------------------------------------------------------------------------


def _looks(ins: Instruction, used: Set[str]) -> bool:
    return (ins.traits.atomic and is_looked_at(ins, used)) or (ins.traits.loads and ins.op.is_strong)


def _is_decided_by(look: Instruction, flow: _Values) -> bool:
    """Could what the thread does next depend on what it saw? Not if that is only computed with and stored."""
    values = flow.reached(set(registers_of(look.operands[0])))
    users = {id(i): i for name in values for i in flow.readers[name]}.values()
    return any(_is_decision(i, values) for i in users)


def _is_decision(ins: Instruction, values: Set[str]) -> bool:
    traits = ins.traits
    if ins.guard in values or traits.branches or traits.collective is not None or traits.flow is Flow.CALL:
        return True
    if ins.base in COMPARES:
        return True
    if not _is_memory(ins):
        return False
    at = {name for o in ins.operands if isinstance(o, Address) for name in registers_of(o)}
    to_others = traits.writes and ins.op.space in ("global", "generic")
    return bool(at & values) or not to_others


# Blocks ---------------------------------------------------------------------------------------------------------


def operation_of(atomic: Instruction) -> str:
    return next((m for m in atomic.modifiers if m in OPERATIONS), "")


def is_looked_at(atomic: Instruction, used: Set[str]) -> bool:
    return atomic.traits.result and any(used & set(registers_of(operand)) for operand in atomic.operands[:1])


def _between_blocks(instructions: list[Instruction], polls: Set[int], flow: _Values) -> BetweenBlocks:
    operations: set[str] = set()
    meet = draw = False
    for ins in instructions:
        if ins.traits.flow is Flow.CALL:
            meet = True  # lines are printed in the order of blocks
        elif ins.op.space in ELSEWHERE or flow.is_in_shared(ins):
            continue
        elif ins.traits.atomic:
            operation, looked_at = operation_of(ins), is_looked_at(ins, flow.used)
            operations.add(operation)
            may_round = ins.op.type in FLOATS or ins.op.type not in BITS  # a tensor map has a type of its own
            meet |= looked_at or operation in ("exch", "cas") or may_round
            draw |= looked_at
        elif ins.traits.loads:
            meet |= id(ins) in polls or (ins.op.is_strong and not is_volatile(ins))
    return BetweenBlocks(meet or len(operations) > 1, draw)
