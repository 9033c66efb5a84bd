"""Accesses to shared memory of another block of the cluster."""

from __future__ import annotations

from grader.ptx.ir import Value
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.machine import MAX_CLUSTER, SHARED_WINDOW, kernel_address


def note_remote(u: KernelBuilder, space: str, address: Value, width: int) -> None:
    """Remember that a thread uses shared memory of another block: that one must not have ended before."""
    if not u.in_cluster:
        return
    f = u.f
    offset = address - kernel_address(SHARED_WINDOW) if space == "generic" else address
    elsewhere = (offset - u.shared_base).uge(u.shared.block_bytes) & offset.ult(u.shared.arena)
    with f.when(elsewhere, likely=False):
        f.call("void", "note_remote", u.worker, offset, f.const("i64", width))


def in_block(u: KernelBuilder, address: Value, rank: Value) -> Value:
    """The address of the same variable in block `rank` of the cluster; both of one type, generic or not."""
    if not u.in_cluster:
        return address
    step = u.shared.block_bytes
    return (address & ~((MAX_CLUSTER - 1) * step)) | (rank * step)
