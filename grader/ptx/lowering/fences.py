"""Fences. PTX ISA, "Parallel Synchronization and Communication Instructions: membar/fence"."""

from __future__ import annotations

from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.syntax import Instruction


def memory_fence(u: KernelBuilder, ins: Instruction) -> None:
    """Every fence is a release; the acquiring side is an access."""
    u.fence(wide=ins.op.is_wide)


def proxy_fence(u: KernelBuilder, _: Instruction) -> None:
    """fence.proxy.async: between ordinary accesses and bulk copies of this thread; it orders nothing for others."""
    u.f.call("void", "bulk_fence", u.worker)
    u.passes()


def init_fence(u: KernelBuilder, _: Instruction) -> None:
    """fence.mbarrier_init: for other blocks of the cluster; all threads of this one see an mbarrier at once.

    It covers no more than mbarrier.init, but is taken for a fence of everything.
    """
    if u.in_cluster:
        u.fence(wide=True)


HANDLERS = {
    "fence": memory_fence,
    "membar": memory_fence,
    "fence.proxy.async": proxy_fence,
    "fence.mbarrier_init": init_fence,
}
