"""Warp collectives. Each lane brings words, waits until all lanes of the mask are there, then reads theirs.

PTX ISA, "Data Movement and Conversion Instructions: shfl.sync" and "Parallel Synchronization and Communication
Instructions".
"""

from __future__ import annotations

from grader.ptx.analysis.flow import is_aligned
from grader.ptx.ir import Value
from grader.ptx.lowering import matrix
from grader.ptx.lowering.arithmetic import BITS, intrinsic, is_signed
from grader.ptx.lowering.kernel import Kernel
from grader.ptx.lowering.mail import bring, must_name_itself, must_take_part, own, word_of
from grader.ptx.machine import ABORTED, AT_NAMED, AT_WARP, HEADER, UNALIGNED, WORKER, Kind
from grader.ptx.parser import Instruction, Operand, Pair

# What a lane that is not there gives: +Inf. Sums and maxima show it, and fmaxf, which drops a NaN, does too.
UNDEFINED = 0x7F800000


def _assign_pair(u: Kernel, operand: Operand, value: Value, predicate: Value) -> None:
    if isinstance(operand, Pair):
        u.assign(operand.first, value)
        u.assign(operand.second, predicate)
    else:
        u.assign(operand, value)


# What a lane brings ---------------------------------------------------------------------------------------------


def deposit(u: Kernel, ins: Instruction) -> int:
    """Leave this lane's words for collective `ins`; returns what the thread then waits for."""
    mods = ins.opcode.split(".")[1:]
    operands, u.here = u.here.operands, ins  # findings speak of the collective
    if ins.base in matrix.COLLECTIVES or ins.base == "wmma":
        matrix.deposit(u, ins, operands)
        return AT_WARP
    if ins.base in ("bar", "barrier"):
        if mods[0] == "warp":
            mask = u.value(ins.operands[0], "b32")
            must_name_itself(u, mask)
            bring(u, mask, orders=True)
            return AT_WARP
        return _deposit_barrier(u, ins)
    if ins.base == "activemask":
        bring(u, u.f.const("i32", 0))
        return AT_WARP
    mask = u.value(ins.operands[-1], "b32")
    must_name_itself(u, mask)
    if ins.base == "elect":
        bring(u, mask)
    elif ins.base == "vote":
        bring(u, mask, u.value(ins.operands[1], "pred").zext("i32"))
    elif ins.base == "match" and mods[-1] == "b64":
        value = u.value(ins.operands[1], "b64")
        bring(u, mask, value.trunc("i32"), (value >> 32).trunc("i32"))
    elif ins.base in ("shfl", "redux", "match"):
        bring(u, mask, u.value(ins.operands[1], "b32"))
    else:
        raise u.unsupported()
    return AT_WARP


def _deposit_barrier(u: Kernel, ins: Instruction) -> int:
    """bar.sync with a number or a count, and bar.red. Operands: barrier, [threads], [predicate]."""
    operands = list(ins.operands)
    if not operands:  # of a cluster
        raise u.unsupported()
    f, frame = u.f, u.f["frame"]
    if "red" in ins.opcode.split("."):
        predicate = operands.pop()
        operands.pop(0)
        HEADER.set(frame, "predicate", u.value(predicate, "pred").zext("i32"))
    else:
        HEADER.set(frame, "predicate", f.const("i32", 0))
    HEADER.set(frame, "barrier", u.value(operands[0], "u32") & 15)
    count = u.value(operands[1], "u32") if len(operands) > 1 else f.const("i32", 0)
    _must_be_whole_warps(u, count)
    HEADER.set(frame, "count", count if is_aligned(ins) else count | UNALIGNED)
    return AT_NAMED


def _must_be_whole_warps(u: Kernel, count: Value) -> None:
    """Warps arrive as a whole, so a number of threads must be a multiple of 32."""
    f = u.f
    with f.when((count & 31).ne(0), likely=False):
        kind, site, zero = f.const("i32", int(Kind.BARRIER_DIVERGENCE)), f.const("i32", u.site()), f.const("i64", 0)
        arguments = (u.worker, kind, site, f["tid"], count.zext("i64"), zero, f.const("i32", 0))
        f.call("void", "record", *arguments)
        f.ret(f.const("i32", ABORTED))
        f.label(f.fresh("dead"))


def arrive(u: Kernel, ins: Instruction) -> None:
    """bar.arrive: counts, and does not wait."""
    if not ins.operands:  # of a cluster
        raise u.unsupported()
    _must_be_whole_warps(u, u.value(ins.operands[1], "u32"))
    u.f.call("void", "arrive", u.worker, u.f["tid"], u.value(ins.operands[0], "u32") & 15)
    u.passes()


# What it reads --------------------------------------------------------------------------------------------------


def shuffle(u: Kernel, ins: Instruction) -> None:
    f = u.f
    mode = ins.opcode.split(".")[2]
    destination, _, b, c, _ = ins.operands
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
    source = f.select(inside, source, lane)
    word = word_of(u, source)
    if mode == "idx":
        must_take_part(u, source)
    else:
        # A reduction over some lanes reads past them and drops what it got: allowed, as long as it is dropped.
        here = ((own(u, "members") >> source) & 1).ne(0)
        word = f.select(here, word, f.const("i32", UNDEFINED))
    _assign_pair(u, destination, word, inside)


def vote(u: Kernel, ins: Instruction) -> None:
    mode = ins.opcode.split(".")[2]
    ballot, members = own(u, "ballot"), own(u, "members")
    results = {
        "ballot": lambda: ballot,
        "any": lambda: ballot.ne(0),
        "all": lambda: ballot.eq(members),
        "uni": lambda: ballot.eq(members) | ballot.eq(0),
    }
    u.assign(ins.operands[0], results[mode]())


def match(u: Kernel, ins: Instruction) -> None:
    f = u.f
    mods = ins.opcode.split(".")
    members, words = own(u, "members"), 2 if mods[-1] == "b64" else 1
    mine = [word_of(u, f["tid"] & 31, k) for k in range(words)]
    same = f.const("i32", 0)
    for lane in range(32):
        here = f.const("i32", lane)
        equal = f.const("i1", 1)
        for k in range(words):
            equal = equal & word_of(u, here, k).eq(mine[k])
        same = same | f.select(equal, f.const("i32", 1 << lane), f.const("i32", 0))
    same = same & members
    if mods[1] == "any":
        u.assign(ins.operands[0], same)
        return
    everyone = same.eq(members)
    _assign_pair(u, ins.operands[0], f.select(everyone, members, f.const("i32", 0)), everyone)


def reduce(u: Kernel, ins: Instruction) -> None:
    f = u.f
    mods = ins.opcode.split(".")
    operation, type_ = mods[2], mods[-1]
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


def active_mask(u: Kernel, ins: Instruction) -> None:
    u.assign(ins.operands[0], own(u, "members"))


def elect(u: Kernel, ins: Instruction) -> None:
    f = u.f
    leader = f.call("i32", "llvm.cttz.i32", own(u, "members"), f.const("i1", 0))
    _assign_pair(u, ins.operands[0], leader, leader.eq(f["tid"] & 31))


def after_barrier(u: Kernel, ins: Instruction) -> None:
    """bar.red hands out what the threads brought; other barriers hand out nothing."""
    mods = ins.opcode.split(".")
    if "red" not in mods:
        return
    trues, everyone = WORKER.get(u.worker, "true_count"), WORKER.get(u.worker, "met_count")
    results = {"popc": lambda: trues, "and": lambda: trues.eq(everyone), "or": lambda: trues.ne(0)}
    u.assign(ins.operands[0], results[next(m for m in mods if m in results)]())


HANDLERS = {
    **matrix.COLLECTIVES,
    "shfl": shuffle,
    "vote": vote,
    "match": match,
    "redux": reduce,
    "activemask": active_mask,
    "elect": elect,
    "bar": after_barrier,
    "barrier": after_barrier,
}
