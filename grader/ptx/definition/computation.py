"""What every family of the definition is made of: an instruction, its operands' types, and their bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from grader.ptx.types import BITS

Compute = Callable[..., "int | tuple[int, ...]"]


@dataclass(frozen=True)
class Computation:
    """`compute` takes a bit pattern per operand and gives one per result (a bare int where there is one)."""

    operands: tuple[str, ...]
    results: tuple[str, ...]
    compute: Compute


Entries = Iterator[tuple[str, Computation]]


def mask(type_: str) -> int:
    return (1 << BITS[type_]) - 1


def number(type_: str, bits: int) -> int:
    """The integer that `bits` stand for: two's complement for `s*`, unsigned for `u*`, `b*` and `pred`."""
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
    """Every way to write a row of optional modifiers.

    `optional("ftz", "sat")` → "", ".ftz", ".sat", ".ftz.sat".
    """
    spellings = [""]
    for modifier in modifiers:
        spellings = [s + tail for s in spellings for tail in ("", f".{modifier}")]
    return spellings


def packed(compute: Callable[..., int], lanes: int = 2, width: int = 16) -> Callable[..., int]:
    """Applies `compute` to each lane of packed operands, lane 0 in the low bits."""
    lane_mask = (1 << width) - 1

    def evaluate(*operands: int) -> int:
        results = (compute(*((o >> shift) & lane_mask for o in operands)) for shift in range(0, lanes * width, width))
        return pack(results, width)

    return evaluate


def pack(lanes: Iterable[int], width: int) -> int:
    """Lanes of `width` bits, lane 0 lowest."""
    return sum(lane << (width * i) for i, lane in enumerate(lanes))


def unpack(bits: int, lanes: int, width: int) -> tuple[int, ...]:
    return tuple((bits >> (width * i)) & ((1 << width) - 1) for i in range(lanes))
