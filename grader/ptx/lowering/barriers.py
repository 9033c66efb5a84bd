"""Barriers of the block other than __syncthreads(). PTX ISA, "bar, barrier".

Operands: [result,] barrier [, threads] [, predicate].
"""

from __future__ import annotations

from grader.ptx.ir import Value
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.machine import AT_NAMED, BARRIER_NUMBER, HEADER, NAMED_BARRIERS, UNALIGNED, WORKER, Kind
from grader.ptx.opcodes.rows import ROWS
from grader.ptx.opcodes.traits import BarrierKind
from grader.ptx.syntax import Instruction, Operand


def deposit_barrier(u: KernelBuilder, ins: Instruction) -> int:
    """Write what the barrier needs to the frame. Returns what the thread waits for."""
    operands = list(ins.operands)
    f, frame = u.f, u.f["frame"]
    if ins.traits.result:
        predicate = operands.pop()
        operands.pop(0)
        HEADER.set(frame, "predicate", u.value(predicate, "pred").zext("i32"))
    else:
        HEADER.set(frame, "predicate", f.const("i32", 0))
    HEADER.set(frame, "barrier", _number(u, operands[0]))
    count = u.value(operands[1], "u32") if len(operands) > 1 else f.const("i32", 0)
    _must_be_whole_warps(u, count)
    HEADER.set(frame, "count", count if ins.op.is_aligned else count | UNALIGNED)
    return AT_NAMED


def _number(u: KernelBuilder, operand: Operand) -> Value:
    """Which barrier of the cluster; a block has NAMED_BARRIERS."""
    f, number = u.f, u.value(operand, "u32")
    with f.when(number.uge(NAMED_BARRIERS), likely=False):
        u.fail(Kind.BARRIER_DIVERGENCE, number.zext("i64") | BARRIER_NUMBER)
        f.label(f.fresh("dead"))
    return number + u.rank * NAMED_BARRIERS if u.in_cluster else number


def _must_be_whole_warps(u: KernelBuilder, count: Value) -> None:
    """Warps arrive as a whole, so a thread count must be a multiple of 32."""
    f = u.f
    with f.when((count & 31).ne(0), likely=False):
        u.fail(Kind.BARRIER_DIVERGENCE, count.zext("i64"))
        f.label(f.fresh("dead"))


def arrive(u: KernelBuilder, ins: Instruction) -> None:
    """bar.arrive: arrive without waiting."""
    count = u.value(ins.operands[1], "u32")
    _must_be_whole_warps(u, count)
    barrier = _number(u, ins.operands[0])
    u.f.call("void", "arrive", u.worker, u.f["tid"], barrier, count, u.f.const("i32", u.site()))
    u.passes()


def after(u: KernelBuilder, ins: Instruction) -> None:
    """After the wait: bar.red returns what the threads brought together; other barriers return nothing."""
    if not ins.traits.result:
        return
    trues, everyone = WORKER.get(u.worker, "true_count"), WORKER.get(u.worker, "met_count")
    results = {"popc": lambda: trues, "and": lambda: trues.eq(everyone), "or": lambda: trues.ne(0)}
    u.assign(ins.operands[0], results[next(m for m in ins.modifiers if m in results)]())


BARRIERS = {name: arrive if row.arrives else after for name, row in ROWS.items() if row.barrier is BarrierKind.BLOCK}
