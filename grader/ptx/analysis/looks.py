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

from grader.ptx.analysis.flow import Block, defs_and_uses, registers_of, suspends
from grader.ptx.parser import Address, Immediate, Instruction, Operand, Register, Symbol

STRONG = {"relaxed", "acquire", "release", "acq_rel", "mmio"}
ELSEWHERE = {"shared", "shared::cta", "shared::cluster", "local", "param", "const"}  # not the memory of all blocks
MEMORY = {"ld", "ldu", "atom", "red", "st", "cp", "call", "wmma", "stmatrix", "ldmatrix", "mbarrier", "aligned"}
DECIDING = {"min", "max", "and", "or"}  # of no effect where a look says that it would have none
FLOATS = {"f16", "f16x2", "bf16", "bf16x2", "f32", "f64"}
OPERATIONS = {"add", "min", "max", "and", "or", "xor", "inc", "dec", "exch", "cas"}
MOVES = {"mov", "cvta", "add"}
ADDRESSES = 1 << 64


class BetweenBlocks(NamedTuple):
    meet: bool  # what a block does depends on when others do it
    draw: bool  # a block changes what others change too, and looks at what was there


class Looks(NamedTuple):
    polls: frozenset[int]  # volatile loads that poll, by `id`
    guesses: frozenset[int]  # loads that do no harm, by `id`
    between_blocks: BetweenBlocks


def looks_of(blocks: list[Block]) -> Looks:
    instructions = [i for b in blocks for i in b.instructions]
    flow = _Flow(instructions)
    polls = _polling(blocks, flow)
    guesses = frozenset(id(i) for i in instructions if _guesses(i, flow))
    return Looks(polls, guesses - polls, _between_blocks(instructions, polls, flow.used))


def is_volatile(ins: Instruction) -> bool:
    return "volatile" in ins.opcode.split(".")


class _Flow:
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
                if ins.base not in MEMORY:
                    new = set(defs_and_uses(ins)[0]) - found
                    found |= new
                    waiting += new
        return found

    def place(self, operand: Operand) -> tuple[str, int] | None:
        """The base and the offset of an address: two that are equal are one place."""
        if not isinstance(operand, Address) or isinstance(operand.base, Immediate):
            return None
        base: Operand = operand.base
        offset = operand.offset
        while isinstance(base, Register):
            source = self._moved(base.name)
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

    def is_constant_in(self, operand: Operand, inside: Set[int]) -> bool:
        """Nothing among these instructions makes the address."""
        return not any(id(maker) in inside for name in registers_of(operand) for maker in self._makers[name])


# Loads that poll ------------------------------------------------------------------------------------------------


def _polling(blocks: list[Block], flow: _Flow) -> frozenset[int]:
    loads = [i for b in blocks for i in b.instructions if i.base == "ld" and is_volatile(i)]
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


def _ends(load: Instruction, loop: range, blocks: list[Block], flow: _Flow) -> bool:
    """Does the loop go on or end by the value of this load, or by what it tells to others there?"""
    body = [i for b in loop for i in blocks[b].instructions]
    inside = {id(i) for i in body}
    if id(load) not in inside:
        return False
    values = flow.reached(set(registers_of(load.operands[0])))
    for b in loop:
        last = blocks[b].instructions[-1]
        leaves = any(s not in loop for s in blocks[b].successors) and any(s in loop for s in blocks[b].successors)
        if leaves and last.base in ("bra", "brx") and values & set(defs_and_uses(last)[1]):
            return True
    if not any(map(suspends, body)) or not flow.is_constant_in(load.operands[1], inside):
        return False
    return any(i.base == "st" and "shared" in i.opcode.split(".") and values & set(defs_and_uses(i)[1]) for i in body)


# Loads that guess -----------------------------------------------------------------------------------------------


def _guesses(load: Instruction, flow: _Flow) -> bool:
    if load.base != "ld" or load.guard or STRONG & set(load.opcode.split(".")):
        return False
    place = flow.place(load.operands[1])
    if place is None or not any(_decides(i, place, flow) for i in flow.instructions):
        return False
    values = flow.reached(set(registers_of(load.operands[0])))
    users = {id(i): i for name in values for i in flow.readers[name]}.values()
    return all(_is_harmless(i, values, place, flow) for i in users)


def _decides(ins: Instruction, place: tuple[str, int], flow: _Flow) -> bool:
    """An atomic operation there that has no effect, or is tried again, where what was seen before is not true."""
    if ins.base not in ("atom", "red"):
        return False
    operation, target = operation_of(ins), ins.operands[1 if ins.base == "atom" else 0]
    if flow.place(target) != place:
        return False
    return operation in DECIDING or (operation == "cas" and is_looked_at(ins, flow.used))


def _is_harmless(ins: Instruction, values: Set[str], place: tuple[str, int], flow: _Flow) -> bool:
    if ins.base in ("bra", "brx"):
        return True
    if ins.base not in MEMORY:
        return ins.base not in ("ret", "exit", "trap") or ins.operands == ()
    if ins.base not in ("atom", "red") or not _decides(ins, place, flow):
        return False
    return operation_of(ins) == "cas" or not any(values & set(registers_of(o)) for o in ins.operands)


# Blocks ---------------------------------------------------------------------------------------------------------


def operation_of(atomic: Instruction) -> str:
    return next((m for m in atomic.opcode.split(".") if m in OPERATIONS), "")


def is_looked_at(atomic: Instruction, used: Set[str]) -> bool:
    return atomic.base == "atom" and bool(used & set(registers_of(atomic.operands[0])))


def _between_blocks(instructions: list[Instruction], polls: Set[int], used: Set[str]) -> BetweenBlocks:
    operations: set[str] = set()
    meet = draw = False
    for ins in instructions:
        mods = set(ins.opcode.split("."))
        if ins.base == "call":
            meet = True  # lines are printed in the order of blocks
        elif mods & ELSEWHERE:
            continue
        elif ins.base in ("atom", "red"):
            operations.add(operation_of(ins))
            looked_at = is_looked_at(ins, used)
            meet |= looked_at or bool(mods & FLOATS) or bool(mods & {"exch", "cas"})
            draw |= looked_at
        elif ins.base == "ld":
            meet |= id(ins) in polls or bool(mods & STRONG)
    return BetweenBlocks(meet or len(operations) > 1, draw)
