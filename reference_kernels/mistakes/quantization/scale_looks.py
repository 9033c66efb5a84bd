"""What wrong scales have in common, where no mistake gives all of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.fp8 import E4M3
from grader.reference_kernels.mistakes import untouched
from grader.reference_kernels.mistakes.mistake import Cause
from grader.reference_kernels.mistakes.quantization.problem import (
    ABSOLUTE,
    DIVISION,
    FLOOR,
    REDUCTION,
    ROUNDING,
    SHARING,
    Quantized,
)
from grader.reference_kernels.mistakes.search import Output, spread
from grader.reference_kernels.quantization import AMAX_FLOOR

FEW_ULPS = 16  # a scale that is wrong by so little has the right amax, and 448 a little wrong
BLOCKS_SAMPLED = 12  # of wrong scales whose blocks are searched for them

Scales = Output[Array]


def at_a_glance(output: Scales) -> Iterator[Cause]:
    """What needs no mistake to be tried."""
    wrong = output.got[output.bad]
    if untouched.untouched(wrong).all():  # no scale is NaN
        yield Cause(untouched.NAME, "these scales were never written", untouched.HINT)
    elif (wrong == 1).all():
        yield Cause("all-one", "the wrong scales are all 1, whatever x holds", DIVISION)
    elif (ulps := int(np.abs(bits(wrong) - bits(output.right[output.bad])).max())) <= FEW_ULPS:
        sentence = f"the wrong scales are up to {ulps} ulp off; 1 is allowed, and amax / 448 in FP32 is that exact"
        yield Cause("few-ulps", sentence, ROUNDING)


def bits(scales: np.ndarray) -> np.ndarray:
    """Whose differences count ulps, between positive numbers."""
    return np.ascontiguousarray(scales, np.float32).view(np.int32).astype(np.int64)


def floor(output: Scales) -> Iterator[Cause]:
    """The wrong ones are alike and too large, and no scale is smaller. One alone may be the scale of anything."""
    got, expected = output.got, output.right[output.bad]
    lowest = got[output.bad[0]]
    alike = output.bad.size > 1 and np.isfinite(lowest) and (got[output.bad] == lowest).all()
    if alike and (expected < lowest).all() and not (got < lowest).any():
        amax = lowest * np.float32(E4M3.max)
        yield Cause(
            "another-floor",
            f"no scale is below {lowest:g}, that of amax {amax:g}; the floor under amax is 1e-6",
            FLOOR,
        )


def by_parts(right: Quantized, output: Scales) -> Iterator[Cause]:
    """Every wrong scale is that of one of its block's own elements, or of one beyond: which, is not known."""
    samples = spread(output.bad, BLOCKS_SAMPLED)
    values, expected = output.got[samples], output.right[samples]
    if not (np.isfinite(values) & (values > 0)).all():
        yield from _unusable(output.got[output.bad])
    elif (values < expected).all():
        inside = (np.abs(right.x[right.elements_of(block)]) for block in samples.tolist())
        if all(_is_scale_of_one(value, magnitudes) for value, magnitudes in zip(values, inside, strict=True)):
            sentence = "each wrong scale is that of a part of its block: some elements are left out of amax"
            yield Cause("part-of-the-block", sentence, REDUCTION)
    elif (values > expected).all():
        magnitudes = np.abs(right.x)
        if all(_is_scale_of_one(value, magnitudes) for value in values):
            sentence = "each wrong scale is too large: elements of another block count in its amax"
            yield Cause("more-than-the-block", sentence, SHARING)


def _unusable(wrong: np.ndarray) -> Iterator[Cause]:
    if np.isposinf(wrong).all():
        sentence = (
            "the wrong scales are infinite, and no x is: does a shuffle read from lanes that have exited, "
            "or are not in its mask? What it gets is undefined"
        )
        yield Cause("infinite", sentence, REDUCTION)
    elif (wrong == 0).all():
        yield Cause("zero", "the wrong scales are all 0", FLOOR)
    elif (wrong < 0).all():
        yield Cause("negative", "the wrong scales are negative: amax is the largest |x|", ABSOLUTE)


def _is_scale_of_one(scale: np.float32, magnitudes: np.ndarray) -> bool:
    near = np.float64(scale) * E4M3.max
    return bool((np.abs(np.maximum(magnitudes, AMAX_FLOOR) - near) <= near * 2.0**-21).any())
