"""Structs in memory that Python and generated code share."""

from __future__ import annotations

from typing import Any

import numpy as np

from grader.ptx.ir import Layout


def pointer_to(array: np.ndarray[Any, Any]) -> int:
    return int(array.ctypes.data)


class Struct:
    """One struct of a Layout, in memory of its own or at an offset of an array of bytes."""

    def __init__(self, layout: Layout, memory: np.ndarray[Any, Any] | None = None, at: int = 0) -> None:
        self.layout, self.at = layout, at
        self.memory = np.zeros(layout.size, np.uint8) if memory is None else memory

    @property
    def address(self) -> int:
        return pointer_to(self.memory) + self.at

    def _field(self, name: str) -> slice:
        start = self.at + self.layout.offset[name]
        return slice(start, start + Layout.SIZES[self.layout.type[name]])

    def get(self, name: str) -> int:
        return int.from_bytes(self.memory[self._field(name)].tobytes(), "little")

    def set(self, **values: int) -> None:
        for name, value in values.items():
            field = self._field(name)
            self.memory[field] = as_bytes(value, field.stop - field.start)


def as_bytes(value: int, size: int) -> np.ndarray[Any, Any]:
    """An integer of any sign, wrapped to `size` bytes."""
    return np.frombuffer((value % (1 << 8 * size)).to_bytes(size, "little"), np.uint8)
