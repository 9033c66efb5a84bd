"""Binary floating-point formats, their values as exact rationals, and rounding."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

# rn: nearest, ties to even; rna: nearest, ties away from zero; rz: toward zero; rm: down; rp: up
ROUNDING_MODES = ("rn", "rz", "rm", "rp")


class Real(NamedTuple):
    """A signed magnitude: an exact rational, math.inf, or math.nan. Zero keeps its sign."""

    negative: bool
    magnitude: Fraction | float

    @property
    def is_nan(self) -> bool:
        return self.magnitude != self.magnitude

    @property
    def is_infinite(self) -> bool:
        return self.magnitude == math.inf

    @property
    def is_zero(self) -> bool:
        return self.magnitude == 0

    @property
    def value(self) -> Fraction | float:
        return -self.magnitude if self.negative else self.magnitude

    def __float__(self) -> float:
        """The nearest FP64 number; zero and NaN keep their sign."""
        return math.copysign(float(self.magnitude), -1.0 if self.negative else 1.0)


NAN = Real(False, math.nan)
ZERO = Fraction(0)


@dataclass(frozen=True)
class FloatFormat:
    """From high to low: sign, exponent, mantissa, then `padding` zero bits (tf32 in a 32-bit register)."""

    exponent_bits: int
    mantissa_bits: int
    nan: int  # the canonical NaN that PTX writes
    has_infinity: bool = True
    padding: int = 0

    @property
    def width(self) -> int:
        return 1 + self.exponent_bits + self.mantissa_bits + self.padding

    @property
    def sign_bit(self) -> int:
        return 1 << (self.width - 1)

    @property
    def min_exponent(self) -> int:
        """Exponent of the smallest normal number, and of all subnormals."""
        return 2 - (1 << (self.exponent_bits - 1))

    @property
    def infinity_code(self) -> int:
        """Code of +infinity, without padding; in a format without one, the code above the largest number."""
        if self.has_infinity:
            return ((1 << self.exponent_bits) - 1) << self.mantissa_bits
        return (1 << (self.exponent_bits + self.mantissa_bits)) - 1


F16 = FloatFormat(5, 10, nan=0x7FFF)
BF16 = FloatFormat(8, 7, nan=0x7FFF)
F32 = FloatFormat(8, 23, nan=0x7FFFFFFF)
F64 = FloatFormat(11, 52, nan=0x7FF8000000000000)
TF32 = FloatFormat(8, 10, nan=0x7FFFFFFF, padding=13)
E4M3 = FloatFormat(4, 3, nan=0x7F, has_infinity=False)  # OCP FP8: exponent 15 is normal, only mantissa 7 there is NaN
E5M2 = FloatFormat(5, 2, nan=0x7F)

FORMATS = {"f16": F16, "bf16": BF16, "f32": F32, "f64": F64, "tf32": TF32, "e4m3": E4M3, "e5m2": E5M2}


def decode(format_: FloatFormat, bits: int) -> Real:
    """The value of a bit pattern."""
    negative = bool(bits & format_.sign_bit)
    code = (bits & (format_.sign_bit - 1)) >> format_.padding
    if code == format_.infinity_code and format_.has_infinity:
        return Real(negative, math.inf)
    if code >= format_.infinity_code:
        return Real(negative, math.nan)
    exponent = code >> format_.mantissa_bits
    steps = code & ((1 << format_.mantissa_bits) - 1)
    if exponent > 0:
        steps |= 1 << format_.mantissa_bits
    scale = format_.min_exponent + max(exponent, 1) - 1 - format_.mantissa_bits
    return Real(negative, Fraction(steps << scale) if scale >= 0 else Fraction(steps, 1 << -scale))


def round_to(format_: FloatFormat, value: Real, mode: str = "rn", satfinite: bool = False) -> int:
    """The bit pattern that `value` rounds to; `satfinite` turns overflow into the largest number."""
    if value.is_nan:
        return format_.nan
    sign = format_.sign_bit if value.negative else 0
    largest = format_.infinity_code - 1
    if value.is_infinite:
        code = largest if satfinite or not format_.has_infinity else format_.infinity_code
        return sign | code << format_.padding
    code = _nearest_code(format_, value, mode)
    if code > largest:
        upward = {"rn": True, "rna": True, "rz": False, "rm": value.negative, "rp": not value.negative}[mode]
        code = format_.infinity_code if upward and not satfinite else largest
    return sign | code << format_.padding


def _nearest_code(format_: FloatFormat, value: Real, mode: str) -> int:
    """The code of the rounded magnitude, as if the exponent were unbounded.

    Neighbouring numbers have neighbouring codes, so a mantissa that overflows carries into the exponent.
    """
    magnitude = Fraction(value.magnitude)
    if magnitude == 0:
        return 0
    exponent = max(floor_log2(magnitude), format_.min_exponent)
    steps = round_to_integer(magnitude / power_of_two(exponent - format_.mantissa_bits), mode, value.negative)
    return ((exponent - format_.min_exponent) << format_.mantissa_bits) + steps


def round_to_integer(magnitude: Fraction, mode: str, negative: bool) -> int:
    """A magnitude, rounded to an integer; directed modes need the sign of its value."""
    below = magnitude.numerator // magnitude.denominator
    rest = magnitude - below
    return below + int(_ROUNDS_AWAY[mode](rest, below, negative))


_HALF = Fraction(1, 2)
# (fraction, integer part, whether the value is negative) -> whether to increase the magnitude
_ROUNDS_AWAY: dict[str, Callable[[Fraction, int, bool], bool]] = {
    "rn": lambda rest, below, _: rest > _HALF or (rest == _HALF and below % 2 == 1),
    "rna": lambda rest, _below, _negative: rest >= _HALF,
    "rz": lambda _rest, _below, _negative: False,
    "rm": lambda rest, _, negative: rest > 0 and negative,
    "rp": lambda rest, _, negative: rest > 0 and not negative,
}


def floor_log2(magnitude: Fraction) -> int:
    """The largest n with 2**n <= magnitude."""
    guess = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    return guess if power_of_two(guess) <= magnitude else guess - 1


def power_of_two(exponent: int) -> Fraction:
    return Fraction(1 << exponent) if exponent >= 0 else Fraction(1, 1 << -exponent)


def flush(format_: FloatFormat, bits: int) -> int:
    """.ftz: a subnormal becomes a zero of the same sign."""
    exponent_field = (format_.sign_bit - 1) >> format_.padding >> format_.mantissa_bits
    is_subnormal = (bits >> format_.padding >> format_.mantissa_bits) & exponent_field == 0
    return bits & format_.sign_bit if is_subnormal else bits


def round_flushed(format_: FloatFormat, value: Real, mode: str = "rn") -> int:
    """.ftz of a result: what is subnormal after rounding to the full mantissa becomes a zero of the same sign.

    So a product just below the smallest normal number may round up to it. (The ISA does not say whether rounding
    comes first; on an H200 it does.)
    """
    if not (value.is_nan or value.is_infinite or value.is_zero):
        magnitude = Fraction(value.magnitude)
        step = power_of_two(min(floor_log2(magnitude), format_.min_exponent) - format_.mantissa_bits)
        rounded = round_to_integer(magnitude / step, mode, value.negative) * step
        if rounded < power_of_two(format_.min_exponent):
            return format_.sign_bit if value.negative else 0
    return round_to(format_, value, mode)


def from_integer(value: int) -> Real:
    return Real(value < 0, Fraction(abs(value)))


def saturate(format_: FloatFormat, bits: int) -> int:
    """.sat: clamps to [+0, 1]; NaN becomes +0."""
    value = decode(format_, bits)
    if value.is_nan or value.negative:
        return 0
    return min(bits, round_to(format_, Real(False, Fraction(1))))


def rectify(format_: FloatFormat, bits: int) -> int:
    """.relu: a negative value becomes +0; NaN stays the canonical NaN."""
    value = decode(format_, bits)
    return 0 if value.negative and not value.is_nan else bits
