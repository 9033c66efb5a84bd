"""What wrong bytes have in common, before and after the mistakes are tried."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.fp8 import E4M3, SIGN, encode, midpoints
from grader.reference_kernels.mistakes import untouched
from grader.reference_kernels.mistakes.mistake import Cause
from grader.reference_kernels.mistakes.quantization.problem import (
    ABSOLUTE,
    FLOOR,
    LAYOUT,
    REDUCTION,
    ROUNDING,
    SATURATION,
    UNWRITTEN,
    Elements,
)
from grader.reference_kernels.mistakes.search import Output, spread

SAMPLE = 4096  # wrong bytes that are looked at
NEAR_A_TIE = 2.0**-16  # of the quotient: what is wrong only there is wrong by a few ulp

Bytes = Output[Elements]


def at_a_glance(output: Bytes) -> Iterator[Cause]:
    """What needs no mistake to be tried."""
    e = _some(output)
    if untouched.untouched(output.got).all():
        yield untouched.NO_BYTE
    elif (_is_nan(e.got) & (e.magnitude >= E4M3.max * (1 - 2.0**-21))).all():
        yield Cause("nan-at-the-top", "the largest elements become NaN: they have to saturate at 448", SATURATION)
    elif untouched.untouched(e.got).all() and untouched.untouched(e.own).all():
        yield Cause(untouched.NAME, "these bytes were never written", untouched.HINT)
    elif not ((e.own > 0) & np.isfinite(e.own)).any():
        yield _under_no_scale(e.own)
    else:
        yield from _right_for_the_right_scale(e)


def _some(output: Bytes) -> Elements:
    return output.part(spread(output.bad, SAMPLE)).inputs


def _is_nan(codes: Array) -> Array:
    return (codes & 0x7F) > E4M3.largest


def _under_no_scale(own: Array) -> Cause:
    scales = "the scales of these bytes"
    if untouched.untouched(own).all():
        return Cause(untouched.NAME, f"{scales} were never written: fix that first", untouched.HINT)
    if (own == 0).all():
        return Cause("scale-0", f"{scales} are 0, under which no byte is right: fix that first", FLOOR)
    return Cause("no-scale", f"{scales} are not positive numbers: fix that first", ABSOLUTE)


def _right_for_the_right_scale(e: Elements) -> Iterator[Cause]:
    as_arrived = e.got == 0xFF
    if (as_arrived | (e.got == e.right.codes.ravel()[e.at])).all() and not as_arrived.all():
        which = "some bytes are still 0xff, the others" if as_arrived.any() else "the bytes"
        sentence = f"{which} are right for the right scale, but the stored scale is a different one"
        yield Cause("another-scale-stored", sentence, LAYOUT)


def not_written(output: Bytes) -> Iterator[Cause]:
    """Rows, columns or blocks that hold what they held before; or NaN here and there."""
    if not (output.got[output.bad] == 0xFF).all():
        return
    e = _some(output)
    shape = e.right.x.shape
    missing = output.wrong.reshape(shape)
    if (e.x == 0).all():
        sentence = "bytes of zeros are 0xff: 0 / 0 is NaN (a scale without a floor), or they were never written"
        yield Cause("zeros-to-nan", sentence, FLOOR)
    elif untouched.is_block(missing) or untouched.region(output.wrong, np.zeros_like(output.wrong)):
        yield Cause(untouched.NAME, "these bytes were never written", untouched.HINT)
    else:
        sentence = "the wrong bytes are 0xff, as before the kernel: they were never written, or they became NaN"
        yield Cause("nan-or-never-written", sentence, untouched.HINT)


def in_common(output: Bytes) -> Iterator[Cause]:
    e = _some(output)
    right = encode(e.quotient)
    if (_is_nan(e.got) & (e.x == 0)).all():
        yield Cause("zeros-to-nan", "zeros become NaN: 0 / 0, a scale without a floor", FLOOR)
    elif ((e.got ^ right == SIGN) & (right & 0x7F == 0)).all() and not (output.got[output.good] == SIGN).any():
        yield Cause("sign-lost-at-zero", "values that round to zero lose their sign", ROUNDING)
    elif (e.got == 0).all():
        yield Cause("zero", "the wrong bytes are all 0", UNWRITTEN)


def near_ties(output: Bytes) -> Iterator[Cause]:
    e = _some(output)
    middle = midpoints(E4M3)
    after = np.clip(np.searchsorted(middle, e.magnitude), 1, len(middle) - 1)
    distance = np.minimum(np.abs(middle[after] - e.magnitude), np.abs(middle[after - 1] - e.magnitude))
    one_off = np.abs(e.got.astype(int) - encode(e.quotient)) <= 1
    if (one_off & (distance <= e.magnitude * NEAR_A_TIE)).all():
        sentence = "only quotients next to a tie are wrong: x / scale must be right to 2 ulp (FP32)"
        yield Cause("near-ties", sentence, ROUNDING)


def by_size(output: Bytes) -> Iterator[Cause]:
    """By how many codes the magnitudes are off."""
    e = _some(output)
    right = encode(e.quotient)
    if ((e.got ^ right) & SIGN).any():
        return
    off = (e.got & 0x7F).astype(int) - (right & 0x7F)
    way = "large: divided by less" if (off > 0).all() else "small: divided by more"
    one_way = bool((off > 0).all() or (off < 0).all())
    if (np.abs(off) == 1).all():
        inexact = "x / scale is not as exact as FP32 can be, or rounded twice"
        one_code = f"every wrong byte is one code too {way} than the stored scale, or {inexact}"
        yield Cause("one-code-off", one_code if one_way else f"every wrong byte is one code off: {inexact}", ROUNDING)
    elif one_way:
        parts = "all threads must have the same amax, that of the whole block"
        yield Cause("another-amax", f"the wrong bytes are too {way} than the stored scale; {parts}", REDUCTION)
