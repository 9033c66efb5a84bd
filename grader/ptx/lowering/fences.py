"""Fences. PTX ISA, "Parallel Synchronization and Communication Instructions: membar/fence"."""

from __future__ import annotations

from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.syntax import Instruction


def memory_fence(u: KernelBuilder, ins: Instruction) -> None:
    """Whatever its kind, it is taken as a release; what acquires is an access."""
    u.fence(wide=ins.op.is_wide)


def proxy_fence(u: KernelBuilder, _: Instruction) -> None:
    """Between the two ways to memory; it orders nothing for other threads."""
    u.f.call("void", "bulk_fence", u.worker)
    u.passes()


def no_fence(_: KernelBuilder, __: Instruction) -> None:
    """fence.mbarrier_init: what an mbarrier is, all threads see at once here."""


HANDLERS = {
    "fence": memory_fence,
    "membar": memory_fence,
    "fence.proxy.async": proxy_fence,
    "fence.mbarrier_init": no_fence,
}
