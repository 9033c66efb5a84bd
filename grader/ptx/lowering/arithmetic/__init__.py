"""Lowers arithmetic instructions to LLVM IR. The slow definition is definition/semantics.py.

One table maps each opcode to a function (unit, modifiers, operands) -> value; every family has its own file.
PTX ISA, "Integer Arithmetic Instructions" to "Data Movement and Conversion Instructions".
"""

from __future__ import annotations

from grader.ptx.ir import Value
from grader.ptx.lowering.arithmetic import addresses, bits, compare, convert, floating, half, integer
from grader.ptx.lowering.arithmetic.unit import (
    FLOAT,
    HALF,
    PAIRS,
    Handler,
    NoLowering,
    Unit,
    intrinsic,
    llvm_type,
)
from grader.ptx.syntax import Operand
from grader.ptx.types import BITS

FAMILIES = {"integer": integer.TABLE, "float": floating.TABLE, "half": half.TABLE}


def _family(type_: str) -> str:
    if type_ in FLOAT:
        return "float"
    return "half" if type_ in HALF or PAIRS.get(type_) in HALF else "integer"


def _by_type(base: str) -> Handler:
    """Opcodes such as `add` belong to several families; the type at their end selects one."""
    handlers = {family: table[base] for family, table in FAMILIES.items() if base in table}

    def lower(u: Unit, mods: list[str], operands: list[Operand]) -> Value | tuple[Value, ...]:
        if mods[-1] in ("relu", "add", "sat"):  # max.s32.relu, vabsdiff4.u32.u32.u32.add, vadd2.u32.u32.u32.sat
            return handlers["integer"](u, mods if mods[-1] != "relu" else [*mods[-1:], *mods[:-1]], operands)
        handler = handlers.get(_family(mods[-1]))
        if handler is None or mods[-1] not in BITS:
            raise NoLowering
        return handler(u, mods, operands)

    return lower


ARITHMETIC: dict[str, Handler] = {
    **{base: _by_type(base) for table in FAMILIES.values() for base in table},
    **addresses.TABLE,
    **bits.TABLE,
    **compare.TABLE,
    **convert.TABLE,
}

__all__ = ["ARITHMETIC", "Handler", "NoLowering", "Unit", "intrinsic", "llvm_type"]
