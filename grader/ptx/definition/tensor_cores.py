"""How Hopper's tensor cores add up floating-point products; the ISA leaves precision and order open.

Published in arXiv 2511.10909. The products of a chunk and what was there before are aligned to the largest exponent
among them, cut off behind so many bits and added exactly; the sum is cut off to FP32, or rounded to the nearest FP16.
Then comes the next chunk. A product's exponent is the sum of its factors': its value may be twice as large or more.

An H200 gives these bits (benchmarks/compare_tensor_cores.py). What it does beyond what is published:

- `mma` of FP8 is made of products of FP16, in two chunks: the products 0 and 1 of each four, then 2 and 3. Their sum
  starts at zero, and C is added to it at the end, as by `add.rn`.
- `wmma` of TF32 has chunks of four products, `mma` of eight.
- `mma.m8n8k4` has no tensor cores: ((((p0 + p1) + p2) + p3) + c) for FP32, ((p0 + p1) + c) + (p2 + p3) for FP16, each
  sum rounded to the nearest FP32. Vectors that show it are in tests/ptx/test_tensor_cores.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from grader.ptx.definition import exact
from grader.ptx.definition.formats import F32, FORMATS, FloatFormat, Real, decode, floor_log2, power_of_two, round_to

FLOATS = ("f16", "bf16", "tf32", "e4m3", "e5m2")  # what they multiply; FP64 has fused multiply-adds of its own
FP8 = ("e4m3", "e5m2")
CHUNKS = {"f16": 16, "bf16": 16, "tf32": 8, "e4m3": 32, "e5m2": 32}  # 32 bytes of a row
WMMA_CHUNKS = {**CHUNKS, "tf32": 4}
FP8_BITS = 13  # of the fraction of a sum, in wgmma
ZERO_BELOW = 7  # the exponent of a zero lies so far below that of D's smallest normal number
OVERFLOW = 128  # FP32 ends below 2 to the power of this
Tree: TypeAlias = "int | str | tuple[Tree, Tree]"
# Of mma.m8n8k4, by the type of D: numbers of products, "c", and sums of two.
QUAD_SUMS: dict[str, Tree] = {"f32": ((((0, 1), 2), 3), "c"), "f16": (((0, 1), "c"), (2, 3))}


@dataclass(frozen=True)
class Sums:
    """`a` and `b` are the formats in which factors are multiplied: subnormal numbers have their lowest exponent."""

    a: str
    b: str
    d: str
    chunk: int  # products that are added at once
    fraction: int = 25  # bits behind the point, at the largest exponent
    kept: int = 23  # of an FP32 sum
    halved: bool = False  # two chunks, the first of them of the products 0 and 1 of each four; C comes last

    @property
    def least(self) -> int:
        """The largest exponent is taken to be at least this."""
        return FORMATS[self.d].min_exponent - ZERO_BELOW

    def order(self, depth: int) -> list[int]:
        """The products in the order in which chunks take them."""
        places = range(depth)
        return sorted(places, key=lambda k: k >> 1 & 1) if self.halved else list(places)


def of_mma(a: str, b: str, d: str, depth: int, *, sparse: bool = False) -> Sums:
    if a in FP8 and not sparse:
        return Sums("f16", "f16", d, depth // 2, halved=True)
    return Sums("f16", "f16", d, CHUNKS["f16"]) if a in FP8 else Sums(a, b, d, CHUNKS[a])


def of_wmma(a: str, b: str, d: str) -> Sums:
    return Sums(a, b, d, WMMA_CHUNKS[a])


def of_wgmma(a: str, b: str, d: str) -> Sums:
    """The sums of FP8 products keep fewer bits."""
    return Sums(a, b, d, CHUNKS[a], FP8_BITS, FP8_BITS) if a in FP8 else Sums(a, b, d, CHUNKS[a])


Factors = Sequence[tuple[Real, Real]]


def summed(sums: Sums, c: tuple[str, int], factors: Factors) -> int:
    """The bits of one element of D. `c`: type and bits of what is there before."""
    type_, bits = (sums.d, 0) if sums.halved else c
    ordered = [factors[k] for k in sums.order(len(factors))]
    for first in range(0, len(factors), sums.chunk):
        before = decode(FORMATS[type_], bits)
        least = FORMATS[type_].min_exponent
        type_, bits = sums.d, _chunk(sums, (before, _exponent(before, least)), ordered[first : first + sums.chunk])
    if sums.halved:
        format_ = FORMATS[sums.d]
        return round_to(format_, exact.add(decode(format_, bits), decode(FORMATS[c[0]], c[1])))
    return bits


def quad(d: str, c: tuple[str, int], factors: Factors) -> int:
    """The bits of one element of D of mma.m8n8k4."""

    def value(of: Tree) -> Real:
        if isinstance(of, tuple):
            return decode(F32, round_to(F32, exact.add(value(of[0]), value(of[1]))))
        if isinstance(of, int):
            return exact.multiply(*factors[of])
        return decode(FORMATS[c[0]], c[1])

    return round_to(FORMATS[d], value(QUAD_SUMS[d]))


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
