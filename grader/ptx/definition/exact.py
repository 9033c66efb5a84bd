"""Real arithmetic without rounding: IEEE 754 specials and signed zeros, otherwise exact rationals.

The rounding mode matters only for the sign of an exact zero sum, which is negative when rounding down. An irrational
square root has enough bits, the last one sticky, for every rounding to be right.
"""

from __future__ import annotations

import math
from fractions import Fraction

from grader.ptx.definition.formats import NAN, ZERO, Real

_INFINITE = math.inf


def negate(a: Real) -> Real:
    return Real(not a.negative, a.magnitude)


def add(a: Real, b: Real, mode: str = "rn") -> Real:
    if a.is_nan or b.is_nan:
        return NAN
    if a.is_infinite or b.is_infinite:
        if a.is_infinite and b.is_infinite and a.negative != b.negative:
            return NAN
        return a if a.is_infinite else b
    total = Fraction(a.value) + Fraction(b.value)
    if total != 0:
        return Real(total < 0, abs(total))
    if a.negative == b.negative:
        return Real(a.negative, ZERO)
    return Real(mode == "rm", ZERO)


def subtract(a: Real, b: Real, mode: str = "rn") -> Real:
    return add(a, negate(b), mode)


def multiply(a: Real, b: Real, _mode: str = "rn") -> Real:
    negative = a.negative != b.negative
    if a.is_nan or b.is_nan:
        return NAN
    if a.is_infinite or b.is_infinite:
        return NAN if a.is_zero or b.is_zero else Real(negative, _INFINITE)
    return Real(negative, a.magnitude * b.magnitude)


def multiply_add(a: Real, b: Real, c: Real, mode: str = "rn") -> Real:
    return add(multiply(a, b), c, mode)


def divide(a: Real, b: Real, _mode: str = "rn") -> Real:
    negative = a.negative != b.negative
    if a.is_nan or b.is_nan or (a.is_infinite and b.is_infinite) or (a.is_zero and b.is_zero):
        return NAN
    if a.is_infinite or b.is_zero:
        return Real(negative, _INFINITE)
    if b.is_infinite:
        return Real(negative, ZERO)
    return Real(negative, Fraction(a.magnitude) / Fraction(b.magnitude))


def reciprocal(a: Real, _mode: str = "rn") -> Real:
    return divide(Real(False, Fraction(1)), a)


def square_root(a: Real, _mode: str = "rn") -> Real:
    if a.is_nan or (a.negative and not a.is_zero):
        return NAN
    if a.is_infinite or a.is_zero:
        return a
    # scaled by an even power of two: the integer root gets over 60 bits, more than any mantissa
    magnitude = Fraction(a.magnitude)
    shift = max(0, 128 - magnitude.numerator.bit_length() + magnitude.denominator.bit_length())
    shift += shift % 2
    scaled = magnitude * (1 << shift)
    root = math.isqrt(int(scaled))
    sticky = int(root * root != scaled)
    return Real(False, Fraction(2 * root + sticky, 2 << (shift // 2)))
