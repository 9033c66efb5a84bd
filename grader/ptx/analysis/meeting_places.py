"""Which collectives of a warp its lanes may meet at.

PTX ISA, "shfl.sync": a lane waits until the others of its mask execute the same instruction with the same mask,
wherever it stands. So both branches of an `if` may have a shuffle. Where one shuffle comes after the other, though,
lanes that meet there have left out a turn: a slip, and told as one.
"""

from __future__ import annotations

from dataclasses import dataclass

from grader.ptx.analysis.flow import Block
from grader.ptx.analysis.suspensions import is_collective, operation_of

MANY = 256  # of one operation: in a kernel unrolled that far, each is for itself


@dataclass
class _Place:
    """Instructions at which lanes may meet: no way, but one around a loop, leads from one to another."""

    number: int
    blocks: int  # that they stand in, a bit for each
    beyond: int  # blocks that can be reached from there


def meeting_places(blocks: list[Block]) -> dict[int, int]:
    """A number for each collective, by its `id`: lanes meet at those of one number."""
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
    """For each block, those that follow it on some way, a bit for each; jumps back are left out."""
    beyond = [0] * len(blocks)
    for block in reversed(blocks):
        for successor in block.successors:
            if successor > block.index:
                beyond[block.index] |= 1 << successor | beyond[successor]
    return beyond
