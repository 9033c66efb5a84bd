"""Where a thread stops for others: barriers, collectives of a warp, waits for an mbarrier."""

from __future__ import annotations

from dataclasses import replace

from grader.ptx.opcodes.rows import DEPOSIT, POLL
from grader.ptx.opcodes.traits import BarrierKind, CollectiveKind
from grader.ptx.syntax import Function, Immediate, Instruction, Label, Symbol


def is_plain_barrier(ins: Instruction) -> bool:
    """__syncthreads(): barrier 0, for all threads."""
    traits = ins.traits
    return (
        traits.barrier is BarrierKind.BLOCK
        and not (traits.arrives or traits.result)
        and ins.operands == (Immediate(0),)
    )


def is_named_barrier(ins: Instruction) -> bool:
    """A barrier of the block with a number other than 0, for some of its threads."""
    number = ins.operands[1:2] if ins.traits.result else ins.operands[:1]
    return ins.traits.barrier is BarrierKind.BLOCK and number != (Immediate(0),)


def is_product(ins: Instruction) -> bool:
    """Of matrices. Its deposit reads all that it needs, so that afterwards these registers are free."""
    return ins.traits.collective is CollectiveKind.PRODUCT


def is_collective(ins: Instruction) -> bool:
    """Of a warp, or a barrier of the block that waits."""
    traits = ins.traits
    return traits.collective is not None or (traits.barrier is BarrierKind.BLOCK and not traits.arrives)


def is_phase_wait(ins: Instruction) -> bool:
    """A look at the phase of an mbarrier."""
    return ins.traits.barrier is BarrierKind.PHASE


def operation_of(collective: Instruction) -> tuple[str, int]:
    """Lanes meet that execute the same, wherever it stands; of an aligned one, the very same instruction."""
    return collective.opcode, id(collective) if collective.op.is_aligned else 0


def split_collectives(function: Function) -> None:
    """Put a `deposit` before every collective: there the thread leaves its words and waits; the collective itself
    then reads what all have left. Before a look at an mbarrier stands a `poll`: there the thread lets others run if
    the phase is not complete. A guarded one is branched around."""
    body: list[Instruction | Label] = []
    for item in function.body:
        if isinstance(item, Label) or not (is_collective(item) or is_phase_wait(item)):
            body.append(item)
            continue
        skip = f"skip@{len(body)}"
        if item.guard:
            body.append(Instruction("bra", (Symbol(skip),), item.guard, not item.guard_negated, item.location))
        if is_phase_wait(item):
            body.append(Instruction(POLL, item.operands[1:], location=item.location))
        elif not is_plain_barrier(item):
            sources = item.operands[1:] if is_product(item) else ()
            body.append(Instruction(DEPOSIT, sources, location=item.location))
        operands = item.operands[:1] if is_product(item) else item.operands
        body.append(replace(item, guard=None, operands=operands))
        if item.guard:
            body.append(Label(skip))
    function.body = body


def suspends(ins: Instruction) -> bool:
    return ins.traits.suspends or is_plain_barrier(ins)
