"""Branches, suspensions, and the instruction budget that stops endless loops."""

from __future__ import annotations

from collections.abc import Callable

from grader.ptx.analysis.flow import Block, branch_targets
from grader.ptx.ir import Value
from grader.ptx.lowering.kernel import FUEL, KernelBuilder
from grader.ptx.lowering.sites import WAITING, Site
from grader.ptx.machine import (
    ABORTED,
    AT_BARRIER,
    AT_NAMED,
    AT_PHASE,
    AT_YIELD,
    HEADER,
    NAMED_BARRIERS,
    UNALIGNED,
    Kind,
)
from grader.ptx.opcodes.traits import Flow
from grader.ptx.syntax import Instruction


def label_of(u: KernelBuilder, index: int) -> str:
    """The label that other blocks jump to."""
    return f"B{index}.body" if u.blocks[index].is_resume else f"B{index}"


def guard_of(u: KernelBuilder, ins: Instruction) -> Value:
    assert ins.guard
    value = u.registers.read(ins.guard)
    return value ^ 1 if ins.guard_negated else value


def leave(u: KernelBuilder, block: Block) -> None:
    """Before any jump: run pending checks, and store the registers that successors read."""
    u.loads.settle(u)
    u.registers.store(frozenset().union(*(u.blocks[s].live_in for s in block.successors)))


def resume(u: KernelBuilder, block: Block) -> None:
    """Restore the registers of a resumed thread to their slots, where other blocks that jump here keep them."""
    u.registers.restore(block.live_in)
    u.f.jump(label_of(u, block.index))
    u.f.label(label_of(u, block.index))
    u.registers.know({})


def suspend(u: KernelBuilder, resume: Block, waits_for: int, site: int | None = None) -> None:
    u.registers.save(resume.live_in)
    HEADER.set(u.f["frame"], "pc", u.f.const("i32", resume.index))
    u.f.ret(u.f.const("i32", (u.site() if site is None else site) | waits_for))


def barrier(u: KernelBuilder, ins: Instruction, resume: Block) -> None:
    """__syncthreads(). In a cluster it is one barrier among those of all blocks."""
    u.loads.settle(u)
    f, count = u.f, u.f.const("i32", 0 if ins.op.is_aligned else UNALIGNED)
    number = u.rank * NAMED_BARRIERS if u.in_cluster else f.const("i32", 0)
    for name, value in {"barrier": number, "count": count, "predicate": f.const("i32", 0)}.items():
        HEADER.set(f["frame"], name, value)
    suspend(u, resume, AT_NAMED if u.in_cluster else AT_BARRIER)


def poll(
    u: KernelBuilder, block: Block, wait: Block, is_complete: Callable[[KernelBuilder, Instruction], Value]
) -> None:
    """Go on to the wait if the phase is complete; otherwise let others run first."""
    u.here = wait.instructions[0]  # findings point at the wait
    complete = is_complete(u, u.here)
    leave(u, block)
    rest = u.f.fresh("rest")
    u.f.branch(complete, label_of(u, wait.index), rest)
    u.f.label(rest)
    u.registers.know({})
    suspend(u, wait, AT_PHASE)


def branch(u: KernelBuilder, block: Block, ins: Instruction) -> None:
    leave(u, block)
    f = u.f
    targets = block.successors[: len(branch_targets(u.function, ins))]
    if min(targets) <= block.index:
        _spend(u, min(targets), block.index)
    names = [label_of(u, t) for t in targets]
    turn = f.fresh("turn")
    if block.yields:
        names = [turn if t <= block.index else name for t, name in zip(targets, names, strict=True)]
    if ins.traits.flow is Flow.SWITCH:
        index = u.value(ins.operands[0], "u32")
        cases = " ".join(f'i32 {i}, label %"{name}"' for i, name in enumerate(names))
        outside, last = f.fresh("outside"), label_of(u, block.index + 1) if ins.guard else ""
        if ins.guard:
            taken = f.fresh("taken")
            f.branch(guard_of(u, ins), taken, last)
            f.label(taken)
        f.line(f'switch i32 {index}, label %"{outside}" [{cases}]')
        f.label(outside)
        u.fail(Kind.TRAP)
    elif ins.guard:
        f.branch(guard_of(u, ins), names[0], label_of(u, block.index + 1))
    else:
        f.jump(names[0])
    if block.yields:
        f.label(turn)
        _yield_now_and_then(u, u.blocks[min(targets)], block)


def _yield_now_and_then(u: KernelBuilder, head: Block, last: Block) -> None:
    f = u.f
    left = u.turns.load("i32") - 1
    u.turns.store(left)
    rest = f.fresh("rest")
    f.branch(left.eq(0), rest, label_of(u, head.index))
    f.label(rest)
    u.registers.know({})
    suspend(u, head, AT_YIELD, _loop_site(u, head.index, last.index))


def _spend(u: KernelBuilder, start: int, end: int) -> None:
    """Charge one iteration of a loop to the budget; stop the thread if it is spent."""
    f = u.f
    cost = sum(len(b.instructions) for b in u.blocks[start : end + 1])
    left = u.fuel.load("i64") - cost
    u.fuel.store(left)
    with f.when(left.icmp("slt", 0), likely=False):
        spent = f.const("i64", FUEL) - left
        stop = f.call("i32", "tick", u.worker, u.me, f.const("i32", _loop_site(u, start, end)), spent)
        with f.when(stop.ne(0)):
            u.exit(ABORTED)
            f.label(f.fresh("dead"))
        u.fuel.store(f.const("i64", FUEL))


def _loop_site(u: KernelBuilder, start: int, end: int) -> int:
    """A site for the loop: its first line, wherever in it the budget ran out."""
    at = u.here.location
    body = [i for b in u.blocks[start : end + 1] for i in b.instructions]
    for ins in body:
        if ins.location.file == at.file and 0 < ins.location.line < at.line:
            at = ins.location
    u.sites.append(Site(at, WAITING if any(i.op.may_wait for i in body) else u.here.opcode))
    return len(u.sites) - 1
