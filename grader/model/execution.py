"""What is asked of a child process that holds a submission, and what it answers."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec
import numpy as np

from grader.model.exercise import Array
from grader.model.result import Finding

Dim3 = tuple[int, int, int]


class Resources(msgspec.Struct, frozen=True):
    """What ptxas says a kernel takes (sm_90a)."""

    registers: int
    shared_bytes: int  # static
    spill_bytes: int  # stores plus loads
    stack_bytes: int
    global_bytes: int = 0  # __device__ variables of the module


class CompiledKernel(msgspec.Struct, frozen=True):
    """An `extern "C" __global__` function found in the PTX."""

    name: str
    parameter_bytes: tuple[int, ...]
    line: int
    resources: Resources | None = None
    max_threads: int | None = None  # __launch_bounds__


class Compilation(msgspec.Struct, frozen=True):
    """NVRTC's answer. `findings` hold errors and warnings (kind compile-error, compile-warning)."""

    ok: bool
    kernels: tuple[CompiledKernel, ...] = ()
    findings: tuple[Finding, ...] = ()
    log: str = ""
    seconds: float = 0.0
    cached: bool = False
    opcodes: dict[str, int] = {}  # every PTX instruction in use, with the line that it first stands for


class LaunchConfig(msgspec.Struct, frozen=True):
    """How to launch a kernel; what a launch function fills in."""

    grid: Dim3 = (1, 1, 1)
    block: Dim3 = (1, 1, 1)
    shared_bytes: int = 0
    variant: int = 0
    workspace_bytes: int = 0


class Invocation(msgspec.Struct, frozen=True):
    """One kernel launch: `arguments` are names of arrays or integers with their width in bytes.

    `called`: what the submission calls them, for findings; empty where these are the arrays' own names.
    """

    kernel: str
    config: LaunchConfig
    arguments: tuple[str | tuple[int, int], ...]
    called: tuple[str, ...] = ()


class Gpu(msgspec.Struct, frozen=True):
    """A GPU as its driver describes it. Clocks are the highest that it reaches."""

    name: str
    compute_capability: tuple[int, int]
    pci_bus_id: str
    sm_count: int
    max_shared_bytes: int  # of a block, static and dynamic together, after opting in
    l2_bytes: int
    memory_bytes: int
    memory_bytes_per_second: float
    clock_hz: float
    driver_cuda: int  # the newest CUDA that the driver runs: 13000
    runtime_cuda: int


# Kinds of an Outcome's `unsupported` where no instruction is unknown; the last names the kernel that has the grid.
OUT_OF_TIME = "out-of-time"
GRID_TOO_LARGE = "grid-too-large"


class Outcome(msgspec.Struct, frozen=True):
    """What a run of invocations gave. `unsupported` says what the CPU engine lacks: an instruction, or time.

    `unset`: lines that may read a variable which nothing has set, as far as the PTX shows it.

    `again` holds the outputs of a second run over memory that held other rubbish before; a CPU checks every read
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


class Executor(Protocol):
    """A submission, compiled, in a process of its own. The CPU and the CUDA executor both fulfil this.

    Every method raises ChildDied or ChildTimeout (grader.sandbox) where the child did not answer.
    """

    device: Literal["cpu", "cuda"]
    unconfined: tuple[str, ...]  # what the child can do though it should not, and why; once it has answered

    def compile(self, source: bytes, filename: str) -> Compilation: ...

    def run(self, invocations: tuple[Invocation, ...], arrays: tuple[Array, ...], *, deadline: float) -> Outcome:
        """Run the invocations in order over the same arrays, within `deadline` seconds.

        Returns every array that is not "in".
        """
        ...

    def close(self) -> None: ...
