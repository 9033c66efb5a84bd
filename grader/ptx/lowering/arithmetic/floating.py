"""FP32 and FP64. PTX ISA, "Floating Point Instructions"."""

from __future__ import annotations

from grader.ptx.ir import Value
from grader.ptx.lowering.arithmetic.unit import Handler, NoLowering, Unit, intrinsic
from grader.ptx.syntax import Operand

ROUNDING = {"rz": 0, "rp": 2, "rm": 3}  # llvm.set.rounding


def rounded(u: Unit, op: str, mode: str, result: str, *arguments: Value) -> Value:
    """`op` with a directed rounding mode, in a function of its own that sets the mode and resets it."""
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
        values = float_inputs(u, mods, mods[-1], operands)
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
    """An approximate instruction, by a double-precision function: well within its documented error."""

    def lower(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
        if mods[-1] != "f32":
            raise NoLowering
        (x,) = float_inputs(u, mods, mods[-1], operands)
        u.helper(function, f"declare double @{function}(double)")
        wide = u.f.call("double", function, x.cast("fpext", "double"))
        return float_result(u, mods, wide.cast("fptrunc", "float"))

    return lower


def extreme(op: str) -> Handler:
    """min and max: a NaN loses against a number, unless .NaN; -0 < +0 (IEEE 754-2019 minimumNumber)."""

    def lower(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
        values = float_inputs(u, mods, mods[-1], operands)
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

    return lower


def absolute(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    (x,) = float_inputs(u, mods, mods[-1], operands)
    return intrinsic(u, "fabs", x)


def negate(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    (x,) = float_inputs(u, mods, mods[-1], operands)
    return u.f.emit(x.type, f"fneg {x.typed}")


def _pick(u: Unit, op: str, a: Value, b: Value, *, nan_wins: bool) -> Value:
    f, width = u.f, f"i{32 if a.type == 'float' else 64}"
    order = "olt" if op == "min" else "ogt"
    picked = f.select(f.emit("i1", f"fcmp {order} {a.typed}, {b}"), a, b)
    # Equal values may differ in the sign of zero: `or` keeps -0 for min, `and` keeps +0 for max.
    merged = (a.bitcast(width) | b.bitcast(width)) if op == "min" else (a.bitcast(width) & b.bitcast(width))
    picked = f.select(f.emit("i1", f"fcmp oeq {a.typed}, {b}"), merged.bitcast(a.type), picked)
    a_nan, b_nan = f.emit("i1", f"fcmp uno {a.typed}, {a}"), f.emit("i1", f"fcmp uno {b.typed}, {b}")
    if nan_wins:
        return f.select(a_nan, a, f.select(b_nan, b, picked))
    return f.select(a_nan, b, f.select(b_nan, a, picked))


def copy_sign(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    """copysign: the sign of the first operand on the magnitude of the second."""
    sign, magnitude = (u.value(o, mods[-1]) for o in operands)
    return intrinsic(u, "copysign", magnitude, sign)


TABLE: dict[str, Handler] = {
    "add": float_op("fadd"),
    "sub": float_op("fsub"),
    "mul": float_op("fmul"),
    "div": float_op("fdiv"),
    "fma": float_op("fma"),
    "mad": float_op("fma"),
    "sqrt": float_op("sqrt"),
    "rcp": reciprocal,
    "rsqrt": reciprocal_root,
    "abs": absolute,
    "neg": negate,
    "min": extreme("min"),
    "max": extreme("max"),
    "sin": library("sin"),
    "cos": library("cos"),
    "lg2": library("log2"),
    "ex2": library("exp2"),
    "tanh": library("tanh"),
    "copysign": copy_sign,
}
