"""mov, and addresses between state spaces: cvta, isspacep."""

from __future__ import annotations

from grader.ptx.ir import Value
from grader.ptx.lowering.arithmetic.unit import Handler, Unit
from grader.ptx.machine import (
    FIRST_WINDOW,
    LOCAL_WINDOW,
    PARAM_WINDOW,
    SHARED_WINDOW,
    WINDOW_BITS,
    WINDOWS,
    kernel_address,
)
from grader.ptx.syntax import Operand


def move(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    return u.value(operands[0], mods[-1])


def to_address(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    """cvta: between addresses of a state space and generic ones. For global memory the two are the same."""
    value = u.value(operands[0], mods[-1])
    window = {"shared": SHARED_WINDOW, "local": LOCAL_WINDOW}.get(mods[-2].split("::")[0])
    if window is None:
        return value
    return value - kernel_address(window) if "to" in mods else value + kernel_address(window)


def is_space(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    window = (u.value(operands[0], "u64") >> WINDOW_BITS) - FIRST_WINDOW
    if mods[0].startswith("shared"):
        return window.eq(SHARED_WINDOW)
    return window.eq(LOCAL_WINDOW) if mods[0] == "local" else (window - PARAM_WINDOW).ult(WINDOWS)


TABLE: dict[str, Handler] = {"mov": move, "cvta": to_address, "isspacep": is_space}
