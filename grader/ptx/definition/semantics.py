"""The slow, obvious definition of what each PTX instruction computes.

The generated code is tested against it, and `interpreter` runs whole kernels on it. An opcode is the full
dotted text, without guard and operands: "fma.rn.ftz.f32". Operands and results are raw bit patterns:
non-negative ints of the operand type's width, predicates 0 or 1. It differs from PTX text in three ways:

- the carry flag is explicit: the last operand where it is read, the last result where it is written;
- `setp` returns (p, q), even if the text names only p;
- `mov` with braces is `mov.pack2.b64` (elements in, the first one lowest) or `mov.unpack2.b64` (elements out).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from grader.ptx.definition import approximate, bits, compare, convert, floating, integer
from grader.ptx.definition.approximate import Approximation, Tolerance
from grader.ptx.definition.computation import Computation, unpack
from grader.ptx.definition.formats import FORMATS, decode
from grader.ptx.opcodes.opcode import read_opcode
from grader.ptx.types import BITS

_FAMILIES = (integer, bits, floating, compare, convert)
_PACKED = {
    "f16x2": ("f16", 2, 16),
    "bf16x2": ("bf16", 2, 16),
    "e4m3x2": ("e4m3", 2, 8),
    "e5m2x2": ("e5m2", 2, 8),
}


class UnknownInstruction(KeyError):  # noqa: N818
    """An opcode that the definition does not cover."""

    def __str__(self) -> str:
        return f"no definition of {self.args[0]}"


def evaluate(opcode: str, operands: Sequence[int]) -> int | tuple[int, ...]:
    """What the instruction writes: one bit pattern, or a tuple if it has several destinations.

    Raises UnknownInstruction, and ValueError if the operands do not fit the instruction.
    """
    instruction = signature(opcode)
    if len(operands) != len(instruction.operands):
        raise ValueError(f"{opcode} takes {len(instruction.operands)} operands, not {len(operands)}")
    for type_, operand in zip(instruction.operands, operands, strict=True):
        if operand < 0 or operand >> BITS[type_]:
            raise ValueError(f"{opcode}: {operand:#x} is no bit pattern of .{type_}")
    return instruction.compute(*operands)


def signature(opcode: str) -> Computation:
    """The types of an instruction's operands and results."""
    try:
        return _computations()[opcode]
    except KeyError:
        raise UnknownInstruction(opcode) from None


def opcodes() -> tuple[str, ...]:
    """Every opcode that the definition covers, approximations included."""
    return tuple(_computations())


def approximations() -> tuple[str, ...]:
    """The opcodes whose results the ISA bounds instead of defining."""
    return tuple(_approximations())


def reference(opcode: str, operands: Sequence[int]) -> float:
    """The true value, to double precision, that an approximation is measured against.

    Of packed operands, the low element counts.
    """
    approximation = _approximation(opcode)
    ones = (1 << approximation.format.width) - 1
    return approximation.of(*(operand & ones for operand in operands))


def tolerance(opcode: str) -> Tolerance:
    """How far an approximation may be from its reference."""
    return _approximation(opcode).tolerance


def agrees(opcode: str, operands: Sequence[int], result: int | tuple[int, ...]) -> bool:
    """Whether a result is right: exact except for NaN payloads, or within the tolerance of an approximation.

    The ISA does not say whether .ftz applies before or after a result is rounded up to the smallest normal number, so
    in that case both this number and zero are accepted.
    """
    if opcode in _approximations():
        approximation = _approximations()[opcode]
        width = approximation.format.width
        elements = zip(*(unpack(operand, approximation.elements, width) for operand in operands), strict=True)
        results = unpack(result if isinstance(result, int) else result[0], approximation.elements, width)
        return all(approximation.accepts(element, got) for element, got in zip(elements, results, strict=True))
    expected = evaluate(opcode, operands)
    pairs = zip(signature(opcode).results, _tuple(expected), _tuple(result), strict=True)
    op = read_opcode(opcode)
    copies, flushes = op.traits.copies, "ftz" in op.modifiers
    return all(
        want == got
        or (not copies and same_value(type_, want, got))
        or (flushes and _may_be_flushed(type_, want, got))
        for type_, want, got in pairs
    )


def same_value(type_: str, a: int, b: int) -> bool:
    """Equal bit patterns, or NaN in the same elements."""
    element_type, count, width = _PACKED.get(type_, (type_, 1, BITS[type_]))
    if element_type not in FORMATS:
        return a == b
    elements = zip(unpack(a, count, width), unpack(b, count, width), strict=True)
    return all(x == y or (_is_nan(element_type, x) and _is_nan(element_type, y)) for x, y in elements)


def _may_be_flushed(type_: str, want: int, got: int) -> bool:
    """Are they zero and the smallest normal number, of the same sign?"""
    if type_ not in FORMATS:
        return False
    sign, smallest_normal = FORMATS[type_].sign_bit, 1 << FORMATS[type_].mantissa_bits
    return {want & ~sign, got & ~sign} == {0, smallest_normal} and want & sign == got & sign


def _is_nan(type_: str, pattern: int) -> bool:
    return decode(FORMATS[type_], pattern).is_nan


def _tuple(result: int | tuple[int, ...]) -> tuple[int, ...]:
    return result if isinstance(result, tuple) else (result,)


@cache
def _computations() -> dict[str, Computation]:
    exact = {opcode: instruction for family in _FAMILIES for opcode, instruction in family.entries()}
    return exact | {opcode: approximation.instruction() for opcode, approximation in _approximations().items()}


@cache
def _approximations() -> dict[str, Approximation]:
    return dict(approximate.approximations())


def _approximation(opcode: str) -> Approximation:
    try:
        return _approximations()[opcode]
    except KeyError:
        raise UnknownInstruction(opcode) from None
