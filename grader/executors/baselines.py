"""The baselines for timing: cuBLAS routes for a grouped GEMM, or a device-to-device copy of the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import cupy
import numpy as np
from cupy_backends.cuda.api import runtime

from grader.executors.regions import Memory, Region
from grader.sandbox.messages import Copy, GroupedGemm
from reference_kernels import cublas

Enqueue = Callable[[cupy.cuda.Stream, int], None]

COPY = "copy"

# The names of a grouped GEMM's arrays; cuBLAS reads the submission's inputs and writes its own output.
A, B, C = "A_concat", "B_concat", "C_concat"


class Baseline(Protocol):
    """`enqueue`: each route by name, for a stream and a set of inputs."""

    enqueue: Mapping[str, Enqueue]
    unavailable: Mapping[str, str]
    version: str  # of the library
    output: Region | None  # the routes' output, compared with the output named C

    def close(self) -> None: ...


class Cublas:
    """All routes for the grouped GEMM. Raises reference_kernels.cublas.CublasError."""

    def __init__(self, problem: GroupedGemm, inputs: Mapping[str, Region], output: Region) -> None:
        self.output: Region | None = output
        operands = [
            cublas.Operands(inputs[A].pointer(i), inputs[B].pointer(i), output.pointer(i)) for i in range(output.sets)
        ]
        self._routes = cublas.Routes(cublas.Problem(problem.m_sizes, problem.k, problem.n), operands)
        self.enqueue: Mapping[str, Enqueue] = self._routes.enqueue
        self.unavailable: Mapping[str, str] = self._routes.unavailable
        self.version = self._routes.version

    def close(self) -> None:
        self._routes.close()


class DeviceCopy:
    """Reads half of the bytes and writes the other half, at a different place for each set."""

    def __init__(self, copy: Copy, sets: int, memory: Memory) -> None:
        self.output: Region | None = None
        self.enqueue: Mapping[str, Enqueue] = {COPY: self._copy}
        self.unavailable: Mapping[str, str] = {}
        self.version = ""
        half = (max(1, copy.moved_bytes // 2),)
        self._from, self._to = (Region(np.dtype(np.uint8), half, sets, memory) for _ in range(2))
        runtime.memset(self._from.base, 0, self._from.bytes)

    def _copy(self, stream: cupy.cuda.Stream, index: int) -> None:
        source, target = self._from.pointer(index), self._to.pointer(index)
        runtime.memcpyAsync(target, source, self._from.elements, runtime.memcpyDeviceToDevice, stream.ptr)

    def close(self) -> None:
        """Its memory belongs to the timing."""
