"""How Hopper's tensor cores add up floating-point products; the ISA leaves precision and order open.

Published in arXiv 2511.10909. The products of a chunk and what was there before are aligned to the largest exponent
among them, cut off behind so many bits and added exactly; the sum is cut off to FP32, or rounded to the nearest FP16.
Then comes the next chunk. A product's exponent is the sum of its factors': its value may be twice as large or more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from grader.ptx.definition.formats import FORMATS, FloatFormat, Real, decode, floor_log2, power_of_two, round_to

FLOATS = ("f16", "bf16", "tf32", "e4m3", "e5m2")  # what they multiply; FP64 has fused multiply-adds of its own
FP8 = ("e4m3", "e5m2")
CHUNK_BYTES = 32
CHUNKS = {"f16": 16, "bf16": 16, "tf32": 8, "e4m3": 32, "e5m2": 32}
ZERO_BELOW = 7  # the exponent of a zero lies so far below that of D's smallest normal number
OVERFLOW = 128  # FP32 ends below 2 to the power of this


@dataclass(frozen=True)
class Sums:
    """`a` and `b` are the formats in which factors are multiplied: subnormal numbers have their lowest exponent."""

    a: str
    b: str
    d: str
    chunk: int  # products that are added at once
    fraction: int = 25  # bits behind the point, at the largest exponent
    kept: int = 23  # of an FP32 sum

    @property
    def least(self) -> int:
        """The largest exponent is taken to be at least this."""
        return FORMATS[self.d].min_exponent - ZERO_BELOW


def of_warp(a: str, b: str, d: str) -> Sums:
    """mma and wmma. FP8 is turned into FP16 first."""
    if a in FP8:
        return Sums("f16", "f16", d, CHUNKS["f16"])
    return Sums(a, b, d, CHUNKS[a])


def of_warpgroup(a: str, b: str, d: str) -> Sums:
    """wgmma. The sums of FP8 products keep fewer bits."""
    few = {"fraction": 13, "kept": 13} if a in FP8 else {}
    return Sums(a, b, d, CHUNKS[a], **few)


Factors = Sequence[tuple[Real, Real]]


def summed(sums: Sums, c: tuple[str, int], factors: Factors) -> int:
    """The bits of one element of D. `c`: type and bits of what is there before."""
    type_, bits = c
    for first in range(0, len(factors), sums.chunk):
        before = decode(FORMATS[type_], bits)
        least = FORMATS[type_].min_exponent
        type_, bits = sums.d, _chunk(sums, (before, _exponent(before, least)), factors[first : first + sums.chunk])
    return bits


def _chunk(sums: Sums, before: tuple[Real, int], factors: Factors) -> int:
    least_a, least_b = (FORMATS[type_].min_exponent for type_ in (sums.a, sums.b))
    parts = [before]
    for a, b in factors:
        value = Real(a.negative != b.negative, _times(a, b))
        parts.append((value, _exponent(a, least_a) + _exponent(b, least_b)))
    if any(value.is_nan or value.is_infinite for value, _ in parts):
        return _special(FORMATS[sums.d], sum(float(value) for value, _ in parts))
    largest = max([sums.least, *(exponent for value, exponent in parts if not value.is_zero)])
    step = power_of_two(largest - sums.fraction)
    return _rounded(sums, sum((_cut(value.value, step) for value, _ in parts), Fraction(0)))


def _times(a: Real, b: Real) -> Fraction | float:
    x, y = a.magnitude, b.magnitude
    return x * y if isinstance(x, Fraction) and isinstance(y, Fraction) else float(x) * float(y)


def _exponent(value: Real, least: int) -> int:
    """Of a finite number other than zero; the others have none that counts."""
    finite = not (value.is_nan or value.is_infinite or value.is_zero)
    return max(floor_log2(Fraction(value.magnitude)), least) if finite else least


def _cut(value: Fraction | float, step: Fraction) -> Fraction:
    """Toward zero."""
    exact = Fraction(value)
    whole = abs(exact) // step * step
    return whole if exact >= 0 else -whole


def _rounded(sums: Sums, exact: Fraction) -> int:
    """Zero is never negative."""
    format_, value = FORMATS[sums.d], Real(exact < 0, abs(exact))
    if sums.d == "f16":
        bits = round_to(format_, value)
        return bits if bits & (format_.sign_bit - 1) else 0
    if abs(exact) >= power_of_two(OVERFLOW):
        return round_to(format_, Real(exact < 0, float("inf")))
    lost = format_.mantissa_bits - sums.kept
    bits = round_to(format_, value, "rz") >> lost << lost
    return bits if bits & (format_.sign_bit - 1) else 0


def _special(format_: FloatFormat, value: float) -> int:
    return format_.nan if value != value else round_to(format_, Real(value < 0, abs(value)))
