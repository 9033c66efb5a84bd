"""Operands worth trying.

The edges of every type, their neighbours, ties of every narrower type, and random bits.
"""

from __future__ import annotations

import random
from fractions import Fraction
from functools import cache

from grader.ptx.definition.computation import pack
from grader.ptx.definition.formats import FORMATS, FloatFormat, Real, round_to
from grader.ptx.types import BITS

# Where a conversion to some narrower format or integer ties, overflows or underflows.
_MAGNITUDES = [
    *(Fraction(2) ** n for n in (-1074, -1022, -149, -133, -126, -25, -24, -14, -10, -9, -7, -2, -1)),
    *(Fraction(2) ** n for n in (0, 1, 2, 7, 8, 11, 15, 16, 24, 31, 32, 53, 63, 64, 126, 127, 1023)),
    *(Fraction(n, 2) for n in (1, 3, 5, 7, 255, 511, 65535, 131071)),
    *(Fraction(n) for n in (3, 100, 240, 448, 464, 465, 480, 57344, 61440, 65504, 65519, 65520)),
    *(1 + Fraction(1, 2**n) for n in (4, 8, 11, 12, 24, 53)),
    *(1 + Fraction(3, 2**n) for n in (4, 8, 11, 12, 24, 53)),
    *(2**n - Fraction(1, 2) for n in (7, 8, 15, 16, 31, 32, 63, 64)),
    Fraction(355, 113),
    Fraction(1, 3),
]
_AMOUNTS = (
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    9,
    15,
    16,
    17,
    24,
    30,
    31,
    32,
    33,
    40,
    63,
    64,
    65,
    127,
    128,
    255,
    256,
    2**31,
)
_PACKED = {"f16x2": "f16", "bf16x2": "bf16", "u16x2": "u16", "s16x2": "s16", "e4m3x2": "u8", "e5m2x2": "u8"}


@cache
def corners(type_: str) -> tuple[int, ...]:
    """The few values that no test of a scalar type may leave out."""
    if type_ in FORMATS:
        format_ = FORMATS[type_]
        one = round_to(format_, Real(False, Fraction(1)))
        smallest_normal, infinity = 1 << format_.mantissa_bits, format_.infinity_code
        codes = (0, 1, smallest_normal, one, infinity - 1, infinity, format_.nan)
        return tuple(code | sign for code in codes for sign in (0, format_.sign_bit))
    width = BITS[type_]
    values = (0, 1, -1, 1 << (width - 1), (1 << (width - 1)) - 1, 16, 31, 32, 33, 64)
    return tuple(dict.fromkeys(value & ((1 << width) - 1) for value in values))


@cache
def edges(type_: str) -> tuple[int, ...]:
    """The edge values of a scalar type, as bit patterns."""
    if type_ in FORMATS:
        return tuple(sorted(_floating_edges(FORMATS[type_])))
    width = BITS[type_]
    powers = [1 << n for n in range(width)]
    values = {
        0,
        *powers,
        *(p - 1 for p in powers),
        *(-p for p in powers),
        *(-p - 1 for p in powers),
        *_AMOUNTS,
    }
    return tuple(sorted({value & ((1 << width) - 1) for value in values}))


def _floating_edges(format_: FloatFormat) -> set[int]:
    largest, infinity = format_.infinity_code - 1, format_.infinity_code
    smallest_normal = 1 << format_.mantissa_bits
    quiet = infinity | smallest_normal >> 1
    codes = {
        0,
        1,
        2,
        smallest_normal - 1,
        smallest_normal,
        smallest_normal + 1,
        largest - 1,
        largest,
        infinity,
    }
    codes |= {quiet, infinity + 1, format_.nan}
    codes |= {round_to(format_, Real(False, m), "rz") for m in _MAGNITUDES}
    codes |= {max(code + step, 0) for code in list(codes) if code < infinity for step in (-1, 1)}
    return {code | sign for code in codes for sign in (0, format_.sign_bit)}


def draw(type_: str, random_: random.Random) -> int:
    """One operand: an edge, a neighbour of an edge, a small number, or any bits."""
    if type_ in _PACKED:
        width = BITS[_PACKED[type_]]
        return pack((draw(_PACKED[type_], random_) for _ in range(2)), width)
    kind = random_.random()
    ones = (1 << BITS[type_]) - 1
    if kind < 0.2:
        return random_.choice(corners(type_))
    if kind < 0.6:
        return random_.choice(edges(type_))
    if type_ in FORMATS:
        return _ordinary(FORMATS[type_], random_) if kind < 0.85 else random_.getrandbits(BITS[type_])
    if kind < 0.8:
        return random_.choice(_AMOUNTS) & ones
    return random_.getrandbits(BITS[type_])


def _ordinary(format_: FloatFormat, random_: random.Random) -> int:
    """A number of moderate size, so that sums and products of a few of them neither overflow nor cancel."""
    magnitude = Fraction(random_.getrandbits(60), 1 << 60) * Fraction(2) ** random_.randint(-6, 6)
    return round_to(format_, Real(random_.random() < 0.5, magnitude))


@cache
def rows(types: tuple[str, ...], count: int, seed: int) -> tuple[tuple[int, ...], ...]:
    """`count` operand tuples. A single operand takes every corner, then as many edges as fit."""
    random_ = random.Random(seed)
    drawn = [tuple(draw(type_, random_) for type_ in types) for _ in range(count)]
    if len(types) == 1 and types[0] not in _PACKED:
        others = [edge for edge in edges(types[0]) if edge not in corners(types[0])]
        random_.shuffle(others)
        every = [(edge,) for edge in (*corners(types[0]), *others)]
        drawn[: len(every)] = every[:count]
    return tuple(drawn)
