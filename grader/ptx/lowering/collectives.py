"""Warp collectives. Each lane brings words, waits for all lanes of its mask, then reads what they brought.

PTX ISA, "Data Movement and Conversion Instructions: shfl.sync" and "Parallel Synchronization and Communication
Instructions".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from grader.ptx.ir import Value
from grader.ptx.lowering import clusters, matrix_rows, products, warpgroups
from grader.ptx.lowering.arithmetic import intrinsic
from grader.ptx.lowering.barriers import BARRIERS, deposit_barrier
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.lowering.mail import ALL_LANES, WHOEVER_COMES, bring, must_name_itself, must_take_part, own, word_of
from grader.ptx.machine import AT_WARP
from grader.ptx.opcodes.traits import BarrierKind
from grader.ptx.syntax import Instruction, Operand, Pair
from grader.ptx.types import BITS, is_signed

Sources = tuple[Operand, ...]
# The value of a lane that is not in the mask: +Inf, which survives in sums and in maxima; fmaxf would drop a NaN.
UNDEFINED = 0x7F800000


def assign_pair(u: KernelBuilder, operand: Operand, value: Value, predicate: Value) -> None:
    if isinstance(operand, Pair):
        u.assign(operand.first, value)
        u.assign(operand.second, predicate)
    else:
        u.assign(operand, value)


# What a lane brings ---------------------------------------------------------------------------------------------


def _value(u: KernelBuilder, ins: Instruction, sources: Sources) -> list[Value]:
    if ins.op.type != "b64":
        return [u.value(sources[0], "b32")]
    value = u.value(sources[0], "b64")
    return [value.trunc("i32"), (value >> 32).trunc("i32")]


def _predicate(u: KernelBuilder, _: Instruction, sources: Sources) -> list[Value]:
    return [u.value(sources[0], "pred").zext("i32")]


def _nothing(_: KernelBuilder, __: Instruction, ___: Sources) -> list[Value]:
    return []


# What it takes --------------------------------------------------------------------------------------------------


def source_lane(u: KernelBuilder, ins: Instruction) -> tuple[Value, Value]:
    """The lane that a shuffle reads, and whether the one that it asks for is in its segment."""
    f, mode = u.f, ins.modifiers[1]
    _, _, b, c, _ = ins.operands
    lane = f["tid"] & 31
    index, clamp = u.value(b, "b32") & 31, u.value(c, "b32")
    segment, limit = (clamp >> 8) & 31, clamp & 31
    low = lane & segment
    high = low | (limit & (segment ^ 31))
    source = {
        "up": lambda: lane - index,
        "down": lambda: lane + index,
        "bfly": lambda: lane ^ index,
        "idx": lambda: low | (index & (segment ^ 31)),
    }[mode]()
    inside = source.icmp("sge" if mode == "up" else "sle", high)
    return f.select(inside, source, lane), inside


def shuffle(u: KernelBuilder, ins: Instruction) -> None:
    f = u.f
    source, inside = source_lane(u, ins)
    word = word_of(u, source)
    if ins.modifiers[1] == "idx":
        must_take_part(u, source)
    else:
        # A reduction over some lanes reads past them; that is fine as long as it drops what it read.
        here = ((own(u, "members") >> source) & 1).ne(0)
        word = f.select(here, word, f.const("i32", UNDEFINED))
    assign_pair(u, ins.operands[0], word, inside)


def vote(u: KernelBuilder, ins: Instruction) -> None:
    mode = ins.modifiers[1]
    ballot, members = own(u, "ballot"), own(u, "members")
    results = {
        "ballot": lambda: ballot,
        "any": lambda: ballot.ne(0),
        "all": lambda: ballot.eq(members),
        "uni": lambda: ballot.eq(members) | ballot.eq(0),
    }
    u.assign(ins.operands[0], results[mode]())


def match(u: KernelBuilder, ins: Instruction) -> None:
    f = u.f
    members, words = own(u, "members"), 2 if ins.op.type == "b64" else 1
    mine = [word_of(u, f["tid"] & 31, k) for k in range(words)]
    same = f.const("i32", 0)
    for lane in range(32):
        here = f.const("i32", lane)
        equal = f.const("i1", 1)
        for k in range(words):
            equal = equal & word_of(u, here, k).eq(mine[k])
        same = same | f.select(equal, f.const("i32", 1 << lane), f.const("i32", 0))
    same = same & members
    if ins.modifiers[0] == "any":
        u.assign(ins.operands[0], same)
        return
    everyone = same.eq(members)
    assign_pair(u, ins.operands[0], f.select(everyone, members, f.const("i32", 0)), everyone)


def reduce(u: KernelBuilder, ins: Instruction) -> None:
    f = u.f
    operation, type_ = ins.modifiers[1], ins.op.type
    if BITS.get(type_) != 32 or type_ == "f32":
        raise u.unsupported()
    signed = is_signed(type_)
    identity = {"add": 0, "or": 0, "xor": 0, "and": -1, "min": 2**31 - 1 if signed else -1,
                "max": -(2**31) if signed else 0}[operation]  # fmt: skip
    members, total = own(u, "members"), f.const("i32", identity)
    for lane in range(32):
        take = ((members >> lane) & 1).ne(0)
        word = f.select(take, word_of(u, f.const("i32", lane)), f.const("i32", identity))
        if operation in ("min", "max"):
            total = intrinsic(u, ("s" if signed else "u") + operation, total, word)
        else:
            total = total._binary(operation, word)
    u.assign(ins.operands[0], total)


def active_mask(u: KernelBuilder, ins: Instruction) -> None:
    u.assign(ins.operands[0], own(u, "members"))


def elect(u: KernelBuilder, ins: Instruction) -> None:
    f = u.f
    leader = f.call("i32", "llvm.cttz.i32", own(u, "members"), f.const("i1", 0))
    assign_pair(u, ins.operands[0], leader, leader.eq(f["tid"] & 31))


def synchronise(_: KernelBuilder, __: Instruction) -> None:
    """__syncwarp() has no result."""


# ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Collective:
    """`bring` returns the words of a lane; `take` computes its result from the words of all lanes.

    `lanes` is the mask of collectives that have no mask operand.
    """

    bring: Callable[[KernelBuilder, Instruction, Sources], list[Value]]
    take: Callable[[KernelBuilder, Instruction], None]
    lanes: int = ALL_LANES


COLLECTIVES = {
    "bar.warp": Collective(_nothing, synchronise),
    "shfl": Collective(_value, shuffle),
    "vote": Collective(_predicate, vote),
    "match": Collective(_value, match),
    "redux": Collective(_value, reduce),
    "activemask": Collective(_nothing, active_mask, WHOEVER_COMES),
    "elect": Collective(_nothing, elect),
    "mma": Collective(products.bring_fragments, products.multiply),
    "wmma.mma": Collective(products.bring_fragments, products.multiply),
    "wgmma.wait_group": Collective(_nothing, warpgroups.wait_group),
    "wgmma.mma_async": Collective(warpgroups.bring, warpgroups.multiply),
    "ldmatrix": Collective(matrix_rows.bring_row, matrix_rows.load_matrices),
    "stmatrix": Collective(matrix_rows.bring_registers, matrix_rows.store_matrices),
    "movmatrix": Collective(matrix_rows.bring_registers, matrix_rows.transpose),
}


def deposit(u: KernelBuilder, ins: Instruction) -> int:
    """Leave the words of this lane for collective `ins`. Returns what the thread waits for."""
    sources, u.here = u.here.operands or ins.operands[1:], ins  # findings point at the collective
    if ins.traits.barrier is BarrierKind.BLOCK:
        return deposit_barrier(u, ins)
    if ins.traits.barrier is BarrierKind.CLUSTER:
        return clusters.deposit_wait(u)
    collective = COLLECTIVES[ins.op.row]
    mask = u.f.const("i32", collective.lanes)
    if ins.traits.masked:
        mask = u.value(ins.operands[-1], "b32")
        must_name_itself(u, mask)
    words = collective.bring(u, ins, sources)
    bring(u, mask, *words, orders=ins.traits.barrier is BarrierKind.WARP)
    return AT_WARP


HANDLERS = {**BARRIERS, **{name: collective.take for name, collective in COLLECTIVES.items()}}
