"""Matrices that show how a matrix product rounds: codes of A, B and C, for many blocks at once.

Codes are unsigned integers, as wide as the format. A kind of input is a function; RANDOM and ADVERSARIAL list them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.tensor_core_products import Shape
from grader.ptx.definition.formats import FORMATS, FloatFormat
from grader.ptx.definition.fragments import ELEMENT_BITS

Matrices = tuple[np.ndarray, np.ndarray, np.ndarray]
Kind = Callable[[np.random.Generator, Shape, int], Matrices]


def _sizes(shape: Shape, blocks: int) -> list[tuple[str, tuple[int, int, int]]]:
    rows = ((shape.a, shape.m, shape.k), (shape.b, shape.n, shape.k), (shape.c, shape.m, shape.n))
    return [(type_, (blocks, x, y)) for type_, x, y in rows]


def _bits(rng: np.random.Generator, type_: str, size: tuple[int, ...]) -> np.ndarray:
    """Any codes."""
    width = ELEMENT_BITS[type_]
    dtype = np.dtype(f"u{max(width, 8) // 8}")
    codes = rng.integers(0, 1 << max(width, 8), size, dtype, endpoint=False) if width < 64 else _wide(rng, size)
    return codes & dtype.type((1 << width) - 1)


def _wide(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return rng.integers(0, 1 << 64, size, np.uint64, endpoint=False)


def _between(rng: np.random.Generator, type_: str, size: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """Codes whose exponents lie between two powers of two; what the format does not have is cut off."""
    format_ = FORMATS[type_]
    bias = 1 - format_.min_exponent
    most = (1 << format_.exponent_bits) - (2 if format_.has_infinity else 1)
    fields = rng.integers(np.clip(low + bias, 0, most), np.clip(high + bias, 0, most) + 1, size)
    return _with_exponents(rng, format_, fields)


def _with_exponents(rng: np.random.Generator, format_: FloatFormat, fields: np.ndarray) -> np.ndarray:
    codes = _bits_of(rng, format_, fields.shape)
    mantissa = (1 << format_.mantissa_bits + format_.padding) - 1
    at = format_.mantissa_bits + format_.padding
    kept = codes & codes.dtype.type(mantissa | format_.sign_bit)
    made = kept | (fields.astype(codes.dtype) << codes.dtype.type(at))
    if not format_.has_infinity:  # all ones are a NaN
        ones = made & codes.dtype.type(format_.sign_bit - 1) == format_.infinity_code
        made[ones] &= codes.dtype.type(~1 & (2 * format_.sign_bit - 1))
    return made


def _bits_of(rng: np.random.Generator, format_: FloatFormat, size: tuple[int, ...]) -> np.ndarray:
    name = next(name for name, other in FORMATS.items() if other is format_)
    return _bits(rng, name, size)


def values(type_: str, codes: np.ndarray) -> np.ndarray:
    """As FP64."""
    format_ = FORMATS[type_]
    if type_ == "f64":
        return codes.view(np.float64)
    wide = codes.astype(np.int64)
    fields, mantissa = wide & (format_.sign_bit - 1), (1 << format_.mantissa_bits) - 1
    fields >>= format_.padding
    exponents = fields >> format_.mantissa_bits
    steps = (fields & mantissa) + np.where(exponents > 0, mantissa + 1, 0)
    with np.errstate(all="ignore"):
        result = np.ldexp(
            steps.astype(np.float64), np.maximum(exponents, 1) + format_.min_exponent - 1 - format_.mantissa_bits
        )
    if format_.has_infinity:
        result = np.where(fields == format_.infinity_code, np.inf, result)
        result = np.where(fields > format_.infinity_code, np.nan, result)
    else:
        result = np.where(fields == format_.infinity_code, np.nan, result)
    return np.where(wide & format_.sign_bit != 0, -result, result)


def _codes(type_: str, x: np.ndarray) -> np.ndarray:
    """FP64 to C's type, to nearest."""
    with np.errstate(all="ignore"):
        dtype = {"f16": np.float16, "f32": np.float32, "f64": np.float64}[type_]
        return x.astype(dtype).view(f"u{np.dtype(dtype).itemsize}")


# Kinds ----------------------------------------------------------------------------------------------------------


def alike(rng: np.random.Generator, shape: Shape, blocks: int) -> Matrices:
    """Numbers of like size."""
    a, b, c = (_between(rng, type_, size, -3, 3) for type_, size in _sizes(shape, blocks))
    return a, b, c


def finite(rng: np.random.Generator, shape: Shape, blocks: int) -> Matrices:
    """Of any size whose products exist in the type of the sum."""
    most = {"f16": 6, "f32": 56, "f64": 500}[shape.d]
    (a, of_a), (b, of_b), (c, of_c) = _sizes(shape, blocks)
    return (_between(rng, a, of_a, -most, most), _between(rng, b, of_b, -most, most),
            _between(rng, c, of_c, -most, most))  # fmt: skip


def cancelling(rng: np.random.Generator, shape: Shape, blocks: int) -> Matrices:
    """C is the sum of the products with the other sign, or nearly: what is left are the bits that were cut off."""
    a, b, c = alike(rng, shape, blocks)
    c[...] = _codes(shape.c, -(values(shape.a, a) @ values(shape.b, b).swapaxes(1, 2)))
    return a, b, c


def pairs(rng: np.random.Generator, shape: Shape, blocks: int) -> Matrices:
    """Large products that cancel each other, and small ones between them."""
    a, b, c = alike(rng, shape, blocks)
    half = shape.k // 2
    order = rng.permutation(shape.k)
    first, second = order[: half // 2 + 1], order[half : half + half // 2 + 1]
    large = rng.integers(4, 14, (blocks, 1, 1))
    up = _scaled(shape.a, a[..., first], large)
    a[..., first], a[..., second] = up, up
    b[..., second] = b[..., first] ^ b.dtype.type(FORMATS[shape.b].sign_bit)
    return a, b, c


def _scaled(type_: str, codes: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Times two to some power, as far as the format goes."""
    format_ = FORMATS[type_]
    at = format_.mantissa_bits + format_.padding
    most = (1 << format_.exponent_bits) - 2
    fields = (codes >> codes.dtype.type(at)).astype(np.int64) & ((1 << format_.exponent_bits) - 1)
    moved = np.minimum(fields + by, most)
    rest = codes & codes.dtype.type((2 * format_.sign_bit - 1) & ~(((1 << format_.exponent_bits) - 1) << at))
    return rest | moved.astype(codes.dtype) << codes.dtype.type(at)


def gaps(rng: np.random.Generator, shape: Shape, blocks: int) -> Matrices:
    """One product or C is large; the others lie so far below that some of their bits are cut off."""
    a, b, c = (_between(rng, type_, size, -2, 2) for type_, size in _sizes(shape, blocks))
    by = rng.integers(0, 15, (blocks, 1, shape.k)) * (rng.random((blocks, 1, shape.k)) < 0.3)
    a = _scaled(shape.a, a, np.broadcast_to(by, a.shape))
    c = _scaled(shape.c, c, np.where(rng.random(c.shape) < 0.5, rng.integers(0, 14, c.shape), 0))
    return a, b, c


def small(rng: np.random.Generator, shape: Shape, blocks: int) -> Matrices:
    """Subnormal numbers and zeros of both signs; C is one of them or none."""
    (a, of_a), (b, of_b), (c, of_c) = _sizes(shape, blocks)
    low_a, low_b, low_c = (FORMATS[type_].min_exponent for type_ in (a, b, c))
    first = _between(rng, a, of_a, low_a - 2, low_a + 3)
    # So that the products are about as small as D's smallest numbers.
    near = low_c - low_a
    second = _between(rng, b, of_b, max(low_b - 2, near - 12), max(low_b + 3, near + 4))
    start = _between(rng, c, of_c, low_c - 2, low_c + 2)
    for codes in (first, second, start):
        dtype = codes.dtype
        sign = dtype.type(1 << 8 * dtype.itemsize - 1)
        codes[rng.random(codes.shape) < 0.2] &= sign
    start[rng.random(start.shape[0]) < 0.4] &= start.dtype.type(1 << 8 * start.dtype.itemsize - 1)
    return first, second, start


def large(rng: np.random.Generator, shape: Shape, blocks: int) -> Matrices:
    """Sums at the end of D's range, and beyond."""
    (a, of_a), (b, of_b), (c, of_c) = _sizes(shape, blocks)
    most = {"f16": 15, "f32": 127, "f64": 1023}[shape.d]
    of_format = [(1 << FORMATS[t].exponent_bits - 1) - 1 for t in (a, b)]
    top = min(of_format[0], most - 4)
    first = _between(rng, a, of_a, top - 3, top)
    second = _between(rng, b, of_b, most - top - 4, most - top)
    return first, second, _between(rng, c, of_c, most - 3, most)


def special(rng: np.random.Generator, shape: Shape, blocks: int) -> Matrices:
    """Infinities and NaN among ordinary numbers, a few in each matrix."""
    a, b, c = alike(rng, shape, blocks)
    for codes, (type_, size) in zip((a, b, c), _sizes(shape, blocks), strict=True):
        format_ = FORMATS[type_]
        top = format_.infinity_code << format_.padding
        chosen = rng.random(size) < 0.02
        kinds = rng.integers(0, 4, size)
        nan, infinity, minus = (codes.dtype.type(bits) for bits in (format_.nan, top, format_.sign_bit))
        made = np.where(kinds == 0, nan, infinity) | np.where(kinds >= 2, minus, minus & 0)
        codes[chosen] = made[chosen]
    return a, b, c


def any_bits(rng: np.random.Generator, shape: Shape, blocks: int) -> Matrices:
    a, b, c = (_bits(rng, type_, size) for type_, size in _sizes(shape, blocks))
    return a, b, c


def extremes(rng: np.random.Generator, shape: Shape, blocks: int) -> Matrices:
    """Integers at the ends of their ranges."""
    made = []
    for type_, size in _sizes(shape, blocks):
        width = ELEMENT_BITS[type_]
        dtype = np.dtype(f"u{max(width, 8) // 8}")
        ends = np.array([0, 1, (1 << width) - 1, 1 << width - 1, (1 << width - 1) - 1 if width > 1 else 1], dtype)
        made.append(rng.choice(ends, size))
    return made[0], made[1], made[2]


RANDOM: tuple[Kind, ...] = (alike, finite)
ADVERSARIAL: tuple[Kind, ...] = (cancelling, pairs, gaps, small, large, special, any_bits)
OF_INTEGERS: tuple[tuple[Kind, ...], tuple[Kind, ...]] = ((any_bits,), (extremes,))


def kinds(shape: Shape) -> tuple[tuple[Kind, ...], tuple[Kind, ...]]:
    """Random and adversarial ones."""
    return OF_INTEGERS if shape.d == "s32" else (RANDOM, ADVERSARIAL)
