"""Floating point. PTX ISA, sections "Floating Point" and "Half Precision Floating Point Instructions".

Every operation is exact rational arithmetic, rounded once. `.ftz` flushes subnormal inputs and results to zero,
keeping the sign. The ISA leaves the payload of a NaN result open; here it is the canonical NaN, and any NaN is
accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from grader.ptx.definition import exact
from grader.ptx.definition.computation import Computation, Entries, optional, packed
from grader.ptx.definition.formats import (
    F32,
    F64,
    FORMATS,
    ROUNDING_MODES,
    FloatFormat,
    Real,
    decode,
    flush,
    rectify,
    round_flushed,
    round_to,
    saturate,
)

Operation = Callable[..., Real]

SUMS_AND_PRODUCTS: dict[str, tuple[int, Operation]] = {
    "add": (2, exact.add),
    "sub": (2, exact.subtract),
    "mul": (2, exact.multiply),
}
QUOTIENTS_AND_ROOTS: dict[str, tuple[int, Operation]] = {
    "div": (2, exact.divide),
    "rcp": (1, exact.reciprocal),
    "sqrt": (1, exact.square_root),
}


def entries() -> Entries:
    yield from _single_and_double()
    yield from _half()
    for type_ in ("f32", "f64", "f16", "bf16"):
        yield from _extremes(type_)
        yield from _sign_changes(type_)
    for type_, format_ in (("f32", F32), ("f64", F64)):
        copy_sign = partial(_copy_sign, format_)
        yield f"copysign.{type_}", Computation((type_, type_), (type_,), copy_sign)


def _arithmetic(format_: FloatFormat, operation: Operation, mode: str, modifiers: str) -> Callable[..., int]:
    """`modifiers`: text that may contain .ftz, .sat and .relu."""
    ftz, sat, relu = (m in modifiers.split(".") for m in ("ftz", "sat", "relu"))

    def compute(*bits: int) -> int:
        operands = (decode(format_, flush(format_, b) if ftz else b) for b in bits)
        result = (round_flushed if ftz else round_to)(format_, operation(*operands, mode), mode)
        if sat:
            result = saturate(format_, result)
        return rectify(format_, result) if relu else result

    return compute


def _single_and_double() -> Entries:
    """Without a rounding modifier, add, sub and mul round to nearest. mad is fma since sm_20."""
    for type_, format_ in (("f32", F32), ("f64", F64)):
        flushes = optional("ftz") if type_ == "f32" else [""]
        tails = optional("ftz", "sat") if type_ == "f32" else [""]
        for name, (count, operation) in SUMS_AND_PRODUCTS.items():
            for rounding in ("", *ROUNDING_MODES):
                spelled = f"{name}.{rounding}" if rounding else name
                for tail in tails:
                    compute = _arithmetic(format_, operation, rounding or "rn", tail)
                    yield f"{spelled}{tail}.{type_}", Computation((type_,) * count, (type_,), compute)
        for rounding in ROUNDING_MODES:
            for tail in tails:
                compute = _arithmetic(format_, exact.multiply_add, rounding, tail)
                for name in ("fma", "mad"):
                    yield f"{name}.{rounding}{tail}.{type_}", Computation((type_,) * 3, (type_,), compute)
            for name, (count, operation) in QUOTIENTS_AND_ROOTS.items():
                for tail in flushes:
                    compute = _arithmetic(format_, operation, rounding, tail)
                    yield f"{name}.{rounding}{tail}.{type_}", Computation((type_,) * count, (type_,), compute)


def _half() -> Entries:
    for type_ in ("f16", "bf16"):
        tails = optional("ftz", "sat") if type_ == "f16" else [""]
        for name, (count, operation) in SUMS_AND_PRODUCTS.items():
            for rounding in ("", ".rn"):
                for tail in tails:
                    compute = _arithmetic(FORMATS[type_], operation, "rn", tail)
                    yield from _scalar_and_packed(f"{name}{rounding}{tail}", type_, count, compute)
        fma_tails = ("", ".ftz", ".sat", ".ftz.sat", ".relu", ".ftz.relu") if type_ == "f16" else ("", ".relu")
        for tail in fma_tails:
            compute = _arithmetic(FORMATS[type_], exact.multiply_add, "rn", tail)
            yield from _scalar_and_packed(f"fma.rn{tail}", type_, 3, compute)


def _scalar_and_packed(stem: str, type_: str, count: int, compute: Callable[..., int]) -> Entries:
    yield f"{stem}.{type_}", Computation((type_,) * count, (type_,), compute)
    pair = f"{type_}x2"
    yield f"{stem}.{pair}", Computation((pair,) * count, (pair,), packed(compute))


def _with_pairs(stem: str, type_: str, count: int, compute: Callable[..., int]) -> Entries:
    if type_ in ("f16", "bf16"):
        yield from _scalar_and_packed(stem, type_, count, compute)
    else:
        yield f"{stem}.{type_}", Computation((type_,) * count, (type_,), compute)


def _extremes(type_: str) -> Entries:
    """min and max: a number wins over a NaN, unless .NaN; -0 < +0."""
    flushes = optional("ftz") if type_ in ("f32", "f16") else [""]
    variants = ("", ".NaN", ".xorsign.abs", ".NaN.xorsign.abs") if type_ != "f64" else ("",)
    for name, pick in (("min", min), ("max", max)):
        for ftz in flushes:
            for variant in variants:
                compute = partial(_extreme, FORMATS[type_], pick, f"{ftz}{variant}".split("."))
                yield from _with_pairs(f"{name}{ftz}{variant}", type_, 2, compute)


def _extreme(format_: FloatFormat, pick: Callable[..., int], modifiers: list[str], a: int, b: int) -> int:
    if "ftz" in modifiers:
        a, b = flush(format_, a), flush(format_, b)
    sign = (a ^ b) & format_.sign_bit
    if "abs" in modifiers:
        a, b = a & ~format_.sign_bit, b & ~format_.sign_bit
    numbers = [bits for bits in (a, b) if not decode(format_, bits).is_nan]
    if not numbers or ("NaN" in modifiers and len(numbers) < 2):
        return format_.nan
    result = pick(numbers, key=lambda bits: _order(format_, bits))
    return result & ~format_.sign_bit | sign if "xorsign" in modifiers else result


def _order(format_: FloatFormat, bits: int) -> int:
    """Codes grow with the value; those of negative numbers grow downward, and -0 lies below +0."""
    return -(bits & ~format_.sign_bit) - 1 if bits & format_.sign_bit else bits


def _sign_changes(type_: str) -> Entries:
    for ftz in optional("ftz") if type_ in ("f32", "f16") else [""]:
        yield from _with_pairs(f"abs{ftz}", type_, 1, partial(_absolute, FORMATS[type_], bool(ftz)))
        yield from _with_pairs(f"neg{ftz}", type_, 1, partial(_negated, FORMATS[type_], bool(ftz)))


def _absolute(format_: FloatFormat, ftz: bool, bits: int) -> int:
    bits = flush(format_, bits) if ftz else bits
    return format_.nan if decode(format_, bits).is_nan else bits & ~format_.sign_bit


def _negated(format_: FloatFormat, ftz: bool, bits: int) -> int:
    bits = flush(format_, bits) if ftz else bits
    return format_.nan if decode(format_, bits).is_nan else bits ^ format_.sign_bit


def _copy_sign(format_: FloatFormat, a: int, b: int) -> int:
    """The sign of a on the magnitude of b."""
    return a & format_.sign_bit | b & ~format_.sign_bit
