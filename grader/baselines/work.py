"""What a launch must do at the least, and the units of a GPU that bound how fast it can."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from grader.model.execution import Gpu


class Work(msgspec.Struct, frozen=True):
    """Its operations (0 where none count), and each input read and each output written once."""

    flops: float
    bytes: float

    @property
    def intensity(self) -> float:
        return self.flops / self.bytes


class Peak(msgspec.Struct, frozen=True):
    """Units of a multiprocessor. FLOPs in a clock by major version of the compute capability, or by both numbers
    where they differ (CUDA C++ programming guide, arithmetic throughput)."""

    label: str  # "the FP32 units"
    flops: Mapping[int | tuple[int, int], int]
    otherwise: int  # an architecture that the table does not know

    def flops_per_second(self, gpu: Gpu) -> float:
        """Of all multiprocessors at the highest clock, dense."""
        capability = gpu.compute_capability
        in_a_clock = self.flops.get(capability) or self.flops.get(capability[0]) or self.otherwise
        return in_a_clock * gpu.sm_count * gpu.clock_hz


# Multiply-adds outside the tensor cores: 64 lanes on compute capability 7.5 and 8.0, 128 elsewhere.
FP32_UNITS = Peak("the FP32 units", {(7, 5): 128, (8, 0): 128}, otherwise=256)

# The fastest type that the tensor cores have: FP8, where there is one. The unknown is generous on purpose.
TENSOR_CORES = Peak("the tensor cores", {8: 4096, 9: 8192, 10: 32768, 11: 32768, 12: 8192}, otherwise=65536)
