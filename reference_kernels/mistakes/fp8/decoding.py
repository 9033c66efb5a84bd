"""Mistakes in decoding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.fp8 import E4M3, SIGN, Format, decode, is_nan
from grader.reference_kernels.mistakes.fp8.encoding import other
from grader.reference_kernels.mistakes.fp8.sections import BIAS, NANS, SIGNS, SUBNORMALS
from grader.reference_kernels.mistakes.mistake import Mistake


@dataclass(frozen=True)
class Decoding:
    """Codes and their right FP32 values: vectors of one length."""

    codes: Array
    right: Array
    fmt: Format

    @cached_property
    def exponent(self) -> Array:
        return ((self.codes & 0x7F) >> self.fmt.mantissa_bits).astype(np.int64)

    @cached_property
    def mantissa(self) -> Array:
        return (self.codes & ((1 << self.fmt.mantissa_bits) - 1)).astype(np.int64)

    @cached_property
    def nan(self) -> Array:
        return is_nan(self.codes, self.fmt)

    @cached_property
    def zero(self) -> Array:
        return (self.codes & 0x7F) == 0

    @cached_property
    def subnormal(self) -> Array:
        return (self.exponent == 0) & ~self.zero

    @cached_property
    def top(self) -> Array:
        """The largest exponent, which IEEE formats reserve for Inf and NaN."""
        return self.exponent == (1 << self.fmt.exponent_bits) - 1

    def normal(self, power: int = 0) -> Array:
        """Every code read as 1.m, times 2^power."""
        significand = 1 + self.mantissa / (1 << self.fmt.mantissa_bits)
        return self.signed(np.ldexp(significand, self.exponent - self.fmt.bias + power))

    def signed(self, value: Array | float) -> Array:
        return np.where(self.codes & SIGN, -np.asarray(value, np.float32), np.asarray(value, np.float32))

    def but(self, where: Array, value: Array | float) -> Array:
        """The right values, except there; `value` comes with its sign."""
        return np.where(where, np.asarray(value, np.float32), self.right)


def _ieee(d: Decoding) -> Array:
    return d.but(d.top, np.where(d.mantissa == 0, d.signed(np.inf), np.float32(np.nan)))


def _sign_in_the_exponent(d: Decoding) -> Array:
    negative = (d.codes & SIGN > 0) & ~d.nan & ~np.isinf(d.right)
    return d.but(negative, d.normal(1 << d.fmt.exponent_bits))


def _other_format(d: Decoding) -> Array:
    return decode(d.codes, other(d.fmt))


def _four_exponent_bits(d: Decoding) -> Array:
    """The mask of E4M3's exponent; it leaves E4M3 right."""
    lost = d.exponent & 0xF
    power = np.maximum(lost, 1) - d.fmt.bias
    value = np.ldexp((lost > 0) + d.mantissa / (1 << d.fmt.mantissa_bits), power)
    return d.but((d.exponent > 0xF) & ~d.nan & ~np.isinf(d.right), d.signed(value))


def _mantissa_lost(d: Decoding) -> Array:
    """m / 8 of two ints is 0: normals become powers of two, and subnormals zero."""
    power = np.ldexp(1.0, d.exponent - d.fmt.bias)
    return d.but(~(d.nan | np.isinf(d.right)), d.signed(np.where(d.exponent == 0, 0, power)))


LEADING_ONE = "with exponent 0 there is no leading 1"
MANTISSA = "the mantissa is lost: m / 8 (in E5M2 m / 4) of two ints is 0; one of them must be a float"

DECODINGS: tuple[Mistake[Decoding], ...] = (
    Mistake("mantissa-divided-as-int", MANTISSA, SUBNORMALS, _mantissa_lost),
    Mistake("mantissa-of-normals-divided-as-int", f"in normal numbers {MANTISSA}", SUBNORMALS,
            lambda d: np.where(d.exponent == 0, d.right, _mantissa_lost(d))),
    Mistake("mantissa-of-subnormals-divided-as-int", f"in subnormals {MANTISSA}", SUBNORMALS,
            lambda d: np.where(d.exponent == 0, _mantissa_lost(d), d.right)),
    Mistake("subnormals-as-normals", f"subnormals are read as normals: {LEADING_ONE}", SUBNORMALS,
            lambda d: d.but(d.subnormal, d.normal())),
    Mistake("exponent-0-as-normals", f"subnormals and zero are read as normals: {LEADING_ONE}", SUBNORMALS,
            lambda d: d.but(d.exponent == 0, d.normal())),
    Mistake("subnormals-with-leading-1", f"subnormals are read with a leading 1: {LEADING_ONE}", SUBNORMALS,
            lambda d: d.but(d.subnormal, d.normal(1))),
    Mistake("exponent-0-with-leading-1", f"subnormals and zero are read with a leading 1: {LEADING_ONE}", SUBNORMALS,
            lambda d: d.but(d.exponent == 0, d.normal(1))),
    Mistake("zero-as-normal", "zero is read as a normal number", SUBNORMALS, lambda d: d.but(d.zero, d.normal())),
    Mistake("subnormals-flushed", "subnormals are flushed to zero", SUBNORMALS,
            lambda d: d.but(d.subnormal, d.signed(0))),
    Mistake("subnormals-flushed-unsigned", "subnormals are flushed to zero, without their sign", SUBNORMALS,
            lambda d: d.but(d.subnormal, 0)),
    Mistake("subnormals-halved", "subnormals have half their size: their exponent is 1 - bias, not -bias", SUBNORMALS,
            lambda d: d.but(d.subnormal, d.right / 2)),
    Mistake("subnormals-doubled", "subnormals have twice their size: their exponent is 1 - bias", SUBNORMALS,
            lambda d: d.but(d.subnormal, d.right * 2)),
    Mistake("nan-as-number", "NaN is read as a number", NANS, lambda d: d.but(d.nan, d.normal())),
    Mistake("nan-as-inf", "NaN is read as Inf", NANS, lambda d: d.but(d.nan, d.signed(np.inf))),
    Mistake("nan-as-zero", "NaN is read as zero", NANS, lambda d: d.but(d.nan, d.signed(0))),
    Mistake("nan-as-largest", "NaN is read as the largest finite value", NANS,
            lambda d: d.but(d.nan, d.signed(d.fmt.max))),
    Mistake("inf-and-nan-as-numbers", "Inf and NaN are read as numbers: the largest exponent of E5M2 is theirs", NANS,
            lambda d: d.but(d.top, d.normal())),
    Mistake("inf-as-number", "Inf is read as a number", NANS, lambda d: d.but(np.isinf(d.right), d.normal())),
    Mistake("inf-unsigned", "the sign of Inf is lost", SIGNS, lambda d: d.but(np.isinf(d.right), np.inf)),
    Mistake("inf-as-nan", "Inf is read as NaN: 0x7c is Inf, and only the codes above it are NaN", NANS,
            lambda d: d.but(np.isinf(d.right), np.nan)),
    Mistake("inf-as-largest", "Inf is read as the largest finite value", NANS,
            lambda d: d.but(np.isinf(d.right), d.signed(d.fmt.max))),
    Mistake("top-exponent-as-ieee", "the largest exponent is read as Inf and NaN: in E4M3 it holds numbers, and one "
            "NaN", NANS, _ieee),
    Mistake("top-exponent-as-nan", "the largest exponent is read as NaN: in E4M3 only its last code is one", NANS,
            lambda d: d.but(d.top & (d.fmt is E4M3), np.nan)),
    Mistake("four-exponent-bits", "only four bits of the exponent are read; E5M2 has five", BIAS,
            _four_exponent_bits),
    Mistake("sign-in-the-exponent", "the sign is read as a bit of the exponent, too", SIGNS, _sign_in_the_exponent),
    Mistake("sign-of-zero-lost", "the sign of zero is lost", SIGNS, lambda d: d.but(d.zero, 0)),
    Mistake("sign-lost", "the sign is lost", SIGNS, lambda d: np.abs(d.right)),
    Mistake("sign-flipped", "the sign is flipped", SIGNS, lambda d: -d.right),
    Mistake("bias-too-large", "the bias is too large by 1: every value is half of what it should be", BIAS,
            lambda d: np.ldexp(d.right, -1)),
    Mistake("bias-too-small", "the bias is too small by 1: every value is twice what it should be", BIAS,
            lambda d: np.ldexp(d.right, 1)),
    Mistake("bias-of-e4m3", "the bias is the other format's", BIAS, lambda d: np.ldexp(d.right, 8)),
    Mistake("bias-of-e5m2", "the bias is the other format's", BIAS, lambda d: np.ldexp(d.right, -8)),
    Mistake("other-format", "the codes are read as those of the other format", BIAS, _other_format),
    Mistake("codes-as-ints", "the codes are read as integers", BIAS, lambda d: d.codes.astype(np.float32)),
    Mistake("codes-as-signed-ints", "the codes are read as signed integers", BIAS,
            lambda d: d.codes.view(np.int8).astype(np.float32)),
)  # fmt: skip
