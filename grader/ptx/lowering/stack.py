"""The stack for recursive functions, as analysis/calls.py uses it."""

from __future__ import annotations

from grader.ptx.ir import Value
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.lowering.memory import STACK_BYTES
from grader.ptx.machine import ABORTED, Kind
from grader.ptx.opcodes.rows import POP, PUSH, STACK
from grader.ptx.syntax import Instruction, Operand, Vector


def _depth(u: KernelBuilder) -> Value:
    """The address of the number of bytes in use; the bytes follow."""
    return u.f["frame"].at(u.frame_layout.stack_start)


def _items(ins: Instruction) -> tuple[Operand, ...]:
    (vector,) = ins.operands
    assert isinstance(vector, Vector)
    return vector.items


def start(u: KernelBuilder, _: Instruction) -> None:
    _depth(u).store(u.f.const("i64", 0))


def push(u: KernelBuilder, ins: Instruction) -> None:
    f, items = u.f, _items(ins)
    depth = _depth(u).load("i64")
    with f.when(depth.ugt(STACK_BYTES - 8 * len(items)), likely=False):
        kind, zero, none = f.const("i32", int(Kind.DID_NOT_FINISH)), f.const("i64", 0), f.const("i32", 0)
        f.call("void", "record", u.worker, kind, f.const("i32", u.site()), f["tid"], zero, zero, none)
        f.ret(f.const("i32", ABORTED))
        f.label(f.fresh("dead"))
    top = _depth(u).at(8).at(depth)
    for k, item in enumerate(items):
        top.at(8 * k).store(u.value(item, "b64"))
    _depth(u).store(depth + 8 * len(items))


def pop(u: KernelBuilder, ins: Instruction) -> None:
    items = _items(ins)
    depth = _depth(u).load("i64") - 8 * len(items)
    top = _depth(u).at(8).at(depth)
    for k, item in enumerate(items):
        u.assign(item, top.at(8 * k).load("i64"))
    _depth(u).store(depth)


HANDLERS = {STACK: start, PUSH: push, POP: pop}
