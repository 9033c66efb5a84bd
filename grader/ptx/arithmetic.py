"""Arithmetic instructions: how each becomes LLVM IR. The slow definition beside it is semantics.py.

A table from base opcode to a function (unit, modifiers, operands) -> Value. PTX ISA, "Integer Arithmetic
Instructions" to "Data Movement and Conversion Instructions".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from grader.ptx.ir import Fn, Value
from grader.ptx.parser import Operand

INTEGER = {"u8": 8, "s8": 8, "b8": 8, "u16": 16, "s16": 16, "b16": 16, "u32": 32, "s32": 32, "b32": 32, "u64": 64,
           "s64": 64, "b64": 64}  # fmt: skip
FLOAT = {"f16": "half", "bf16": "bfloat", "f32": "float", "f64": "double"}
BITS = {"f16": 16, "bf16": 16, "f32": 32, "f64": 64, "f16x2": 32, "bf16x2": 32, "pred": 1, **INTEGER}
FLIP = {"lo": "ult", "ls": "ule", "hi": "ugt", "hs": "uge"}


class UnknownInstruction(Exception):
    """No lowering for this opcode."""


class Unit(Protocol):
    """What a lowering needs of the kernel that it adds to."""

    f: Fn

    def value(self, operand: Operand, type_: str) -> Value: ...
    def helper(self, name: str, ir: str) -> None: ...


Handler = Callable[[Unit, list[str], list[Operand]], Value]


def llvm_type(type_: str) -> str:
    if type_ == "pred":
        return "i1"
    if type_ in FLOAT:
        return FLOAT[type_]
    return f"i{BITS[type_]}"


def is_signed(type_: str) -> bool:
    return type_.startswith("s")


def intrinsic(u: Unit, name: str, *arguments: Value) -> Value:
    suffix = {"float": "f32", "double": "f64", "half": "f16"}.get(arguments[0].type, arguments[0].type)
    full = f"llvm.{name}.{suffix}"
    u.helper(full, f"declare {arguments[0].type} @{full}({', '.join(a.type for a in arguments)})")
    return u.f.call(arguments[0].type, full, *arguments)


# Floating point -------------------------------------------------------------------------------------------------

ROUNDING = {"rz": 0, "rp": 2, "rm": 3}  # llvm.set.rounding
CONSTRAINED = {
    "fadd": 2,
    "fsub": 2,
    "fmul": 2,
    "fdiv": 2,
    "fma": 3,
    "sqrt": 1,
    "fptrunc": 1,
    "sitofp": 1,
    "uitofp": 1,
}


def rounded(u: Unit, op: str, mode: str, result: str, *arguments: Value) -> Value:
    """`op` under a directed rounding mode: a function of its own that switches the mode and back."""
    source = arguments[0].type
    short = {"float": "f32", "double": "f64"}
    name = f"{op}.{mode}.{result}.{source}"
    overload = short.get(result, result) + ("" if source == result else "." + short.get(source, source))
    parameters = ", ".join(f"{a.type} %{i}" for i, a in enumerate(arguments))
    passed = ", ".join(f"{a.type} %{i}" for i, a in enumerate(arguments))
    callee = f"llvm.experimental.constrained.{op}.{overload}"
    types = ", ".join(a.type for a in arguments)
    u.helper("llvm.set.rounding", "declare void @llvm.set.rounding(i32)")
    u.helper(callee, f"declare {result} @{callee}({types}, metadata, metadata)")
    u.helper(
        name,
        f"define {result} @{name}({parameters}) noinline nounwind strictfp {{\n"
        f"  call void @llvm.set.rounding(i32 {ROUNDING[mode]}) strictfp\n"
        f'  %r = call {result} @{callee}({passed}, metadata !"round.dynamic", '
        f'metadata !"fpexcept.ignore") strictfp\n'
        f"  call void @llvm.set.rounding(i32 1) strictfp\n  ret {result} %r\n}}",
    )
    return u.f.call(result, name, *arguments)


def flush(u: Unit, x: Value) -> Value:
    """A subnormal FP32 value becomes zero of its sign (.ftz)."""
    bits = x.bitcast("i32")
    return u.f.select((bits & 0x7F800000).eq(0), bits & 0x80000000, bits).bitcast("float")


def saturate(u: Unit, x: Value) -> Value:
    """Clamp to [0, 1]; NaN becomes +0 (.sat)."""
    zero, one = u.f.const(x.type, 0), u.f.const(x.type, 1)
    zero.name, one.name = "0.0", "1.0"
    above = u.f.emit("i1", f"fcmp ogt {x.typed}, 0.0")
    low = u.f.select(above, x, zero)
    return u.f.select(u.f.emit("i1", f"fcmp olt {low.typed}, 1.0"), low, one)


def float_inputs(u: Unit, mods: list[str], type_: str, operands: list[Operand]) -> list[Value]:
    values = [u.value(o, type_) for o in operands]
    return [flush(u, v) for v in values] if "ftz" in mods and type_ == "f32" else values


def float_result(u: Unit, mods: list[str], x: Value) -> Value:
    if "sat" in mods:
        x = saturate(u, x)
    return flush(u, x) if "ftz" in mods and x.type == "float" else x


def float_op(op: str) -> Handler:
    def lower(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
        type_ = mods[-1]
        if type_ not in ("f32", "f64"):
            raise UnknownInstruction
        values = float_inputs(u, mods, type_, operands)
        mode = next((m for m in mods if m in ROUNDING), None)
        kind = values[0].type
        if mode:
            result = rounded(u, op, mode, kind, *values)
        elif op in ("fma", "sqrt"):
            result = intrinsic(u, op, *values)
        else:
            result = u.f.emit(kind, f"{op} {kind} {', '.join(str(v) for v in values)}")
        return float_result(u, mods, result)

    return lower


def reciprocal(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    type_ = mods[-1]
    (x,) = float_inputs(u, mods, type_, operands)
    one = Value(u.f, x.type, "1.0")
    mode = next((m for m in mods if m in ROUNDING), None)
    if mode:
        return float_result(u, mods, rounded(u, "fdiv", mode, x.type, one, x))
    return float_result(u, mods, u.f.emit(x.type, f"fdiv {x.type} 1.0, {x}"))


def reciprocal_root(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    type_ = mods[-1]
    (x,) = float_inputs(u, mods, type_, operands)
    wide = x.cast("fpext", "double")
    root = intrinsic(u, "sqrt", wide)
    result = u.f.emit("double", f"fdiv double 1.0, {root}")
    return float_result(u, mods, result.cast("fptrunc", x.type))


def library(function: str) -> Handler:
    """An approximate instruction through a double-precision function, far inside its documented error."""

    def lower(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
        if mods[-1] != "f32":
            raise UnknownInstruction
        (x,) = float_inputs(u, mods, mods[-1], operands)
        u.helper(function, f"declare double @{function}(double)")
        wide = u.f.call("double", function, x.cast("fpext", "double"))
        return float_result(u, mods, wide.cast("fptrunc", "float"))

    return lower


def float_min_max(u: Unit, op: str, mods: list[str], operands: list[Operand]) -> Value:
    """One NaN operand loses, unless .NaN; -0 is less than +0 (IEEE 754-2019 minimumNumber)."""
    type_ = mods[-1]
    if type_ not in ("f32", "f64"):
        raise UnknownInstruction
    values = float_inputs(u, mods, type_, operands)
    if "xorsign" in mods:
        a, b = values
        sign = (a.bitcast("i32") ^ b.bitcast("i32")) & 0x80000000
        values = [intrinsic(u, "fabs", v) for v in values]
    result = values[0]
    for other in values[1:]:
        result = _pick(u, op, result, other, nan_wins="NaN" in mods)
    if "xorsign" in mods:
        result = ((result.bitcast("i32") & 0x7FFFFFFF) | sign).bitcast("float")
    return result


def _pick(u: Unit, op: str, a: Value, b: Value, *, nan_wins: bool) -> Value:
    f, width = u.f, f"i{32 if a.type == 'float' else 64}"
    order = "olt" if op == "min" else "ogt"
    picked = f.select(f.emit("i1", f"fcmp {order} {a.typed}, {b}"), a, b)
    # Equal values may differ in the sign of zero: or keeps -0 for min, and keeps +0 for max.
    merged = (a.bitcast(width) | b.bitcast(width)) if op == "min" else (a.bitcast(width) & b.bitcast(width))
    picked = f.select(f.emit("i1", f"fcmp oeq {a.typed}, {b}"), merged.bitcast(a.type), picked)
    a_nan, b_nan = f.emit("i1", f"fcmp uno {a.typed}, {a}"), f.emit("i1", f"fcmp uno {b.typed}, {b}")
    if nan_wins:
        return f.select(a_nan, a, f.select(b_nan, b, picked))
    return f.select(a_nan, b, f.select(b_nan, a, picked))


# Integers -------------------------------------------------------------------------------------------------------


def add_sub(op: str) -> Handler:
    def lower(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
        if mods[-1] in FLOAT:
            return float_op("f" + op)(u, mods, operands)
        if mods[-1] not in INTEGER or "cc" in mods:
            raise UnknownInstruction
        a, b = (u.value(o, mods[-1]) for o in operands)
        if "sat" in mods:
            return intrinsic(u, f"s{op}.sat", a, b)
        return a + b if op == "add" else a - b

    return lower


def multiply(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    type_ = mods[-1]
    if type_ in FLOAT:
        return float_op("fmul")(u, mods, operands)
    if type_ not in INTEGER:
        raise UnknownInstruction
    a, b = (u.value(o, type_) for o in operands[:2])
    if "lo" in mods:
        return a * b
    width = BITS[type_]
    extend = "sext" if is_signed(type_) else "zext"
    product = a.cast(extend, f"i{2 * width}") * b.cast(extend, f"i{2 * width}")
    if "wide" in mods:
        return product
    if "hi" not in mods:
        raise UnknownInstruction
    return (product >> width).trunc(f"i{width}")


def multiply_add(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    if mods[-1] in FLOAT:
        return float_op("fma")(u, mods, operands)
    if "cc" in mods or "sat" in mods:
        raise UnknownInstruction
    product = multiply(u, mods, operands)
    wide = mods[-1].replace(str(BITS[mods[-1]]), str(2 * BITS[mods[-1]])) if "wide" in mods else mods[-1]
    return product + u.value(operands[2], wide)


def multiply_24(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    type_ = mods[-1]
    shift = (lambda v: (v << 8).ashr(8)) if is_signed(type_) else (lambda v: v & 0xFFFFFF)
    a, b = (shift(u.value(o, type_)) for o in operands[:2])
    if "lo" in mods:
        return a * b
    extend = "sext" if is_signed(type_) else "zext"
    return ((a.cast(extend, "i64") * b.cast(extend, "i64")) >> 16).trunc("i32")


def multiply_add_24(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    if "sat" in mods:
        raise UnknownInstruction
    return multiply_24(u, mods, operands) + u.value(operands[2], mods[-1])


def divide(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    if mods[-1] in FLOAT:
        return float_op("fdiv")(u, mods, operands)
    return _division(u, "div", mods, operands)


def remainder(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    return _division(u, "rem", mods, operands)


def _division(u: Unit, op: str, mods: list[str], operands: list[Operand]) -> Value:
    """By zero gives all ones, as the hardware does; LLVM leaves it undefined."""
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


def absolute(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    type_ = mods[-1]
    if type_ in ("f32", "f64"):
        (x,) = float_inputs(u, mods, type_, operands)
        return intrinsic(u, "fabs", x)
    if type_ not in INTEGER:
        raise UnknownInstruction
    x = u.value(operands[0], type_)
    return u.f.select(x.icmp("slt", 0), u.f.const(x.type, 0) - x, x)


def negate(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    type_ = mods[-1]
    if type_ in ("f32", "f64"):
        (x,) = float_inputs(u, mods, type_, operands)
        return u.f.emit(x.type, f"fneg {x.typed}")
    if type_ not in INTEGER:
        raise UnknownInstruction
    x = u.value(operands[0], type_)
    return u.f.const(x.type, 0) - x


def min_max(op: str) -> Handler:
    def lower(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
        type_ = mods[-1]
        if type_ in FLOAT:
            return float_min_max(u, op, mods, operands)
        if type_ not in INTEGER:
            raise UnknownInstruction
        a, b = (u.value(o, type_) for o in operands)
        result = intrinsic(u, ("s" if is_signed(type_) else "u") + op, a, b)
        if "relu" in mods:
            result = intrinsic(u, "smax", result, u.f.const(result.type, 0))
        return result

    return lower


def sum_of_difference(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    a, b, c = (u.value(o, mods[-1]) for o in operands)
    less = a.icmp("slt" if is_signed(mods[-1]) else "ult", b)
    return c + u.f.select(less, b - a, a - b)


def bitwise(op: str) -> Handler:
    def lower(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
        a, b = (u.value(o, mods[-1]) for o in operands)
        return a._binary(op, b)

    return lower


def invert(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    return u.value(operands[0], mods[-1]) ^ -1


def logical_not(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    x = u.value(operands[0], mods[-1])
    return x.eq(0).zext(x.type)


def shift_left(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    x, n = u.value(operands[0], mods[-1]), u.value(operands[1], "u32")
    width = BITS[mods[-1]]
    shifted = x << _fit(n & (width - 1), x.type)
    return u.f.select(n.ult(width), shifted, u.f.const(x.type, 0))


def shift_right(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    type_ = mods[-1]
    x, n = u.value(operands[0], type_), u.value(operands[1], "u32")
    width = BITS[type_]
    if is_signed(type_):
        n = u.f.select(n.ult(width), n, u.f.const("i32", width - 1))
        return x.ashr(_fit(n, x.type))
    shifted = x >> _fit(n & (width - 1), x.type)
    return u.f.select(n.ult(width), shifted, u.f.const(x.type, 0))


def _fit(n: Value, type_: str) -> Value:
    """A small count in another integer width."""
    return n.trunc(type_) if type_ == "i16" else n.zext(type_)


def funnel_shift(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    """shf: shift the 64-bit value hi:lo and take the upper (l) or lower (r) half."""
    lo, hi, n = (u.value(o, "u32") for o in operands)
    n = n & 31 if "wrap" in mods else u.f.select(n.ult(32), n, u.f.const("i32", 32))
    both = (hi.zext("i64") << 32) | lo.zext("i64")
    if mods[0] == "l":
        return ((both << n.zext("i64")) >> 32).trunc("i32")
    return (both >> n.zext("i64")).trunc("i32")


def lookup_3(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    """lop3: any function of three bits, given as a table; a sum of products, which LLVM simplifies."""
    if mods != ["b32"]:
        raise UnknownInstruction
    a, b, c = (u.value(o, "b32") for o in operands[:3])
    table = int(str(u.value(operands[3], "b32")))
    result = u.f.const("i32", 0)
    for k in range(8):
        if table >> k & 1:
            term = (a if k & 4 else a ^ -1) & (b if k & 2 else b ^ -1) & (c if k & 1 else c ^ -1)
            result = result | term
    return result


PRMT_MODES = {
    "f4e": ((3, 2, 1, 0), (4, 3, 2, 1), (5, 4, 3, 2), (6, 5, 4, 3)),
    "b4e": ((5, 6, 7, 0), (6, 7, 0, 1), (7, 0, 1, 2), (0, 1, 2, 3)),
    "rc8": ((0, 0, 0, 0), (1, 1, 1, 1), (2, 2, 2, 2), (3, 3, 3, 3)),
    "ecl": ((3, 2, 1, 0), (3, 2, 1, 1), (3, 2, 2, 2), (3, 3, 3, 3)),
    "ecr": ((0, 0, 0, 0), (1, 1, 1, 0), (2, 2, 1, 0), (3, 2, 1, 0)),
    "rc16": ((1, 0, 1, 0), (3, 2, 3, 2), (1, 0, 1, 0), (3, 2, 3, 2)),
}


def permute(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    """prmt: pick four of eight bytes, each perhaps replaced by its sign."""
    a, b, selector = (u.value(o, "b32") for o in operands)
    both = (b.zext("i64") << 32) | a.zext("i64")
    result = u.f.const("i32", 0)
    mode = mods[-1] if mods[-1] in PRMT_MODES else None
    for k in range(4):
        if mode:
            choices = PRMT_MODES[mode]
            pick = u.f.const("i32", choices[0][3 - k])
            for s in (1, 2, 3):
                pick = u.f.select((selector & 3).eq(s), u.f.const("i32", choices[s][3 - k]), pick)
            byte = (both >> (pick.zext("i64") << 3)).trunc("i32") & 255
        else:
            nibble = (selector >> (4 * k)) & 15
            byte = (both >> ((nibble & 7).zext("i64") << 3)).trunc("i32") & 255
            sign = u.f.select((byte & 128).ne(0), u.f.const("i32", 255), u.f.const("i32", 0))
            byte = u.f.select((nibble & 8).ne(0), sign, byte)
        result = result | (byte << (8 * k))
    return result


def field_extract(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    """bfe: `length` bits from `position`, sign or zero extended; positions past the end read the sign or zero."""
    type_ = mods[-1]
    width, f = BITS[type_], u.f
    x = u.value(operands[0], type_)
    position, length = (u.value(o, "u32") & 255 for o in operands[1:])
    wide = x.cast("sext" if is_signed(type_) else "zext", f"i{2 * width}")
    position = f.select(position.ult(width), position, f.const("i32", width))
    length = f.select(length.ult(width), length, f.const("i32", width))
    shifted = (wide >> position.zext(wide.type)).trunc(x.type)
    if is_signed(type_):
        shifted = wide.ashr(position.zext(wide.type)).trunc(x.type)
    room = (f.const("i32", width) - length).cast("zext", f"i{2 * width}")
    up = shifted.zext(wide.type) << room
    narrow = up.trunc(x.type)
    full = narrow.cast("sext" if is_signed(type_) else "zext", wide.type)
    result = (full.ashr(room) if is_signed(type_) else full >> room).trunc(x.type)
    return f.select(length.eq(0), f.const(x.type, 0), result)


def field_insert(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    type_ = mods[-1]
    width = BITS[type_]
    a, b = (u.value(o, type_) for o in operands[:2])
    position, length = (u.value(o, "u32") & 255 for o in operands[2:])
    wide = f"i{2 * width}"
    limit = u.f.const("i32", width)
    position = u.f.select(position.ult(width), position, limit).zext(wide)
    length = u.f.select(length.ult(width), length, limit).zext(wide)
    mask = ((u.f.const(wide, 1) << length) - 1) << position
    inserted = (a.zext(wide) << position) & mask
    return ((b.zext(wide) & (mask ^ -1)) | inserted).trunc(b.type)


def find_leading(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    """bfind: position of the most significant bit that differs from the sign; -1 if there is none."""
    type_ = mods[-1]
    x, width = u.value(operands[0], type_), BITS[mods[-1]]
    if is_signed(type_):
        x = u.f.select(x.icmp("slt", 0), x ^ -1, x)
    zeros = count_leading_zeros(u, x)
    position = u.f.const("i32", width - 1) - zeros
    shown = zeros if "shiftamt" in mods else position
    return u.f.select(x.eq(0), u.f.const("i32", -1), shown)


def count_leading_zeros(u: Unit, x: Value) -> Value:
    name = f"llvm.ctlz.{x.type}"
    u.helper(name, f"declare {x.type} @{name}({x.type}, i1)")
    return u.f.emit(x.type, f"call {x.type} @{name}({x.typed}, i1 false)").trunc("i32")


def leading_zeros(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    return count_leading_zeros(u, u.value(operands[0], mods[-1]))


def population(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    return intrinsic(u, "ctpop", u.value(operands[0], mods[-1])).trunc("i32")


def reverse_bits(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    return intrinsic(u, "bitreverse", u.value(operands[0], mods[-1]))


def bit_mask(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    start, length = (u.value(o, "u32") for o in operands)
    if "wrap" in mods:
        start, length = start & 31, length & 31
    limit = u.f.const("i32", 32)
    start = u.f.select(start.ult(32), start, limit).zext("i64")
    length = u.f.select(length.ult(32), length, limit).zext("i64")
    return (((u.f.const("i64", 1) << length) - 1) << start).trunc("i32")


def sign_extend(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    x, n = u.value(operands[0], "b32"), u.value(operands[1], "u32")
    n = n & 31 if "wrap" in mods else u.f.select(n.ult(32), n, u.f.const("i32", 32))
    room = (u.f.const("i64", 64) - n.zext("i64")) & 63
    up = x.zext("i64") << room
    result = (up.ashr(room) if is_signed(mods[-1]) else up >> room).trunc("i32")
    return u.f.select(n.eq(0), u.f.const("i32", 0), result)


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


# Comparison and selection ---------------------------------------------------------------------------------------


def compare(u: Unit, mods: list[str], type_: str, a: Operand, b: Operand) -> Value:
    """The relation among `mods` on two operands, an i1."""
    relation = mods[0]
    if type_ in FLOAT:
        if type_ not in ("f32", "f64"):
            raise UnknownInstruction
        x, y = float_inputs(u, mods, type_, [a, b])
        ordered = {"num": "ord", "nan": "uno"}.get(relation)
        if ordered is None:
            unordered = len(relation) == 3
            ordered = ("u" if unordered else "o") + relation[:2]
        return u.f.emit("i1", f"fcmp {ordered} {x.typed}, {y}")
    if type_ not in INTEGER:
        raise UnknownInstruction
    x, y = u.value(a, type_), u.value(b, type_)
    if relation in FLIP:
        relation = FLIP[relation]
    elif relation not in ("eq", "ne"):
        relation = ("s" if is_signed(type_) else "u") + relation
    return x.icmp(relation, y)


def combined(u: Unit, mods: list[str], type_: str, operands: list[Operand]) -> Value:
    result = compare(u, mods, type_, operands[0], operands[1])
    operation = next((m for m in mods if m in ("and", "or", "xor")), None)
    return result._binary(operation, u.value(operands[2], "pred")) if operation else result


def set_value(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    to, source = [m for m in mods if m in BITS][-2:]
    result = combined(u, mods, source, operands)
    if to == "f32":
        return result.cast("uitofp", "float")
    return result.sext(llvm_type(to))


def select_by_predicate(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    a, b = (u.value(o, mods[-1]) for o in operands[:2])
    return u.f.select(u.value(operands[2], "pred"), a, b)


def select_by_sign(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    kinds = [m for m in mods if m in BITS]
    a, b = (u.value(o, kinds[0]) for o in operands[:2])
    if kinds[1] == "f32":
        (c,) = float_inputs(u, mods, "f32", [operands[2]])
        condition = u.f.emit("i1", f"fcmp oge {c.typed}, 0.0")
    else:
        condition = u.value(operands[2], "s32").icmp("sge", 0)
    return u.f.select(condition, a, b)


def test_property(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    x = u.value(operands[0], mods[-1])
    width = BITS[mods[-1]]
    mantissa = 23 if width == 32 else 52
    magnitude = x.bitcast(f"i{width}") & ((1 << (width - 1)) - 1)
    infinity = ((1 << (width - 1 - mantissa)) - 1) << mantissa
    least = 1 << mantissa
    tests = {
        "finite": lambda: magnitude.ult(infinity),
        "infinite": lambda: magnitude.eq(infinity),
        "number": lambda: magnitude.ule(infinity),
        "notanumber": lambda: magnitude.ugt(infinity),
        # Zero counts as normal.
        "normal": lambda: magnitude.ult(infinity) & (magnitude.uge(least) | magnitude.eq(0)),
        "subnormal": lambda: magnitude.ult(least) & magnitude.ne(0),
    }
    return tests[mods[0]]()


def copy_sign(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    """copysign: the sign of the first operand on the magnitude of the second."""
    sign, magnitude = (u.value(o, mods[-1]) for o in operands)
    return intrinsic(u, "copysign", magnitude, sign)


# Conversion -----------------------------------------------------------------------------------------------------

TO_INTEGER = {"rni": "roundeven", "rzi": "trunc", "rmi": "floor", "rpi": "ceil"}


def convert(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    kinds = [m for m in mods if m in BITS]
    if len(kinds) != 2 or "pack" in mods or set(mods) & {"rna", "satfinite", "relu", "scaled", "rs"}:
        raise UnknownInstruction
    to, source = kinds
    if to in INTEGER and source in INTEGER:
        return _between_integers(u, mods, to, source, operands[0])
    if source in INTEGER:
        return _from_integer(u, mods, to, source, operands[0])
    if source not in ("f32", "f64", "f16") or to in ("bf16", "f16x2", "bf16x2"):
        raise UnknownInstruction
    x = u.value(operands[0], source)
    if "ftz" in mods and source == "f32":
        x = flush(u, x)
    return _to_integer(u, mods, to, x) if to in INTEGER else _between_floats(u, mods, to, x)


def _between_integers(u: Unit, mods: list[str], to: str, source: str, operand: Operand) -> Value:
    x = u.value(operand, source)
    if "sat" not in mods:
        return resize(x, BITS[to], is_signed(source))
    wide = x.cast("sext" if is_signed(source) else "zext", "i128")
    low = -(1 << (BITS[to] - 1)) if is_signed(to) else 0
    high = (1 << (BITS[to] - is_signed(to))) - 1
    clamped = u.f.select(wide.icmp("slt", low), u.f.const("i128", low), wide)
    clamped = u.f.select(clamped.icmp("sgt", high), u.f.const("i128", high), clamped)
    return clamped.trunc(f"i{BITS[to]}")


def resize(x: Value, width: int, signed: bool) -> Value:
    have = int(x.type[1:])
    if have >= width:
        return x.trunc(f"i{width}")
    return x.cast("sext" if signed else "zext", f"i{width}")


def _from_integer(u: Unit, mods: list[str], to: str, source: str, operand: Operand) -> Value:
    if to not in ("f32", "f64", "f16"):
        raise UnknownInstruction
    x = u.value(operand, source)
    op = "sitofp" if is_signed(source) else "uitofp"
    mode = next((m for m in mods if m in ROUNDING), None)
    if mode:
        return float_result(u, mods, rounded(u, op, mode, llvm_type(to), x))
    return float_result(u, mods, x.cast(op, llvm_type(to)))


def _to_integer(u: Unit, mods: list[str], to: str, x: Value) -> Value:
    mode = next((m for m in mods if m in TO_INTEGER), None)
    if mode is None:
        raise UnknownInstruction
    if x.type == "half":
        x = x.cast("fpext", "float")
    whole = intrinsic(u, TO_INTEGER[mode], x)
    result = f"i{BITS[to]}"
    name = f"llvm.fpto{'s' if is_signed(to) else 'u'}i.sat.{result}.{ {'float': 'f32', 'double': 'f64'}[x.type] }"
    u.helper(name, f"declare {result} @{name}({x.type})")
    converted = u.f.call(result, name, whole)
    # NaN: the ISA says 0; an H200 gives the top bit alone where either side has 64 bits.
    if x.type != "double" and BITS[to] != 64:
        return converted
    nan = u.f.emit("i1", f"fcmp uno {x.typed}, {x}")
    return u.f.select(nan, u.f.const(result, 1 << (BITS[to] - 1)), converted)


def _between_floats(u: Unit, mods: list[str], to: str, x: Value) -> Value:
    target = llvm_type(to)
    order = ["half", "float", "double"]
    mode = next((m for m in mods if m in ROUNDING), None)
    whole = next((m for m in mods if m in TO_INTEGER), None)
    if whole and x.type == target:
        if x.type == "half":
            raise UnknownInstruction
        x = intrinsic(u, TO_INTEGER[whole], x)
    elif order.index(target) > order.index(x.type):
        x = x.cast("fpext", target)
    elif (x.type, target) == ("double", "half"):
        if mode:
            raise UnknownInstruction
        x = _to_odd(u, x).cast("fptrunc", target)
    elif order.index(target) < order.index(x.type):
        if mode and target == "half":
            raise UnknownInstruction
        x = rounded(u, "fptrunc", mode, target, x) if mode else x.cast("fptrunc", target)
    if "sat" in mods:
        x = saturate(u, x)
    return flush(u, x) if "ftz" in mods and to == "f32" else x


def _to_odd(u: Unit, x: Value) -> Value:
    """FP64 to FP32, rounded to odd: what is lost stays visible in the last bit, so that rounding again is safe."""
    near = rounded(u, "fptrunc", "rz", "float", x)
    lost = u.f.emit("i1", f"fcmp one {x.typed}, {near.cast('fpext', 'double')}")
    return (near.bitcast("i32") | lost.zext("i32")).bitcast("float")


ARITHMETIC: dict[str, Handler] = {
    "add": add_sub("add"),
    "sub": add_sub("sub"),
    "mul": multiply,
    "mad": multiply_add,
    "fma": float_op("fma"),
    "mul24": multiply_24,
    "mad24": multiply_add_24,
    "div": divide,
    "rem": remainder,
    "abs": absolute,
    "neg": negate,
    "min": min_max("min"),
    "max": min_max("max"),
    "sad": sum_of_difference,
    "sqrt": float_op("sqrt"),
    "rcp": reciprocal,
    "rsqrt": reciprocal_root,
    "sin": library("sin"),
    "cos": library("cos"),
    "lg2": library("log2"),
    "ex2": library("exp2"),
    "tanh": library("tanh"),
    "and": bitwise("and"),
    "or": bitwise("or"),
    "xor": bitwise("xor"),
    "not": invert,
    "cnot": logical_not,
    "shl": shift_left,
    "shr": shift_right,
    "shf": funnel_shift,
    "lop3": lookup_3,
    "prmt": permute,
    "bfe": field_extract,
    "bfi": field_insert,
    "bfind": find_leading,
    "clz": leading_zeros,
    "popc": population,
    "brev": reverse_bits,
    "bmsk": bit_mask,
    "szext": sign_extend,
    "dp4a": dot_product(4),
    "dp2a": dot_product(2),
    "set": set_value,
    "selp": select_by_predicate,
    "slct": select_by_sign,
    "testp": test_property,
    "copysign": copy_sign,
    "cvt": convert,
}
