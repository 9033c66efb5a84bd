"""Tensor maps as this engine keeps them: the 128 bytes of a parameter, which only copies of tensors read.

A GPU's own format is not published. Here the fields stand one after the other, as Layout says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from grader.ptx.ir import Layout
from grader.ptx.structs import Struct

TENSOR_MAP_BYTES = 128
MAX_RANK = 5
MAGIC = 0x70616D5F_726F736E  # what is none, or was changed, shows
SWIZZLE_BYTES = (0, 32, 64, 128)  # that are swizzled together, by CU_TENSOR_MAP_SWIZZLE_*
ELEMENT_BYTES = (1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4)  # by CU_TENSOR_MAP_DATA_TYPE_*

# Sizes and strides of dimensions that there are not are 1 and 0, so that all maps have five.
FORMAT = Layout(
    magic="i64",
    base="i64",  # address of the first element
    **{f"stride{i}": "i64" for i in range(1, MAX_RANK)},  # bytes; of dimension 0 an element's
    **{f"dim{i}": "i32" for i in range(MAX_RANK)},  # elements less 1, which may be as many as 2^32
    boxes="i64",  # elements less 1 of a copy in each dimension: a byte each
    steps="i32",  # of the elements of dimensions 1 to 4: a byte each
    modes="i32",  # type, rank, swizzle, and fill with interleave << 4: a byte each
    pad="i64",
)
assert FORMAT.size <= TENSOR_MAP_BYTES


@dataclass(frozen=True)
class TensorMap:
    """An argument that describes how tiles of an array are copied; enums are those of cuda.h.

    `array`: the number of the argument that is its array. `dim`, `box` and `step` are in elements, innermost first;
    `offset` and `stride` in bytes.
    """

    array: int
    type: int
    offset: int
    dim: tuple[int, ...]
    stride: tuple[int, ...]
    box: tuple[int, ...]
    step: tuple[int, ...]
    interleave: int = 0
    swizzle: int = 0
    fill: int = 0

    @property
    def rank(self) -> int:
        return len(self.dim)

    @property
    def box_bytes(self) -> int:
        """Bytes that a load brings, with those that lie outside the tensor."""
        size = ELEMENT_BYTES[self.type]
        for extent, step in zip(self.box, self.step, strict=True):
            size *= -(-extent // step)
        return size


def encode(described: TensorMap, array: int) -> np.ndarray:
    """The bytes of a parameter; `array` is the address of its array."""
    record = Struct(FORMAT, np.zeros(TENSOR_MAP_BYTES, np.uint8))
    missing = MAX_RANK - described.rank
    record.set(magic=MAGIC, base=array + described.offset)
    record.set(**{f"stride{i}": size for i, size in enumerate(described.stride, 1)})
    record.set(**{f"dim{i}": size - 1 for i, size in enumerate(described.dim)})
    record.set(
        boxes=_bytes(extent - 1 for extent in described.box),
        steps=_bytes((*described.step[1:], *(1,) * min(missing, MAX_RANK - 1))),
        modes=_bytes((described.type, described.rank, described.swizzle, described.fill | described.interleave << 4)),
    )
    return record.memory


def _bytes(values: Iterable[int]) -> int:
    return int.from_bytes(bytes(values), "little")
