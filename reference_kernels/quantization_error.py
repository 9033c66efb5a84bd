"""Error bounds of quantization to FP8 and back, derived here and attained in the tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from grader.reference_kernels.arrays import Array, as_array, module_of
from grader.reference_kernels.fp8 import E4M3, Format, values


def element_bound(x: Any, scale: Any, fmt: Format = E4M3) -> Array:
    """No |x' - x| is larger, x' being what `dequantize` gives for what `quantize` made of x; broadcasts, FP64.

        max(|x| / (2^(m+1) + 1), scale · 2^(-bias - m)) + 2⁻²² |x|      m mantissa bits; E4M3: |x|/17, scale/1024

    Let q = x / scale. Steps between codes are 2^(e-m) where 2^e ≤ |q| < 2^(e+1), and 2^(1-bias-m) below the smallest
    normal; rounding to nearest errs by half a step. The second term is half the smallest step, times scale. In a
    binade half a step is 2^(e-m-1), relatively most at the first midpoint, 2^e (1 + 2^(-m-1)): 1 / (2^(m+1) + 1), the
    first term. Saturation adds nothing: q exceeds the largest value by FP32 rounding at most, far below half a step.
    FP32 rounds x / scale once and decode · scale once: relatively 2⁻²⁴ each, and |decode · scale| ≤ 2.01 |x| wherever
    it is not 0: together with the second order less than 2⁻²² |x|. FP32 must hold x': |x| < 2¹²⁷ is enough.
    """
    x, scale = as_array(x), as_array(scale)
    magnitude = abs(x.astype(np.float64))
    relative = magnitude / (2 ** (fmt.mantissa_bits + 1) + 1)
    absolute = scale.astype(np.float64) * 2.0 ** -(fmt.bias + fmt.mantissa_bits)
    return module_of(x).maximum(relative, absolute) + 2.0**-22 * magnitude


def block_bound(scales: Any, fmt: Format = E4M3) -> Array:
    """No |x' - x| in a block of this scale is larger; FP64, of the scales' shape.

    Half the step of the topmost binade, where amax lies: E4M3's 256 to 448 have steps of 32, so 16 · scale, which is
    amax / 28; E5M2's 4096 · scale is amax / 14. The FP32 roundings add 2⁻²² · 448 · scale at most. A scale that was
    rounded up to a power of two is at most twice as large, and so is the bound.
    """
    top = float(values(fmt)[fmt.largest])
    below = float(values(fmt)[fmt.largest - 1])
    return as_array(scales).astype(np.float64) * ((top - below) / 2 + 2.0**-22 * top)


def flush_bound(scales: Any, fmt: Format = E4M3) -> Array:
    """Every |x| up to this becomes 0, but for FP32 rounding: half the smallest step, scale / 1024 for E4M3; FP64.

    That is amax · 2⁻¹⁸·⁸ for E4M3: within a block a value 460 000 times smaller than the largest is lost. A smaller
    block has its outlier to itself, which is all that finer scales gain: FP8 has an exponent of its own.
    """
    return as_array(scales).astype(np.float64) * 2.0 ** -(fmt.bias + fmt.mantissa_bits)
