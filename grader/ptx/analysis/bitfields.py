"""Read-modify-write of a bit field: loads that only preserve the rest of the word.

The rest of such a word may still be uninitialised, so these loads are not reported. In PTX, setting a field to all
ones looks the same as `x |= constant`, so that is not reported either.
"""

from __future__ import annotations

from collections import Counter

from grader.ptx.analysis.flow import Block
from grader.ptx.analysis.registers import defs_and_uses
from grader.ptx.analysis.suspensions import suspends
from grader.ptx.syntax import Address, Immediate, Instruction, Register

# The load and the store may name types that differ in signedness.
INTEGERS = {f"{sign}{bits}" for sign in "bus" for bits in (8, 16, 32, 64)}


def merging_loads(blocks: list[Block]) -> frozenset[int]:
    """The `id` of each load whose value is only stored back to the same address, with some of its bits replaced."""
    uses = Counter(name for b in blocks for i in b.instructions for name in defs_and_uses(i)[1])
    return frozenset(
        id(load)
        for block in blocks
        for at, load in enumerate(block.instructions)
        if _is_plain(load) and _comes_back(load, block.instructions[at + 1 :], uses)
    )


def _is_plain(load: Instruction) -> bool:
    return (
        load.traits.loads
        and not load.guard
        and isinstance(load.operands[0], Register)
        and load.modifiers[:-1] in ((), ("shared",), ("shared::cta",))
        and load.op.type in INTEGERS
    )


def _comes_back(load: Instruction, rest: list[Instruction], uses: Counter[str]) -> bool:
    """Follow the value through the block."""
    value, place = load.operands[0], load.operands[1]
    assert isinstance(value, Register) and isinstance(place, Address)
    replaced = False
    for ins in rest:
        defs, used = defs_and_uses(ins)
        if value.name in used:
            if uses[value.name] != 1 or ins.guard:
                return False
            if ins.traits.stores:
                return replaced and ins.operands == (place, value) and _width(ins) == _width(load)
            others = _others(ins, value)
            if others is None:
                return False
            replaced = replaced or others
            target = ins.operands[0]
            assert isinstance(target, Register)
            value = target
        if suspends(ins) or (isinstance(place.base, Register) and place.base.name in defs):
            return False
    return False


def _others(ins: Instruction, value: Register) -> bool | None:
    """Does `ins` replace bits of `value` by those of a constant? None: it may do something else with it."""
    if ins.base == "bfi":
        return True if ins.operands[2] == value else None
    if ins.base not in ("and", "or"):
        return None
    other = ins.operands[2] if ins.operands[1] == value else ins.operands[1]
    if isinstance(other, Immediate):
        return True
    return False if ins.base == "or" else None


def _width(ins: Instruction) -> str:
    return ins.op.type[1:]
