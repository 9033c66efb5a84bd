"""Makes the carry flag CC.CF a named register, so that it survives a suspension like any other.

PTX ISA, "Extended-Precision Integer Arithmetic Instructions". `add.cc d, a, b` becomes `add.cc d|carry, a, b`,
`addc d, a, b` becomes `addc d, a, b, carry`.
"""

from __future__ import annotations

from dataclasses import replace

from grader.ptx.syntax import Function, Instruction, Operand, Pair, Register

CARRY = Register("%carry@cc")  # PTX text cannot contain this name


def name_the_carry(function: Function) -> None:
    for position, item in enumerate(function.body):
        if isinstance(item, Instruction) and (item.traits.reads_carry or item.op.writes_carry):
            function.registers[CARRY.name] = "pred"
            function.body[position] = replace(item, operands=_operands(item))


def _operands(item: Instruction) -> tuple[Operand, ...]:
    destination, *sources = item.operands
    if item.traits.reads_carry:
        sources.append(CARRY)
    if item.op.writes_carry:
        assert isinstance(destination, Register)
        destination = Pair(destination, CARRY)
    return (destination, *sources)
