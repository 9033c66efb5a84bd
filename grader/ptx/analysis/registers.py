"""Which registers an instruction writes and reads."""

from __future__ import annotations

from grader.ptx.syntax import Address, Instruction, Operand, Pair, Register, Vector


def registers_of(operand: Operand) -> list[str]:
    if isinstance(operand, Register):
        return [] if operand.is_special else [operand.name.lstrip("!")]
    if isinstance(operand, Address):
        return registers_of(operand.base)
    if isinstance(operand, Vector):
        return [r for item in operand.items for r in registers_of(item)]
    if isinstance(operand, Pair):
        return [*registers_of(operand.first), *registers_of(operand.second)]
    return []


def defs_and_uses(ins: Instruction) -> tuple[list[str], list[str]]:
    """Registers written and read. A guarded instruction also reads what it may leave unwritten."""
    uses = [ins.guard] if ins.guard else []
    operands = list(ins.operands)
    defs: list[str] = []
    if ins.traits.result and operands and not isinstance(operands[0], Address):
        defs = registers_of(operands.pop(0))
        if ins.guard or ins.traits.updates:
            uses += defs
    for operand in operands:
        uses += registers_of(operand)
    return defs, uses
