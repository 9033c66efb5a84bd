"""What both ways of rounding can have wrong: subnormals, saturation, NaN, signs, carry, bias."""

from __future__ import annotations

from functools import partial

import numpy as np

from reference_kernels.arrays import Array
from reference_kernels.fp8 import E4M3, E5M2, SIGN, Format, encode, encode_stochastic, values
from reference_kernels.fp8_mistakes.encoding import Encoding, other
from reference_kernels.fp8_mistakes.mistake import BIAS, CARRY, NANS, SATURATION, SIGNS, SUBNORMALS, Mistake

LOST_NAN = "NaN becomes the largest finite value; fminf and fmaxf do that"
SOME_NAN = "become the largest finite value: with an exponent of ones, any mantissa but 0 is a NaN"
TO_NAN = "what is too large becomes NaN, not the largest finite value"
TO_INF = "what is too large becomes Inf, not the largest finite value"


def _without_sign(code: int, where: Array, e: Encoding) -> Array:
    return np.where(where, np.uint8(code), e.right)


def _runs_over(e: Encoding) -> Array:
    """The code goes on counting, and its low seven bits are kept."""
    exponent = np.frexp(np.where(e.beyond & np.isfinite(e.magnitude), e.magnitude, 1.0))[1].astype(np.int64) - 1
    steps = np.rint(np.ldexp(e.magnitude, e.fmt.mantissa_bits - exponent))
    code = ((exponent - (1 - e.fmt.bias)) << e.fmt.mantissa_bits) + np.where(np.isfinite(steps), steps, 0).astype(int)
    return e.but(e.beyond & np.isfinite(e.magnitude), code & 0x7F)


def _carry_lost(e: Encoding) -> Array:
    """A mantissa that rounds up to the next power of two starts again, and the exponent stays."""
    mantissas = 1 << e.fmt.mantissa_bits
    low = np.floor(e.steps)
    carried = (low % mantissas == mantissas - 1) & ((e.right & 0x7F) > e.first + low) & ~e.nan
    return e.but(carried, (e.right & 0x7F) - np.uint8(mantissas))


def _two_s_complement(e: Encoding) -> Array:
    return np.where(e.sign > 0, np.uint8(0) - (e.right & np.uint8(0x7F)), e.right)


def _early(code: int, e: Encoding) -> Array:
    return e.but(((e.right & 0x7F) > code) & ~e.nan, code)


def _scaled(power: int, e: Encoding) -> Array:
    return _encoded(np.ldexp(e.x, power), e.fmt, e.random)


def _encoded(x: Array, fmt: Format, random: Array | None) -> Array:
    return encode(x, fmt) if random is None else encode_stochastic(x, random, fmt)


def _subnormals_scaled(power: int, e: Encoding) -> Array:
    return np.where(e.subnormal, _scaled(power, e), e.right)


def _infinite(e: Encoding) -> Array:
    return np.isinf(e.magnitude)


def _above(e: Encoding) -> Array:
    return e.magnitude > e.fmt.max


def _unless(recognised: int, e: Encoding) -> Array:
    """Of the NaN only those are one that have a bit of this mask; the others are too large."""
    mantissa = e.x.view(np.uint32) & np.uint32(recognised)
    return e.but(e.nan & (mantissa == 0), e.fmt.largest)


def _below_the_smallest(e: Encoding) -> Array:
    return (e.magnitude < 2.0 ** (1 - e.fmt.bias - e.fmt.mantissa_bits)) & ~e.nan


def _other_format(e: Encoding) -> Array:
    return _encoded(e.x, other(e.fmt), e.random)


SPECIAL: tuple[Mistake[Encoding], ...] = (
    Mistake("subnormals are flushed to zero", SUBNORMALS, lambda e: e.but(e.subnormal, 0)),
    Mistake("subnormals are flushed to zero", SUBNORMALS,
            lambda e: e.but((e.right & 0x7F) < 1 << e.fmt.mantissa_bits, 0)),
    Mistake("subnormals are flushed to zero, without their sign", SUBNORMALS,
            lambda e: _without_sign(0, e.subnormal, e)),
    Mistake("what is below the smallest subnormal becomes zero; it has to round, too", SUBNORMALS,
            lambda e: e.but(_below_the_smallest(e), 0)),
    Mistake(TO_NAN, SATURATION, lambda e: e.but(e.beyond, e.fmt.nan)),
    Mistake(TO_NAN, SATURATION, lambda e: e.but(_above(e), e.fmt.nan)),
    Mistake("what is too large becomes NaN, and Inf alone the largest finite value", SATURATION,
            lambda e: e.but(e.beyond & ~_infinite(e), e.fmt.nan)),
    Mistake(TO_INF, SATURATION, lambda e: e.but(e.beyond, e.fmt.largest + 1)),
    Mistake(TO_INF, SATURATION, lambda e: e.but(_above(e), e.fmt.largest + 1)),
    Mistake("Inf becomes NaN, not the largest finite value", SATURATION, lambda e: e.but(_infinite(e), e.fmt.nan)),
    Mistake("Inf stays Inf, and has to become the largest finite value", SATURATION,
            lambda e: e.but(_infinite(e) & (e.fmt is E5M2), e.fmt.largest + 1)),  # E4M3 has a NaN there
    Mistake("Inf becomes zero", SATURATION, lambda e: e.but(_infinite(e), 0)),
    Mistake("nothing saturates: an exponent that is too large runs over", SATURATION, _runs_over),
    *(Mistake(f"it saturates too early, at {values(fmt)[code]:g}", SATURATION, partial(_early, code))
      for fmt, codes in ((E4M3, (0x77, 0x7D, 0x78)), (E5M2, (0x7A, 0x77, 0x78))) for code in codes),
    Mistake(LOST_NAN, NANS, lambda e: e.but(e.nan, e.fmt.largest)),
    Mistake(LOST_NAN, NANS, lambda e: _without_sign(e.fmt.largest, e.nan, e)),
    Mistake("NaN becomes the largest negative value; fminf and fmaxf do that", NANS,
            lambda e: _without_sign(e.fmt.largest | SIGN, e.nan, e)),
    Mistake(f"signalling NaN {SOME_NAN}", NANS, partial(_unless, 0x00400000)),
    Mistake(f"NaN whose first mantissa bits are 0 {SOME_NAN}", NANS, partial(_unless, 0x00700000)),
    Mistake("negative NaN become the largest negative value; a NaN may have either sign", NANS,
            lambda e: e.but(e.nan & (e.sign > 0), e.fmt.largest)),
    Mistake("NaN becomes zero", NANS, lambda e: e.but(e.nan, 0)),
    Mistake("NaN becomes zero", NANS, lambda e: _without_sign(0, e.nan, e)),
    Mistake("NaN becomes Inf", NANS, lambda e: e.but(e.nan, e.fmt.largest + 1)),
    Mistake("the sign of zero is lost: x < 0 is false for -0", SIGNS, lambda e: _without_sign(0, e.x == 0, e)),
    Mistake("what rounds to zero loses its sign", SIGNS, lambda e: _without_sign(0, (e.right & 0x7F) == 0, e)),
    Mistake("the sign is lost", SIGNS, lambda e: e.right & 0x7F),
    Mistake("the sign is the wrong way round", SIGNS, lambda e: e.right ^ SIGN),
    Mistake("negative codes are two's complements: FP8 has a sign and a magnitude", SIGNS, _two_s_complement),
    Mistake("a carry out of the mantissa is lost: the exponent has to follow", CARRY, _carry_lost),
    Mistake("the bias is too large by 1: every code is that of 2x", BIAS, partial(_scaled, 1)),
    Mistake("the bias is too small by 1: every code is that of x/2", BIAS, partial(_scaled, -1)),
    Mistake("the bias is the other format's", BIAS, partial(_scaled, 8)),
    Mistake("the bias is the other format's", BIAS, partial(_scaled, -8)),
    Mistake("subnormals have half their size: their exponent is 1 - bias, not -bias", SUBNORMALS,
            partial(_subnormals_scaled, -1)),
    Mistake("subnormals have twice their size: their exponent is 1 - bias", SUBNORMALS,
            partial(_subnormals_scaled, 1)),
    Mistake("these are codes of the other format", BIAS, _other_format),
)  # fmt: skip
