"""cvt. PTX ISA, section "Data Movement and Conversion Instructions: cvt".

Float to integer rounds, then clamps to the range of the destination. `.ftz` flushes only f32 inputs and results. A
result that is narrower than its register comes without the extension.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from grader.ptx.definition.computation import (
    Computation,
    Entries,
    clamp,
    limits,
    number,
    optional,
    pack,
    unpack,
    wrap,
)
from grader.ptx.definition.formats import (
    F16,
    F32,
    FORMATS,
    ROUNDING_MODES,
    FloatFormat,
    decode,
    flush,
    from_integer,
    rectify,
    round_flushed,
    round_to,
    round_to_integer,
    saturate,
)
from grader.ptx.types import BITS

INTEGERS = tuple(f"{kind}{width}" for kind in "us" for width in (8, 16, 32, 64))
WITH_BF16 = tuple(t for t in INTEGERS if t not in ("u8", "s8"))
FLOATS = ("f16", "bf16", "f32", "f64")
INTEGER_ROUNDING = {"rni": "rn", "rzi": "rz", "rmi": "rm", "rpi": "rp"}
_FLAGS = {"f16": optional("sat"), "bf16": [""], "f32": optional("ftz", "sat"), "f64": optional("sat")}


def entries() -> Entries:
    yield from _between_integers()
    yield from _integers_to_floats()
    yield from _floats_to_integers()
    yield from _floats_to_integral_floats()
    yield from _widening()
    yield from _narrowing()
    yield from _to_half_or_tf32()
    yield from _fp8()
    yield from _packing()


def _between_integers() -> Entries:
    for source in INTEGERS:
        for target in INTEGERS:
            change = Computation((source,), (target,), lambda a, s=source, t=target: wrap(t, number(s, a)))
            yield f"cvt.{target}.{source}", change
            if not _contains(target, source):
                yield (
                    f"cvt.sat.{target}.{source}",
                    Computation((source,), (target,), partial(_clamped, target, source)),
                )


def _contains(outer: str, inner: str) -> bool:
    return limits(outer)[0] <= limits(inner)[0] and limits(inner)[1] <= limits(outer)[1]


def _clamped(target: str, source: str, bits: int) -> int:
    return wrap(target, clamp(target, number(source, bits)))


def _integers_to_floats() -> Entries:
    for target in FLOATS:
        for source in WITH_BF16 if target == "bf16" else INTEGERS:
            for mode in ROUNDING_MODES:
                for tail in _FLAGS[target]:  # no integer rounds to a subnormal: .ftz changes nothing
                    compute = partial(_from_integer, source, FORMATS[target], mode, "sat" in tail)
                    yield f"cvt.{mode}{tail}.{target}.{source}", Computation((source,), (target,), compute)


def _from_integer(source: str, target: FloatFormat, mode: str, sat: bool, bits: int) -> int:
    result = round_to(target, from_integer(number(source, bits)), mode)
    return saturate(target, result) if sat else result


def _floats_to_integers() -> Entries:
    for source in FLOATS:
        for target in WITH_BF16 if source == "bf16" else INTEGERS:
            for name, mode in INTEGER_ROUNDING.items():
                for tail in _FLAGS[source]:
                    compute = partial(_to_integer, source, target, mode, "ftz" in tail)
                    yield f"cvt.{name}{tail}.{target}.{source}", Computation((source,), (target,), compute)


def _to_integer(source: str, target: str, mode: str, ftz: bool, bits: int) -> int:
    value = decode(FORMATS[source], flush(FORMATS[source], bits) if ftz else bits)
    if value.is_nan:
        return _nan(source, target)
    low, high = limits(target)
    if value.is_infinite:
        return wrap(target, low if value.negative else high)
    magnitude = round_to_integer(value.magnitude, mode, value.negative)  # type: ignore[arg-type]
    return wrap(target, clamp(target, -magnitude if value.negative else magnitude))


def _nan(source: str, target: str) -> int:
    """The ISA says 0. An H200, like CUDA's math API, gives only the highest bit if either type has 64 bits."""
    return 1 << (BITS[target] - 1) if source == "f64" or BITS[target] == 64 else 0


def _floats_to_integral_floats() -> Entries:
    """cvt.rni.f32.f32: an integral value in the same format; a value that rounds to zero keeps its sign."""
    for type_ in FLOATS:
        for name, mode in INTEGER_ROUNDING.items():
            for tail in _FLAGS[type_]:
                compute = partial(_integral, FORMATS[type_], mode, tail)
                yield f"cvt.{name}{tail}.{type_}.{type_}", Computation((type_,), (type_,), compute)


def _integral(format_: FloatFormat, mode: str, modifiers: str, bits: int) -> int:
    value = decode(format_, flush(format_, bits) if "ftz" in modifiers else bits)
    if not (value.is_nan or value.is_infinite):
        magnitude = round_to_integer(value.magnitude, mode, value.negative)  # type: ignore[arg-type]
        value = from_integer(magnitude)._replace(negative=value.negative)
    result = round_to(format_, value)
    return saturate(format_, result) if "sat" in modifiers else result


def _floating(source: FloatFormat, target: FloatFormat, mode: str, modifiers: str, bits: int) -> int:
    names = modifiers.split(".")
    ftz = "ftz" in names
    value = decode(source, flush(source, bits) if ftz and source == F32 else bits)
    if ftz and target == F32:
        result = round_flushed(target, value, mode)
    else:
        result = round_to(target, value, mode, "satfinite" in names)
    if "sat" in names:
        result = saturate(target, result)
    return rectify(target, result) if "relu" in names else result


def _floating_entry(source: str, target: str, mode: str, modifiers: str) -> tuple[str, Computation]:
    compute = partial(_floating, FORMATS[source], FORMATS[target], mode or "rn", modifiers)
    rounding = f".{mode}" if mode else ""
    return f"cvt{rounding}{modifiers}.{target}.{source}", Computation((source,), (target,), compute)


def _widening() -> Entries:
    """To a format that contains the source; also cvt.f32.f32, a move that may flush or saturate."""
    for source, target in (("f16", "f32"), ("f16", "f64"), ("bf16", "f32"), ("bf16", "f64"), ("f32", "f64")):
        for tail in _flags(source, target):
            yield _floating_entry(source, target, "", tail)
    for type_ in FLOATS:
        for tail in _FLAGS[type_]:
            yield _floating_entry(type_, type_, "", tail)


def _narrowing() -> Entries:
    pairs = (
        ("f64", "f32"),
        ("f64", "f16"),
        ("f32", "f16"),
        ("f64", "bf16"),
        ("f16", "bf16"),
        ("bf16", "f16"),
    )
    for source, target in pairs:
        for mode in ROUNDING_MODES:
            for tail in _flags(source, target):
                yield _floating_entry(source, target, mode, tail)
    for mode in ROUNDING_MODES:
        yield _floating_entry("f32", "bf16", mode, ".ftz")
    for mode in ("rm", "rp"):
        yield _floating_entry("f32", "bf16", mode, "")


def _flags(source: str, target: str) -> list[str]:
    """.ftz where f32 takes part, .sat for all but bf16."""
    flags = [flag for flag in ("ftz", "sat") if flag == "sat" or "f32" in (source, target)]
    return optional(*(flag for flag in flags if flag == "ftz" or "bf16" not in (source, target)))


def _to_half_or_tf32() -> Entries:
    for target in ("f16", "bf16"):
        for mode in ("rn", "rz"):
            for tail in optional("relu", "satfinite"):
                if tail or target == "bf16":  # _narrowing has the bare f16 forms
                    yield _floating_entry("f32", target, mode, tail)
                single = partial(_floating, F32, FORMATS[target], mode, tail)
                pair = Computation(("f32", "f32"), (f"{target}x2",), _both(single, 16))
                yield f"cvt.{mode}{tail}.{target}x2.f32", pair
    for mode in ("rn", "rz"):
        for tail in optional("relu"):
            yield _floating_entry("f32", "tf32", mode, tail)
    for tail in optional("satfinite"):
        yield _floating_entry("f32", "tf32", "rna", tail)


def _both(single: Callable[[int], int], width: int) -> Callable[[int, int], int]:
    """Two operands in one register; the first becomes the high half."""
    return lambda a, b: pack((single(b), single(a)), width)


def _fp8() -> Entries:
    """e4m3x2 and e5m2x2. Narrowing is always .rn.satfinite, so infinities become the largest finite number."""
    for name in ("e4m3", "e5m2"):
        pair, format_ = f"{name}x2", FORMATS[name]
        for relu in optional("relu"):
            from_f32 = partial(_floating, F32, format_, "rn", f".satfinite{relu}")
            from_f16 = partial(_floating, F16, format_, "rn", f".satfinite{relu}")
            to_f16 = partial(_floating, format_, F16, "rn", relu)
            narrow = f"cvt.rn.satfinite{relu}.{pair}"
            yield f"{narrow}.f32", Computation(("f32", "f32"), (pair,), _both(from_f32, 8))
            yield f"{narrow}.f16x2", Computation(("f16x2",), (pair,), _elementwise(from_f16, 16, 8))
            yield f"cvt.rn{relu}.f16x2.{pair}", Computation((pair,), ("f16x2",), _elementwise(to_f16, 8, 16))


def _elementwise(single: Callable[[int], int], source_width: int, target_width: int) -> Callable[[int], int]:
    return lambda a: pack(map(single, unpack(a, 2, source_width)), target_width)


def _packing() -> Entries:
    """cvt.pack: two integers, each clamped, the first in the higher bits; a third operand is shifted in above."""
    for kind in "us":
        yield f"cvt.pack.sat.{kind}16.s32", Computation(("s32", "s32"), ("b32",), partial(_packed, kind, 16))
        for width in (2, 4, 8):
            compute = partial(_packed, kind, width)
            yield f"cvt.pack.sat.{kind}{width}.s32.b32", Computation(("s32", "s32", "b32"), ("b32",), compute)


def _packed(kind: str, width: int, a: int, b: int, above: int = 0) -> int:
    low = -(1 << (width - 1)) if kind == "s" else 0
    ones = (1 << width) - 1
    first, second = (min(max(number("s32", x), low), low + ones) & ones for x in (a, b))
    return wrap("b32", above << (2 * width) | first << width | second)
