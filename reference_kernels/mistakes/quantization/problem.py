"""One array, quantized, as its mistakes see it, and the sections of problem.md that explain them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.fp8 import E4M3
from grader.reference_kernels.mistakes.mistake import Mistake
from grader.reference_kernels.quantization import AMAX_FLOOR, Granularity, compute_amax, quantize

FLOOR, ABSOLUTE, SHARING, RAGGED, LAYOUT, DIVISION, CAST, SATURATION, ROUNDING, REDUCTION, UNWRITTEN, GROUPS = (
    "a-floor-for-the-scale",
    "amax-is-of-magnitudes",
    "which-elements-share-a-scale",
    "ragged-last-blocks",
    "where-a-scale-is-stored",
    "the-scale-the-right-way-round",
    "scale-first-then-cast",
    "saturation",
    "one-rounding",
    "the-reduction",
    "elements-never-written",
    "group-offsets",
)

FEW = 8  # wrong bytes, or scales in all, that more than one mistake may fit by chance
LARGEST = np.float32(E4M3.max)
EACH = Granularity("each element", (1,))

ScaleMistake = Mistake[Array]  # takes flat indices of scales


@dataclass(frozen=True)
class Quantized:
    """x, and what the definition makes of it."""

    x: np.ndarray
    granularity: Granularity
    codes: np.ndarray
    scales: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, granularity: Granularity) -> Quantized:
        return cls(x, granularity, *quantize(x, granularity))

    @cached_property
    def amax(self) -> np.ndarray:
        return np.asarray(compute_amax(self.x, self.granularity))

    @property
    def grid(self) -> tuple[int, ...]:
        return self.granularity.grid(self.x.shape)

    @property
    def axes(self) -> tuple[str, ...]:
        return ("row", "column") if self.x.ndim == 2 else ("group", "row", "column")

    @property
    def few(self) -> bool:
        """So few scales that a wrong one may be that of other elements by chance."""
        return self.scales.size < FEW

    def blocks_of(self, elements: np.ndarray) -> np.ndarray:
        """Flat indices of the scales that elements of x, flat indices too, belong to."""
        where = np.unravel_index(elements, self.x.shape)
        blocks = [w // b if b else np.zeros_like(w) for w, b in zip(where, self.granularity.block, strict=True)]
        return np.ravel_multi_index(blocks, self.grid)

    def elements_of(self, block: int) -> tuple[slice, ...]:
        """Where in x the block of this flat index lies."""
        at = np.unravel_index(block, self.grid)
        return tuple(
            slice(i * (b or n), min((i + 1) * (b or n), n))
            for i, b, n in zip(at, self.granularity.block, self.x.shape, strict=True)
        )

    def places_of(self, block: int) -> np.ndarray:
        """Flat indices of its elements."""
        axes = [np.arange(part.start, part.stop) for part in self.elements_of(block)]
        return np.asarray(np.ravel_multi_index(np.ix_(*axes), self.x.shape)).ravel()


@dataclass(frozen=True)
class Elements:
    """Some elements of x, all one-dimensional: where they lie, what scale they came with, what byte was stored."""

    right: Quantized
    scales: np.ndarray  # all that are stored
    at: np.ndarray  # flat indices
    got: np.ndarray

    @cached_property
    def x(self) -> np.ndarray:
        return np.asarray(self.right.x.ravel()[self.at])

    @cached_property
    def blocks(self) -> np.ndarray:
        return self.right.blocks_of(self.at)

    @cached_property
    def block(self) -> tuple[np.ndarray, ...]:
        """The block's number along each axis."""
        return np.unravel_index(self.blocks, self.right.grid)

    @cached_property
    def own(self) -> np.ndarray:
        return np.asarray(self.scales.ravel()[self.blocks])

    @cached_property
    def amax(self) -> np.ndarray:
        return np.asarray(self.right.amax.ravel()[self.blocks])

    @cached_property
    def quotient(self) -> np.ndarray:
        return np.asarray(self.x / self.own)

    @cached_property
    def magnitude(self) -> np.ndarray:
        return np.asarray(np.abs(self.quotient))

    @cached_property
    def sign(self) -> np.ndarray:
        """0x80 or 0, for each."""
        return np.asarray(np.signbit(self.quotient).astype(np.uint8) << 7)


def scale_mistake(name: str, sentence: str, hint: str, make: Callable[[], Array]) -> ScaleMistake:
    """`make` gives all scales; NaN stands for one that cannot be predicted."""
    made = cache(make)
    return Mistake(name, sentence, hint, lambda at: np.asarray(made()).ravel()[at])


def scale_of(amax: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(amax, AMAX_FLOOR) / LARGEST)


def through_half(value: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return value.astype(np.float16).astype(np.float32)


def through_bfloat(value: np.ndarray) -> np.ndarray:
    """To the nearest, ties to even."""
    bits = np.ascontiguousarray(value, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def at(axis: int, index: int | slice, dimensions: int) -> tuple[slice | int, ...]:
    """An index along one axis, everything along the others."""
    return tuple(index if i == axis else slice(None) for i in range(dimensions))
