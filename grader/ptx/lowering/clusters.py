"""Shared memory of the blocks of a cluster: of a cluster of one, its own. PTX ISA, "mapa", "getctarank"."""

from __future__ import annotations

from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.machine import Kind
from grader.ptx.syntax import Instruction


def map_address(u: KernelBuilder, ins: Instruction) -> None:
    """The address of the same variable in block number b of the cluster."""
    _must_be_alone(u)
    destination, address, rank = ins.operands
    with u.f.when(u.value(rank, "u32").ne(0), likely=False):
        u.fail(Kind.TRAP)
        u.f.label(u.f.fresh("dead"))
    u.assign(destination, u.value(address, ins.op.type))


def rank_of(u: KernelBuilder, ins: Instruction) -> None:
    """Which block of the cluster an address belongs to."""
    _must_be_alone(u)
    u.assign(ins.operands[0], u.f.const("i32", 0))


def _must_be_alone(u: KernelBuilder) -> None:
    if u.function.cluster != (1, 1, 1):
        raise u.unsupported()


HANDLERS = {"mapa": map_address, "getctarank": rank_of}
