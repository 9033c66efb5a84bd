"""What runs a submission: the CPU engine and a GPU. Each fulfils `Executor` of grader.model.execution."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from grader.sandbox.process import Process

if TYPE_CHECKING:
    from grader.executors.cuda_child import CudaChild
    from grader.sandbox.child import Child


def open_cpu(workers: int | None = None, memory_bytes: int | None = None) -> Child:
    """A child process that compiles a submission and runs it on the CPU, on so many cores. To be closed."""
    process = Process("grader.executors.cpu", memory_bytes=memory_bytes, patient=True)
    # The child starts up while this process loads what it needs to talk to it.
    from grader.sandbox.child import Child

    return Child(process, "cpu", workers=workers)


def open_cuda(gpu: int = 0) -> CudaChild:
    """A child process that compiles for the GPU of this number, and runs on it. To be closed."""
    process = Process("grader.executors.cuda", variables=visible(gpu), patient=True)
    from grader.executors.cuda_child import CudaChild

    return CudaChild(process)


def visible(gpu: int) -> dict[str, str]:
    """The child sees one GPU: the number counts those that the caller sees, in the order of nvidia-smi."""
    seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": seen[gpu].strip() if gpu < len(seen) else str(gpu),
        "CUDA_CACHE_DISABLE": "1",  # nothing is compiled by the driver, and there is no home to keep it in
    }
