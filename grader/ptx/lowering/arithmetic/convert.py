"""cvt. PTX ISA, section "Data Movement and Conversion Instructions: cvt"."""

from __future__ import annotations

from collections.abc import Container

from grader.ptx.ir import Value
from grader.ptx.lowering.arithmetic.floating import ROUNDING, float_result, flush, rounded, saturate
from grader.ptx.lowering.arithmetic.half import rectified
from grader.ptx.lowering.arithmetic.narrow import as_half, narrowed, widened
from grader.ptx.lowering.arithmetic.unit import (
    FLOAT,
    HALF,
    INTEGER,
    PAIRS,
    Handler,
    NoLowering,
    Unit,
    halves_of,
    intrinsic,
    llvm_type,
    paired,
)
from grader.ptx.syntax import Operand
from grader.ptx.types import BITS, is_signed

TO_INTEGER = {"rni": "roundeven", "rzi": "trunc", "rmi": "floor", "rpi": "ceil"}
TO_NARROW = {"rn", "rna", "rz", "rm", "rp"}
MODIFIERS = {*TO_INTEGER, *TO_NARROW, "ftz", "sat", "satfinite", "relu"}
EXACT = 1 << 53  # integers from here on may not be exact in FP64


def convert(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    kinds = [m for m in mods if m in BITS]
    if len(kinds) != 2 or not set(mods) <= {*MODIFIERS, *kinds}:
        raise NoLowering
    to, source = kinds
    if to in PAIRS:
        return _pair(u, mods, to, source, operands)
    if to in INTEGER and source in INTEGER:
        return _between_integers(u, mods, to, source, operands[0])
    if source in INTEGER:
        return _from_integer(u, mods, to, u.value(operands[0], source), is_signed(source))
    x = _real(u, mods, source, u.value(operands[0], source))
    if to in INTEGER:
        return _to_integer(u, mods, to, x)
    return _between_floats(u, mods, to, x) if to in FLOAT else _narrow(u, mods, to, x)


def _mode(mods: list[str], among: Container[str]) -> str | None:
    return next((m for m in mods if m in among), None)


def _real(u: Unit, mods: list[str], type_: str, x: Value) -> Value:
    """A float of any format as FP32 or FP64; .ftz flushes only FP32."""
    if type_ in FLOAT:
        return flush(u, x) if "ftz" in mods and type_ == "f32" else x
    return widened(u, type_, x)


def _pair(u: Unit, mods: list[str], to: str, source: str, operands: list[Operand]) -> Value:
    """Converts two FP32 numbers, the first to the high half; or each half of a pair."""
    if source == "f32":
        values = [_real(u, mods, source, u.value(o, source)) for o in reversed(operands)]
    elif source in PAIRS:
        halves = halves_of(u.value(operands[0], source))
        if to == "f16x2" and "relu" not in mods:
            return paired(*(as_half(u, PAIRS[source], half) for half in halves))
        values = [widened(u, PAIRS[source], half) for half in halves]
    else:
        raise NoLowering
    low, high = (_narrow(u, mods, PAIRS[to], value) for value in values)
    return paired(low, high)


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


def _from_integer(u: Unit, mods: list[str], to: str, x: Value, signed: bool) -> Value:
    op = "sitofp" if signed else "uitofp"
    if to in HALF:
        return _narrow(u, mods, to, _to_double(u, resize(x, 64, signed), op))
    mode = _mode(mods, ROUNDING)
    if mode:
        return float_result(u, mods, rounded(u, op, mode, llvm_type(to), x))
    return float_result(u, mods, x.cast(op, llvm_type(to)))


def _to_double(u: Unit, x: Value, op: str) -> Value:
    """A 64-bit integer in FP64. A sticky bit stands for lost bits, so that rounding a second time is correct."""
    f = u.f
    magnitude = x if op == "uitofp" else f.select(x.icmp("slt", 0), f.const("i64", 0) - x, x)
    lost = (x & 0x7FF).ne(0).zext("i64") << 11
    short = (x & ~0x7FF) | lost
    return f.select(magnitude.ult(EXACT), x, short).cast(op, "double")


def _to_integer(u: Unit, mods: list[str], to: str, x: Value) -> Value:
    mode = _mode(mods, TO_INTEGER)
    if mode is None:
        raise NoLowering
    whole = intrinsic(u, TO_INTEGER[mode], x)
    result = f"i{BITS[to]}"
    name = f"llvm.fpto{'s' if is_signed(to) else 'u'}i.sat.{result}.{ {'float': 'f32', 'double': 'f64'}[x.type] }"
    u.helper(name, f"declare {result} @{name}({x.type})")
    converted = u.f.call(result, name, whole)
    # NaN: the ISA says 0; an H200 gives only the top bit if either type has 64 bits.
    if x.type != "double" and BITS[to] != 64:
        return converted
    nan = u.f.emit("i1", f"fcmp uno {x.typed}, {x}")
    return u.f.select(nan, u.f.const(result, 1 << (BITS[to] - 1)), converted)


def _between_floats(u: Unit, mods: list[str], to: str, x: Value) -> Value:
    target = llvm_type(to)
    whole, mode = _mode(mods, TO_INTEGER), _mode(mods, ROUNDING)
    if whole:
        x = intrinsic(u, TO_INTEGER[whole], x)
    if (x.type, target) == ("float", "double"):
        x = x.cast("fpext", target)
    elif x.type != target:
        x = rounded(u, "fptrunc", mode, target, x) if mode else x.cast("fptrunc", target)
    return float_result(u, mods, x)


def _narrow(u: Unit, mods: list[str], to: str, x: Value) -> Value:
    """To f16, bf16, tf32, e4m3 or e5m2. Clamping may come before rounding, as every format has 0 and 1."""
    whole = _mode(mods, TO_INTEGER)
    if whole:
        x = intrinsic(u, TO_INTEGER[whole], x)
    if "sat" in mods:
        x = saturate(u, x)
    if "relu" in mods:
        x = rectified(u, x)
    return narrowed(u, to, x, _mode(mods, TO_NARROW) or "rn", satfinite="satfinite" in mods)


def pack(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    """cvt.pack: two integers, each clamped, the first in the higher bits; a third operand is shifted in above."""
    if mods[1] != "sat" or mods[3:] not in (["s32"], ["s32", "b32"]):
        raise NoLowering
    width = int(mods[2][1:])
    low = -(1 << (width - 1)) if is_signed(mods[2]) else 0
    ones = (1 << width) - 1

    def clamped(operand: Operand) -> Value:
        x = intrinsic(u, "smax", u.value(operand, "s32"), u.f.const("i32", low))
        return intrinsic(u, "smin", x, u.f.const("i32", low + ones)) & ones

    first, second, *above = operands
    both = (clamped(first) << width) | clamped(second)
    return both | (u.value(above[0], "b32") << (2 * width)) if above else both


TABLE: dict[str, Handler] = {"cvt": convert, "cvt.pack": pack}
