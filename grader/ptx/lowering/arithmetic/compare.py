"""Comparison and selection. PTX ISA, "Comparison and Selection Instructions" and its half-precision twin."""

from __future__ import annotations

from grader.ptx.ir import Value
from grader.ptx.lowering.arithmetic.floating import float_inputs
from grader.ptx.lowering.arithmetic.half import flushed
from grader.ptx.lowering.arithmetic.narrow import widened
from grader.ptx.lowering.arithmetic.unit import (
    FLOAT,
    HALF,
    INTEGER,
    PAIRS,
    Handler,
    NoLowering,
    Unit,
    halves_of,
    paired,
)
from grader.ptx.syntax import Operand
from grader.ptx.types import BITS, is_signed

FLIP = {"lo": "ult", "ls": "ule", "hi": "ugt", "hs": "uge"}


def _relation(u: Unit, mods: list[str], type_: str, x: Value, y: Value) -> Value:
    relation = mods[0]
    if x.type not in ("float", "double"):
        if relation in FLIP:
            relation = FLIP[relation]
        elif relation not in ("eq", "ne"):
            relation = ("s" if is_signed(type_) else "u") + relation
        return x.icmp(relation, y)
    ordered = {"num": "ord", "nan": "uno"}.get(relation)
    if ordered is None:
        ordered = ("u" if len(relation) == 3 else "o") + relation[:2]
    return u.f.emit("i1", f"fcmp {ordered} {x.typed}, {y}")


def _comparable(u: Unit, mods: list[str], type_: str, operand: Operand) -> list[Value]:
    """An operand as numbers that LLVM can compare: one, or one per half of a pair."""
    if type_ in INTEGER:
        return [u.value(operand, type_)]
    if type_ in FLOAT:
        return float_inputs(u, mods, type_, [operand])
    element = PAIRS.get(type_, type_)
    if element not in HALF:
        raise NoLowering
    value = u.value(operand, type_)
    codes = [value] if type_ in HALF else halves_of(value)
    return [widened(u, element, flushed(element, c) if "ftz" in mods else c) for c in codes]


def compare(u: Unit, mods: list[str], type_: str, a: Operand, b: Operand) -> list[Value]:
    """Whether the relation `mods[0]` holds: an i1, or one per half of a pair."""
    pairs = zip(_comparable(u, mods, type_, a), _comparable(u, mods, type_, b), strict=True)
    return [_relation(u, mods, type_, x, y) for x, y in pairs]


def _combined(u: Unit, mods: list[str], results: list[Value], operands: list[Operand]) -> list[Value]:
    """If there is a third operand, each result is combined with that predicate."""
    operation = next((m for m in mods[1:] if m in ("and", "or", "xor")), None)
    if operation is None:
        return results
    predicate = u.value(operands[2], "pred")
    return [result._binary(operation, predicate) for result in results]


def set_predicates(u: Unit, mods: list[str], operands: list[Operand]) -> tuple[Value, ...]:
    """setp: for a pair one predicate per half, otherwise the predicate and its negation."""
    results = compare(u, mods, mods[-1], operands[0], operands[1])
    if len(results) == 1:
        results.append(results[0] ^ 1)
    return tuple(_combined(u, mods, results, operands))


ONE = {"f16": 0x3C00, "bf16": 0x3F80, "f32": 0x3F800000}


def set_value(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    """set: 1.0 or 0.0, or all ones or 0; for a pair in each half."""
    to, source = [m for m in mods if m in BITS][-2:]
    results = _combined(u, mods, compare(u, mods, source, operands[0], operands[1]), operands)
    element, width = PAIRS.get(to, to), BITS[to] // len(results)
    yes, no = u.f.const(f"i{width}", ONE.get(element, -1)), u.f.const(f"i{width}", 0)
    values = [u.f.select(result, yes, no) for result in results]
    return values[0] if len(values) == 1 else paired(*values)


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


TABLE: dict[str, Handler] = {
    "setp": set_predicates,
    "set": set_value,
    "selp": select_by_predicate,
    "slct": select_by_sign,
    "testp": test_property,
}
