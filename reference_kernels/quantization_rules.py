"""Which of a submission's scales and bytes are correct. Bytes are judged against the submission's own scales."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grader.reference_kernels.arrays import Array, module_of, typed
from grader.reference_kernels.fp8 import E4M3, Format, midpoints
from grader.reference_kernels.quantization import Granularity, compute_scales, spread

SCALE_ULPS = 1  # the allowed distance of a scale from the FP32 quotient; amax · (1 / 448) is within it
QUOTIENT_ULPS = 2  # a byte may encode a value this far from x / scale; x · (1 / scale) is within it


def right_scales(scales: Any, x: Any, granularity: Granularity, fmt: Format = E4M3) -> Array:
    """Which FP32 scales are correct: within 1 ulp of the FP32 quotient. bool, of the scales' shape."""
    expected = compute_scales(x, granularity, fmt)
    got = typed(scales, np.float32, "scales")
    if got.shape != expected.shape:
        raise ValueError(f"scales must be {expected.shape}, got {got.shape}")
    # For positive FP32 numbers, bits count ulps. Those of negative numbers and NaN are far from every scale.
    return abs(got.view(np.int32).astype(np.int64) - expected.view(np.int32)) <= SCALE_ULPS


def admissible(
    codes: Any,
    x: Any,
    scales: Any,
    granularity: Granularity,
    fmt: Format = E4M3,
) -> Array:
    """Which bytes are correct: those that encode some value within 2 FP32 ulps of x / scale. bool, of x's shape.

    The scales are the submission's own, right or wrong; under one that is not positive and finite no byte is right.
    The rule is about real numbers: quotient - 2 ulp ≤ value ≤ quotient + 2 ulp, ulp that of the quotient's binade. A
    code's values reach to the midpoints beside it, which belong to it where it is even; the largest code's reach on.
    FP64 decides it exactly: x and scale have 24 bits, so their quotient is either one of the bounds' at most 27-bit
    numbers, which FP64 holds, or differs from it by more than FP64's half ulp.
    """
    x, codes = typed(x, np.float32, "x"), typed(codes, np.uint8, "codes")
    if codes.shape != x.shape:
        raise ValueError(f"codes must be {x.shape}, got {codes.shape}")
    own = spread(scales, granularity, x.shape).astype(np.float64)
    xp = module_of(x)
    usable = (own > 0) & (own < np.inf)
    quotient = x.astype(np.float64) / xp.where(usable, own, 1.0)
    slack = QUOTIENT_ULPS * _fp32_ulp(quotient)
    low, high, closed = (xp.asarray(table)[codes] for table in _reaches(fmt))
    lowest, highest = quotient - slack, quotient + slack
    inside = (low < highest) & (lowest < high)
    on_edge = closed & ((low == highest) | (lowest == high))
    return usable & (inside | on_edge)


def _fp32_ulp(value: Array) -> Array:
    """Of FP64 values: the distance of FP32 neighbours in their binade, 2⁻¹⁴⁹ at the least."""
    xp = module_of(value)
    _, exponent = xp.frexp(value)  # value = m · 2^exponent, 0.5 ≤ |m| < 1
    return xp.ldexp(xp.ones_like(value), xp.maximum(exponent - 24, -149))


@cache
def _reaches(fmt: Format) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """For each code the reals that round to it: from, to, whether both ends belong. NaN for the codes of NaN, Inf.

    0x00 and 0x80 meet at zero, and both own it: -0 and +0 are one number.
    """
    middle = midpoints(fmt).astype(np.float64)
    beyond = [np.nan] * (127 - fmt.largest)
    low = np.array([0.0, *middle, *beyond])
    high = np.array([*middle, np.inf, *beyond])
    even = np.arange(256) % 2 == 0
    return np.concatenate([low, -high]), np.concatenate([high, -low]), even
