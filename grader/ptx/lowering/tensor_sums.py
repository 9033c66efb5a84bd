"""The sums of floating-point tensor cores, a chunk of products at once. The definition is definition/tensor_cores.py.

Numbers are doubles, in which all products and all cut-off parts of a sum are exact. Beside each factor stands its
exponent, so that those of the products are mere sums.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from grader.ptx.definition.formats import FORMATS
from grader.ptx.definition.tensor_cores import OVERFLOW, Sums, Tree
from grader.ptx.ir import Value
from grader.ptx.lowering.arithmetic import intrinsic
from grader.ptx.lowering.arithmetic.narrow import narrowed, widened
from grader.ptx.lowering.arithmetic.unit import Routine

NONE = -10_000  # the exponent of zero, below all others
MOST = 400  # a bound for the exponents of infinities; those of all other products are less
F64_MANTISSA, F64_BIAS = 52, 1023


@dataclass(frozen=True)
class Line:
    """Factors that lie next to each other: pointers to doubles, and to the exponents of these."""

    values: Value
    exponents: Value

    def at(self, i: Value | int) -> Line:
        return Line(self.values.index("double", i), self.exponents.index("i32", i))

    def set(self, i: Value | int, value: Value, least: int) -> None:
        one = self.at(i)
        one.values.store(value)
        one.exponents.store(exponent_of(value, least))


def line(routine: Routine, count: int) -> Line:
    """Room for so many."""
    f = routine.f
    return Line(f.alloca(f"[{count} x double]", 64), f.alloca(f"[{count} x i32]", 64))


def exponent_of(x: Value, least: int) -> Value:
    """That of a double, at least `least`, as i32."""
    f, bits = x.fn, x.bitcast("i64")
    field = ((bits >> F64_MANTISSA) & 0x7FF).trunc("i32") - F64_BIAS
    field = f.select(field.icmp("slt", least), f.const("i32", least), field)
    return f.select((bits << 1).eq(0), f.const("i32", NONE), field)


def dot(routine: Routine, sums: Sums, start: Value, a: Line, b: Line, depth: int, type_: str) -> Value:
    """start + a·b, of factors in the order of `sums`. All are doubles; `start` has type `type_`, the result D's.

    Where C comes last, the result is not rounded yet.
    """
    if sums.halved:
        partial = dot(routine, replace(sums, halved=False), routine.f.const("double", "0.0"), a, b, depth, sums.d)
        return routine.f.emit("double", f"fadd {partial.typed}, {start}")
    total = start
    for first in range(0, depth, sums.chunk):
        count = min(sums.chunk, depth - first)
        before = total, exponent_of(total, FORMATS[type_].min_exponent)
        total, type_ = _add(routine, sums, before, (a.at(first), b.at(first)), count), sums.d
    return total


def _add(routine: Routine, sums: Sums, before: tuple[Value, Value], factors: tuple[Line, Line], count: int) -> Value:
    f, (a, b) = routine.f, factors
    reals, integers = f"<{count} x double>", f"<{count} x i32>"
    x, y = (one.values.load(reals, 8) for one in (a, b))
    products = f.emit(reals, f"fmul {x.typed}, {y}")
    exponents = a.exponents.load(integers, 4) + b.exponents.load(integers, 4)
    largest = _reduced(routine, "smax", "i32", exponents)
    for other in (before[1], f.const("i32", sums.least)):
        largest = intrinsic(routine, "smax", largest, other)
    largest = intrinsic(routine, "smin", largest, f.const("i32", MOST))
    up, down = _power(f.const("i32", sums.fraction) - largest), _power(largest - sums.fraction)
    one = f.emit(reals, f"insertelement {reals} poison, {up.typed}, i64 0")
    ups = f.emit(reals, f"shufflevector {one.typed}, {reals} poison, <{count} x i32> zeroinitializer")
    cut = _whole(routine, f.emit(reals, f"fmul {products.typed}, {ups}"))
    rest = _whole(routine, f.emit("double", f"fmul {before[0].typed}, {up}"))
    name = f"llvm.vector.reduce.fadd.v{count}f64"
    routine.helper(name, f"declare double @{name}(double, {reals})")
    total = f.emit("double", f"call reassoc double @{name}({rest.typed}, {cut.typed})")  # exact in any order
    return rounded(routine, sums, f.emit("double", f"fmul {total.typed}, {down}"))


def quad(routine: Routine, tree: Tree, start: Value, a: Line, b: Line) -> Value:
    """mma.m8n8k4: a double that is exact in FP32."""
    f = routine.f
    if isinstance(tree, tuple):
        left, right = (quad(routine, part, start, a, b) for part in tree)
        return f.emit("double", f"fadd {left.typed}, {right}").cast("fptrunc", "float").cast("fpext", "double")
    if isinstance(tree, int):
        x, y = (one.at(tree).values.load("double") for one in (a, b))
        return f.emit("double", f"fmul {x.typed}, {y}")
    return start


def _reduced(routine: Routine, how: str, type_: str, vector: Value) -> Value:
    count = vector.type[1:].split(" ")[0]
    name = f"llvm.vector.reduce.{how}.v{count}{type_}"
    routine.helper(name, f"declare {type_} @{name}({vector.type})")
    return routine.f.call(type_, name, vector)


def _whole(routine: Routine, x: Value) -> Value:
    """Cut off at the point."""
    suffix = "f64" if x.type == "double" else f"v{x.type[1:].split(' ')[0]}f64"
    routine.helper(f"llvm.trunc.{suffix}", f"declare {x.type} @llvm.trunc.{suffix}({x.type})")
    return routine.f.call(x.type, f"llvm.trunc.{suffix}", x)


def _power(exponent: Value) -> Value:
    """Two to that, a normal double."""
    return ((exponent + F64_BIAS).zext("i64") << F64_MANTISSA).bitcast("double")


def rounded(routine: Routine, sums: Sums, x: Value) -> Value:
    """To FP16, or toward zero to FP32 or fewer bits; zero is never negative."""
    f = routine.f
    if sums.d == "f16":
        half = widened(routine, "f16", narrowed(routine, "f16", x)).cast("fpext", "double")
        return f.emit("double", f"fadd {half.typed}, 0.0")
    least, bits = FORMATS["f32"].min_exponent, x.bitcast("i64")
    cut = (bits & -(1 << (F64_MANTISSA - sums.kept))).bitcast("double")
    steps = _power(f.const("i32", sums.kept - least)), _power(f.const("i32", least - sums.kept))
    fixed = f.emit("double", f"fmul {x.typed}, {steps[0]}")
    fixed = f.emit("double", f"fmul {_whole(routine, fixed).typed}, {steps[1]}")
    exponent, ones = exponent_of(x, -F64_BIAS), 0x7FF << F64_MANTISSA
    infinite = ((bits & (1 << 63)) | ones).bitcast("double")
    value = f.select(exponent.icmp("slt", least), fixed, cut)
    value = f.select(exponent.icmp("sge", OVERFLOW), infinite, value)
    value = f.select((bits & ones).eq(ones), x, value)
    return f.emit("double", f"fadd {value.typed}, 0.0")


def code_of(routine: Routine, type_: str, x: Value) -> Value:
    """The bits of a sum: FP32 beyond its largest number is infinite, and a NaN the canonical one."""
    if type_ == "f16":
        return narrowed(routine, "f16", x)
    f = routine.f
    nan = f.emit("i1", f"fcmp uno {x.typed}, {x}")
    return f.select(nan, f.const("i32", FORMATS["f32"].nan), x.cast("fptrunc", "float").bitcast("i32"))
