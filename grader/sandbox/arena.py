"""Arrays in a file without a name that parent and child both hold, so that they need not travel.

The parent writes and reads with system calls and never maps the file: what it hands on is a copy of its own,
and a child that cuts the file short causes a short read, no crash.
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
from grader.sandbox.messages import Slot

ALIGNMENT = mmap.PAGESIZE
UNWRITTEN = 0xFF  # outputs arrive as NaN, never as what a run before left there
NUMBERS = "biuf"  # kinds of dtype that a kernel can be handed; above all no objects


class ShortReadError(Exception):
    """The file is shorter than the arrays in it."""


def place(arrays: Iterable[Array]) -> tuple[tuple[Slot, ...], int]:
    """Where each array lies, and the bytes of them all."""
    slots: list[Slot] = []
    end = 0
    for array in arrays:
        if any(slot.name == array.name for slot in slots):
            raise ValueError(f"two arrays are named {array.name}")
        if array.data.dtype.kind not in NUMBERS:
            raise TypeError(f"array {array.name} holds {array.data.dtype}, which no kernel can read")
        slots.append(Slot(array.name, array.data.dtype.str, array.data.shape, end, array.access))
        end += -(-array.data.nbytes // ALIGNMENT) * ALIGNMENT
    return tuple(slots), end


def store(file: IO[bytes], arrays: Iterable[Array], slots: Iterable[Slot], size: int) -> None:
    """Write what the kernel gets to see; the file grows where it must. Raises GraderError where it cannot."""
    try:
        if os.fstat(file.fileno()).st_size < size:
            os.ftruncate(file.fileno(), size)
        for array, slot in zip(arrays, slots, strict=True):
            if array.access != "out" and array.data.nbytes:
                _write(file.fileno(), _bytes(np.ascontiguousarray(array.data)), slot.offset)
    except OSError as error:
        raise GraderError(
            f"this machine has no room for {size >> 20} MiB of arrays: {error.strerror}; look at its memory, and at "
            "the largest file that it allows (ulimit -f)"
        ) from None


def fetch(file: IO[bytes], slot: Slot) -> np.ndarray:
    """A copy that the child cannot change any more. Raises ShortReadError."""
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


def attach(descriptor: int, slots: Iterable[Slot], size: int) -> dict[str, np.ndarray]:
    """In the child: every array where it lies, to be used in place."""
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
