"""f16, bf16 and their pairs. PTX ISA, "Half Precision Floating Point Instructions".

Operands are widened to FP64, which makes the result right after a single rounding to the narrow format.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from grader.ptx.definition.formats import FORMATS
from grader.ptx.ir import Value
from grader.ptx.lowering.arithmetic.floating import saturate
from grader.ptx.lowering.arithmetic.narrow import narrowed, widened
from grader.ptx.lowering.arithmetic.unit import (
    HALF,
    PAIRS,
    Handler,
    NoLowering,
    Routine,
    Unit,
    call,
    halves_of,
    paired,
)

Scalar = Callable[[Unit, list[str], str, list[Value]], Value]


def elementwise(one: Scalar) -> Handler:
    """A handler of the scalar and the packed form."""
    return lambda u, mods, operands: _applied(u, one, mods, [u.value(operand, mods[-1]) for operand in operands])


def _applied(u: Unit, one: Scalar, mods: list[str], values: list[Value]) -> Value:
    type_ = mods[-1]
    if type_ in HALF:
        return one(u, mods, type_, values)
    low, high = (one(u, mods, PAIRS[type_], list(half)) for half in zip(*map(halves_of, values), strict=True))
    return paired(low, high)


def flushed(type_: str, x: Value) -> Value:
    """.ftz: a subnormal becomes the zero of its sign."""
    format_, f = FORMATS[type_], x.fn
    exponent = x & (format_.infinity_code)
    return f.select(exponent.eq(0), x & format_.sign_bit, x)


def rectified(u: Unit, x: Value) -> Value:
    """.relu: zero for what is not above it; NaN stays."""
    return u.f.select(u.f.emit("i1", f"fcmp ole {x.typed}, 0.0"), u.f.const(x.type, "0.0"), x)


# Arithmetic -----------------------------------------------------------------------------------------------------


def _arithmetic(operation: str) -> Scalar:
    def one(u: Unit, mods: list[str], type_: str, values: list[Value]) -> Value:
        modifiers = tuple(m for m in mods[:-1] if m != "rn")
        if not set(modifiers) <= {"ftz", "sat", "relu"}:
            raise NoLowering
        return call(u, _operation(operation, type_, modifiers), *values)

    return one


def sum_of(u: Unit, type_: str, a: Value, b: Value) -> Value:
    """add.rn of values instead of operands, for atomics."""
    return _applied(u, _arithmetic("fadd"), [type_], [a, b])


@cache
def _operation(operation: str, type_: str, modifiers: tuple[str, ...]) -> dict[str, str]:
    parameters = {"fma": ("a", "b", "c")}.get(operation, ("a", "b"))
    routine = Routine(".".join((operation, type_, *modifiers)), "i16", dict.fromkeys(parameters, "i16"))
    values = [routine.f[p] for p in parameters]
    if "ftz" in modifiers:
        values = [flushed(type_, v) for v in values]
    wide = [widened(routine, type_, v).cast("fpext", "double") for v in values]
    result = _in_double(routine, operation, wide)
    if "sat" in modifiers:
        result = saturate(routine, result)
    if "relu" in modifiers:
        result = rectified(routine, result)
    if "ftz" in modifiers:
        result = _without_subnormals(routine, type_, result)
    routine.f.ret(narrowed(routine, type_, result))
    return routine.texts()


def _without_subnormals(u: Unit, type_: str, x: Value) -> Value:
    """Flush what is below the smallest normal number after rounding to the full mantissa, as an H200 does."""
    format_ = FORMATS[type_]
    least = ((1023 + format_.min_exponent) << 52) - (1 << (51 - format_.mantissa_bits))
    bits = x.bitcast("i64")
    kept = (bits & ((1 << 63) - 1)).uge(least)
    return u.f.select(kept, bits, bits & (1 << 63)).bitcast("double")


def _in_double(u: Unit, operation: str, values: list[Value]) -> Value:
    """A value that rounds to the same half as the exact result.

    A product of two halves is exact in FP64. A sum of two is exact, or so far apart that it is no tie. To a
    product that may be a tie, fma may add a number too small for FP64 to show, so that sum is rounded to odd.
    """
    f = u.f
    if operation != "fma":
        return f.emit("double", f"{operation} double {values[0]}, {values[1]}")
    product = f.emit("double", f"fmul double {values[0]}, {values[1]}")
    return sum_to_odd(product, values[2])


def sum_to_odd(a: Value, b: Value) -> Value:
    """a + b in FP64, rounded to odd: the last bit says whether anything was lost (Knuth's two-sum)."""
    f = a.fn
    total = f.emit("double", f"fadd double {a}, {b}")
    of_b = f.emit("double", f"fsub double {total}, {a}")
    of_a = f.emit("double", f"fsub double {total}, {of_b}")
    lost_a = f.emit("double", f"fsub double {a}, {of_a}")
    lost_b = f.emit("double", f"fsub double {b}, {of_b}")
    lost = f.emit("double", f"fadd double {lost_a}, {lost_b}")
    bits = total.bitcast("i64")
    inexact = f.emit("i1", f"fcmp one double {lost}, 0.0") & (bits & 1).eq(0)
    grows = f.emit("i1", f"fcmp ogt double {lost}, 0.0").eq(f.emit("i1", f"fcmp ogt double {total}, 0.0"))
    step = f.select(grows, f.const("i64", 1), f.const("i64", -1))
    return (bits + f.select(inexact, step, f.const("i64", 0))).bitcast("double")


# Signs, extremes ------------------------------------------------------------------------------------------------


def _absolute(_u: Unit, mods: list[str], type_: str, values: list[Value]) -> Value:
    x = flushed(type_, values[0]) if "ftz" in mods else values[0]
    return x & 0x7FFF


def _negated(_u: Unit, mods: list[str], type_: str, values: list[Value]) -> Value:
    x = flushed(type_, values[0]) if "ftz" in mods else values[0]
    return x ^ 0x8000


def _extreme(op: str) -> Scalar:
    """min and max: one NaN operand loses, unless .NaN; -0 is less than +0."""

    def one(u: Unit, mods: list[str], type_: str, values: list[Value]) -> Value:
        f, format_ = u.f, FORMATS[type_]
        if not set(mods[:-1]) <= {"ftz", "NaN", "xorsign", "abs"}:
            raise NoLowering
        if "ftz" in mods:
            values = [flushed(type_, v) for v in values]
        sign = (values[0] ^ values[1]) & 0x8000
        a, b = (v & 0x7FFF for v in values) if "abs" in mods else values
        # Codes grow with the value; those of negative numbers grow downward.
        first, second = (v ^ (v.ashr(15) & 0x7FFF) for v in (a, b))
        result = f.select(first.icmp("slt" if op == "min" else "sgt", second), a, b)
        nan = f.const("i16", format_.nan)
        no_a, no_b = ((v & 0x7FFF).ugt(format_.infinity_code) for v in (a, b))
        if "xorsign" in mods:
            result, a, b = ((v & 0x7FFF) | sign for v in (result, a, b))
        if "NaN" in mods:
            return f.select(no_a | no_b, nan, result)
        return f.select(no_a & no_b, nan, f.select(no_a, b, f.select(no_b, a, result)))

    return one


def extreme_of(u: Unit, op: str, type_: str, a: Value, b: Value) -> Value:
    """min or max of values instead of operands."""
    return _applied(u, _extreme(op), [type_], [a, b])


# Approximations -------------------------------------------------------------------------------------------------


def _library(function: str) -> Scalar:
    """By a double-precision function, rounded once: within the documented error."""

    def one(u: Unit, mods: list[str], type_: str, values: list[Value]) -> Value:
        x = flushed(type_, values[0]) if "ftz" in mods else values[0]
        u.helper(function, f"declare double @{function}(double)")
        wide = u.f.call("double", function, widened(u, type_, x).cast("fpext", "double"))
        code = narrowed(u, type_, wide)
        return flushed(type_, code) if "ftz" in mods else code

    return one


TABLE: dict[str, Handler] = {
    "add": elementwise(_arithmetic("fadd")),
    "sub": elementwise(_arithmetic("fsub")),
    "mul": elementwise(_arithmetic("fmul")),
    "fma": elementwise(_arithmetic("fma")),
    "abs": elementwise(_absolute),
    "neg": elementwise(_negated),
    "min": elementwise(_extreme("min")),
    "max": elementwise(_extreme("max")),
    "ex2": elementwise(_library("exp2")),
    "tanh": elementwise(_library("tanh")),
}
