"""The result of a warp collective for each lane, from what all lanes brought.

PTX ISA, "Data Movement and Conversion Instructions: shfl.sync" and "Parallel Synchronization and Communication
Instructions". `brought` maps the lanes that take part to their values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce as fold

from grader.ptx.definition.computation import number, wrap

Brought = Mapping[int, int]


def members(brought: Brought) -> int:
    return sum(1 << lane for lane in brought)


def shuffle(mode: str, lane: int, b: int, c: int, brought: Brought) -> tuple[int, int]:
    """The value of another lane and True if that lane is in the segment, else the lane's own value and False.

    Raises KeyError if the other lane does not take part: its value is undefined.
    """
    b, segment, limit = b & 31, c >> 8 & 31, c & 31
    low = lane & segment
    high = low | limit & ~segment
    sources: dict[str, tuple[int, Callable[[int], bool]]] = {
        "up": (lane - b, lambda source: source >= high),
        "down": (lane + b, lambda source: source <= high),
        "bfly": (lane ^ b, lambda source: source <= high),
        "idx": (low | b & ~segment, lambda source: source <= high),
    }
    source, is_inside = sources[mode]
    inside = is_inside(source)
    return brought[source if inside else lane], int(inside)


def vote(mode: str, brought: Brought) -> int:
    ballot = sum(value << lane for lane, value in brought.items())
    return {
        "ballot": ballot,
        "any": int(ballot != 0),
        "all": int(ballot == members(brought)),
        "uni": int(ballot in (0, members(brought))),
    }[mode]


def match_any(lane: int, brought: Brought) -> int:
    return sum(1 << other for other, value in brought.items() if value == brought[lane])


def match_all(brought: Brought) -> tuple[int, int]:
    same = len(set(brought.values())) == 1
    return (members(brought), 1) if same else (0, 0)


def reduce(operation: str, type_: str, brought: Brought) -> int:
    operations: dict[str, Callable[[int, int], int]] = {
        "add": lambda a, b: a + b,
        "min": min,
        "max": max,
        "and": lambda a, b: a & b,
        "or": lambda a, b: a | b,
        "xor": lambda a, b: a ^ b,
    }
    return wrap(type_, fold(operations[operation], (number(type_, value) for value in brought.values())))


def elect(lane: int, brought: Brought) -> tuple[int, int]:
    """The lowest lane, and whether it is this one."""
    leader = min(brought)
    return leader, int(leader == lane)
