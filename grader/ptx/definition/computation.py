"""What every family of the definition builds on: computations on bit patterns, and helpers for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from grader.ptx.types import BITS

Compute = Callable[..., "int | tuple[int, ...]"]


@dataclass(frozen=True)
class Computation:
    """Types of operands and results. `compute` maps bit patterns to one per result (a bare int if there is one)."""

    operands: tuple[str, ...]
    results: tuple[str, ...]
    compute: Compute


Entries = Iterator[tuple[str, Computation]]


def mask(type_: str) -> int:
    return (1 << BITS[type_]) - 1


def number(type_: str, bits: int) -> int:
    """The integer that `bits` represent: two's complement for `s*`, unsigned for `u*`, `b*` and `pred`."""
    width = BITS[type_]
    return bits - (1 << width) if type_[0] == "s" and bits >> (width - 1) else bits


def wrap(type_: str, value: int) -> int:
    """The low bits of an integer, as the type's bit pattern."""
    return value & mask(type_)


def limits(type_: str) -> tuple[int, int]:
    """The smallest and the largest integer of a type."""
    width = BITS[type_]
    return (-(1 << (width - 1)), (1 << (width - 1)) - 1) if type_[0] == "s" else (0, (1 << width) - 1)


def clamp(type_: str, value: int) -> int:
    low, high = limits(type_)
    return min(max(value, low), high)


def optional(*modifiers: str) -> list[str]:
    """Every spelling of optional modifiers: `optional("ftz", "sat")` → "", ".ftz", ".sat", ".ftz.sat"."""
    spellings = [""]
    for modifier in modifiers:
        spellings = [s + tail for s in spellings for tail in ("", f".{modifier}")]
    return spellings


def packed(compute: Callable[..., int], count: int = 2, width: int = 16) -> Callable[..., int]:
    """Applies `compute` to each element of packed operands, element 0 in the low bits."""
    ones = (1 << width) - 1

    def evaluate(*operands: int) -> int:
        results = (compute(*((o >> shift) & ones for o in operands)) for shift in range(0, count * width, width))
        return pack(results, width)

    return evaluate


def pack(elements: Iterable[int], width: int) -> int:
    """Elements of `width` bits, the first one lowest."""
    return sum(element << (width * i) for i, element in enumerate(elements))


def unpack(bits: int, count: int, width: int) -> tuple[int, ...]:
    return tuple((bits >> (width * i)) & ((1 << width) - 1) for i in range(count))
