"""FP32 grouped GEMM through cuBLAS, by every route of reference_kernels.cublas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import numpy as np

from grader.baselines.baseline import SINGLE_MATRIX, Baseline, Device, Route
from grader.baselines.work import FP32_UNITS, Work
from grader.errors import GraderError
from grader.model.exercise import Array, Case, Exercise
from reference_kernels import cublas

A, B, C = "A_concat", "B_concat", "C_concat"


class CublasFp32(Baseline):
    """Raises reference_kernels.cublas.CublasError where cuBLAS is missing or refuses."""

    name = "cublas"
    label = "cuBLAS"
    reads: ClassVar[Mapping[str, str]] = {A: "float32", B: "float32"}
    writes = (C, "float32")
    peak = FP32_UNITS
    routes: ClassVar[Mapping[str, Route]] = {
        "grouped": Route("cuBLAS, one grouped call"),
        "sequential": Route("cuBLAS, group by group"),
        "streams": Route("cuBLAS, parallel streams"),
        "strided": Route("cuBLAS, strided batch"),
        SINGLE_MATRIX: Route("cuBLAS, one matrix with as many FLOPs", decides=False),
        cublas.PADDED: Route("cuBLAS, all groups padded to the longest", decides=False),
    }
    math_mode = "CUBLAS_DEFAULT_MATH (FP32, no TF32)"

    def __init__(self, problem: Mapping[str, Any], device: Device) -> None:
        sizes = msgspec.convert(problem, cublas.GroupedSizes)
        self.output = output = device.allocate(np.dtype(np.float32), (sum(sizes.M_sizes), sizes.N))
        operands = [
            cublas.Operands(device.inputs[A].pointer(i), device.inputs[B].pointer(i), output.pointer(i))
            for i in range(device.sets)
        ]
        self._routes = cublas.Routes(sizes, operands, padded=bool(problem["padded"]))
        self.enqueue = self._routes.enqueue
        self.unavailable = self._routes.unavailable
        self.version = self._routes.version

    @classmethod
    def problem(cls, exercise: Exercise, case: Case) -> dict[str, Any]:
        """The padded copy takes memory, so it is made only where the exercise compares with it."""
        plain: dict[str, Any] = msgspec.to_builtins(_sizes(case))
        return plain | {"padded": cublas.PADDED in exercise.floors_of(case.name)}

    @classmethod
    def work(cls, _: Exercise, case: Case) -> Work:
        moved = sum(value.data.nbytes for value in case.arguments.values() if isinstance(value, Array))
        return Work(float(_sizes(case).flops), float(moved))

    def close(self) -> None:
        self._routes.close()


def _sizes(case: Case) -> cublas.GroupedSizes:
    sizes, K, N = (case.arguments.get(name) for name in ("M_sizes", "K", "N"))  # noqa: N806 - as in the papers
    if not isinstance(sizes, Array) or not isinstance(K, int) or not isinstance(N, int):
        raise GraderError(f"case {case.name} is not a grouped GEMM, so there is no baseline to time it against")
    return cublas.GroupedSizes(tuple(int(size) for size in sizes.data), K, N)
