"""Runs submissions, on the CPU engine or a GPU. Both implement `Executor` of grader.model.execution."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from grader.sandbox.process import Process

if TYPE_CHECKING:
    from grader.executors.cuda_child import CudaChild
    from grader.sandbox.child import Child
    from grader.sandbox.zygote import Zygote


def open_cpu(workers: int | None = None, memory_bytes: int | None = None, zygote: Zygote | None = None) -> Child:
    """A child process that compiles a submission and runs it on the CPU with this many cores. Must be closed.

    `zygote`: of `cpu_zygote`, for many children one after the other.
    """
    process = Process("grader.executors.cpu", memory_bytes=memory_bytes, patient=True, zygote=zygote)
    # The child starts while this process loads what it needs to talk to it.
    from grader.sandbox.child import Child

    return Child(process, "cpu", workers=workers)


def cpu_zygote() -> Zygote:
    """Must be closed."""
    from grader.sandbox.zygote import Zygote

    return Zygote("grader.executors.cpu_zygote")


def open_cuda(gpu: int = 0) -> CudaChild:
    """A child process that compiles for the GPU with this number and runs on it. Must be closed."""
    process = Process("grader.executors.cuda", variables=visible(gpu), patient=True)
    from grader.executors.cuda_child import CudaChild

    return CudaChild(process)


def visible(gpu: int) -> dict[str, str]:
    """The child sees one GPU. The number counts those visible to the caller, in nvidia-smi's order."""
    seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": seen[gpu].strip() if gpu < len(seen) else str(gpu),
        "CUDA_CACHE_DISABLE": "1",  # the driver compiles nothing, and there is no home folder for its cache
    }
