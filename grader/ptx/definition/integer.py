"""Integer arithmetic. PTX ISA, "Integer Arithmetic" and "Extended-Precision Integer Arithmetic Instructions".

The carry flag CC.CF is made explicit: an instruction that reads it takes it as its last operand (0 or 1), and one
that writes it returns it as its last result. After `sub.cc` it is the borrow, as in the ISA.

The ISA leaves division by zero unspecified; here quotient and remainder are all ones, as on an H200.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

from grader.ptx.definition.computation import (
    Computation,
    Compute,
    Entries,
    clamp,
    mask,
    number,
    pack,
    packed,
    unpack,
    wrap,
)
from grader.ptx.types import BITS

INTEGERS = ("u16", "s16", "u32", "s32", "u64", "s64")
WIDE = {"u16": "u32", "s16": "s32", "u32": "u64", "s32": "s64"}


def entries() -> Entries:
    for type_ in INTEGERS:
        yield from _plain(type_)
        yield from _products(type_)
    for type_ in ("s16", "s32", "s64"):
        yield _entry(f"abs.{type_}", type_, 1, abs)
        yield _entry(f"neg.{type_}", type_, 1, lambda a: -a)
    yield from _saturating()
    yield from _relu_and_packed()
    for type_ in ("u32", "s32"):
        yield from _products_of_24_bits(type_)
    for type_ in ("u32", "s32", "u64", "s64"):
        yield from _extended(type_)
    yield from _dot_products()
    yield from _absolute_differences()
    yield from _video()


def _entry(opcode: str, type_: str, operands: int, exact: Callable[..., int]) -> tuple[str, Computation]:
    return opcode, Computation((type_,) * operands, (type_,), _exactly([type_] * operands, type_, exact))


def _exactly(operands: list[str], result: str, exact: Callable[..., int]) -> Callable[..., int]:
    """Arithmetic on unbounded integers, then wrapped to the width of the result."""

    def compute(*bits: int) -> int:
        return wrap(result, exact(*(number(t, b) for t, b in zip(operands, bits, strict=True))))

    return compute


def _plain(type_: str) -> Entries:
    yield _entry(f"add.{type_}", type_, 2, lambda a, b: a + b)
    yield _entry(f"sub.{type_}", type_, 2, lambda a, b: a - b)
    yield _entry(f"sad.{type_}", type_, 3, lambda a, b, c: c + abs(a - b))
    yield _entry(f"min.{type_}", type_, 2, min)
    yield _entry(f"max.{type_}", type_, 2, max)
    yield _entry(f"div.{type_}", type_, 2, _quotient)
    yield _entry(f"rem.{type_}", type_, 2, lambda a, b: a - b * _quotient(a, b) if b else -1)


def _quotient(dividend: int, divisor: int) -> int:
    """Truncated toward zero; all ones for a divisor of zero."""
    if divisor == 0:
        return -1
    quotient = abs(dividend) // abs(divisor)
    return -quotient if (dividend < 0) != (divisor < 0) else quotient


def _products(type_: str) -> Entries:
    width = BITS[type_]
    yield _entry(f"mul.lo.{type_}", type_, 2, lambda a, b: a * b)
    yield _entry(f"mul.hi.{type_}", type_, 2, lambda a, b: a * b >> width)
    yield _entry(f"mad.lo.{type_}", type_, 3, lambda a, b, c: a * b + c)
    yield _entry(f"mad.hi.{type_}", type_, 3, lambda a, b, c: (a * b >> width) + c)
    if type_ in WIDE:
        wide = WIDE[type_]
        exact = _exactly([type_, type_], wide, lambda a, b: a * b)
        yield f"mul.wide.{type_}", Computation((type_, type_), (wide,), exact)
        exact = _exactly([type_, type_, wide], wide, lambda a, b, c: a * b + c)
        yield f"mad.wide.{type_}", Computation((type_, type_, wide), (wide,), exact)


def _saturating() -> Entries:
    """`.sat` exists only for s32 and clamps to its range."""
    yield _entry("add.sat.s32", "s32", 2, lambda a, b: clamp("s32", a + b))
    yield _entry("sub.sat.s32", "s32", 2, lambda a, b: clamp("s32", a - b))
    yield _entry("mad.hi.sat.s32", "s32", 3, lambda a, b, c: clamp("s32", (a * b >> 32) + c))
    yield _entry("mad24.hi.sat.s32", "s32", 3, lambda a, b, c: clamp("s32", (_low24(a) * _low24(b) >> 16) + c))


def _relu_and_packed() -> Entries:
    operations: dict[str, Callable[[int, int], int]] = {"min": min, "max": max}
    for name, operation in operations.items():
        for spelled in ("relu.s32", "s32.relu"):  # the ISA's spelling, and NVRTC's
            yield _entry(f"{name}.{spelled}", "s32", 2, lambda a, b, f=operation: max(f(a, b), 0))
        for half in ("u16", "s16"):
            compute = packed(_exactly([half, half], half, operation))
            yield f"{name}.{half}x2", Computation((f"{half}x2",) * 2, (f"{half}x2",), compute)
        relu = packed(_exactly(["s16", "s16"], "s16", lambda a, b, f=operation: max(f(a, b), 0)))
        for spelled in ("relu.s16x2", "s16x2.relu"):
            yield f"{name}.{spelled}", Computation(("s16x2",) * 2, ("s16x2",), relu)
    for half in ("u16", "s16"):
        compute = packed(_exactly([half, half], half, lambda a, b: a + b))
        yield f"add.{half}x2", Computation((f"{half}x2",) * 2, (f"{half}x2",), compute)


def _low24(value: int) -> int:
    """A signed operand of mul24: the low 24 bits, sign-extended."""
    low = value & 0xFFFFFF
    return low - (1 << 24) if low >> 23 else low


def _products_of_24_bits(type_: str) -> Entries:
    low = _low24 if type_ == "s32" else lambda value: value & 0xFFFFFF
    # .hi takes bits 47..16 of the 48-bit product
    yield _entry(f"mul24.lo.{type_}", type_, 2, lambda a, b: low(a) * low(b))
    yield _entry(f"mul24.hi.{type_}", type_, 2, lambda a, b: low(a) * low(b) >> 16)
    yield _entry(f"mad24.lo.{type_}", type_, 3, lambda a, b, c: low(a) * low(b) + c)
    yield _entry(f"mad24.hi.{type_}", type_, 3, lambda a, b, c: (low(a) * low(b) >> 16) + c)


def _extended(type_: str) -> Entries:
    """add.cc, addc, sub.cc, subc, mad.cc, madc: on bit patterns, so signed and unsigned are the same."""
    width, low = BITS[type_], mask(type_)

    def add(a: int, b: int, carry: int = 0) -> tuple[int, int]:
        return a + b + carry & low, a + b + carry >> width

    def subtract(a: int, b: int, borrow: int = 0) -> tuple[int, int]:
        return a - b - borrow & low, int(a < b + borrow)

    def multiply_add(shift: int) -> Callable[..., tuple[int, int]]:
        return lambda a, b, c, carry=0: add(number(type_, a) * number(type_, b) >> shift & low, c, carry)

    families = (
        ("add", "addc", "", 2, add),
        ("sub", "subc", "", 2, subtract),
        ("mad", "madc", ".lo", 3, multiply_add(0)),
        ("mad", "madc", ".hi", 3, multiply_add(width)),
    )
    for name, with_carry, part, count, compute in families:
        operands = (type_,) * count
        yield f"{name}{part}.cc.{type_}", Computation(operands, (type_, "pred"), compute)
        yield f"{with_carry}{part}.cc.{type_}", Computation((*operands, "pred"), (type_, "pred"), compute)
        only_sum = Computation((*operands, "pred"), (type_,), _first_result(compute))
        yield f"{with_carry}{part}.{type_}", only_sum


def _first_result(compute: Callable[..., tuple[int, int]]) -> Callable[..., int]:
    return lambda *bits: compute(*bits)[0]


def _dot_products() -> Entries:
    for a_type in ("u32", "s32"):
        for b_type in ("u32", "s32"):
            sum_type = "u32" if a_type == b_type == "u32" else "s32"
            operands = (a_type, b_type, sum_type)
            bytes_of_a, bytes_of_b = _elements(a_type, 8), _elements(b_type, 8)
            yield f"dp4a.{a_type}.{b_type}", Computation(operands, (sum_type,), _dot(bytes_of_a, bytes_of_b))
            for mode, first in (("lo", 0), ("hi", 2)):
                dot = _dot(_elements(a_type, 16), _elements(b_type, 8, first, first + 2))
                yield f"dp2a.{mode}.{a_type}.{b_type}", Computation(operands, (sum_type,), dot)


def _elements(type_: str, width: int, start: int = 0, stop: int = 4) -> Callable[[int], list[int]]:
    """Splits 32 bits into numbers of `width` bits, signed or not; returns those from start to stop."""
    element_type = f"{type_[0]}{width}"
    return lambda bits: [number(element_type, element) for element in unpack(bits, 32 // width, width)[start:stop]]


def _dot(elements_of_a: Callable[[int], list[int]], elements_of_b: Callable[[int], list[int]]) -> Compute:
    return lambda a, b, c: wrap(
        "u32", c + sum(x * y for x, y in zip(elements_of_a(a), elements_of_b(b), strict=True))
    )


def _video() -> Entries:
    """vadd2, vadd4 and the like, on 16 or 8 bits each. The third operand is ignored: all elements are written."""
    operations: dict[str, Callable[[int, int], int]] = {
        "add": int.__add__,
        "sub": int.__sub__,
        "min": min,
        "max": max,
    }
    for name, operation in operations.items():
        for count, kind in product((2, 4), "su"):
            for sat in ("", ".sat"):
                element = f"{kind}{32 // count}"

                def apply(a: int, b: int, _c: int, t: str = element, n: int = count, f: Any = operation,
                          fit: Any = clamp if sat else wrap) -> int:  # fmt: skip
                    width = 32 // n
                    pairs = zip(unpack(a, n, width), unpack(b, n, width), strict=True)
                    return pack((wrap(t, fit(t, f(number(t, x), number(t, y)))) for x, y in pairs), width)

                yield f"v{name}{count}.{kind}32.{kind}32.{kind}32{sat}", Computation(("u32",) * 3, ("u32",), apply)


def _absolute_differences() -> Entries:
    """vabsdiff2 and vabsdiff4, on 16 or 8 bits each. Without .add the third operand is ignored."""
    for count in (2, 4):
        width = 32 // count

        def differences(a: int, b: int, n: int = count, w: int = width) -> list[int]:
            return [abs(x - y) for x, y in zip(unpack(a, n, w), unpack(b, n, w), strict=True)]

        def each(a: int, b: int, _c: int, f: Callable[..., list[int]] = differences, w: int = width) -> int:
            return pack(f(a, b), w)

        def total(a: int, b: int, c: int, f: Callable[..., list[int]] = differences) -> int:
            return wrap("u32", c + sum(f(a, b)))

        opcode = f"vabsdiff{count}.u32.u32.u32"
        yield opcode, Computation(("u32",) * 3, ("u32",), each)
        yield f"{opcode}.add", Computation(("u32",) * 3, ("u32",), total)
