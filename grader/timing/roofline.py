"""What the device itself allows: a time below it is an error of the measurement, no record."""

from __future__ import annotations

from typing import Literal

from grader.baselines.work import TENSOR_CORES, Peak, Work
from grader.model.execution import Gpu


def least_seconds(gpu: Gpu, work: Work, *, read_bytes: float) -> float:
    """No launch can be faster, by whatever units. Only what must come from memory counts: outputs may stay in the
    cache."""
    return max(work.flops / TENSOR_CORES.flops_per_second(gpu), read_bytes / gpu.memory_bytes_per_second)


def binding(gpu: Gpu, work: Work, peak: Peak | None) -> Literal["compute", "memory"]:
    """Which roof is the lower one for this intensity."""
    if peak is None:
        return "memory"
    ridge = peak.flops_per_second(gpu) / gpu.memory_bytes_per_second
    return "compute" if work.intensity >= ridge else "memory"


def share_of_roof(gpu: Gpu, work: Work, peak: Peak | None, seconds: float) -> float:
    """1.0 where the units or the memory are as busy as they can be."""
    in_units = work.flops / peak.flops_per_second(gpu) if peak else 0.0
    return max(in_units, work.bytes / gpu.memory_bytes_per_second) / seconds
