"""Arrays in an unnamed file that parent and child share, so that they need not be sent.

The parent reads and writes with system calls and never maps the file: it passes on its own copy,
and a child that truncates the file causes a short read, not a crash.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from math import prod
from typing import IO

import numpy as np

from grader.errors import GraderError
from grader.model.exercise import Array
from grader.sandbox.messages import ArenaSlot

ALIGNMENT = mmap.PAGESIZE
UNWRITTEN = 0xFF  # outputs start as NaN, never as the result of an earlier run
NUMBERS = "biuf"  # kinds of dtype that a kernel can take; in particular no objects


class ShortReadError(Exception):
    """The file is shorter than the arrays in it."""


def place(arrays: Iterable[Array]) -> tuple[tuple[ArenaSlot, ...], int]:
    """The position of each array, and the total number of bytes."""
    slots: list[ArenaSlot] = []
    end = 0
    for array in arrays:
        if any(slot.name == array.name for slot in slots):
            raise ValueError(f"two arrays are named {array.name}")
        if array.data.dtype.kind not in NUMBERS:
            raise TypeError(f"array {array.name} is {array.data.dtype}, which no kernel can read")
        slots.append(ArenaSlot(array.name, array.data.dtype.str, array.data.shape, end, array.access))
        end += -(-array.data.nbytes // ALIGNMENT) * ALIGNMENT
    return tuple(slots), end


def store(file: IO[bytes], arrays: Iterable[Array], slots: Iterable[ArenaSlot], size: int) -> None:
    """Write the arrays for the kernel; the file grows if needed. Raises GraderError if it cannot."""
    try:
        if os.fstat(file.fileno()).st_size < size:
            os.ftruncate(file.fileno(), size)
        for array, slot in zip(arrays, slots, strict=True):
            if array.access != "out" and array.data.nbytes:
                _write(file.fileno(), _bytes(np.ascontiguousarray(array.data)), slot.offset)
    except OSError as error:
        raise GraderError(
            f"this machine has no room for {size >> 20} MiB of arrays: {error.strerror}; check its memory and its "
            "limit on file sizes (ulimit -f)"
        ) from None


def fetch(file: IO[bytes], slot: ArenaSlot) -> np.ndarray:
    """A copy that the child can no longer change. Raises ShortReadError."""
    array = np.empty(slot.shape, np.dtype(slot.dtype))
    if not array.nbytes:
        return array
    view, offset = _bytes(array), slot.offset
    while view:
        count = os.preadv(file.fileno(), [view], offset)
        if count == 0:
            raise ShortReadError(slot.name)
        view, offset = view[count:], offset + count
    return array


def attach(descriptor: int, slots: Iterable[ArenaSlot], size: int) -> dict[str, np.ndarray]:
    """In the child: every array, mapped in place."""
    memory = mmap.mmap(descriptor, max(size, ALIGNMENT))
    arrays = {}
    for slot in slots:
        dtype = np.dtype(slot.dtype)
        flat = np.frombuffer(memory, dtype, prod(slot.shape), slot.offset if prod(slot.shape) else 0)
        arrays[slot.name] = flat.reshape(slot.shape)
        if slot.access == "out":
            flat.view(np.uint8)[:] = UNWRITTEN
    return arrays


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _write(descriptor: int, view: memoryview, offset: int) -> None:
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count
