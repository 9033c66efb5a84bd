"""Where a thread waits for other threads: at barriers, warp collectives and mbarriers."""

from __future__ import annotations

from dataclasses import replace

from grader.ptx.opcodes.rows import DEPOSIT, POLL
from grader.ptx.opcodes.traits import BarrierKind, CollectiveKind
from grader.ptx.syntax import Function, Immediate, Instruction, Label, Symbol


def is_plain_barrier(ins: Instruction) -> bool:
    """__syncthreads(): barrier 0, for all threads of the block."""
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
    """A matrix product. Its `deposit` reads all sources, so that their registers are free afterwards."""
    return ins.traits.collective is CollectiveKind.PRODUCT


def is_collective(ins: Instruction) -> bool:
    """A collective of a warp, or a barrier of the block or the cluster at which threads wait."""
    traits = ins.traits
    barrier = traits.barrier in (BarrierKind.BLOCK, BarrierKind.CLUSTER)
    return traits.collective is not None or (barrier and not traits.arrives)


def is_phase_wait(ins: Instruction) -> bool:
    """A test whether a phase of an mbarrier is complete."""
    return ins.traits.barrier is BarrierKind.PHASE


def operation_of(collective: Instruction) -> tuple[str, int]:
    """What lanes that meet must have in common: the opcode and, if it is aligned, the very instruction."""
    return collective.opcode, id(collective) if collective.op.is_aligned else 0


def split_collectives(function: Function) -> None:
    """Split every collective in two: at a `deposit` the thread leaves its words and waits; the collective itself then
    reads the words of all. A wait for an mbarrier is preceded by a `poll`, where the thread lets others run if the
    phase is not complete. Guards become branches."""
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
