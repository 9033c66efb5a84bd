"""Which of the kernel's parameters each address is derived from."""

from __future__ import annotations

from grader.ptx.analysis.registers import defs_and_uses, registers_of
from grader.ptx.opcodes.traits import PointerKind
from grader.ptx.syntax import Address, Function, Instruction, Label, Symbol

MANY = -1  # more than one parameter
NO_POINTER = -2  # an integer, or an address from elsewhere


def pointer_origins(function: Function) -> dict[str, int]:
    """Register -> index of the one kernel parameter that all its definitions derive it from.

    A fixed point over all definitions, regardless of control flow. Registers that are missing point anywhere.
    """
    index = {p.name: i for i, p in enumerate(function.parameters)}
    origin: dict[str, int] = {}
    changed = True
    while changed:
        changed = False
        for ins in function.body:
            if isinstance(ins, Label):
                continue
            found = _origin(ins, origin, index)
            if found is None:
                continue
            for name in defs_and_uses(ins)[0]:
                known = origin.get(name)
                if known is None or known not in (found, MANY):
                    origin[name] = found if known is None else MANY
                    changed = True
    return {name: which for name, which in origin.items() if which >= 0}


def _origin(ins: Instruction, origin: dict[str, int], index: dict[str, int]) -> int | None:
    """The origin of the value that `ins` defines; None while the origin of an operand is not known yet."""
    if _loads_parameter(ins):
        address = ins.operands[1]
        if isinstance(address, Address) and isinstance(address.base, Symbol) and address.offset == 0:
            return index.get(address.base.name, NO_POINTER)
        return NO_POINTER
    kind = ins.traits.pointer
    if kind is None:
        return NO_POINTER
    sources = ins.operands[1:3] if kind is PointerKind.SAME else ins.operands[1:]
    found = {origin.get(r) for operand in sources for r in registers_of(operand)}
    found |= {NO_POINTER for operand in sources if not registers_of(operand)}
    if None in found:
        return None
    if kind is PointerKind.OFFSET and len(found) > 1:
        found.discard(NO_POINTER)
    return found.pop() if len(found) == 1 else MANY


def _loads_parameter(ins: Instruction) -> bool:
    """A whole parameter, as wide as a pointer."""
    return ins.traits.loads and ins.modifiers in (("param", "u64"), ("param", "b64"))
