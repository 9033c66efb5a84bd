"""The condition code CC.CF as a register with a name, so that it outlives a suspension like any other.

PTX ISA, "Extended-Precision Integer Arithmetic Instructions". `add.cc d, a, b` becomes `add.cc d|carry, a, b`,
`addc d, a, b` becomes `addc d, a, b, carry`.
"""

from __future__ import annotations

from dataclasses import replace

from grader.ptx.parser import Function, Instruction, Operand, Pair, Register

READERS = {"addc", "subc", "madc"}
CARRY = Register("%carry@cc")  # no name that PTX text can hold


def name_the_carry(function: Function) -> None:
    for position, item in enumerate(function.body):
        if isinstance(item, Instruction) and (item.base in READERS or ".cc." in item.opcode):
            function.registers[CARRY.name] = "pred"
            function.body[position] = replace(item, operands=_operands(item))


def _operands(item: Instruction) -> tuple[Operand, ...]:
    destination, *sources = item.operands
    if item.base in READERS:
        sources.append(CARRY)
    if ".cc." in item.opcode:
        assert isinstance(destination, Register)
        destination = Pair(destination, CARRY)
    return (destination, *sources)
