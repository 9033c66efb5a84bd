"""Atomic accesses to the word around a byte or a half: the hardware has no smaller ones.

libcu++'s atomics of one or two bytes round an address down and work on the word there, as code by hand does that
swaps words until its own byte is in. Of such a word the rest may lie outside the array, or belong to other threads,
and stays as it is. So the address before it was rounded becomes one more operand, and that is what is checked.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from grader.ptx.analysis.registers import defs_and_uses
from grader.ptx.syntax import Address, Function, Immediate, Instruction, Operand, Register

WORD = 4
ADDRESS_BITS = 64
MASKS = {(1 << ADDRESS_BITS) - part for part in (2, 3, 4)}  # that round an address down within its word
Makers = dict[str, list[Instruction]]


def inside(ins: Instruction) -> Address | None:
    """What is meant, where an instruction accesses the word around it."""
    last = ins.operands[-1] if ins.operands else None
    count = sum(isinstance(operand, Address) for operand in ins.operands)
    return last if count > 1 and isinstance(last, Address) and _is_candidate(ins) else None


def name_what_is_inside(function: Function) -> None:
    makers: Makers = defaultdict(list)
    instructions = [item for item in function.body if isinstance(item, Instruction)]
    for ins in instructions:
        for name in defs_and_uses(ins)[0]:
            makers[name].append(ins)
    meant = {id(i): _meant(_place(i), makers) for i in instructions if _is_candidate(i)}
    atomics = {_place(i) for i in instructions if i.traits.atomic and meant.get(id(i))}

    def named(ins: Instruction) -> Instruction:
        at = meant.get(id(ins))
        if at is None or not (ins.traits.atomic or ins.op.is_strong or _place(ins) in atomics):
            return ins
        return replace(ins, operands=(*ins.operands, at))

    function.body = [named(item) if isinstance(item, Instruction) else item for item in function.body]


def _is_candidate(ins: Instruction) -> bool:
    op = ins.op
    if op.space not in ("global", "generic") or op.count != 1:
        return False
    return (ins.traits.atomic and op.element_bytes == WORD) or (ins.traits.loads and op.element_bytes in (2, WORD))


def _place(ins: Instruction) -> Operand:
    return ins.operands[1 if ins.traits.result else 0]


def _meant(place: Operand, makers: Makers) -> Address | None:
    if not isinstance(place, Address) or place.offset or not isinstance(place.base, Register):
        return None
    name, seen = place.base.name, set[str]()
    while len(makers[name]) == 1 and name not in seen:
        seen.add(name)
        (maker,) = makers[name]
        source = maker.operands[1] if len(maker.operands) > 1 else None
        if maker.guard or not isinstance(source, Register):
            return None
        if maker.base == "and" and maker.op.type == "b64":
            mask = maker.operands[2]
            rounds = isinstance(mask, Immediate) and mask.bits % (1 << ADDRESS_BITS) in MASKS
            return Address(source) if rounds else None
        if maker.base != "mov" and not (maker.base == "cvta" and "global" in maker.modifiers):
            return None
        name = source.name
    return None
