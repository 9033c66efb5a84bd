"""Control flow of a PTX function: basic blocks, with the registers that are live on entry."""

from __future__ import annotations

from dataclasses import dataclass, field

from grader.ptx.analysis.registers import defs_and_uses
from grader.ptx.analysis.suspensions import suspends
from grader.ptx.opcodes.traits import Flow
from grader.ptx.syntax import Function, Instruction, Label, Symbol
from grader.ptx.unsupported import Unsupported


@dataclass(slots=True)
class Block:
    index: int
    instructions: list[Instruction] = field(default_factory=list)
    successors: list[int] = field(default_factory=list)
    live_in: frozenset[str] = frozenset()
    is_resume: bool = False  # entered after a suspension
    yields: bool = False  # its backward jump lets other threads run now and then


def blocks_of(function: Function) -> list[Block]:
    """Basic blocks in program order, with live registers. A suspension ends its block."""
    blocks = [Block(0)]
    labels: dict[str, int] = {}

    def start() -> Block:
        if blocks[-1].instructions:
            blocks.append(Block(len(blocks)))
        return blocks[-1]

    for item in function.body:
        if isinstance(item, Label):
            labels[item.name] = start().index
            continue
        blocks[-1].instructions.append(item)
        if item.traits.branches or item.traits.ends or suspends(item):
            blocks.append(Block(len(blocks), is_resume=suspends(item)))
    if not blocks[-1].instructions:
        blocks[-1].instructions.append(Instruction("ret", ()))
    for block in blocks:
        last = block.instructions[-1]
        if last.traits.branches:
            for name in branch_targets(function, last):
                if name not in labels:
                    raise Unsupported(f"branch to an unknown label {name}", last.location)
                block.successors.append(labels[name])
        if not (last.traits.branches or last.traits.ends) or last.guard:
            block.successors.append(block.index + 1)
    _liveness(blocks)
    _let_spinning_loops_yield(blocks)
    return blocks


def _let_spinning_loops_yield(blocks: list[Block]) -> None:
    """A loop that may wait for another thread must let that thread run: its head becomes a point to resume at."""
    for block in blocks:
        for target in block.successors:
            body = [i for b in blocks[target : block.index + 1] for i in b.instructions]
            if target <= block.index and any(i.op.may_wait for i in body) and not any(map(suspends, body)):
                block.yields = True
                blocks[target].is_resume = True


def branch_targets(function: Function, branch: Instruction) -> tuple[str, ...]:
    target = branch.operands[-1]
    assert isinstance(target, Symbol)
    return function.tables[target.name] if branch.traits.flow is Flow.SWITCH else (target.name,)


def _liveness(blocks: list[Block]) -> None:
    use: list[set[str]] = []
    kill: list[set[str]] = []
    for block in blocks:
        used: set[str] = set()
        killed: set[str] = set()
        for ins in block.instructions:
            defs, uses = defs_and_uses(ins)
            used.update(u for u in uses if u not in killed)
            killed.update(defs)
        use.append(used)
        kill.append(killed)
    live = [set(u) for u in use]
    changed = True
    while changed:
        changed = False
        for block in reversed(blocks):
            out = set().union(*(live[s] for s in block.successors)) if block.successors else set()
            new = use[block.index] | (out - kill[block.index])
            if new != live[block.index]:
                live[block.index], changed = new, True
    for block in blocks:
        block.live_in = frozenset(live[block.index])
