"""What cuTensorMapEncodeTiled refuses. CUDA driver API, "Tensor Map Object Management"; compute capability 9.0."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from grader.model.execution import TensorMap

# Bytes of an element, by CU_TENSOR_MAP_DATA_TYPE_*. The packed types after these need compute capability 10.0.
ELEMENT_BYTES = (1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4)
FIRST_FLOAT = 6  # of these types; only floating-point types can be filled with NaN
MAX_RANK = 5
MAX_DIM = 1 << 32
MAX_STRIDE = 1 << 40
MAX_BOX = 256
MAX_STEP = 8  # of element_stride
LINE = 16  # bytes that everything is a multiple of
INTERLEAVES = 3
LEAST_INTERLEAVED_RANK = 3
INTERLEAVE_32B, SWIZZLE_32B = 2, 1
SWIZZLE_BYTES = (0, 32, 64, 128)  # the most bytes of the box's innermost dimension; 0: any number
PROMOTIONS = 4
FILLS = 2


class Refused(NamedTuple):
    """A member of TensorMap (`dim[1]`), and what is wrong with it."""

    member: str
    text: str


def refused(described: TensorMap) -> Iterator[Refused]:
    """Every limit that a tensor map breaks; if its type or rank means nothing, no more than that is known."""
    if not 0 <= described.type < len(ELEMENT_BYTES):
        known = f"a CU_TENSOR_MAP_DATA_TYPE_*, 0 to {len(ELEMENT_BYTES) - 1}"
        yield Refused("type", f"is {described.type}; it must be {known}")
        return
    if not 1 <= described.rank <= MAX_RANK:
        yield Refused("rank", f"is {described.rank}; it must be from 1 to {MAX_RANK}")
        return
    yield from _modes(described)
    yield from _memory(described)
    yield from _box(described)


def _modes(described: TensorMap) -> Iterator[Refused]:
    enums = (("interleave", described.interleave, INTERLEAVES), ("swizzle", described.swizzle, len(SWIZZLE_BYTES)),
             ("l2_promotion", described.l2_promotion, PROMOTIONS), ("fill", described.fill, FILLS))  # fmt: skip
    for name, value, count in enums:
        if not 0 <= value < count:
            yield Refused(name, f"is {value}; it must be from 0 to {count - 1}")
    if described.interleave and described.rank < LEAST_INTERLEAVED_RANK:
        yield Refused("interleave", f"needs a rank of at least {LEAST_INTERLEAVED_RANK}")
    if described.interleave == INTERLEAVE_32B and described.swizzle != SWIZZLE_32B:
        yield Refused("swizzle", "must be CU_TENSOR_MAP_SWIZZLE_32B with CU_TENSOR_MAP_INTERLEAVE_32B")
    if described.fill and described.type < FIRST_FLOAT:
        yield Refused("fill", "can be NaN only for a floating-point type")


def _memory(described: TensorMap) -> Iterator[Refused]:
    line = 2 * LINE if described.interleave == INTERLEAVE_32B else LINE
    if described.offset % line:
        yield Refused("offset", f"is {described.offset}; it must be a multiple of {line}")
    for i, size in enumerate(described.dim[: described.rank]):
        if not 1 <= size <= MAX_DIM:
            yield Refused(f"dim[{i}]", f"is {size}; it must be from 1 to 2^32")
    for i, stride in enumerate(described.stride[: described.rank - 1]):
        if stride % line:
            yield Refused(f"stride[{i}]", f"is {stride}; it must be a multiple of {line} bytes")
        elif stride >= MAX_STRIDE:
            yield Refused(f"stride[{i}]", f"is {stride}; it must be less than 2^40 bytes")


def _box(described: TensorMap) -> Iterator[Refused]:
    for i, size in enumerate(described.box[: described.rank]):
        if not 1 <= size <= MAX_BOX:
            yield Refused(f"box[{i}]", f"is {size}; it must be from 1 to {MAX_BOX}")
    for i, step in enumerate(described.steps):
        if step > MAX_STEP:
            yield Refused(f"element_stride[{i}]", f"is {step}; it must be from 1 to {MAX_STEP}")
    if described.interleave:
        return
    inner = described.box[0] * ELEMENT_BYTES[described.type]
    has = f"is {described.box[0]} elements, {inner} bytes"
    most = SWIZZLE_BYTES[described.swizzle] if 0 <= described.swizzle < len(SWIZZLE_BYTES) else 0
    if inner % LINE:
        yield Refused("box[0]", f"{has}; it must be a multiple of {LINE} bytes")
    elif most and inner > most:
        yield Refused("box[0]", f"{has}; this swizzle allows at most {most} bytes")
