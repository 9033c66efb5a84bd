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


def no_fence(_: KernelBuilder, __: Instruction) -> None:
    """fence.mbarrier_init: here all threads see an initialised mbarrier at once."""


HANDLERS = {
    "fence": memory_fence,
    "membar": memory_fence,
    "fence.proxy.async": proxy_fence,
    "fence.mbarrier_init": no_fence,
}
