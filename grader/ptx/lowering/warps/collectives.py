"""Shuffles, votes and reductions of a whole warp. With lanes missing they are left to the scalar engine."""

from __future__ import annotations

from grader.ptx.ir import Value
from grader.ptx.lowering.collectives import assign_pair, source_lane
from grader.ptx.lowering.warps.builder import WarpBuilder
from grader.ptx.lowering.warps.lanes import LANES, NotTaken, wide
from grader.ptx.opcodes.traits import CollectiveKind
from grader.ptx.syntax import Instruction
from grader.ptx.types import BITS, is_signed


def collective(u: WarpBuilder, ins: Instruction) -> None:
    handler = HANDLERS.get(ins.traits.collective) if ins.traits.collective else None
    if handler is None or not ins.traits.masked or ins.op.type == "b64":
        raise NotTaken(ins.opcode)
    u.require(u.mask.eq(-1))
    u.require_of_all(u.value(ins.operands[-1], "b32").eq(-1))
    handler(u, ins)


def _shuffle(u: WarpBuilder, ins: Instruction) -> None:
    source, inside = source_lane(u, ins)
    value = u.f.splat(u.value(ins.operands[1], "b32"))
    assign_pair(u, ins.operands[0], _permuted(u, value, u.f.splat(source)), inside)


def _permuted(u: WarpBuilder, value: Value, lanes: Value) -> Value:
    """To each lane the value of another one."""
    f, kind, pointers = u.f, wide(value.type), wide("ptr")
    room, name = f.alloca(kind, 64), f"llvm.masked.gather.v{LANES}{value.type}.v{LANES}p0"
    f.raw(f"store {f.wide_typed(value)}, ptr {room}, align 64")
    u.helper(name, f"declare {kind} @{name}({pointers}, i32, {wide('i1')}, {kind})")
    place = f.scalar(pointers, f"getelementptr {value.type}, ptr {room}, {f.wide_typed(lanes)}")
    all_ = f"{wide('i1')} splat (i1 true)"
    return f.lanes(value.type, f"call {kind} @{name}({place.typed}, i32 4, {all_}, {kind} zeroinitializer)")


def _vote(u: WarpBuilder, ins: Instruction) -> None:
    ballot = u.bits(u.value(ins.operands[1], "pred"))
    results = {
        "ballot": lambda: ballot,
        "any": lambda: ballot.ne(0),
        "all": lambda: ballot.eq(-1),
        "uni": lambda: ballot.eq(-1) | ballot.eq(0),
    }
    u.assign(ins.operands[0], results[ins.modifiers[1]]())


def _reduce(u: WarpBuilder, ins: Instruction) -> None:
    operation, type_ = ins.modifiers[1], ins.op.type
    if BITS.get(type_) != 32 or type_ == "f32":
        raise NotTaken(ins.opcode)
    if operation in ("min", "max"):
        operation = ("s" if is_signed(type_) else "u") + operation
    value, name = u.f.splat(u.value(ins.operands[1], "b32")), f"llvm.vector.reduce.{operation}.v{LANES}i32"
    u.helper(name, f"declare i32 @{name}({wide('i32')})")
    u.assign(ins.operands[0], u.f.scalar("i32", f"call i32 @{name}({u.f.wide_typed(value)})"))


HANDLERS = {CollectiveKind.SHUFFLE: _shuffle, CollectiveKind.VOTE: _vote, CollectiveKind.REDUCE: _reduce}
