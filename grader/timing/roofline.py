"""The device's own limits: a time below them is a measurement error, not a record."""

from __future__ import annotations

from typing import Literal

import msgspec

from grader.model.execution import Gpu

# Dense FLOPs per multiprocessor and clock, for the fastest type of its tensor cores, by major version of the
# compute capability (CUDA C++ programming guide, arithmetic throughput). Deliberately generous: this is the roof.
TENSOR_FLOPS = {8: 4096, 9: 8192, 10: 32768, 11: 32768, 12: 8192}
NEWEST = 65536  # for architectures not yet in this table

# FP32 multiply-adds per multiprocessor and clock, outside the tensor cores.
FP32_FMA = {(8, 0): 64}
FP32_FMA_ELSE = 128


class Work(msgspec.Struct, frozen=True):
    """The minimum work of a launch: its operations, reading each input once and writing each output once."""

    flops: float
    bytes: float

    @property
    def intensity(self) -> float:
        return self.flops / self.bytes


def least_seconds(gpu: Gpu, work: Work, *, read_bytes: float) -> float:
    """No launch can be faster. Counts only what must come from memory, since outputs may stay in the cache."""
    tensor = TENSOR_FLOPS.get(gpu.compute_capability[0], NEWEST) * gpu.sm_count * gpu.clock_hz
    return max(work.flops / tensor, read_bytes / gpu.memory_bytes_per_second)


def fp32_flops(gpu: Gpu) -> float:
    """FLOPs per second of all FP32 cores at the highest clock."""
    fma = FP32_FMA.get(gpu.compute_capability, FP32_FMA_ELSE)
    return 2.0 * fma * gpu.sm_count * gpu.clock_hz


def binding(gpu: Gpu, work: Work) -> Literal["compute", "memory"]:
    """The lower of the two roofs for FP32 arithmetic of this intensity."""
    ridge = fp32_flops(gpu) / gpu.memory_bytes_per_second
    return "compute" if work.intensity >= ridge else "memory"


def share_of_roof(gpu: Gpu, work: Work, seconds: float) -> float:
    """1.0 if the FP32 cores or memory are fully used."""
    return max(work.flops / fp32_flops(gpu), work.bytes / gpu.memory_bytes_per_second) / seconds
