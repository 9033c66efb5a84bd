"""Requests to the child process that runs a submission, and its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import msgspec

from grader.model.counted import KernelCounts
from grader.model.exercise import Array
from grader.model.result import Finding

if TYPE_CHECKING:  # a child that compiles needs no arrays yet
    import numpy as np

Dim3 = tuple[int, int, int]


class Resources(msgspec.Struct, frozen=True):
    """A kernel's resources according to ptxas (sm_90a)."""

    registers: int
    shared_bytes: int  # static
    spill_bytes: int  # stores plus loads
    stack_bytes: int
    global_bytes: int = 0  # __device__ variables of the module


UNCOALESCED = "uncoalesced"  # a finding's kind: how a kernel accesses memory, which is right, but slow


class CompiledKernel(msgspec.Struct, frozen=True):
    """An `extern "C" __global__` function found in the PTX."""

    name: str
    parameter_bytes: tuple[int, ...]
    line: int
    resources: Resources | None = None
    max_threads: int | None = None  # __launch_bounds__
    cluster: tuple[int, int, int] | None = None  # __cluster_dims__
    dynamic_arrays: tuple[str, ...] = ()  # extern __shared__, by name; all begin at the same address


class Compilation(msgspec.Struct, frozen=True):
    """NVRTC's result. `findings`: its errors and warnings, and offsets that are computed in 32 bits."""

    ok: bool
    kernels: tuple[CompiledKernel, ...] = ()
    findings: tuple[Finding, ...] = ()
    log: str = ""
    seconds: float = 0.0
    cached: bool = False
    opcodes: dict[str, int] = {}  # every PTX instruction used, with the first line it comes from
    unread: str = ""  # why `opcodes` is empty: this package cannot read the PTX, though the assembler can


class TensorMap(msgspec.Struct, frozen=True):
    """What cuTensorMapEncodeTiled takes; enums are those of cuda.h. `array` is a parameter's number.

    As a launch function leaves it: whatever the rank, `dim`, `box` and `element_stride` have 5 members, `stride` 4.
    """

    array: int
    type: int
    rank: int
    offset: int  # bytes
    dim: tuple[int, ...]  # elements, innermost first
    stride: tuple[int, ...]  # bytes
    box: tuple[int, ...]
    element_stride: tuple[int, ...]  # 0 stands for 1
    interleave: int = 0
    swizzle: int = 0
    l2_promotion: int = 0
    fill: int = 0

    @property
    def steps(self) -> tuple[int, ...]:
        """The element strides that the driver is given."""
        return tuple(step or 1 for step in self.element_stride[: self.rank])


class LaunchConfig(msgspec.Struct, frozen=True):
    """How to launch a kernel; filled in by a launch function."""

    grid: Dim3 = (1, 1, 1)
    block: Dim3 = (1, 1, 1)
    shared_bytes: int = 0
    variant: int = 0
    workspace_bytes: int = 0
    cluster: Dim3 = (0, 0, 0)  # all 0: as the kernel's __cluster_dims__ says
    tensor_maps: tuple[TensorMap, ...] = ()


class Mapped(msgspec.Struct, frozen=True):
    """An argument that is a tensor map of the array of that name."""

    array: str
    map: TensorMap


class Invocation(msgspec.Struct, frozen=True):
    """One kernel launch: `arguments` are names of arrays, integers with their width in bytes, or tensor maps.

    `called`: their names in the submission, for findings; empty if these are the arrays' own names.
    """

    kernel: str
    config: LaunchConfig
    arguments: tuple[str | tuple[int, int] | Mapped, ...]
    called: tuple[str, ...] = ()


class Gpu(msgspec.Struct, frozen=True):
    """A GPU as described by its driver. Clocks are the maximum."""

    name: str
    compute_capability: tuple[int, int]
    pci_bus_id: str
    sm_count: int
    max_shared_bytes: int  # per block, static plus dynamic, after opting in
    l2_bytes: int
    memory_bytes: int
    memory_bytes_per_second: float
    clock_hz: float
    driver_cuda: int  # the newest CUDA version that the driver supports: 13000
    runtime_cuda: int


# Kinds of an Outcome's `unsupported` other than unknown instructions; the last one names the kernel with the grid.
OUT_OF_TIME = "out-of-time"
GRID_TOO_LARGE = "grid-too-large"


class Outcome(msgspec.Struct, frozen=True):
    """The result of running invocations. `unsupported` says what the CPU engine lacks: an instruction, or time.

    `unset`: lines that may read a variable that was never set, as far as the PTX shows it.

    `again` contains the outputs of a second run on memory with different garbage; a CPU checks every read
    instead, and leaves it empty.
    """

    findings: tuple[Finding, ...] = ()
    outputs: dict[str, np.ndarray] = {}
    again: dict[str, np.ndarray] = {}
    printed: str = ""
    unsupported: Finding | None = None
    jit_seconds: float = 0.0
    run_seconds: float = 0.0
    unset: frozenset[int] = frozenset()


@runtime_checkable
class Counting(Protocol):
    """An executor that can say what the hardware would count: the CPU's."""

    counts_later: bool  # whether `count` will be called for what runs without findings

    def count(
        self, invocations: tuple[Invocation, ...], arrays: tuple[Array, ...], *, deadline: float
    ) -> tuple[KernelCounts, ...]:
        """Of each invocation; () if one of them cannot be run. Raises as `run` does."""
        ...


class Executor(Protocol):
    """A compiled submission in its own process. Implemented by the CPU and the CUDA executor.

    Every method raises ChildDied or ChildTimeout (grader.sandbox) if the child did not answer.
    """

    device: Literal["cpu", "cuda"]
    unconfined: tuple[str, ...]  # what the child can do but should not, and why; known after its first answer

    def compile(self, source: bytes, filename: str) -> Compilation: ...

    def run(self, invocations: tuple[Invocation, ...], arrays: tuple[Array, ...], *, deadline: float) -> Outcome:
        """Run the invocations in order on the same arrays, within `deadline` seconds.

        Returns every array that is not "in".
        """
        ...

    def close(self) -> None: ...
