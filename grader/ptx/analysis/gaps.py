"""Vector loads of which not every element is looked at: the compiler reads across what it does not need.

Of a struct of three floats it loads four, of every second byte all. What is dropped is no read, so each element that
is looked at is loaded by itself, after an `aligned` that stands for the whole vector: its address must fit that.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from grader.ptx.analysis.flow import defs_and_uses, registers_of
from grader.ptx.lowering.arithmetic import BITS
from grader.ptx.parser import Address, Function, Instruction, Label, Vector

ALWAYS_SET = {"param", "const"}
STRONG = {"volatile", "relaxed", "acquire", "mmio"}


def leave_out_gaps(function: Function) -> None:
    used = frozenset(name for i in function.body if isinstance(i, Instruction) for name in defs_and_uses(i)[1])
    body: list[Instruction | Label] = []
    for item in function.body:
        body += _elements(item, used) if isinstance(item, Instruction) and _has_gaps(item, used) else [item]
    function.body = body


def _has_gaps(ins: Instruction, used: Set[str]) -> bool:
    mods = set(ins.opcode.split("."))
    if ins.base != "ld" or mods & (ALWAYS_SET | STRONG):
        return False
    target, source = ins.operands[:2]
    if not isinstance(target, Vector) or not isinstance(source, Address):
        return False
    dropped = [not used & set(registers_of(item)) for item in target.items]
    overwritten = set(registers_of(target)) & set(registers_of(source))  # by the first of several loads
    return any(dropped) and not all(dropped) and not overwritten


def _elements(ins: Instruction, used: Set[str]) -> list[Instruction | Label]:
    target, source = ins.operands[:2]
    assert isinstance(target, Vector) and isinstance(source, Address)
    *mods, type_ = ins.opcode.split(".")
    one = ".".join([*(mod for mod in mods if mod != f"v{len(target.items)}"), type_])
    whole = replace(ins, opcode="aligned" + ins.opcode.removeprefix("ld"), operands=(source,))
    loads = [
        replace(ins, opcode=one, operands=(item, replace(source, offset=source.offset + k * BITS[type_] // 8)))
        for k, item in enumerate(target.items)
        if used & set(registers_of(item))
    ]
    return [whole, *loads]
