"""Integers and carries. PTX ISA, "Integer Arithmetic" and "Extended-Precision Integer Arithmetic Instructions".

analysis/carry.py has made the carry explicit: the last operand where it is read, the second result where it is
written.
"""

from __future__ import annotations

from grader.ptx.definition.computation import limits
from grader.ptx.ir import Value
from grader.ptx.lowering.arithmetic.unit import (
    INTEGER,
    PAIRS,
    Handler,
    NoLowering,
    Unit,
    halves_of,
    intrinsic,
    paired,
)
from grader.ptx.syntax import Operand
from grader.ptx.types import BITS, is_signed


def _signed_or_not(op: str, type_: str) -> str:
    return ("s" if is_signed(type_) else "u") + op


def _extension(type_: str) -> str:
    return "sext" if is_signed(type_) else "zext"


# Sums and products ----------------------------------------------------------------------------------------------


def add_sub(op: str) -> Handler:
    def lower(u: Unit, mods: list[str], operands: list[Operand]) -> Value | tuple[Value, ...]:
        type_ = mods[-1]
        a, b = (u.value(o, type_) for o in operands)
        if type_ in PAIRS:
            low, high = (x._binary(op, y) for x, y in zip(halves_of(a), halves_of(b), strict=True))
            return paired(low, high)
        if "cc" in mods:
            return _chained(op, a, b, None)
        if "sat" in mods:
            return intrinsic(u, f"s{op}.sat", a, b)
        return a._binary(op, b)

    return lower


def multiply(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    type_ = mods[-1]
    a, b = (u.value(o, type_) for o in operands[:2])
    if "lo" in mods:
        return a * b
    if not {"hi", "wide"} & set(mods):
        raise NoLowering
    width, extend = BITS[type_], _extension(type_)
    product = a.cast(extend, f"i{2 * width}") * b.cast(extend, f"i{2 * width}")
    return product if "wide" in mods else (product >> width).trunc(f"i{width}")


def multiply_add(u: Unit, mods: list[str], operands: list[Operand]) -> Value | tuple[Value, ...]:
    type_ = mods[-1]
    product = multiply(u, mods, operands)
    wide = type_.replace(str(BITS[type_]), str(2 * BITS[type_])) if "wide" in mods else type_
    addend = u.value(operands[2], wide)
    if "cc" in mods:
        return _chained("add", product, addend, None)
    if "sat" in mods:
        return intrinsic(u, "sadd.sat", product, addend)
    return product + addend


def _low_24(x: Value, type_: str) -> Value:
    return (x << 8).ashr(8) if is_signed(type_) else x & 0xFFFFFF


def multiply_24(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    type_ = mods[-1]
    a, b = (_low_24(u.value(o, type_), type_) for o in operands[:2])
    if "lo" in mods:
        return a * b
    extend = _extension(type_)
    return ((a.cast(extend, "i64") * b.cast(extend, "i64")) >> 16).trunc("i32")


def multiply_add_24(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    product, addend = multiply_24(u, mods, operands), u.value(operands[2], mods[-1])
    return intrinsic(u, "sadd.sat", product, addend) if "sat" in mods else product + addend


def division(op: str) -> Handler:
    """Division by zero gives all ones, as in hardware; in LLVM it is undefined."""

    def lower(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
        type_ = mods[-1]
        a, b = (u.value(o, type_) for o in operands)
        f, kind = u.f, a.type
        zero = b.eq(0)
        safe = f.select(zero, f.const(kind, 1), b)
        if is_signed(type_):
            lowest = -(1 << (BITS[type_] - 1))
            overflow = a.eq(lowest) & safe.eq(-1)
            safe = f.select(overflow, f.const(kind, 1), safe)
            result = f.emit(kind, f"s{op} {kind} {a}, {safe}")
            if op == "rem":
                result = f.select(overflow, f.const(kind, 0), result)
        else:
            result = f.emit(kind, f"u{op} {kind} {a}, {safe}")
        return f.select(zero, f.const(kind, -1), result)

    return lower


def sum_of_difference(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    a, b, c = (u.value(o, mods[-1]) for o in operands)
    less = a.icmp("slt" if is_signed(mods[-1]) else "ult", b)
    return c + u.f.select(less, b - a, a - b)


def dot_product(parts: int) -> Handler:
    def lower(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
        kinds = [m for m in mods if m in INTEGER]
        a, b, c = (u.value(o, "b32") for o in operands)

        def part(x: Value, k: int, width: int, signed: bool) -> Value:
            up = x << (32 - width * (k + 1))
            return up.ashr(32 - width) if signed else up >> (32 - width)

        high = 2 if "hi" in mods else 0
        for k in range(parts):
            left = part(a, k, 32 // parts, is_signed(kinds[0]))
            right = part(b, k + (high if parts == 2 else 0), 8, is_signed(kinds[1]))
            c = c + left * right
        return c

    return lower


def absolute_difference(parts: int) -> Handler:
    """vabsdiff2 and vabsdiff4: of each 16 or 8 bits; with .add, their sum plus the third operand."""
    width = 32 // parts

    def lower(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
        if mods[:3] != ["u32", "u32", "u32"] or mods[3:] not in ([], ["add"]):
            raise NoLowering
        a, b, c = (u.value(o, "u32") for o in operands)
        total = c if mods[3:] else u.f.const("i32", 0)
        for k in range(parts):
            x, y = (((v >> (k * width)) & ((1 << width) - 1)) for v in (a, b))
            part = intrinsic(u, "umax", x, y) - intrinsic(u, "umin", x, y)
            total = total + part if mods[3:] else total | (part << (k * width))
        return total

    return lower


def video(operation: str, parts: int) -> Handler:
    """vadd2, vadd4 and the like: of each 16 or 8 bits."""
    width = 32 // parts

    def lower(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
        kind = mods[0]
        if mods[:3] != [kind] * 3 or kind not in ("u32", "s32") or mods[3:] not in ([], ["sat"]):
            raise NoLowering
        a, b = (u.value(o, "u32") for o in operands[:2])
        total, (low, high) = u.f.const("i32", 0), limits(f"{kind[0]}{width}")
        for k in range(parts):
            x, y = (
                (v >> (k * width)).trunc(f"i{width}").cast("sext" if is_signed(kind) else "zext", "i32")
                for v in (a, b)
            )
            if operation in ("min", "max"):
                part = intrinsic(u, "s" + operation, x, y)
            else:
                part = x + y if operation == "add" else x - y
            if mods[3:]:
                part = intrinsic(u, "smax", part, u.f.const("i32", low))
                part = intrinsic(u, "smin", part, u.f.const("i32", high))
            total = total | ((part & ((1 << width) - 1)) << (k * width))
        return total

    return lower


# Carries --------------------------------------------------------------------------------------------------------


def _chained(op: str, a: Value, b: Value, carry: Value | None) -> tuple[Value, Value]:
    """The sum or difference, and the carry or borrow out of it."""
    result = a._binary(op, b)
    out = result.ult(a) if op == "add" else a.ult(b)
    if carry is None:
        return result, out
    extra = carry.zext(a.type)
    total = result._binary(op, extra)
    return total, out | (total.ult(result) if op == "add" else result.ult(extra))


def extended(op: str) -> Handler:
    """addc and subc, with or without .cc."""

    def lower(u: Unit, mods: list[str], operands: list[Operand]) -> Value | tuple[Value, ...]:
        a, b = (u.value(o, mods[-1]) for o in operands[:2])
        results = _chained(op, a, b, u.value(operands[2], "pred"))
        return results if "cc" in mods else results[0]

    return lower


def extended_multiply_add(u: Unit, mods: list[str], operands: list[Operand]) -> Value | tuple[Value, ...]:
    product, addend = multiply(u, mods, operands), u.value(operands[2], mods[-1])
    results = _chained("add", product, addend, u.value(operands[3], "pred"))
    return results if "cc" in mods else results[0]


# Signs, extremes ------------------------------------------------------------------------------------------------


def absolute(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    x = u.value(operands[0], mods[-1])
    return u.f.select(x.icmp("slt", 0), u.f.const(x.type, 0) - x, x)


def negate(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    x = u.value(operands[0], mods[-1])
    return u.f.const(x.type, 0) - x


def extreme(op: str) -> Handler:
    def lower(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
        type_ = mods[-1]

        def one(a: Value, b: Value) -> Value:
            result = intrinsic(u, _signed_or_not(op, type_), a, b)
            return intrinsic(u, "smax", result, u.f.const(result.type, 0)) if "relu" in mods else result

        a, b = (u.value(o, type_) for o in operands)
        if type_ not in PAIRS:
            return one(a, b)
        low, high = (one(x, y) for x, y in zip(halves_of(a), halves_of(b), strict=True))
        return paired(low, high)

    return lower


TABLE: dict[str, Handler] = {
    "add": add_sub("add"),
    "sub": add_sub("sub"),
    "mul": multiply,
    "mad": multiply_add,
    "mul24": multiply_24,
    "mad24": multiply_add_24,
    "div": division("div"),
    "rem": division("rem"),
    "sad": sum_of_difference,
    "dp4a": dot_product(4),
    "dp2a": dot_product(2),
    **{f"v{name}{parts}": video(name, parts) for name in ("add", "sub", "min", "max") for parts in (2, 4)},
    "vabsdiff4": absolute_difference(4),
    "vabsdiff2": absolute_difference(2),
    "addc": extended("add"),
    "subc": extended("sub"),
    "madc": extended_multiply_add,
    "abs": absolute,
    "neg": negate,
    "min": extreme("min"),
    "max": extreme("max"),
}
