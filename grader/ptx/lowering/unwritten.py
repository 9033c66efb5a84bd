"""What follows values that nothing wrote: analysis/unwritten.py puts these instructions into a kernel."""

from __future__ import annotations

from grader.ptx.ir import Value
from grader.ptx.lowering.addresses import address_of
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.machine import Kind
from grader.ptx.opcodes.rows import MATTERS, UNWRITE, UNWRITTEN
from grader.ptx.syntax import Immediate, Instruction

NUMBER_AT = 56  # in what stands beside a register: above are the number of the load, below its address


def unwritten(u: KernelBuilder, ins: Instruction) -> None:
    """Has nothing written what the load before this one gave?"""
    f, (target, source, number) = u.f, ins.operands
    assert isinstance(number, Immediate)
    address = address_of(u, source)
    found = f.call("i64", "is_unwritten", u.worker, address, f.const("i32", ins.op.bytes), _space(u, ins))
    marked = (address & ((1 << NUMBER_AT) - 1)) | (number.bits << NUMBER_AT)
    u.assign(target, f.select(found.eq(1), marked, found))


def _space(u: KernelBuilder, ins: Instruction) -> Value:
    return u.f.const("i32", int(ins.op.space == "shared"))


def matters(u: KernelBuilder, ins: Instruction) -> None:
    """The value is looked at: where it was read, nothing had written it."""
    f, value = u.f, u.value(ins.operands[0], "b64")
    with f.when(value.ne(0), likely=False):
        sites = u.followed_sites
        site = sites.index("i32", value >> NUMBER_AT).load("i32")
        address = value & ((1 << NUMBER_AT) - 1)
        kind, zero = f.const("i32", int(Kind.UNINITIALISED_READ)), f.const("i64", 0)
        f.call("void", "record", u.worker, kind, site, f["tid"], address, zero, f.const("i32", 0))


def unwrite(u: KernelBuilder, ins: Instruction) -> None:
    """What was stored there is what nothing wrote."""
    f, (target, value) = u.f, ins.operands
    with f.when(u.value(value, "b64").ne(0), likely=False):
        beside = u.value(value, "b64")
        f.call("void", "unwrite", u.worker, address_of(u, target), f.const("i32", ins.op.bytes), beside)


HANDLERS = {UNWRITTEN: unwritten, MATTERS: matters, UNWRITE: unwrite}
