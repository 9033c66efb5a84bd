"""Loads that the compiler hoisted above the condition that guarded them.

It may do so if it knows that the address is valid: that of a shared variable, or of an element with a constant index.
If the condition is false the value is then dropped: by a `selp`, by an `and.pred`, or on a path that does not use it.
A value that is dropped was not read, so such a load is checked where its value first matters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container
from typing import NamedTuple

from grader.ptx.analysis.flow import Block
from grader.ptx.analysis.registers import defs_and_uses
from grader.ptx.analysis.suspensions import suspends
from grader.ptx.syntax import Address, Instruction, Register, Symbol, Vector

SHARED = (("shared",), ("shared", "v2"), ("shared", "v4"))  # what stands between `ld` and the type
Condition = tuple[str, bool]  # a predicate, and whether its negation is meant


class Look(NamedTuple):
    """A point where the value of a load matters: before an instruction that uses it."""

    load: int  # its `id`
    condition: Condition | None  # it matters only if this holds


class Speculated(NamedTuple):
    loads: list[Instruction]
    looks: dict[int, list[Look]]  # by the `id` of the instruction
    forgotten: dict[int, list[int]]  # by a block's index, the loads whose values are dead on entry


def speculated_loads(blocks: list[Block], followed: Container[int] = ()) -> Speculated:
    """`followed`: loads, by `id`, of which another analysis tells where their values matter."""
    found = Speculated([], defaultdict(list), defaultdict(list))
    for block in blocks:
        for at, load in enumerate(block.instructions):
            targets = _targets(load)
            if targets and id(load) not in followed:
                _take(found, _Follow(blocks, load), block, at, targets)
    return found


def _take(found: Speculated, follow: _Follow, block: Block, at: int, targets: set[str]) -> None:
    follow.from_(block, at + 1, targets)
    if follow.may_be_dropped:
        found.loads.append(follow.load)
        for ins, condition in follow.looks:
            found.looks[id(ins)].append(Look(id(follow.load), condition))
        for index in follow.unvisited:
            found.forgotten[index].append(id(follow.load))


def _targets(load: Instruction) -> set[str]:
    """The registers that a load defines, if it may have been hoisted; else none."""
    if not load.traits.loads or load.guard or load.modifiers[:-1] not in SHARED:
        return set()
    target, source = load.operands[:2]
    if not isinstance(source, Address) or not isinstance(source.base, Symbol):
        return set()
    items = target.items if isinstance(target, Vector) else (target,)
    return {item.name for item in items if isinstance(item, Register)}


class _Follow:
    """Follows the value of a load, and what is computed from it, up to where other threads may run."""

    def __init__(self, blocks: list[Block], load: Instruction) -> None:
        self.load = load
        self._blocks = blocks
        self._looks: dict[tuple[int, Condition | None], Instruction] = {}
        self._entering: dict[int, set[str]] = {}  # values at a block's start
        self.may_be_dropped = False

    @property
    def looks(self) -> list[tuple[Instruction, Condition | None]]:
        return [(ins, condition) for (_, condition), ins in self._looks.items()]

    @property
    def unvisited(self) -> list[int]:
        return [block.index for block in self._blocks if block.index not in self._entering]

    def from_(self, block: Block, start: int, values: set[str]) -> None:
        grown = self._through(block, start, values)
        while grown:
            index = grown.pop()
            grown |= self._through(self._blocks[index], 0, set(self._entering[index]))

    def _through(self, block: Block, start: int, values: set[str]) -> set[int]:
        """Walk through one block. Returns the blocks that turn out to receive more values than known so far."""
        for at in range(start, len(block.instructions)):
            ins = block.instructions[at]
            defined, used = map(set, defs_and_uses(ins))
            if self._settles(ins):
                if self._wanted_later(block, at, values):
                    self._look(ins, None)
                return set()
            if not values & used:
                values = values - defined
            elif ins.guard or not ins.traits.computes:
                self._look(ins, None)
                return set()
            elif condition := _condition(ins, values):
                self._look(ins, condition)
                self.may_be_dropped = True
                values = values - defined
            else:
                values = values | defined
        return self._leave(block, values)

    def _settles(self, ins: Instruction) -> bool:
        return suspends(ins) or ins.traits.orders or ins.op.may_wait

    def _wanted_later(self, block: Block, at: int, values: set[str]) -> bool:
        used = set().union(*(defs_and_uses(i)[1] for i in block.instructions[at:]))
        return bool(values & used) or any(values & self._blocks[s].live_in for s in block.successors)

    def _leave(self, block: Block, values: set[str]) -> set[int]:
        live = {s: values & self._blocks[s].live_in for s in block.successors}
        wanted = {s: names for s, names in live.items() if names}
        if any(self._blocks[s].is_resume for s in wanted):  # other threads may run before it
            self._look(block.instructions[-1], None)
            return set()
        if len(wanted) < len(live):
            self.may_be_dropped = True
        grown = {s for s, names in wanted.items() if not names <= self._entering.get(s, set())}
        for successor in grown:
            self._entering[successor] = self._entering.get(successor, set()) | wanted[successor]
        return grown

    def _look(self, ins: Instruction, condition: Condition | None) -> None:
        self._looks[id(ins), condition] = ins


def _condition(ins: Instruction, values: set[str]) -> Condition | None:
    """The condition under which the result depends on `values`; None: always."""
    names = [operand.name if isinstance(operand, Register) else "" for operand in ins.operands]
    if ins.base == "selp" and names[3] not in values and (names[1] in values) != (names[2] in values):
        return names[3], names[2] in values
    if ins.opcode in ("and.pred", "or.pred") and (names[1] in values) != (names[2] in values):
        return names[2] if names[1] in values else names[1], ins.opcode == "or.pred"
    return None
