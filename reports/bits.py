"""A wrong FP8 byte, bit by bit: expected, got, and between which codes the input lies."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from grader.model.measurements import Measurements


class FloatFields(NamedTuple):
    exponent: int  # bits
    mantissa: int
    bias: int


# OCP 8-bit floating point, revision 1.0. E4M3 has no infinity, and a NaN only where all seven bits are set.
FORMATS = {"E4M3": FloatFields(4, 3, 7), "E5M2": FloatFields(5, 2, 15)}
FP32 = FloatFields(8, 23, 127)


@dataclass(frozen=True)
class Byte:
    """A row of the picture. Each bit with the name of its field, and whether it differs from the expected."""

    label: str
    code: str  # "0x38"
    value: float
    bits: tuple[tuple[str, str, bool], ...]

    @property
    def spoken(self) -> str:
        fields = {name: "".join(bit for bit, of, _ in self.bits if of == name) for _, name, _ in self.bits}
        return ", ".join(f"{name} {bits}" for name, bits in fields.items())


@dataclass(frozen=True)
class Between:
    """The codes about the input: values and codes, and how far from the lower to the upper it lies, 0 to 1."""

    low: float
    high: float
    low_code: str
    high_code: str
    share: float


@dataclass(frozen=True)
class Example:
    format: str
    input: float | None
    input_bits: Byte | None
    expected: Byte
    got: Byte
    between: Between | None


def example(measured: Measurements, *, by_chance: bool = False) -> Example | None:
    """None where no wrong byte was kept, or what was kept is not one.

    `by_chance`: rounded by a random number, so that the nearer code may be the wrong one.
    """
    kept = measured.example
    if kept is None or kept.format not in FORMATS or not (0 <= kept.expected < 256 and 0 <= kept.got < 256):
        return None
    name, value, bits = kept.format, kept.input, kept.input_bits
    return Example(
        format=name,
        input=value,
        input_bits=_float(bits) if bits is not None and 0 <= bits < 2**32 else None,
        expected=_byte("expected", kept.expected, kept.expected, name),
        got=_byte("got", kept.got, kept.expected, name),
        between=None if value is None or by_chance else _between(value, name),
    )


def decode(code: int, name: str) -> float:
    """The value of an FP8 byte."""
    exponent_bits, mantissa_bits, bias = FORMATS[name]
    sign = -1.0 if code & 0x80 else 1.0
    exponent = code >> mantissa_bits & (1 << exponent_bits) - 1
    mantissa = code & (1 << mantissa_bits) - 1
    if name == "E5M2" and exponent == 31:
        return math.nan if mantissa else sign * math.inf
    if name == "E4M3" and code & 0x7F == 0x7F:
        return math.nan
    significand = mantissa / (1 << mantissa_bits) + (exponent > 0)
    return sign * math.ldexp(significand, max(exponent, 1) - bias)


def _byte(label: str, code: int, expected: int, name: str) -> Byte:
    return Byte(label, f"0x{code:02x}", decode(code, name), _bits(code, code ^ expected, FORMATS[name]))


def _float(bits: int) -> Byte:
    (value,) = struct.unpack("<f", struct.pack("<I", bits))
    return Byte("input", f"0x{bits:08x}", value, _bits(bits, 0, FP32))


def _bits(code: int, differs: int, layout: FloatFields) -> tuple[tuple[str, str, bool], ...]:
    fields = ["sign"] + ["exponent"] * layout.exponent + ["mantissa"] * layout.mantissa
    places = range(len(fields) - 1, -1, -1)
    return tuple(
        (str(code >> place & 1), field, bool(differs >> place & 1))
        for place, field in zip(places, fields, strict=True)
    )


def _between(value: float, name: str) -> Between | None:
    """None for what lies on a code, beyond all of them, or nowhere."""
    if not math.isfinite(value):
        return None
    sign = 0x80 if math.copysign(1.0, value) < 0 else 0
    codes = sorted((decode(code, name), code | sign) for code in range(0x80) if math.isfinite(decode(code, name)))
    size = abs(value)
    for (low, low_code), (high, high_code) in pairwise(codes):
        if low < size < high:
            share = (size - low) / (high - low)
            signed = math.copysign(low, value), math.copysign(high, value)
            return Between(*signed, f"0x{low_code:02x}", f"0x{high_code:02x}", share)
    return None
