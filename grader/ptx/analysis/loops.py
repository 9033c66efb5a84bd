"""The natural loops of a kernel, and how they are nested."""

from __future__ import annotations

from typing import NamedTuple

from grader.ptx.analysis.flow import Block


class Loop(NamedTuple):
    head: int  # the block that every iteration passes
    body: frozenset[int]  # its blocks, with the head


def loops_of(blocks: list[Block]) -> list[Loop]:
    """Outer loops before those inside them. A cycle with several entries is none."""
    before: list[set[int]] = [set() for _ in blocks]
    for block in blocks:
        for target in block.successors:
            if target < len(blocks):
                before[target].add(block.index)
    dominators = _dominators(before)
    bodies: dict[int, set[int]] = {}
    for block in blocks:
        for head in block.successors:
            if head in dominators[block.index]:
                bodies.setdefault(head, {head}).update(_body(head, block.index, before))
    return sorted((Loop(head, frozenset(body)) for head, body in bodies.items()), key=lambda loop: -len(loop.body))


def _body(head: int, last: int, before: list[set[int]]) -> set[int]:
    """What leads to the jump back without passing the head."""
    body, waiting = {head}, [last]
    while waiting:
        block = waiting.pop()
        if block not in body:
            body.add(block)
            waiting += before[block]
    return body


def _dominators(before: list[set[int]]) -> list[set[int]]:
    """Of each block, those that every way to it passes; a block that nothing leads to is left alone."""
    everything = set(range(len(before)))
    found = [{0}, *(set(everything) for _ in before[1:])]
    changed = True
    while changed:
        changed = False
        for block in range(1, len(before)):
            ways = [found[b] for b in before[block]]
            new = {block} | (set.intersection(*ways) if ways else set())
            if new != found[block]:
                found[block], changed = new, True
    return found
