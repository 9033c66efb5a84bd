"""Bytes that are converted wrongly, with the right scale."""

from __future__ import annotations

import numpy as np

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.fp8 import E4M3, E5M2, decode, encode, values
from grader.reference_kernels.mistakes.mistake import Mistake
from grader.reference_kernels.mistakes.quantization.problem import (
    CAST,
    DIVISION,
    ROUNDING,
    SATURATION,
    UNWRITTEN,
    Elements,
    through_bfloat,
    through_half,
)

SMALLEST_NORMAL = 2.0**-6


def _below(e: Elements) -> Array:
    """The code whose value is the largest that |x| / scale reaches."""
    table = values(E4M3)[: E4M3.largest + 1]
    return np.clip(np.searchsorted(table, e.magnitude, "right") - 1, 0, E4M3.largest).astype(np.uint8)


def _cut(e: Elements) -> Array:
    return _below(e) | e.sign


def _rounded_up(e: Elements) -> Array:
    below = _below(e)
    return np.minimum(below + (values(E4M3)[below] < e.magnitude), E4M3.largest).astype(np.uint8) | e.sign


def _flushed(e: Elements, zero: Array) -> Array:
    return np.where(e.magnitude < SMALLEST_NORMAL, zero, encode(e.quotient))


def _clamped(largest: float) -> Mistake[Elements]:
    def gives(e: Elements) -> Array:
        return encode(np.clip(e.quotient, np.float32(-largest), np.float32(largest)))

    sentence = f"x / scale is clamped to {largest:g}; E4M3 goes up to 448"
    return Mistake(f"clamped-to-{largest:g}", sentence, SATURATION, gives)


def _integer(name: str, whole: np.ufunc) -> Mistake[Elements]:
    sentence = "x / scale is converted to an integer, not to FP8"
    return Mistake(name, sentence, CAST, lambda e: whole(e.quotient).astype(np.int64).astype(np.uint8))


TWICE = "x / scale is rounded twice: to {} on its way to FP8"
FLUSHED = "values below the smallest normal, 2^-6, become 0; E4M3 has subnormals"
CAST_FIRST = "x is cast to FP8 first and scaled afterwards"

ROUNDINGS: tuple[Mistake[Elements], ...] = (
    Mistake("cut-off", "x / scale is truncated, not rounded to the nearest code", ROUNDING, _cut),
    Mistake("rounded-up", "x / scale is rounded up to the next code, not to the nearest", ROUNDING, _rounded_up),
    Mistake("subnormals-flushed", FLUSHED, ROUNDING, lambda e: _flushed(e, e.sign)),
    Mistake("subnormals-flushed-unsigned", FLUSHED, ROUNDING, lambda e: _flushed(e, np.zeros_like(e.sign))),
    Mistake("inverse-in-fp16", "1 / scale is kept in FP16; it is an FP32 number", ROUNDING,
            lambda e: encode(e.x * through_half(1 / e.own))),
    Mistake("twice-by-fp16", TWICE.format("FP16"), ROUNDING, lambda e: encode(through_half(e.quotient))),
    Mistake("x-in-fp16", "x is rounded to FP16 before it is scaled", ROUNDING,
            lambda e: encode(through_half(e.x) / e.own)),
    Mistake("all-in-fp16", TWICE.format("FP16"), ROUNDING,
            lambda e: encode(through_half(through_half(e.x) / through_half(e.own)))),
    Mistake("twice-by-bf16", TWICE.format("BF16"), ROUNDING, lambda e: encode(through_bfloat(e.quotient))),
)  # fmt: skip

CASTS: tuple[Mistake[Elements], ...] = (
    Mistake("not-scaled", "x is not scaled at all: the byte is x itself in E4M3", CAST, lambda e: encode(e.x)),
    Mistake("multiplied", "x is multiplied by the scale; it must be divided by it", DIVISION,
            lambda e: encode(e.x * e.own)),
    Mistake("cast-first", CAST_FIRST, CAST, lambda e: encode(decode(encode(e.x)) / e.own)),
    Mistake("cast-first-by-the-inverse", CAST_FIRST, CAST, lambda e: encode(decode(encode(e.x)) * (1 / e.own))),
    Mistake("scaled-twice", "x is divided by the scale twice", DIVISION, lambda e: encode(e.quotient / e.own)),
    *map(_clamped, (240.0, 256.0, 127.0, 416.0)),
    _integer("cut-to-an-integer", np.trunc),
    _integer("rounded-to-an-integer", np.rint),
    Mistake("e5m2", "these are E5M2 codes; they must be E4M3", CAST, lambda e: encode(e.quotient, E5M2)),
    Mistake("sign-lost", "the sign is lost", ROUNDING, lambda e: encode(e.magnitude)),
    Mistake("sign-flipped", "the sign is flipped", ROUNDING, lambda e: encode(-e.quotient)),
    Mistake("negatives-to-nan", "negative numbers become NaN: the bits are compared with the sign still in them",
            CAST, lambda e: np.where(e.sign > 0, np.uint8(E4M3.nan), encode(e.quotient))),
    Mistake("all-zero", "these bytes are all 0", UNWRITTEN, lambda e: np.zeros_like(e.got)),
)  # fmt: skip
