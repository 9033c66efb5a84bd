"""FP8 grouped GEMM with block scales through cuBLASLt, by every route of grader.reference_kernels.fp8_cublaslt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import numpy as np

from grader.baselines.baseline import SINGLE_MATRIX, Baseline, Device, Route
from grader.baselines.sizes import bytes_of, grouped_sizes
from grader.baselines.work import TENSOR_CORES, Work
from grader.model.exercise import Case, Exercise
from grader.reference_kernels import cublas, fp8_cublaslt

A, A_SCALES, B, B_SCALES, C = "A_concat", "A_scales", "B_concat", "B_scales", "C_concat"


class CublasltFp8(Baseline):
    """Raises grader.reference_kernels.cublas.CublasError where cuBLASLt is missing or refuses."""

    name = "cublaslt"
    label = "cuBLASLt"
    reads: ClassVar[Mapping[str, str]] = {A: "uint8", A_SCALES: "float32", B: "uint8", B_SCALES: "float32"}
    writes = (C, "uint16")
    peak = TENSOR_CORES
    routes: ClassVar[Mapping[str, Route]] = {
        "sequence": Route("cuBLASLt, group by group"),
        "streams": Route("cuBLASLt, parallel streams"),
        SINGLE_MATRIX: Route("cuBLASLt, one matrix with as many FLOPs", decides=False),
    }
    least_capability = (9, 0)
    math_mode = "E4M3, scales of 1x128 and 128x128, FP32 accumulation, BF16 results"

    def __init__(self, problem: Mapping[str, Any], device: Device) -> None:
        sizes = msgspec.convert(problem, cublas.GroupedSizes)
        self.output = output = device.allocate(np.dtype(np.uint16), (sum(sizes.M_sizes), sizes.N))
        inputs = [device.inputs[name] for name in (A, A_SCALES, B, B_SCALES)]
        sets = [fp8_cublaslt.Arrays(*(array.pointer(i) for array in (*inputs, output))) for i in range(device.sets)]
        self._routes = fp8_cublaslt.Routes(sizes, sets)
        self.enqueue = self._routes.enqueue
        self.version = self._routes.version

    @classmethod
    def problem(cls, _: Exercise, case: Case) -> dict[str, Any]:
        plain: dict[str, Any] = msgspec.to_builtins(grouped_sizes(case))
        return plain

    @classmethod
    def work(cls, _: Exercise, case: Case) -> Work:
        return Work(float(grouped_sizes(case).flops), bytes_of(case))

    def poison(self, stream: Any) -> None:
        self._routes.poison(stream)

    def finish(self, stream: Any) -> None:
        self._routes.unpad(stream)

    def close(self) -> None:
        self._routes.close()
