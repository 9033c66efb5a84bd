"""Mistakes with values that are too large for FP8."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.fp8 import E4M3, Format, values
from grader.reference_kernels.mistakes.fp8.encoding import Encoding
from grader.reference_kernels.mistakes.fp8.sections import SATURATION
from grader.reference_kernels.mistakes.mistake import ANY_CODE, Mistake

TO_NAN = "values that are too large become NaN, not the largest finite value"
TO_INF = "values that are too large become Inf, not the largest finite value"
BYTE = 8  # bits
POSITIVE_ALONE = "only positive numbers saturate: fminf compares x before its sign is taken off"


def _counted_on(e: Encoding) -> Array:
    """Codes beyond the largest, as the exponent goes on counting without a limit. Inf gives ANYTHING."""
    finite = np.where(e.beyond & ~e.infinite, e.magnitude, 1.0)
    exponent = np.frexp(finite)[1].astype(np.int64) - 1
    steps = np.rint(np.ldexp(finite, e.fmt.mantissa_bits - exponent)).astype(np.int64)
    return ((exponent - (1 - e.fmt.bias)) << e.fmt.mantissa_bits) + steps


def _out_of_reach(e: Encoding) -> Array:
    """So large that adding 2^(23 - mantissa bits) times as much, to round, gives Inf; or Inf. Anything may come."""
    return e.magnitude >= 2.0 ** (128 - (23 - e.fmt.mantissa_bits))


def _runs_over(e: Encoding) -> Array:
    return e.but(e.beyond & ~e.infinite, _counted_on(e) & 0x7F)


def _runs_over_a_byte(e: Encoding) -> Array:
    """Inf has an exponent like any other: all but the lower eight bits are lost when the code becomes a byte."""
    exponent = np.frexp(np.where(e.infinite | ~_above(e), 1.0, e.magnitude))[1].astype(np.int64) - 1
    exponent = np.where(e.infinite, 128, exponent)
    steps = np.ldexp(np.where(e.infinite, 2.0**128, e.magnitude), e.fmt.mantissa_bits - exponent)
    whole = np.rint(steps) if e.draws is None else np.floor(steps) + (e.chance < steps - np.floor(steps))
    codes = ((exponent - (1 - e.fmt.bias)) << e.fmt.mantissa_bits) + whole.astype(np.int64)
    return e.but(_above(e) if e.draws is not None else e.beyond, codes & 0xFF)


def _ends_at(code: int, e: Encoding) -> Array:
    """With the largest code of the other format."""
    counted = np.where(e.infinite, code, np.minimum(_counted_on(e), code))
    return e.but(e.beyond, counted)


def _negatives_run_over(e: Encoding) -> Array:
    codes = e.but(e.beyond & (e.sign > 0), _counted_on(e) & 0x7F).astype(np.int16)
    return np.where(_out_of_reach(e) & (e.sign > 0), ANY_CODE, codes)


def _negatives_run_into_the_next(e: Encoding) -> Array:
    """Four in a word: what has more than eight bits changes the byte above it."""
    own = _negatives_run_over(e)
    below = [replace(e, x=x, right=np.zeros_like(e.right), draws=None, below=()) for x in e.below]
    anything = own == ANY_CODE
    for one in below:
        anything |= _out_of_reach(one) & (one.sign > 0)
    for one in below[:1]:
        own = np.where(one.beyond & (one.sign > 0), own | _counted_on(one) >> BYTE, own)
    return np.where(anything, ANY_CODE, own)


def _above(e: Encoding) -> Array:
    return e.magnitude > e.fmt.max


def saturation(fmt: Format) -> Iterator[Mistake[Encoding]]:
    nan, infinity = fmt.nan, fmt.largest + 1  # E4M3 has a NaN there
    yield Mistake("overflow-to-nan", TO_NAN, SATURATION, lambda e: e.but(e.beyond, nan))
    yield Mistake("above-the-largest-to-nan", TO_NAN, SATURATION, lambda e: e.but(_above(e), nan))
    yield Mistake("finite-overflow-to-nan", "values that are too large become NaN, only Inf the largest finite value",
                  SATURATION, lambda e: e.but(e.beyond & ~e.infinite, nan))  # fmt: skip
    yield Mistake("overflow-to-inf", TO_INF, SATURATION, lambda e: e.but(e.beyond, infinity))
    yield Mistake("above-the-largest-to-inf", TO_INF, SATURATION, lambda e: e.but(_above(e), infinity))
    yield Mistake("inf-to-nan", "Inf becomes NaN, not the largest finite value", SATURATION,
                  lambda e: e.but(e.infinite, nan))  # fmt: skip
    if fmt.infinity is not None:
        yield Mistake("inf-kept", "Inf stays Inf; it must become the largest finite value", SATURATION,
                      lambda e: e.but(e.infinite, infinity))  # fmt: skip
    yield Mistake("inf-to-zero", "Inf becomes zero", SATURATION, lambda e: e.but(e.infinite, 0))
    yield Mistake("runs-over", "nothing saturates: an exponent that is too large overflows", SATURATION, _runs_over)
    yield Mistake("runs-over-a-byte", "nothing saturates: a code of more than eight bits loses its upper bits",
                  SATURATION, _runs_over_a_byte)  # fmt: skip
    if fmt is not E4M3:
        sentence = f"the largest code is that of E4M3, 0x{E4M3.largest:02x}; in {fmt.name} it is 0x{fmt.largest:02x}"
        yield Mistake("largest-of-e4m3", sentence, SATURATION, partial(_ends_at, E4M3.largest))
    yield Mistake("positives-saturate", POSITIVE_ALONE, SATURATION, _negatives_run_over)
    yield Mistake(
        "positives-saturate-packed",
        f"{POSITIVE_ALONE}; the rest overflow into the next byte of their word",
        SATURATION,
        _negatives_run_into_the_next,
    )
    yield Mistake("positives-saturate-else-nan", POSITIVE_ALONE, SATURATION,
                  lambda e: e.but(e.beyond & (e.sign > 0), nan))  # fmt: skip
    yield Mistake("positives-saturate-else-inf", POSITIVE_ALONE, SATURATION,
                  lambda e: e.but(e.beyond & (e.sign > 0), infinity))  # fmt: skip
    for code in (0x77, 0x7D, 0x78, 0x7B) if fmt is E4M3 else (0x7A, 0x77, 0x78):
        yield Mistake(f"saturated-at-{code:02x}", f"it saturates too early, at {values(fmt)[code]:g}", SATURATION,
                      lambda e, code=code: e.but((e.code > code) & ~e.nan, code))  # type: ignore[misc]  # fmt: skip
