"""Which registers hold the same value in all lanes of a warp, and which blocks all its lanes run together.

For running a warp at once. "Together" is meant of the lanes that have not left the kernel: a branch to a block that
only leaves takes no lanes apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from grader.ptx.analysis.flow import Block
from grader.ptx.analysis.registers import defs_and_uses
from grader.ptx.opcodes.traits import Flow
from grader.ptx.syntax import Instruction, Operand, Register

OF_A_LANE = ("%tid", "%laneid", "%lanemask")


@dataclass(frozen=True)
class Uniformity:
    varying: frozenset[str]  # registers whose value may differ between lanes
    masked: frozenset[int]  # blocks that may run for some lanes at a time
    divergent: frozenset[int]  # blocks whose last instruction may send lanes to different places


def is_exit(block: Block) -> bool:
    """Does the block do nothing but leave the kernel?"""
    first = block.instructions[0]
    return first.traits.flow in (Flow.RETURN, Flow.EXIT) and first.guard is None


def uniformity(blocks: list[Block]) -> Uniformity:
    """A fixed point: what varies decides where lanes part, and what is written there varies."""
    meets = _meeting_places(blocks)
    varying: set[str] = set()
    masked: set[int] = set()
    divergent: set[int] = set()
    before = -1
    while before != (before := len(varying) + len(masked) + len(divergent)):
        for block in blocks:
            for ins in block.instructions:
                defs, uses = defs_and_uses(ins)
                if block.index in masked or _differs(ins) or not varying.isdisjoint(uses):
                    varying.update(defs)
            last = block.instructions[-1]
            parts = last.traits.branches and not varying.isdisjoint(defs_and_uses(last)[1])
            if parts and block.index not in divergent:
                divergent.add(block.index)
                masked |= _between(blocks, block, meets[block.index])
    return Uniformity(frozenset(varying), frozenset(masked), frozenset(divergent))


def _differs(ins: Instruction) -> bool:
    """Does the result differ between lanes whatever its registers hold?"""
    return ins.traits.collective is not None or any(_is_of_a_lane(o) for o in ins.operands)


def _is_of_a_lane(operand: Operand) -> bool:
    return isinstance(operand, Register) and operand.is_special and operand.name.startswith(OF_A_LANE)


def _between(blocks: list[Block], branch: Block, meet: int) -> set[int]:
    """The blocks that lanes may run between a branch and where they meet again."""
    if any(is_exit(blocks[s]) for s in branch.successors):
        return set()  # the others stay together
    found: set[int] = set()
    waiting = [s for s in branch.successors if s != meet]
    while waiting:
        index = waiting.pop()
        if index not in found:
            found.add(index)
            waiting += [s for s in blocks[index].successors if s != meet]
    return found


def _meeting_places(blocks: list[Block]) -> list[int]:
    """Of each block, the first one that every way from it to the end comes through (its immediate postdominator).

    `len(blocks)` stands for the end. Sets are bits of an integer.
    """
    end = len(blocks)
    everything = (1 << (end + 1)) - 1
    behind = [everything] * end + [1 << end]
    changed = True
    while changed:
        changed = False
        for block in reversed(blocks):
            common = everything
            for successor in block.successors or [end]:
                common &= behind[successor]
            common |= 1 << block.index
            if common != behind[block.index]:
                behind[block.index], changed = common, True
    return [max(_members(behind[b.index] & ~(1 << b.index)), key=lambda i: behind[i].bit_count()) for b in blocks]


def _members(bits: int) -> Iterator[int]:
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low
