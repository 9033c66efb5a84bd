"""Bits: PTX ISA, sections "Logic and Shift Instructions" and the bit-field part of "Integer Arithmetic".

Also `prmt`, `mov` and its vector forms. PTX spells packing and unpacking with braces, `mov.b64 d, {lo, hi}`;
here `mov.pack2.b64` takes the elements, the first in the low bits, and `mov.unpack2.b64` gives them.
"""

from __future__ import annotations

from collections.abc import Callable

from grader.ptx.definition.computation import (
    Computation,
    Entries,
    mask,
    number,
    pack,
    unpack,
    wrap,
)
from grader.ptx.types import BITS

BIT_TYPES = ("b16", "b32", "b64")
NOT_FOUND = 0xFFFFFFFF


def entries() -> Entries:
    yield from _logic()
    yield from _shifts()
    yield from _fields()
    yield from _counts()
    yield from _masks()
    yield from _permutations()
    yield from _moves()


def _logic() -> Entries:
    for type_ in ("pred", *BIT_TYPES):
        ones = mask(type_)
        yield f"and.{type_}", Computation((type_,) * 2, (type_,), lambda a, b: a & b)
        yield f"or.{type_}", Computation((type_,) * 2, (type_,), lambda a, b: a | b)
        yield f"xor.{type_}", Computation((type_,) * 2, (type_,), lambda a, b: a ^ b)
        yield f"not.{type_}", Computation((type_,), (type_,), lambda a, ones=ones: a ^ ones)
        if type_ != "pred":
            yield f"cnot.{type_}", Computation((type_,), (type_,), lambda a: int(a == 0))
    yield "lop3.b32", Computation(("b32", "b32", "b32", "u8"), ("b32",), _lop3)
    for name, combine in _COMBINATIONS.items():
        # lop3.or d|p, a, b, c, immLut, q: p is whether the result is non-zero, combined with q
        def compute(
            a: int, b: int, c: int, table: int, q: int, f: Callable[[int, int], int] = combine
        ) -> tuple[int, int]:
            result = _lop3(a, b, c, table)
            return result, f(int(result != 0), q)

        yield f"lop3.{name}.b32", Computation(("b32", "b32", "b32", "u8", "pred"), ("b32", "pred"), compute)


_COMBINATIONS: dict[str, Callable[[int, int], int]] = {"or": lambda p, q: p | q, "and": lambda p, q: p & q}


def _lop3(a: int, b: int, c: int, table: int) -> int:
    """Bit i of the result is the entry of the 8-row truth table that bits i of a, b, c (a highest) select."""
    rows = ((a >> i & 1) << 2 | (b >> i & 1) << 1 | (c >> i & 1) for i in range(32))
    return pack((table >> row & 1 for row in rows), 1)


def _shifts() -> Entries:
    for type_ in BIT_TYPES:
        yield f"shl.{type_}", _shift(type_, lambda a, n: a << n)
    for width in (16, 32, 64):
        for kind in "bus":
            yield f"shr.{kind}{width}", _shift(f"{kind}{width}", lambda a, n: a >> n)
    for mode in ("clamp", "wrap"):
        # the 64-bit value {b, a}: a left shift returns its high word, a right shift its low word
        yield f"shf.l.{mode}.b32", _funnel(mode, lambda both, n: both << n >> 32)
        yield f"shf.r.{mode}.b32", _funnel(mode, lambda both, n: both >> n)


def _shift(type_: str, shift: Callable[[int, int], int]) -> Computation:
    """The amount is a u32 clamped to the width, so a shift by 32 of a b32 gives 0 (or all sign bits)."""
    width = BITS[type_]
    return Computation((type_, "u32"), (type_,), lambda a, n: wrap(type_, shift(number(type_, a), min(n, width))))


def _funnel(mode: str, shift: Callable[[int, int], int]) -> Computation:
    def compute(a: int, b: int, c: int) -> int:
        amount = min(c, 32) if mode == "clamp" else c & 31
        return wrap("b32", shift(b << 32 | a, amount))

    return Computation(("b32", "b32", "u32"), ("b32",), compute)


def _fields() -> Entries:
    for type_ in ("u32", "s32", "u64", "s64"):
        yield f"bfe.{type_}", Computation((type_, "u32", "u32"), (type_,), _extract(type_))
    for type_ in ("b32", "b64"):
        yield f"bfi.{type_}", Computation((type_, type_, "u32", "u32"), (type_,), _insert(type_))


def _extract(type_: str) -> Callable[..., int]:
    top = BITS[type_] - 1

    def compute(a: int, start: int, length: int) -> int:
        start, length = start & 0xFF, length & 0xFF
        signed = type_[0] == "s" and length > 0
        sign = a >> min(start + length - 1, top) & 1 if signed else 0
        inside = (i < length and start + i <= top for i in range(top + 1))
        return pack((a >> (start + i) & 1 if known else sign for i, known in enumerate(inside)), 1)

    return compute


def _insert(type_: str) -> Callable[..., int]:
    def compute(a: int, b: int, start: int, length: int) -> int:
        start, length = start & 0xFF, length & 0xFF
        field = mask(type_) & (((1 << length) - 1) << start)
        return b & ~field | (a << start) & field

    return compute


def _counts() -> Entries:
    for type_ in ("b32", "b64"):
        width = BITS[type_]
        yield f"popc.{type_}", Computation((type_,), ("u32",), lambda a: a.bit_count())
        yield f"clz.{type_}", Computation((type_,), ("u32",), lambda a, w=width: w - a.bit_length())
        yield f"brev.{type_}", Computation((type_,), (type_,), lambda a, w=width: int(f"{a:0{w}b}"[::-1], 2))
    for type_ in ("u32", "s32", "u64", "s64"):
        yield f"bfind.{type_}", Computation((type_,), ("u32",), _find(type_, as_shift=False))
        yield f"bfind.shiftamt.{type_}", Computation((type_,), ("u32",), _find(type_, as_shift=True))
    yield "fns.b32", Computation(("b32", "u32", "s32"), ("b32",), _find_nth_set)


def _find(type_: str, as_shift: bool) -> Callable[[int], int]:
    """Position of the highest bit that differs from the sign (unsigned: the highest 1) or its distance to the top."""

    def compute(a: int) -> int:
        value = number(type_, a)
        position = (~value if value < 0 else value).bit_length() - 1
        if position < 0:
            return NOT_FOUND
        return BITS[type_] - 1 - position if as_shift else position

    return compute


def _find_nth_set(bits: int, base: int, offset: int) -> int:
    """The offset-th set bit from `base` on, upward or downward; offset 0 asks for bit `base` itself.

    base <= 31.
    """
    steps, base = number("s32", offset), base & 31
    if steps == 0:
        return base if bits >> base & 1 else NOT_FOUND
    places = range(base, 32) if steps > 0 else range(base, -1, -1)
    found = [place for place in places if bits >> place & 1]
    return found[abs(steps) - 1] if abs(steps) <= len(found) else NOT_FOUND


def _masks() -> Entries:
    for mode in ("clamp", "wrap"):
        yield f"bmsk.{mode}.b32", Computation(("u32", "u32"), ("b32",), _bit_mask(mode))
        for type_ in ("u32", "s32"):
            yield f"szext.{mode}.{type_}", Computation((type_, "u32"), (type_,), _extend(mode, type_))


def _bit_mask(mode: str) -> Callable[[int, int], int]:
    """`width` ones from bit `start` upward, cut off at bit 31."""

    def compute(start: int, width: int) -> int:
        if mode == "wrap":
            start, width = start & 31, width & 31
        return wrap("b32", ((1 << min(width, 32)) - 1) << min(start, 32))

    return compute


def _extend(mode: str, type_: str) -> Callable[[int, int], int]:
    """The low n bits of a, zero- or sign-extended. n = 0 gives 0; with clamp, n > 31 gives a."""

    def compute(a: int, n: int) -> int:
        if mode == "clamp" and n >= 32:
            return a
        n &= 31
        low = a & ((1 << n) - 1)
        is_negative = type_ == "s32" and n > 0 and low >> (n - 1)
        return wrap(type_, low - (1 << n)) if is_negative else low

    return compute


def _permutations() -> Entries:
    yield "prmt.b32", Computation(("b32", "b32", "b32"), ("b32",), _permute)
    for mode in _PERMUTE_MODES:
        compute = _permute_by_mode(mode)
        yield f"prmt.b32.{mode}", Computation(("b32", "b32", "b32"), ("b32",), compute)


def _permute(a: int, b: int, selector: int) -> int:
    """Nibble i of the selector names the source byte of result byte i: 0..3 in a, 4..7 in b.

    Its bit 3 asks for the sign of that byte instead, replicated.
    """
    source = unpack(b << 32 | a, 8, 8)
    nibbles = unpack(selector & 0xFFFF, 4, 4)
    return pack(((source[n & 7] >> 7) * 0xFF if n & 8 else source[n] for n in nibbles), 8)


# Table "prmt" of the ISA: source bytes, lowest result byte first, for each value of the low two bits of c
_PERMUTE_MODES: dict[str, tuple[tuple[int, int, int, int], ...]] = {
    "f4e": ((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 6)),
    "b4e": ((0, 7, 6, 5), (1, 0, 7, 6), (2, 1, 0, 7), (3, 2, 1, 0)),
    "rc8": ((0, 0, 0, 0), (1, 1, 1, 1), (2, 2, 2, 2), (3, 3, 3, 3)),
    "ecl": ((0, 1, 2, 3), (1, 1, 2, 3), (2, 2, 2, 3), (3, 3, 3, 3)),
    "ecr": ((0, 0, 0, 0), (0, 1, 1, 1), (0, 1, 2, 2), (0, 1, 2, 3)),
    "rc16": ((0, 1, 0, 1), (2, 3, 2, 3), (0, 1, 0, 1), (2, 3, 2, 3)),
}


def _permute_by_mode(mode: str) -> Callable[[int, int, int], int]:
    def compute(a: int, b: int, selector: int) -> int:
        source = unpack(b << 32 | a, 8, 8)
        return pack((source[i] for i in _PERMUTE_MODES[mode][selector & 3]), 8)

    return compute


def _moves() -> Entries:
    scalar = [f"{kind}{width}" for kind in "bus" for width in (16, 32, 64)]
    for type_ in ("pred", "f32", "f64", *scalar):
        yield f"mov.{type_}", Computation((type_,), (type_,), lambda a: a)
    for type_, count in (("b32", 2), ("b64", 2), ("b64", 4), ("b128", 2)):
        width = BITS[type_] // count
        elements = (f"b{width}",) * count
        join = Computation(elements, (type_,), lambda *parts, w=width: pack(parts, w))
        split = Computation((type_,), elements, lambda a, n=count, w=width: unpack(a, n, w))
        yield f"mov.pack{count}.{type_}", join
        yield f"mov.unpack{count}.{type_}", split
