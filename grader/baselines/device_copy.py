"""A device copy of the same bytes: the baseline for memory-bound work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from grader.baselines.baseline import Baseline, Device, Route
from grader.baselines.work import Work
from grader.model.exercise import Array, Case, Exercise


class DeviceCopy(Baseline):
    """Reads half of the bytes and writes as many, from one place to another for each set."""

    name = "copy"
    label = "the device copy"
    routes: ClassVar[Mapping[str, Route]] = {"copy": Route("device copy of the same bytes")}

    def __init__(self, problem: Mapping[str, Any], device: Device) -> None:
        from cupy_backends.cuda.api import runtime

        half = (max(1, int(problem["moved_bytes"]) // 2),)
        self._from, self._to = (device.allocate(np.dtype(np.uint8), half) for _ in range(2))
        runtime.memset(self._from.base, 0, self._from.bytes)
        self.enqueue = {"copy": self._copy}

    @classmethod
    def problem(cls, exercise: Exercise, case: Case) -> dict[str, Any]:
        return {"moved_bytes": moved_bytes(exercise, case)}

    @classmethod
    def work(cls, exercise: Exercise, case: Case) -> Work:
        return Work(0.0, float(moved_bytes(exercise, case)))

    def _copy(self, stream: Any, index: int) -> None:
        from cupy_backends.cuda.api import runtime

        source, target = self._from.pointer(index), self._to.pointer(index)
        runtime.memcpyAsync(target, source, self._from.elements, runtime.memcpyDeviceToDevice, stream.ptr)


def moved_bytes(exercise: Exercise, case: Case) -> int:
    """Every input once for each kernel that reads it, every output once."""
    read, written = 0, {}
    for kernel in exercise.kernels:
        for parameter in kernel.parameters:
            value = case.arguments[parameter.key]
            if isinstance(value, Array) and value.access == "in":
                read += value.data.nbytes
            elif isinstance(value, Array):
                written[parameter.key] = value.data.nbytes
    return read + sum(written.values())
