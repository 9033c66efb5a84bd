"""Mistakes with codes below the smallest normal number."""

from __future__ import annotations

import numpy as np

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.mistakes.fp8.encoding import Encoding
from grader.reference_kernels.mistakes.fp8.sections import CARRY, SUBNORMALS
from grader.reference_kernels.mistakes.mistake import Mistake

FP32_NORMAL = 2.0**-126
WORD = 32  # bits
FLUSHED = "subnormals are flushed to zero"


def _below_the_smallest(e: Encoding) -> Array:
    return (e.magnitude < 2.0 ** (1 - e.fmt.bias - e.fmt.mantissa_bits)) & ~e.nan


def _smallest_normal(e: Encoding) -> int:
    return 1 << e.fmt.mantissa_bits


def _scaled(power: int, e: Encoding) -> Array:
    return np.where(e.subnormal, e.again(np.ldexp(e.x, power)), e.right)


def _without_the_leading_one(e: Encoding) -> Array:
    """Only the bits that FP32 stores are shifted."""
    leading = np.ldexp(1.0, np.frexp(e.magnitude)[1] - 1)
    stored = np.where(e.magnitude < FP32_NORMAL, e.magnitude, e.magnitude - leading)
    return np.where(e.subnormal, e.again(np.copysign(stored, e.x).astype(np.float32)), e.right)


def _shifted_by_a_word(e: Encoding) -> Array:
    """Shifted right by more than 32 places: nothing is kept, and half a step is 0, which is less."""
    field = e.x.view(np.uint32) >> 23 & 0xFF
    shift = 24 - e.fmt.mantissa_bits + 127 - e.fmt.bias - field.astype(np.int64)
    return e.but((shift > WORD) & ~e.nan, 1)


FLUSHES: tuple[Mistake[Encoding], ...] = (
    Mistake("subnormals-flushed", FLUSHED, SUBNORMALS, lambda e: e.but(e.subnormal, 0)),
    Mistake("subnormal-codes-flushed", FLUSHED, SUBNORMALS, lambda e: e.but(e.code < _smallest_normal(e), 0)),
    Mistake("subnormals-flushed-unsigned", f"{FLUSHED}, without their sign", SUBNORMALS,
            lambda e: np.where(e.subnormal, np.uint8(0), e.right)),
    Mistake("tiny-flushed", "values below the smallest subnormal become zero; they must be rounded, too", SUBNORMALS,
            lambda e: e.but(_below_the_smallest(e), 0)),
    Mistake("subnormal-carry-lost", "a subnormal that rounds up to the smallest normal number becomes zero: the "
            "carry out of its mantissa is masked off", CARRY,
            lambda e: e.but(e.subnormal & (e.code == _smallest_normal(e)), 0)),
)  # fmt: skip

SIZES: tuple[Mistake[Encoding], ...] = (
    Mistake("subnormals-halved", "subnormals have half their size: their exponent is 1 - bias, not -bias", SUBNORMALS,
            lambda e: _scaled(-1, e)),
    Mistake("subnormals-doubled", "subnormals have twice their size: their exponent is 1 - bias", SUBNORMALS,
            lambda e: _scaled(1, e)),
    Mistake("subnormals-without-leading-1", "subnormals lose the leading 1 of x, which FP32 does not store: set "
            "bit 23 before the shift", SUBNORMALS, _without_the_leading_one),
    Mistake("shifted-by-a-word", "values far below the smallest subnormal, 0 among them, do not become 0: 1u << 32 "
            "does not fit in 32 bits, so limit the shift", SUBNORMALS, _shifted_by_a_word),
)  # fmt: skip
