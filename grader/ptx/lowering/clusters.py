"""Blocks of a cluster: their barrier, and shared memory of one another.

PTX ISA, "barrier.cluster", "mapa", "getctarank", "st.async". The runtime's part is in runtime/clusters.py.
"""

from __future__ import annotations

from grader.ptx.lowering.addresses import address_of
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.lowering.mbarriers import use_of
from grader.ptx.lowering.remote import in_block, note_remote
from grader.ptx.machine import AT_CLUSTER, HEADER, MAX_CLUSTER, NEVER_ARRIVED, NOT_ARRIVED, Kind
from grader.ptx.opcodes.rows import DEPOSIT
from grader.ptx.runtime.clusters import RELEASES, SPLIT
from grader.ptx.syntax import Instruction, items_of

WAIT = "barrier.cluster.wait"
ORDERS = {"release", "relaxed", "acquire", "aligned"}
ASYNC_STORE = {"async", "weak", "shared::cluster", "mbarrier::complete_tx::bytes", "v2", "v4"}


# The barrier ----------------------------------------------------------------------------------------------------


def arrive(u: KernelBuilder, ins: Instruction) -> None:
    if set(ins.modifiers[2:]) - ORDERS:
        raise u.unsupported()
    relaxed = "relaxed" in ins.modifiers
    how = (0 if relaxed else RELEASES) | (SPLIT if relaxed or not _waits_at_once(u, ins) else 0)
    u.f.call("void", "cluster_arrive", u.worker, u.f["tid"], u.f.const("i32", u.site()), u.f.const("i32", how))
    u.passes()


def _waits_at_once(u: KernelBuilder, ins: Instruction) -> bool:
    """Does the thread do nothing that others could see before it waits? Then no access is left out."""
    block = next(b for b in u.blocks if any(i is ins for i in b.instructions))
    at = next(k for k, i in enumerate(block.instructions) if i is ins)
    rest = [i for i in block.instructions[at + 1 :] if not i.traits.computes]
    return not ins.guard and [i.base for i in rest] == [DEPOSIT] and _first(u, block.index + 1) == WAIT


def _first(u: KernelBuilder, index: int) -> str:
    return u.blocks[index].instructions[0].op.row


def deposit_wait(u: KernelBuilder) -> int:
    """Before the wait. Returns what the thread waits for."""
    f = u.f
    with f.when(HEADER.get(f["frame"], "cluster").eq(NOT_ARRIVED), likely=False):
        u.fail(Kind.CLUSTER_ORDER, other=f.const("i64", NEVER_ARRIVED))
        f.label(f.fresh("dead"))
    return AT_CLUSTER


def wait(u: KernelBuilder, ins: Instruction) -> None:
    """After the wait."""
    if set(ins.modifiers[2:]) - ORDERS:
        raise u.unsupported()
    u.f.call("void", "cluster_wait", u.worker, u.f["tid"])
    u.met_others()


# Addresses ------------------------------------------------------------------------------------------------------


def map_address(u: KernelBuilder, ins: Instruction) -> None:
    """The address of the same variable in block number b of the cluster."""
    destination, address, rank = ins.operands
    f, number = u.f, u.value(rank, "u32")
    with f.when(number.uge(u.shared.blocks), likely=False):
        u.fail(Kind.TRAP)
        f.label(f.fresh("dead"))
    at = u.value(address, ins.op.type)
    u.assign(destination, in_block(u, at, number.zext(at.type)))


def rank_of(u: KernelBuilder, ins: Instruction) -> None:
    """Which block of the cluster an address belongs to."""
    if not u.in_cluster:
        u.assign(ins.operands[0], u.f.const("i32", 0))
        return
    shift = u.shared.block_bytes.bit_length() - 1
    u.assign(ins.operands[0], (u.value(ins.operands[1], ins.op.type) >> shift) & (MAX_CLUSTER - 1))


# Stores that arrive later ---------------------------------------------------------------------------------------


def store_async(u: KernelBuilder, ins: Instruction) -> None:
    """Operands: target, value, mbarrier."""
    f, op, (target, source, mbarrier) = u.f, ins.op, ins.operands
    size = op.element_bytes
    if set(ins.modifiers[:-1]) - ASYNC_STORE or size not in (4, 8) or op.bytes > 16:
        raise u.unsupported()
    values = [u.value(item, f"b{8 * size}").zext("i64") for item in items_of(source)]
    per = 8 // size
    words = [f.const("i64", 0)] * 2
    for k, value in enumerate(values):
        words[k // per] = words[k // per] | (value << (8 * size * (k % per)))
    address = address_of(u, target)
    note_remote(u, "shared", address, op.bytes)
    site = f.const("i32", u.site(op.bytes, opcode="st.shared.bulk"))
    *_, barrier, barrier_site = use_of(u, ins, mbarrier)
    what = (address, f.const("i32", op.bytes), site, barrier, barrier_site, *words)
    f.call("void", "store_async", u.worker, u.me, *what)
    u.passes()


HANDLERS = {
    "mapa": map_address,
    "getctarank": rank_of,
    "barrier.cluster.arrive": arrive,
    WAIT: wait,
    "st.async": store_async,
}
