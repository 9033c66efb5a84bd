"""FP8 with integers: the definition used to judge the FP8 exercises.

Formats of "FP8 Formats for Deep Learning" (Micikevicius et al., 2022), one byte per value:

    E4M3   s eeee mmm    bias  7   largest 448     no Inf        NaN s.1111.111
    E5M2   s eeeee mm    bias 15   largest 57344   Inf s.11111.00  NaN s.11111.01, .10, .11

    normal      e > 0:  (-1)^s · 2^(e - bias) · 1.mmm
    subnormal   e = 0:  (-1)^s · 2^(1 - bias) · 0.mmm

The code without its sign, read as an integer, increases with the value, one step per FP8 value. So encoding
means finding |x| on the scale of codes: a whole number is that code; anything in between is rounded.

FP8 is stored as uint8. Arrays are NumPy or CuPy, of any shape; torch tensors are accepted through DLPack.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grader.reference_kernels.arrays import Array, module_of, typed

SIGN = 0x80  # of an FP8 code
FP32_INF = 0x7F800000  # the bits of +Inf; without the sign, NaNs are larger


@dataclass(frozen=True)
class Format:
    """An FP8 format; codes are given without the sign."""

    name: str
    exponent_bits: int
    mantissa_bits: int
    bias: int
    largest: int  # code of the largest finite value
    infinity: int | None
    nan: int  # the NaN code that encoding produces

    @property
    def max(self) -> float:
        """448 or 57344."""
        return float(values(self)[self.largest])


E4M3 = Format("E4M3", exponent_bits=4, mantissa_bits=3, bias=7, largest=0x7E, infinity=None, nan=0x7F)
E5M2 = Format("E5M2", exponent_bits=5, mantissa_bits=2, bias=15, largest=0x7B, infinity=0x7C, nan=0x7F)


def encode(x: Any, fmt: Format = E4M3) -> Array:
    """FP32 to codes: round to nearest even; saturate to finite values, including ±Inf; NaN keeps its sign."""
    bits = typed(x, np.float32, "x").view(np.uint32)
    fixed, places = _place(bits, fmt, deepest=25)
    # Half a step less one, plus one if the truncated code is odd: only then does a tie carry.
    half = module_of(bits).left_shift(np.uint32(1), places - 1)
    odd = (fixed >> places) & 1
    return _finish(bits, (fixed + (half - 1) + odd) >> places, fmt)


def encode_stochastic(x: Any, random: Any, fmt: Format = E4M3) -> Array:
    """FP32 to codes with stochastic rounding: `random` has 32 uniform bits (uint32) for each x.

    If lo ≤ |x| < hi are the neighbouring codes' values, rounds up if random < 2³² · (|x| - lo)/(hi - lo), exactly.
    From the largest value on, gives the largest; NaN and ±Inf as in `encode`. So the mean over all random values is
    x, to one part in 2³² of a step; exactly x unless |x| has bits more than 32 places below the step.
    """
    bits = typed(x, np.float32, "x").view(np.uint32)
    draw = typed(random, np.uint32, "random")
    if draw.shape != bits.shape:
        raise ValueError(f"random must have one value per x: {bits.shape}, got {draw.shape}")
    # From 57 places on, a 24-bit significand makes 2³² · fraction less than 1: only random = 0 is below it.
    fixed, places = (part.astype(np.uint64) for part in _place(bits, fmt, deepest=57))
    one = module_of(bits).left_shift(np.uint64(1), places)
    fraction = fixed & (one - 1)  # in units of 2^-places; below 2^24, so the next line stays below 2^58
    threshold = ((fraction << 32) + (one - 1)) >> places  # rounded up: no integer is in between
    return _finish(bits, (fixed >> places) + (draw < threshold), fmt)


def decode(codes: Any, fmt: Format = E4M3) -> Array:
    """Codes (uint8) to FP32, exact."""
    codes = typed(codes, np.uint8, "codes")
    return module_of(codes).asarray(values(fmt))[codes]


def is_nan(codes: Any, fmt: Format = E4M3) -> Array:
    """Which codes are a NaN, of either sign."""
    return (typed(codes, np.uint8, "codes") & 0x7F) > max(fmt.largest, fmt.infinity or 0)


@cache
def values(fmt: Format) -> NDArray[np.float32]:
    """The value of each of the 256 codes, read-only."""
    code = np.arange(256)
    magnitude = code & 0x7F
    exponent = magnitude >> fmt.mantissa_bits
    mantissa = magnitude & ((1 << fmt.mantissa_bits) - 1)
    significand = np.where(exponent > 0, mantissa | 1 << fmt.mantissa_bits, mantissa)
    power = np.maximum(exponent, 1) - fmt.bias - fmt.mantissa_bits
    value: NDArray[np.float32] = np.ldexp(significand.astype(np.float32), power.astype(np.int32))
    value[magnitude > fmt.largest] = np.nan
    if fmt.infinity is not None:
        value[magnitude == fmt.infinity] = np.inf
    value = np.where(code & SIGN, -value, value)
    value.flags.writeable = False
    return value


@cache
def midpoints(fmt: Format) -> NDArray[np.float32]:
    """Midpoints between neighbouring finite codes without sign, exact and ascending: [c] is between c and c + 1."""
    finite = values(fmt)[: fmt.largest + 1]
    middle: NDArray[np.float32] = (finite[1:] + finite[:-1]) / np.float32(2)
    middle.flags.writeable = False
    return middle


def _place(bits: Array, fmt: Format, deepest: int) -> tuple[Array, Array]:
    """(fixed, places): |x| on the scale of codes is fixed / 2^places, exactly, unless `deepest` limits places.

        FP32   s eeeeeeee mmmmmmmmmmmmmmmmmmmmmmm    bias 127

    If x is in FP8's normal range, re-biasing the exponent suffices; FP32's extra mantissa bits are the places. Below,
    the codes are multiples of the smallest subnormal: the significand itself, shifted by as much as x is smaller.
    A `deepest` above 24 keeps 0 < fixed / 2^places < 1/2, as without the limit.
    """
    xp = module_of(bits)
    magnitude = bits & 0x7FFFFFFF
    exponent = magnitude >> 23
    smallest_normal = 128 - fmt.bias  # its FP32 exponent field; its FP8 exponent field is 1
    rebias = np.uint32((smallest_normal - 1) << 23)
    normal = xp.maximum(magnitude, rebias) - rebias
    mantissa = bits & 0x7FFFFF
    significand = xp.where(exponent > 0, mantissa | 0x800000, mantissa)
    fixed = xp.where(exponent >= smallest_normal, normal, significand)
    too_small = xp.maximum(exponent, np.uint32(smallest_normal)) - exponent
    return fixed, xp.minimum(too_small + (23 - fmt.mantissa_bits), np.uint32(deepest))


def _finish(bits: Array, code: Array, fmt: Format) -> Array:
    """Saturate, encode NaN, and restore the sign."""
    xp = module_of(bits)
    code = xp.minimum(code, fmt.largest)
    code = xp.where((bits & 0x7FFFFFFF) > FP32_INF, fmt.nan, code)
    return ((bits >> 24) & SIGN).astype(np.uint8) | code.astype(np.uint8)
