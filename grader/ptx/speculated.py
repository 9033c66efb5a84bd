"""Loads that the compiler moved in front of the condition behind which they stood.

It may do so where it knows that the place is there, as that of a shared variable or of an element with a constant
index. The value is then dropped: `selp` takes another, `and.pred` makes nothing of it, or one way on does not look at
it. What is dropped is no read, so such a load is checked when it is known whether its value matters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set

from grader.ptx.flow import Block, defs_and_uses, suspends
from grader.ptx.parser import Address, Instruction, Register, Symbol

PURE = {"setp", "selp", "and", "or", "xor", "not", "add", "sub", "mul", "mad", "fma", "div", "min", "max", "neg",
        "abs", "cvt", "mov", "shl", "shr", "rcp", "sqrt", "ex2", "lg2"}  # fmt: skip
BLOCKS = 2  # that a value is followed into
Condition = tuple[str, bool]  # a predicate, and whether its negation is meant


def speculated_loads(blocks: list[Block], flushes: Set[str]) -> dict[int, tuple[Condition, ...]]:
    """The `id` of each such load, and the conditions of which one must hold for its value to matter.

    Their predicates are known at the next instruction of `flushes`, or at the block's end.
    """
    follow = _Follow(blocks, flushes)
    definitions = Counter(name for b in blocks for i in b.instructions for name in defs_and_uses(i)[0])
    found = {}
    for block in blocks:
        known = block.live_in.union(*(defs_and_uses(i)[0] for i in block.instructions))
        for at, load in enumerate(block.instructions):
            target = _target(load)
            conditions = follow.wanted(block, at + 1, {target}, BLOCKS) if target else None
            if conditions and all(definitions[name] == 1 and name in known for name, _ in conditions):
                found[id(load)] = tuple(sorted(conditions))
    return found


def _target(load: Instruction) -> str | None:
    """The register of a load that may stand anywhere."""
    if load.base != "ld" or load.guard:
        return None
    target, source = load.operands[:2]
    at_variable = isinstance(source, Address) and isinstance(source.base, Symbol)
    parts = load.opcode.split(".")
    plain = parts[1] == "shared" and len(parts) == 3
    return target.name if plain and at_variable and isinstance(target, Register) else None


class _Follow:
    """Where a value goes from an instruction on."""

    def __init__(self, blocks: list[Block], flushes: Set[str]) -> None:
        self._blocks, self._flushes = blocks, flushes

    def wanted(self, block: Block, start: int, values: set[str], depth: int) -> set[Condition] | None:
        """The conditions under which one of `values` matters; None: it may always."""
        conditions: set[Condition] = set()
        rest = block.instructions[start:]
        for at, ins in enumerate(rest):
            defined, used = map(set, defs_and_uses(ins))
            if self._settles(ins):
                late = values & set().union(*(defs_and_uses(i)[1] for i in rest[at:]))
                return None if late or any(self._live(block, values).values()) else conditions
            if not values & used:
                values = values - defined
                continue
            if ins.guard or ins.base not in PURE:
                return None
            condition = _condition(ins, values)
            if condition:
                conditions.add(condition)
            values = values - defined if condition else values | defined
        further = self._beyond(block, values, depth)
        return None if further is None else conditions | further

    def _settles(self, ins: Instruction) -> bool:
        return suspends(ins) or ins.base in self._flushes or bool(ins.guard and ins.base != "bra")

    def _live(self, block: Block, values: set[str]) -> dict[int, set[str]]:
        """What of `values` each successor reads."""
        return {s: values & self._blocks[s].live_in for s in block.successors}

    def _beyond(self, block: Block, values: set[str], depth: int) -> set[Condition] | None:
        """The same of what comes after the block."""
        live, conditions = self._live(block, values), set[Condition]()
        for successor in (s for s, read in live.items() if read):
            target = self._blocks[successor]
            more = None if not depth or target.is_resume else self.wanted(target, 0, live[successor], depth - 1)
            if more is None and len(live) == 2 and not all(live.values()):
                more = _way(block, successor)
            if more is None:
                return None
            conditions |= more
        return conditions


def _way(block: Block, successor: int) -> set[Condition]:
    """The condition under which a branch goes there."""
    branch = block.instructions[-1]
    assert branch.guard
    return {(branch.guard, branch.guard_negated ^ (successor != block.successors[0]))}


def _condition(ins: Instruction, values: set[str]) -> Condition | None:
    """Under which condition the result depends on `values`; None: always."""
    names = [operand.name if isinstance(operand, Register) else "" for operand in ins.operands]
    if ins.base == "selp" and names[3] not in values and (names[1] in values) != (names[2] in values):
        return names[3], names[2] in values
    if ins.opcode in ("and.pred", "or.pred") and (names[1] in values) != (names[2] in values):
        return names[2] if names[1] in values else names[1], ins.opcode == "or.pred"
    return None
