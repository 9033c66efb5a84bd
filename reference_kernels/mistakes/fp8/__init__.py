"""What common mistakes do to FP8 conversions, and which of them explain a wrong output.

Most likely first: if two give the same outputs, the first is named. Bytes and values agree bit for bit;
any NaN agrees with any NaN.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.fp8 import Format, is_nan
from grader.reference_kernels.mistakes import untouched
from grader.reference_kernels.mistakes.fp8.chance import CHANCES
from grader.reference_kernels.mistakes.fp8.decoding import DECODINGS, Decoding
from grader.reference_kernels.mistakes.fp8.encoding import Draws, Encoding, below
from grader.reference_kernels.mistakes.fp8.nans import NAN_MISTAKES
from grader.reference_kernels.mistakes.fp8.nearest import NEAREST
from grader.reference_kernels.mistakes.fp8.order import moved
from grader.reference_kernels.mistakes.fp8.saturation import saturation
from grader.reference_kernels.mistakes.fp8.signs import EXPONENTS, FORMATS, SIGN_MISTAKES
from grader.reference_kernels.mistakes.fp8.subnormals import FLUSHES, SIZES
from grader.reference_kernels.mistakes.mistake import ANY_CODE, Cause, Mistake
from grader.reference_kernels.mistakes.search import Agreement, Output, Part, find, joined

T = TypeVar("T")

FEW = 8  # wrong elements that more than one mistake may explain by chance
MOST_TOGETHER = 3  # mistakes that are named; what needs more is more than a list can explain


def same_codes(fmt: Format, a: Array, b: Array) -> Array:
    """Where two codes are the same, or both a NaN."""
    return (a == b) | (is_nan(a, fmt) & is_nan(b, fmt))


def same_values(a: Array, b: Array) -> Array:
    """Where two FP32 values have the same bits, or both are NaN."""
    return (a.view(np.uint32) == b.view(np.uint32)) | (np.isnan(a) & np.isnan(b))


class Bytes(Agreement[Encoding]):
    """The same code, or any NaN for a NaN."""

    few, together = FEW, MOST_TOGETHER

    def __init__(self, fmt: Format) -> None:
        self._fmt = fmt

    def same(self, part: Part[Encoding], given: Array) -> Array:
        return same_codes(self._fmt, part.got, given.astype(np.uint8))

    def wrong(self, part: Part[Encoding], given: Array) -> Array:
        return ~same_codes(self._fmt, part.right, given.astype(np.uint8))

    def anything(self, given: Array) -> Array:
        return given == ANY_CODE if given.dtype != np.uint8 else np.zeros(given.shape, bool)


class Values(Agreement[Decoding]):
    """The same bits, or any NaN for a NaN."""

    few, together = FEW, MOST_TOGETHER

    def same(self, part: Part[Decoding], given: Array) -> Array:
        return same_values(part.got, given)

    def wrong(self, part: Part[Decoding], given: Array) -> Array:
        return ~same_values(part.right, given)


def encodings(fmt: Format, *, by_chance: bool) -> Iterator[Mistake[Encoding]]:
    """The mistakes of an encoder: first in how it rounds, then those common to both ways of rounding."""
    yield from CHANCES if by_chance else NEAREST
    yield from FLUSHES
    yield from saturation(fmt)
    yield from NAN_MISTAKES
    yield from SIGN_MISTAKES
    yield from EXPONENTS
    yield from SIZES
    yield from FORMATS


def why_encoded(
    got: Array, right: Array, wrong: Array, x: Array, fmt: Format, random: Array | None = None
) -> Cause | None:
    """Why these codes of x are wrong; None if no known mistake explains all of them."""

    def pick(at: Array) -> Encoding:
        return Encoding(x[at], right[at], fmt, None if random is None else Draws(random, at), below(x, at))

    output = Output(got, right, wrong, pick, Bytes(fmt))
    return _why(output, tuple(encodings(fmt, by_chance=random is not None)))


def why_decoded(got: Array, right: Array, wrong: Array, codes: Array, fmt: Format) -> Cause | None:
    """Why these values of codes are wrong."""
    output = Output(got, right, wrong, lambda at: Decoding(codes[at], right[at], fmt), Values())
    return _why(output, DECODINGS)


def _why(output: Output[T], mistakes: tuple[Mistake[T], ...]) -> Cause | None:
    as_arrived = untouched.untouched(output.got)
    if as_arrived.all():  # every mistake that gives NaN would fit a part of it
        return untouched.NO_BYTE if output.got.dtype == np.uint8 else untouched.NO_ELEMENT
    return (
        next(moved(output), None)
        or find(output, mistakes)
        or _left_out(output, as_arrived, mistakes)
        or next(_constant(output), None)
    )


def _left_out(output: Output[T], as_arrived: Array, mistakes: tuple[Mistake[T], ...]) -> Cause | None:
    """Some elements were never written, and a mistake explains the others."""
    missing = output.wrong & as_arrived
    words = untouched.region(missing, as_arrived & ~output.wrong)
    if words is None:
        return None
    left_out, rest = Cause(untouched.NAME, words, untouched.HINT), output.without(missing)
    if not rest.wrong.any():
        return left_out
    other = find(rest, mistakes) or next(_constant(rest), None)
    return joined([left_out, other]) if other else None


def _constant(output: Output[T]) -> Iterator[Cause]:
    """Always the same value, although the right ones differ."""
    got, right = output.got[output.bad], output.right[output.bad]
    if got.size >= FEW and (got == got[0]).all() and not (right == right[0]).all():
        yield Cause("constant", f"every wrong element is {_shown(got[0])}, whatever x is")


def _shown(value: np.generic) -> str:
    return f"0x{int(value):02x}" if isinstance(value, np.integer) else str(value).removesuffix(".0")
