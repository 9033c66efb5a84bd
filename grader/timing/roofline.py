"""The device's own limits: a time below them is a measurement error, not a record."""

from __future__ import annotations

from typing import Literal

from grader.baselines.work import TENSOR_CORES, Peak, Work
from grader.model.execution import Gpu


def least_seconds(gpu: Gpu, work: Work, *, read_bytes: float) -> float:
    """No launch can be faster, whatever units it uses. Counts only what must come from memory, since outputs may stay
    in the cache."""
    return max(work.flops / TENSOR_CORES.flops_per_second(gpu), read_bytes / gpu.memory_bytes_per_second)


def binding(gpu: Gpu, work: Work, peak: Peak | None) -> Literal["compute", "memory"]:
    """The lower of the two roofs for this intensity."""
    if peak is None:
        return "memory"
    ridge = peak.flops_per_second(gpu) / gpu.memory_bytes_per_second
    return "compute" if work.intensity >= ridge else "memory"


def share_of_roof(gpu: Gpu, work: Work, peak: Peak | None, seconds: float) -> float:
    """1.0 if the units or memory are fully used."""
    in_units = work.flops / peak.flops_per_second(gpu) if peak else 0.0
    return max(in_units, work.bytes / gpu.memory_bytes_per_second) / seconds
