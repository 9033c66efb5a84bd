"""At which instructions the lanes of a warp may meet for a collective.

PTX ISA, "shfl.sync": a lane waits until the other lanes of its mask execute the same instruction with the same mask,
at whatever address. So each branch of an `if` may have its own shuffle. But if one shuffle comes after the other,
lanes that met there would have skipped one of them. That is a mistake and is reported.
"""

from __future__ import annotations

from dataclasses import dataclass

from grader.ptx.analysis.flow import Block
from grader.ptx.analysis.suspensions import is_collective, operation_of

MANY = 256  # of one operation; in a kernel that is unrolled this far, every instruction is a place of its own


@dataclass
class _Place:
    """Instructions at which lanes may meet: no path, other than around a loop, leads from one to another."""

    number: int
    blocks: int  # that contain them, one bit each
    beyond: int  # blocks that can be reached from them


def meeting_places(blocks: list[Block]) -> dict[int, int]:
    """By the `id` of each collective, the number of its meeting place."""
    beyond = _beyond(blocks)
    places: dict[tuple[str, int], list[_Place]] = {}
    numbers: dict[int, int] = {}
    for block in blocks:
        bit = 1 << block.index
        for ins in filter(is_collective, block.instructions):
            same = places.setdefault(operation_of(ins), [])
            fits = (p for p in same if not (p.blocks | p.beyond) & bit and not p.blocks & beyond[block.index])
            place = next(fits, None) if len(same) < MANY else None
            if place is None:
                place = _Place(len(numbers), 0, 0)
                same.append(place)
            place.blocks |= bit
            place.beyond |= beyond[block.index]
            numbers[id(ins)] = place.number
    return numbers


def _beyond(blocks: list[Block]) -> list[int]:
    """For each block, the blocks that can be reached from it, one bit each, without backward jumps."""
    beyond = [0] * len(blocks)
    for block in reversed(blocks):
        for successor in block.successors:
            if successor > block.index:
                beyond[block.index] |= 1 << successor | beyond[successor]
    return beyond
