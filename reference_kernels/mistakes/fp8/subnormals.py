"""Mistakes with codes below the smallest normal number."""

from __future__ import annotations

import numpy as np

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.mistakes.fp8.encoding import Encoding
from grader.reference_kernels.mistakes.fp8.sections import CARRY, SUBNORMALS
from grader.reference_kernels.mistakes.mistake import Mistake

FLUSHED = "subnormals are flushed to zero"


def _below_the_smallest(e: Encoding) -> Array:
    return (e.magnitude < 2.0 ** (1 - e.fmt.bias - e.fmt.mantissa_bits)) & ~e.nan


def _smallest_normal(e: Encoding) -> int:
    return 1 << e.fmt.mantissa_bits


def _scaled(power: int, e: Encoding) -> Array:
    return np.where(e.subnormal, e.again(np.ldexp(e.x, power)), e.right)


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
)  # fmt: skip
