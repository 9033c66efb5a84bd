"""Mistakes of an encoder with the sign, the exponent and the carry."""

from __future__ import annotations

import numpy as np

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.fp8 import SIGN
from grader.reference_kernels.mistakes.fp8.encoding import Encoding, other
from grader.reference_kernels.mistakes.fp8.sections import BIAS, CARRY, SIGNS
from grader.reference_kernels.mistakes.mistake import Mistake


def _carry_lost(e: Encoding) -> Array:
    """A mantissa that rounds up to the next power of two becomes 0, but the exponent does not go up."""
    mantissas = 1 << e.fmt.mantissa_bits
    low = np.floor(e.steps)
    carried = (low % mantissas == mantissas - 1) & (e.code > e.first + low) & ~e.nan
    return e.but(carried, e.code - np.uint8(mantissas))


SIGN_MISTAKES: tuple[Mistake[Encoding], ...] = (
    Mistake("sign-of-zero-lost", "the sign of zero is lost: x < 0 is false for -0", SIGNS,
            lambda e: np.where(e.x == 0, np.uint8(0), e.right)),
    Mistake("sign-lost-at-zero", "values that round to zero lose their sign", SIGNS,
            lambda e: np.where(e.code == 0, np.uint8(0), e.right)),
    Mistake("sign-lost", "the sign is lost", SIGNS, lambda e: e.code),
    Mistake("sign-from-bit-7", "the sign is taken from bit 7 of x; it is bit 31", SIGNS,
            lambda e: e.code | (e.x.view(np.uint32) & np.uint32(SIGN)).astype(np.uint8)),
    Mistake("sign-in-bit-0", "the sign is stored in bit 0 of the code; it belongs in bit 7", SIGNS,
            lambda e: np.where(e.nan, e.right, e.code | e.sign >> 7)),
    Mistake("sign-flipped", "the sign is flipped", SIGNS, lambda e: e.right ^ SIGN),
    Mistake("two-s-complement", "negative codes are two's complements: FP8 has a sign and a magnitude", SIGNS,
            lambda e: np.where(e.sign > 0, np.uint8(0) - e.code, e.right)),
)  # fmt: skip

EXPONENTS: tuple[Mistake[Encoding], ...] = (
    Mistake("carry-lost", "a carry out of the mantissa is lost; the exponent must go up by 1", CARRY, _carry_lost),
    Mistake("bias-too-large", "the bias is too large by 1: every code is that of 2x", BIAS,
            lambda e: e.again(np.ldexp(e.x, 1))),
    Mistake("bias-too-small", "the bias is too small by 1: every code is that of x/2", BIAS,
            lambda e: e.again(np.ldexp(e.x, -1))),
    Mistake("bias-of-e4m3", "the bias is the other format's", BIAS, lambda e: e.again(np.ldexp(e.x, 8))),
    Mistake("bias-of-e5m2", "the bias is the other format's", BIAS, lambda e: e.again(np.ldexp(e.x, -8))),
)  # fmt: skip

FORMATS: tuple[Mistake[Encoding], ...] = (
    Mistake("other-format", "these are codes of the other format", BIAS, lambda e: e.again(e.x, other(e.fmt))),
)
