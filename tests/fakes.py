"""A tiny exercise, and an executor that behaves as a test says: no compiler, no child process."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from grader.model.execution import Compilation, CompiledKernel, Invocation, LaunchConfig, Outcome
from grader.model.exercise import Array

TOML = """
title = "Double every row"
objectives = ["Learn to double"]
cases = ["even", "ragged"]
tolerance = 1e-3
baseline = "fastest"
threshold = 0.60

[points]
correctness = 40
performance = 40
quality = 20

[[quality]]
rule = "no-warnings"
points = 4

[[quality]]
rule = "commented"
points = 8

[[kernels]]
name = "double_kernel"
parameters = [
  { name = "x", ctype = "const float*" },
  { name = "y", ctype = "float*" },
  { name = "M_sizes", ctype = "const int*" },
  { name = "cols", ctype = "int" },
]
launch_parameters = [{ name = "M_sizes", ctype = "const int*" }, { name = "cols", ctype = "int" }]
"""

ORACLE = """
import numpy as np
from grader.model.exercise import Array, Case

def required(seed):
    yield make("even", [4, 4], seed, required=True)
    yield make("ragged", [1, 0, 5], seed, required=True)

def extra(seed):
    yield make("one-row", [1], seed)

def from_spec(spec, seed, name):
    if "M_sizes" not in spec:
        raise ValueError("M_sizes is missing")
    return make(name, spec["M_sizes"], seed, secret=True)

def expected(case):
    return {"y": 2.0 * case.arguments["x"].data.astype(np.float64)}

def make(name, sizes, seed, required=False, secret=False):
    x = np.random.default_rng(seed).random((sum(sizes), 8), dtype=np.float32) + 1
    arrays = [Array("x", x), Array("y", np.empty_like(x), "out"), Array("M_sizes", np.array(sizes, np.int32))]
    arguments = {a.name: a for a in arrays} | {"cols": 8}
    return Case(name, required, arguments, f"M {sizes}", secret)
"""

SOURCE = b"""#include "grader.cuh"

// Doubles.
extern "C" __global__ void double_kernel(const float* x, float* y, const int* M_sizes, int cols)
{
    y[threadIdx.x] = 2 * x[threadIdx.x];
}

extern "C" __global__ void launch_double(const int* M_sizes, int cols, Launch* launch)
{
    launch->grid = dim3(1);
    launch->block = dim3(64);
}
"""

KERNELS = (
    CompiledKernel("double_kernel", (8, 8, 8, 4), line=4),
    CompiledKernel("launch_double", (8, 4, 8), line=9),
)
COMPILED = Compilation(ok=True, kernels=KERNELS, seconds=0.1)
LAUNCH = LaunchConfig(grid=(1, 1, 1), block=(64, 1, 1))

Arrays = dict[str, np.ndarray]


def write_exercise(folder: Path, *, toml: str = TOML, oracle: str = ORACLE, starter: bytes = SOURCE) -> Path:
    folder.mkdir(parents=True)
    (folder / "exercise.toml").write_text(toml)
    (folder / "oracle.py").write_text(oracle)
    (folder / "starter.cu").write_bytes(starter)
    return folder


def right(arrays: Arrays) -> Outcome:
    return Outcome(outputs={"y": 2 * arrays["x"]})


def pack(config: LaunchConfig) -> np.ndarray:
    """A Launch as a launch function leaves it in memory."""
    fields = (*config.grid, *config.block, config.shared_bytes, config.variant, config.workspace_bytes, 0, 0)
    data = struct.pack("<3I3IIiQii3Ii", *fields, *config.cluster, len(config.tensor_maps))
    for m in config.tensor_maps:
        sizes = (m.offset, *m.dim, *m.stride, *m.box, *m.element_stride)
        modes = (m.interleave, m.swizzle, m.l2_promotion, m.fill)
        data += struct.pack("<3i4xQ5Q4Q5I5I4i", m.array, m.type, m.rank, *sizes, *modes)
    return np.frombuffer(data.ljust(1280, b"\0"), np.uint8)


class FakeExecutor:
    """Fulfils Executor. `compute` stands for the kernel; it may raise what a dying child raises."""

    device = "cpu"

    def __init__(
        self,
        *,
        compilation: Compilation = COMPILED,
        launch: LaunchConfig | Callable[[Arrays], LaunchConfig | Outcome] = LAUNCH,
        compute: Callable[[Arrays], Outcome] = right,
        unconfined: tuple[str, ...] = (),
    ) -> None:
        self._compilation = compilation
        self._launch = launch
        self._compute = compute
        self.unconfined = unconfined
        self.opened = 0
        self.closed = 0
        self.ran: list[Invocation] = []
        self.seen: list[tuple[Array, ...]] = []

    def open(self) -> FakeExecutor:
        """What the pipeline calls to start a child."""
        self.opened += 1
        return self

    def compile(self, source: bytes, filename: str) -> Compilation:
        return self._compilation

    def run(self, invocations: tuple[Invocation, ...], arrays: tuple[Array, ...], *, deadline: float) -> Outcome:
        self.ran += invocations
        self.seen.append(arrays)
        data = {array.name: array.data for array in arrays}
        if not invocations[0].kernel.startswith("launch_"):
            return self._compute(data)
        answer = self._launch(data) if callable(self._launch) else self._launch
        return answer if isinstance(answer, Outcome) else Outcome(outputs={"launch": pack(answer)})

    def close(self) -> None:
        self.closed += 1


def changed(kernel: CompiledKernel, **changes: object) -> Compilation:
    """COMPILED with that kernel changed."""
    kernels = (msgspec.structs.replace(k, **changes) if k.name == kernel.name else k for k in KERNELS)
    return msgspec.structs.replace(COMPILED, kernels=tuple(kernels))
