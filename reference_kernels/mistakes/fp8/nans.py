"""Mistakes of an encoder with NaN."""

from __future__ import annotations

import numpy as np

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.fp8 import SIGN
from grader.reference_kernels.mistakes.fp8.encoding import Encoding
from grader.reference_kernels.mistakes.fp8.sections import NANS
from grader.reference_kernels.mistakes.mistake import Mistake

LOST = "NaN becomes the largest finite value; fminf and fmaxf do that"
SOME = "become the largest finite value: with an exponent of ones, any mantissa but 0 is a NaN"


def _to(code: int, e: Encoding) -> Array:
    """NaN becomes this code, whatever the sign."""
    return np.where(e.nan, np.uint8(code), e.right)


def _unless(recognised: int, e: Encoding) -> Array:
    """Only a NaN with a bit in this mask is recognised; the others become the largest value."""
    mantissa = e.x.view(np.uint32) & np.uint32(recognised)
    return e.but(e.nan & (mantissa == 0), e.fmt.largest)


NAN_MISTAKES: tuple[Mistake[Encoding], ...] = (
    Mistake("nan-lost", LOST, NANS, lambda e: e.but(e.nan, e.fmt.largest)),
    Mistake("nan-lost-unsigned", LOST, NANS, lambda e: _to(e.fmt.largest, e)),
    Mistake("nan-to-the-least", "NaN becomes the largest negative value; fminf and fmaxf do that", NANS,
            lambda e: _to(e.fmt.largest | SIGN, e)),
    Mistake("signalling-nan-lost", f"signalling NaN {SOME}", NANS, lambda e: _unless(0x00400000, e)),
    Mistake("small-nan-lost", f"NaN whose first mantissa bits are 0 {SOME}", NANS, lambda e: _unless(0x00700000, e)),
    Mistake("negative-nan-lost", "negative NaN become the largest negative value; a NaN can have either sign", NANS,
            lambda e: e.but(e.nan & (e.sign > 0), e.fmt.largest)),
    Mistake("nan-to-zero", "NaN becomes zero", NANS, lambda e: e.but(e.nan, 0)),
    Mistake("nan-to-plus-zero", "NaN becomes zero", NANS, lambda e: _to(0, e)),
    Mistake("nan-to-inf", "NaN becomes Inf", NANS, lambda e: e.but(e.nan, e.fmt.largest + 1)),
    Mistake("negatives-taken-for-nan", "negative numbers become NaN: the bits are compared with 0x7f800000 while the "
            "sign bit is still in them", NANS, lambda e: e.but(e.sign > 0, e.fmt.nan)),
)  # fmt: skip
