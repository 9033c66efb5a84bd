"""Comparison and selection. PTX ISA, "Comparison and Selection Instructions" and its half-precision counterpart."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product

from grader.ptx.definition.computation import (
    Computation,
    Compute,
    Entries,
    mask,
    number,
    optional,
    pack,
    unpack,
)
from grader.ptx.definition.formats import FORMATS, decode, flush
from grader.ptx.types import BITS

Compare = Callable[[int, int], bool]
Combine = Callable[[int, int], int]

_RELATIONS: dict[str, Callable[..., bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}
_UNSIGNED_NAMES = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}
_COMBINATIONS: dict[str, Combine] = {
    "and": lambda t, c: t & c,
    "or": lambda t, c: t | c,
    "xor": lambda t, c: t ^ c,
}
_ONE = {"f16": 0x3C00, "bf16": 0x3F80, "f32": 0x3F800000}


def entries() -> Entries:
    for type_ in ("b16", "b32", "b64", "u16", "u32", "u64", "s16", "s32", "s64"):
        for name, compare in _integer_comparisons(type_).items():
            yield from _setp(name, "", type_, compare)
            yield from _set(name, "", type_, compare, ("u32", "s32", "f32"))
    for type_ in ("f32", "f64", "f16", "bf16"):
        for ftz in optional("ftz") if type_ in ("f32", "f16") else [""]:
            for name, compare in _floating_comparisons(type_, bool(ftz)).items():
                yield from _setp(name, ftz, type_, compare)
                yield from _set(name, ftz, type_, compare, _set_destinations(type_))
                if type_ in ("f16", "bf16"):
                    yield from _pairwise(name, ftz, type_, compare)
    yield from _selections()
    yield from _tests()


def _integer_comparisons(type_: str) -> dict[str, Compare]:
    names = ["eq", "ne"]
    if type_[0] != "b":
        names += ["lt", "le", "gt", "ge"]
    comparisons: dict[str, Compare] = {n: partial(_compare_integers, type_, _RELATIONS[n]) for n in names}
    if type_[0] == "u":
        comparisons |= {alias: comparisons[n] for alias, n in _UNSIGNED_NAMES.items()}
    return comparisons


def _compare_integers(type_: str, relation: Callable[..., bool], a: int, b: int) -> bool:
    return relation(number(type_, a), number(type_, b))


def _floating_comparisons(type_: str, ftz: bool) -> dict[str, Compare]:
    """With a NaN, ordered comparisons are false and unordered ones (`ltu`) true; num and nan test just for NaN."""
    comparisons: dict[str, Compare] = {}
    for name, relation in _RELATIONS.items():
        comparisons[name] = partial(_compare_reals, type_, ftz, relation, False)
        comparisons[f"{name}u"] = partial(_compare_reals, type_, ftz, relation, True)
    comparisons["num"] = partial(_compare_reals, type_, ftz, lambda *_: True, False)
    comparisons["nan"] = partial(_compare_reals, type_, ftz, lambda *_: False, True)
    return comparisons


def _compare_reals(
    type_: str, ftz: bool, relation: Callable[..., bool], when_unordered: bool, a: int, b: int
) -> bool:
    format_ = FORMATS[type_]
    x, y = (decode(format_, flush(format_, bits) if ftz else bits) for bits in (a, b))
    return when_unordered if x.is_nan or y.is_nan else relation(x.value, y.value)


def _setp(name: str, ftz: str, type_: str, compare: Compare) -> Entries:
    """p = (a CmpOp b) BoolOp c, q = !(a CmpOp b) BoolOp c; for f16 and bf16 only p."""
    results = ("pred",) if type_ in ("f16", "bf16") else ("pred", "pred")
    yield (
        f"setp.{name}{ftz}.{type_}",
        Computation((type_, type_), results, _predicates(compare, None, results)),
    )
    for combination, combine in _COMBINATIONS.items():
        compute = _predicates(compare, combine, results)
        yield f"setp.{name}.{combination}{ftz}.{type_}", Computation((type_, type_, "pred"), results, compute)


def _predicates(compare: Compare, combine: Combine | None, results: tuple[str, ...]) -> Compute:
    def compute(a: int, b: int, c: int = 0) -> int | tuple[int, ...]:
        true = int(compare(a, b))
        predicates = [combine(t, c) if combine else t for t in (true, 1 - true)]
        return tuple(predicates) if len(results) == 2 else predicates[0]

    return compute


def _set_destinations(type_: str) -> tuple[str, ...]:
    return {"f16": ("f16", "u16", "s16", "u32", "s32"), "bf16": ("bf16", "u16", "s16", "u32", "s32")}.get(
        type_, ("u32", "s32", "f32")
    )


def _set(name: str, ftz: str, type_: str, compare: Compare, destinations: tuple[str, ...]) -> Entries:
    """1.0 or 0.0 for a floating-point destination, all ones or 0 for an integer one."""
    for destination in destinations:
        yes = _ONE.get(destination, mask(destination))
        for combination in ("", *_COMBINATIONS):

            def compute(a: int, b: int, c: int = 0, yes: int = yes, combination: str = combination) -> int:
                true = int(compare(a, b))
                return yes if (_COMBINATIONS[combination](true, c) if combination else true) else 0

            operands = (type_, type_, "pred") if combination else (type_, type_)
            infix = f".{combination}" if combination else ""
            yield (
                f"set.{name}{infix}{ftz}.{destination}.{type_}",
                Computation(operands, (destination,), compute),
            )


def _pairwise(name: str, ftz: str, type_: str, compare: Compare) -> Entries:
    """f16x2 and bf16x2: setp gives p for the low half and q for the high half; set gives 1.0 or 16 ones per half."""
    pair = f"{type_}x2"

    def both(a: int, b: int) -> list[int]:
        return [int(compare(x, y)) for x, y in zip(unpack(a, 2, 16), unpack(b, 2, 16), strict=True)]

    yield (
        f"setp.{name}{ftz}.{pair}",
        Computation((pair, pair), ("pred", "pred"), lambda a, b: tuple(both(a, b))),
    )
    for combination, combine in _COMBINATIONS.items():

        def combined(a: int, b: int, c: int, f: Combine = combine) -> tuple[int, ...]:
            return tuple(f(t, c) for t in both(a, b))

        opcode = f"setp.{name}.{combination}{ftz}.{pair}"
        yield opcode, Computation((pair, pair, "pred"), ("pred", "pred"), combined)
    for destination, yes in ((pair, _ONE[type_]), ("u32", 0xFFFF), ("s32", 0xFFFF)):

        def halves(a: int, b: int, yes: int = yes) -> int:
            return pack((yes * t for t in both(a, b)), 16)

        yield f"set.{name}{ftz}.{destination}.{pair}", Computation((pair, pair), (destination,), halves)


def _selections() -> Entries:
    """selp: a if the predicate holds, else b. slct: a if c >= 0 (-0.0 counts), else b (also for NaN)."""
    types = [f"{kind}{width}" for kind, width in product("bus", (16, 32, 64))] + ["f32", "f64"]
    for type_ in types:
        yield f"selp.{type_}", Computation((type_, type_, "pred"), (type_,), lambda a, b, c: a if c else b)
        by_sign = Computation((type_, type_, "s32"), (type_,), lambda a, b, c: a if number("s32", c) >= 0 else b)
        yield f"slct.{type_}.s32", by_sign
        for ftz in optional("ftz"):
            not_negative = partial(_compare_reals, "f32", bool(ftz), _RELATIONS["ge"], False, b=0)
            by_value = Computation((type_, type_, "f32"), (type_,), lambda a, b, c, f=not_negative: a if f(c) else b)
            yield f"slct{ftz}.{type_}.f32", by_value


def _tests() -> Entries:
    """testp: a class of numbers that the operand belongs to. Zeros count as normal."""
    for type_ in ("f32", "f64"):
        for name, test in _CLASSES.items():
            yield f"testp.{name}.{type_}", Computation((type_,), ("pred",), partial(test, type_))


def _class(type_: str, bits: int) -> str:
    value = decode(FORMATS[type_], bits)
    if value.is_nan:
        return "nan"
    if value.is_infinite:
        return "infinite"
    if value.is_zero:
        return "zero"
    return "subnormal" if flush(FORMATS[type_], bits) & ~(1 << (BITS[type_] - 1)) == 0 else "normal"


def _is_one_of(*classes: str) -> Callable[[str, int], int]:
    return lambda type_, bits: int(_class(type_, bits) in classes)


_CLASSES = {
    "finite": _is_one_of("zero", "subnormal", "normal"),
    "infinite": _is_one_of("infinite"),
    "number": _is_one_of("zero", "subnormal", "normal", "infinite"),
    "notanumber": _is_one_of("nan"),
    "normal": _is_one_of("zero", "normal"),
    "subnormal": _is_one_of("subnormal"),
}
