"""Formats narrower than FP32: exactly to FP32, and from FP64 with one rounding.

Only integer operations are used, so that results are the same on every CPU.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache

from grader.ptx.definition.formats import FORMATS, FloatFormat, Real, round_to
from grader.ptx.ir import Fn, Value
from grader.ptx.lowering.arithmetic.unit import Routine, Unit, call

SIGNIFICAND = (1 << 52) - 1
IMPLICIT = 1 << 52
DOUBLE_INFINITY = 0x7FF << 52


def widened(u: Unit, type_: str, x: Value) -> Value:
    """The FP32 value of an f16, bf16, e4m3 or e5m2 code."""
    if type_ == "bf16":
        return (x.zext("i32") << 16).bitcast("float")
    return call(u, _widening(type_), x)


def as_half(u: Unit, type_: str, x: Value) -> Value:
    """The f16 code of an e4m3 or e5m2 code, which is exact; NaN becomes the canonical f16 NaN."""
    return call(u, _as_half(type_), x)


def narrowed(u: Unit, type_: str, x: Value, mode: str = "rn", *, satfinite: bool = False) -> Value:
    """The f16, bf16, tf32, e4m3 or e5m2 code that an FP32 or FP64 value rounds to."""
    if (x.type, type_, mode, satfinite) == ("float", "bf16", "rn", False):
        return call(u, _upper_half(), x)
    return call(u, _narrowing(type_, mode, satfinite), x.cast("fpext", "double"))


@cache
def _widening(type_: str) -> dict[str, str]:
    """Shifted into FP32's fields, a code is off by a power of two only. That holds for subnormals too."""
    format_ = FORMATS[type_]
    width, up = format_.width, 23 - format_.mantissa_bits
    routine = Routine(f"widen.{type_}", "float", {"x": f"i{width}"})
    f = routine.f
    bits = f["x"].zext("i32")
    code = bits & (format_.sign_bit - 1)
    scale = (127 - (1 - format_.min_exponent) + 127) << 23
    scaled = f.emit("float", f"fmul float {(code << up).bitcast('float')}, {_float(scale)}")
    value = scaled.bitcast("i32")
    if format_.has_infinity:
        value = f.select(code.eq(format_.infinity_code), f.const("i32", 0x7F800000), value)
        value = f.select(code.ugt(format_.infinity_code), f.const("i32", 0x7FFFFFFF), value)
    else:
        value = f.select(code.eq(format_.infinity_code), f.const("i32", 0x7FFFFFFF), value)
    f.ret((value | ((bits & format_.sign_bit) << (32 - width))).bitcast("float"))
    return routine.texts()


def _float(bits: int) -> str:
    """A power of two as an LLVM float constant, which is written as the bits of a double."""
    exponent = (bits >> 23) - 127
    return f"0x{(1023 + exponent) << 52:016X}"


@cache
def _as_half(type_: str) -> dict[str, str]:
    format_, half = FORMATS[type_], FORMATS["f16"]
    routine = Routine(f"half.{type_}", "i16", {"x": "i8"})
    f = routine.f
    bits = f["x"].zext("i16")
    code, sign = bits & 0x7F, (bits & 0x80) << 8
    if type_ == "e5m2":  # the upper half of an f16
        value, nan = code << 8, code.ugt(format_.infinity_code)
    else:  # its subnormals are normal in f16, and the exponent's bias differs
        normal = _shifted_subnormal(f, code)
        value = f.select(code.uge(1 << format_.mantissa_bits), (code << 7) + (8 << half.mantissa_bits), normal)
        nan = code.eq(format_.infinity_code)
    f.ret(f.select(nan, f.const("i16", half.nan), value | sign))
    return routine.texts()


def _shifted_subnormal(f: Fn, code: Value) -> Value:
    """An e4m3 subnormal (1 to 7 times 2^-9) or zero, from a 128-bit table of eight f16 codes."""
    table = sum(int(round_to(FORMATS["f16"], Real(False, Fraction(n, 512)))) << (16 * n) for n in range(8))
    return (f.const("i128", table) >> ((code & 7) << 4).zext("i128")).trunc("i16")


@cache
def _upper_half() -> dict[str, str]:
    """bf16 is the upper half of FP32: rounding adds to the lower half."""
    routine = Routine("narrow.bf16.f32", "i16", {"x": "float"})
    f = routine.f
    bits = f["x"].bitcast("i32")
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).trunc("i16")
    nan = (bits & 0x7FFFFFFF).ugt(0x7F800000)
    f.ret(f.select(nan, f.const("i16", FORMATS["bf16"].nan), rounded))
    return routine.texts()


@cache
def _narrowing(type_: str, mode: str, satfinite: bool) -> dict[str, str]:
    format_ = FORMATS[type_]
    result = f"i{format_.width}"
    name = f"narrow.{type_}.{mode}" + (".satfinite" if satfinite else "")
    routine = Routine(name, result, {"x": "double"})
    f = routine.f
    bits = f["x"].bitcast("i64")
    magnitude = bits & ((1 << 63) - 1)
    negative = bits.icmp("slt", 0)
    code = _clamped(_rounded(magnitude, negative, format_, mode), negative, format_, mode, satfinite)
    largest = format_.infinity_code - 1
    infinity = largest if satfinite or not format_.has_infinity else format_.infinity_code
    code = f.select(magnitude.eq(DOUBLE_INFINITY), f.const("i64", infinity), code)
    signed = f.select(negative, f.const("i64", format_.sign_bit), f.const("i64", 0)) | (code << format_.padding)
    signed = f.select(magnitude.ugt(DOUBLE_INFINITY), f.const("i64", format_.nan), signed)
    f.ret(signed.trunc(result))
    return routine.texts()


def _rounded(magnitude: Value, negative: Value, format_: FloatFormat, mode: str) -> Value:
    """The rounded code, as if the exponent were unbounded: a mantissa that overflows carries into it."""
    f = magnitude.fn
    lowest = 1023 + format_.min_exponent
    exponent = magnitude >> 52
    significand = (magnitude & SIGNIFICAND) | f.select(exponent.ne(0), f.const("i64", IMPLICIT), f.const("i64", 0))
    place = f.select(exponent.ugt(lowest), exponent, f.const("i64", lowest))
    drop = f.const("i64", 52 - format_.mantissa_bits) + (place - exponent)
    drop = f.select(drop.ult(60), drop, f.const("i64", 60))
    kept = significand >> drop
    rest = significand - (kept << drop)
    half = f.const("i64", 1) << (drop - 1)
    if mode == "rn":
        up = rest.ugt(half) | (rest.eq(half) & (kept & 1).ne(0))
    elif mode == "rna":
        up = rest.uge(half)
    else:
        side = {"rz": f.const("i1", 0), "rm": negative, "rp": negative ^ 1}[mode]
        up = rest.ne(0) & side
    return ((place - lowest) << format_.mantissa_bits) + kept + up.zext("i64")


def _clamped(code: Value, negative: Value, format_: FloatFormat, mode: str, satfinite: bool) -> Value:
    """A code beyond the largest number becomes infinity or that number, depending on the rounding mode."""
    f = code.fn
    largest, infinity = f.const("i64", format_.infinity_code - 1), f.const("i64", format_.infinity_code)
    over = largest
    if not satfinite:
        over = {"rn": infinity, "rna": infinity, "rz": largest}.get(mode) or (
            f.select(negative, infinity, largest) if mode == "rm" else f.select(negative, largest, infinity)
        )
    return f.select(code.ugt(format_.infinity_code - 1), over, code)
