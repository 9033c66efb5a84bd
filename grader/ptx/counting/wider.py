"""Loads from shared memory that ptxas makes one of: neighbours from one base become a load of 8 or 16 bytes.

It does so in the machine code, after PTX: measured with ptxas 13.0, on the loops that it or NVVM has unrolled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from grader.ptx.analysis.flow import Block
from grader.ptx.analysis.registers import defs_and_uses
from grader.ptx.syntax import Address, Immediate, Instruction, Register, Symbol

WIDTHS = (16, 8)  # bytes, the widest first
LEAST = 4  # bytes of a load that may become part of a wider one

Base = tuple[int, int, str, int]  # the block; how often memory may have changed; the register, and its version


class Neighbour(NamedTuple):
    """A load, as others that start from the same base see it."""

    base: Base
    offset: int


def neighbours(block: Block) -> dict[int, Neighbour]:
    """By `id`, the loads of a basic block that may become part of wider ones."""
    found: dict[int, Neighbour] = {}
    versions: dict[str, int] = {}
    changes = 0
    for ins in block.instructions:
        changes += ins.traits.orders
        if _is_candidate(ins):
            source = ins.operands[1]
            assert isinstance(source, Address) and not isinstance(source.base, Immediate)
            name = source.base.name
            found[id(ins)] = Neighbour((block.index, changes, name, versions.get(name, 0)), source.offset)
        for name in defs_and_uses(ins)[0]:
            versions[name] = versions.get(name, 0) + 1
    return found


def _is_candidate(ins: Instruction) -> bool:
    op = ins.op
    if not ins.traits.loads or op.space != "shared" or op.is_strong or ins.guard or not LEAST <= op.bytes < WIDTHS[0]:
        return False
    source = ins.operands[1]
    return isinstance(source, Address) and isinstance(source.base, Register | Symbol)


def joined(loads: Mapping[int, int], bases: np.ndarray) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(width, offsets) of each wider load. `loads`: the widths of those from one base, by offset; `bases`: all the
    addresses that it has. What is aligned in each of them, ptxas most likely knows to be."""
    left = dict(sorted(loads.items()))
    for width in WIDTHS:
        ends = set((bases % width).tolist())
        for start in list(left):
            parts = tuple(_parts(left, start, width))
            if len(parts) > 1 and all((end + start) % width == 0 for end in ends):
                for offset in parts:
                    del left[offset]
                yield width, parts


def _parts(left: dict[int, int], start: int, width: int) -> Iterator[int]:
    """The loads from `start` on, one after the other, if they fill the width; else none."""
    parts, at = [], start
    while at in left and at < start + width:
        parts.append(at)
        at += left[at]
    if at == start + width:
        yield from parts
