"""Vector loads with unused elements: the compiler loads gaps along with what it needs.

It loads four floats for a struct of three, and whole words where every second byte is used. An element that is
dropped was not read, so each used element becomes a load of its own. An `aligned` in front of them still checks that
the address is aligned to the whole vector.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from grader.ptx.analysis.registers import defs_and_uses, registers_of
from grader.ptx.opcodes.rows import ALIGNED
from grader.ptx.syntax import Address, Function, Instruction, Label, Vector
from grader.ptx.types import BITS

ALWAYS_SET = {"param", "const"}


def leave_out_gaps(function: Function) -> None:
    used = frozenset(name for i in function.body if isinstance(i, Instruction) for name in defs_and_uses(i)[1])
    body: list[Instruction | Label] = []
    for item in function.body:
        body += _elements(item, used) if isinstance(item, Instruction) and _has_gaps(item, used) else [item]
    function.body = body


def _has_gaps(ins: Instruction, used: Set[str]) -> bool:
    if not ins.traits.loads or ins.op.is_strong or ins.op.space in ALWAYS_SET:
        return False
    target, source = ins.operands[:2]
    if not isinstance(target, Vector) or not isinstance(source, Address):
        return False
    dropped = [not used & set(registers_of(item)) for item in target.items]
    overwritten = set(registers_of(target)) & set(registers_of(source))  # the address, too early
    return any(dropped) and not all(dropped) and not overwritten


def _elements(ins: Instruction, used: Set[str]) -> list[Instruction | Label]:
    target, source = ins.operands[:2]
    assert isinstance(target, Vector) and isinstance(source, Address)
    type_ = ins.op.type
    one = ".".join((ins.base, *(m for m in ins.modifiers if m != f"v{len(target.items)}")))
    whole = replace(ins, opcode=".".join((ALIGNED, *ins.modifiers)), operands=(source,))
    loads = [
        replace(ins, opcode=one, operands=(item, replace(source, offset=source.offset + k * BITS[type_] // 8)))
        for k, item in enumerate(target.items)
        if used & set(registers_of(item))
    ]
    return [whole, *loads]
