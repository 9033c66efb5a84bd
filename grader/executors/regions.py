"""Device memory for timing: arrays of many sets, freed all at once."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from cupy_backends.cuda.api import runtime

ALIGNMENT = 256


class Memory:
    """Device memory that is freed all at once."""

    def __init__(self) -> None:
        self._pointers: list[int] = []

    def allocate(self, size: int) -> int:
        pointer = int(runtime.malloc(max(1, size)))
        self._pointers.append(pointer)
        return pointer

    def free(self) -> None:
        for pointer in self._pointers:
            runtime.free(pointer)
        self._pointers = []


class DeviceRegion:
    """One array of every set, one after another at a fixed stride."""

    def __init__(self, dtype: np.dtype, shape: Sequence[int], sets: int, memory: Memory) -> None:
        self.elements = prod(shape)
        self.dtype = dtype
        self.stride = -(-max(1, self.elements * dtype.itemsize) // ALIGNMENT) * ALIGNMENT
        self.bytes = self.stride * sets
        self.sets = sets
        self.base = memory.allocate(self.bytes)

    def pointer(self, index: int) -> int:
        return self.base + index * self.stride
