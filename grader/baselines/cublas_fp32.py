"""FP32 grouped GEMM through cuBLAS, by every route of grader.reference_kernels.cublas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import numpy as np

from grader.baselines.baseline import SINGLE_MATRIX, Baseline, Device, Route
from grader.baselines.sizes import bytes_of, grouped_sizes
from grader.baselines.work import FP32_UNITS, Work
from grader.model.exercise import Case, Exercise
from grader.reference_kernels import cublas

A, B, C = "A_concat", "B_concat", "C_concat"


class CublasFp32(Baseline):
    """Raises grader.reference_kernels.cublas.CublasError if cuBLAS is missing or returns an error."""

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
        plain: dict[str, Any] = msgspec.to_builtins(grouped_sizes(case))
        return plain | {"padded": cublas.PADDED in exercise.floors_of(case.name)}

    @classmethod
    def work(cls, _: Exercise, case: Case) -> Work:
        return Work(float(grouped_sizes(case).flops), bytes_of(case))

    def close(self) -> None:
        self._routes.close()
