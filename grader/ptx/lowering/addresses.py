"""Addresses of accesses, before any check."""

from __future__ import annotations

from grader.ptx.ir import Value
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.machine import LAUNCH
from grader.ptx.syntax import Address, Immediate, Operand, Symbol


def address_of(u: KernelBuilder, operand: Operand) -> Value:
    """The address in the instruction's own state space, i64."""
    assert isinstance(operand, Address)
    base, f = operand.base, u.f
    if isinstance(base, Immediate):
        return f.const("i64", base.bits + operand.offset)
    if isinstance(base, Symbol):
        return u.place_of(base.name, operand.offset)
    value = u.value(base, "u64")
    return value + operand.offset if operand.offset else value


def parameter_pointer(u: KernelBuilder, operand: Operand, width: int = 8, *, writes: bool = False) -> Value:
    """Host address of a .param access: in the parameter block of the launch, or an argument of a call.

    There is no check at run time, so an access outside its parameter is refused here.
    """
    if not isinstance(operand, Address) or not isinstance(operand.base, Symbol):
        raise u.unsupported()
    name, last = operand.base.name, operand.offset + width
    for parameter, offset in zip(u.function.parameters, u.parameter_offsets, strict=True):
        if parameter.name == name:
            if writes or not width <= last <= parameter.bytes:
                raise u.unsupported(f"{u.here.opcode} outside {name}")
            return LAUNCH.get(u.launch, "arguments").at(offset + operand.offset)
    variable = u.function.variables.get(name)
    if variable is None or not width <= last <= variable.size:
        raise u.unsupported(f"{u.here.opcode} outside {name}")
    if name not in u.parameters:
        u.parameters[name] = u.f.alloca(f"[{variable.size} x i8]", 16)
    return u.parameters[name].at(operand.offset)
