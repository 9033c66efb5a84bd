"""The products of a Mixture-of-Experts layer through cuBLAS: gate and up, then down, once for each layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from grader.baselines.baseline import Baseline, Device, Enqueue, Route
from grader.baselines.sizes import bytes_of
from grader.baselines.work import FP32_UNITS, Work
from grader.errors import GraderError
from grader.model.exercise import Array, Case, Exercise
from grader.reference_kernels import cublas
from grader.reference_kernels.cublas import GroupedSizes

LAYOUTS = 2  # contiguous and masked: a submission multiplies the same rows in both


class CublasMoe(Baseline):
    """Routing, SwiGLU and everything else that a layer needs is free for it.

    Raises grader.reference_kernels.cublas.CublasError if cuBLAS is missing or returns an error.
    """

    name = "cublas"
    label = "cuBLAS"
    reads: ClassVar[Mapping[str, str]] = dict.fromkeys(("A", "W_gate_up", "h", "W_down"), "float32")
    writes = ("down_out", "float32")
    peak = FP32_UNITS
    routes: ClassVar[Mapping[str, Route]] = {
        "grouped": Route("cuBLAS, one grouped call for each product"),
        "sequential": Route("cuBLAS, expert by expert"),
        "streams": Route("cuBLAS, parallel streams"),
    }
    math_mode = "CUBLAS_DEFAULT_MATH (FP32, no TF32)"

    def __init__(self, problem: Mapping[str, Any], device: Device) -> None:
        gate_up, down = _products(problem["M_sizes"], problem["hidden"], problem["intermediate"])
        rows = sum(gate_up.M_sizes)
        self.output = device.allocate(np.dtype(np.float32), (rows, down.N))
        product = device.allocate(np.dtype(np.float32), (rows, gate_up.N))
        inputs = device.inputs
        of_gate_up = [
            cublas.Operands(inputs["A"].pointer(i), inputs["W_gate_up"].pointer(i), product.pointer(i))
            for i in range(device.sets)
        ]
        of_down = [
            cublas.Operands(inputs["h"].pointer(i), inputs["W_down"].pointer(i), self.output.pointer(i))
            for i in range(device.sets)
        ]
        self._both = cublas.Routes(gate_up, of_gate_up), cublas.Routes(down, of_down)
        self.enqueue = {name: self._layer(name) for name in self.routes if name in self._both[0].enqueue}
        self.unavailable = self._both[0].unavailable
        self.version = self._both[0].version

    def _layer(self, name: str) -> Enqueue:
        def enqueue(stream: Any, index: int) -> None:
            for _ in range(LAYOUTS):
                for product in self._both:
                    product.enqueue[name](stream, index)

        return enqueue

    @classmethod
    def problem(cls, _: Exercise, case: Case) -> dict[str, Any]:
        m_sizes, hidden, intermediate = (case.arguments.get(n) for n in ("M_sizes", "hidden", "intermediate"))
        if not isinstance(m_sizes, Array) or not isinstance(hidden, int) or not isinstance(intermediate, int):
            raise GraderError(f"case {case.name} is not an MoE layer, so there is no baseline to time it against")
        return {"M_sizes": tuple(m_sizes.data.tolist()), "hidden": hidden, "intermediate": intermediate}

    @classmethod
    def work(cls, exercise: Exercise, case: Case) -> Work:
        flops = sum(product.flops for product in _products(**cls.problem(exercise, case)))
        return Work(float(LAYOUTS * flops), bytes_of(case))

    def close(self) -> None:
        for product in self._both:
            product.close()


def _products(M_sizes: tuple[int, ...], hidden: int, intermediate: int) -> tuple[GroupedSizes, GroupedSizes]:  # noqa: N803
    return GroupedSizes(tuple(M_sizes), hidden, 2 * intermediate), GroupedSizes(tuple(M_sizes), intermediate, hidden)
