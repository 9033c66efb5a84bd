"""What the families of arithmetic share: types, and the interface to the code under construction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from grader.ptx.ir import Fn, Value
from grader.ptx.syntax import Operand
from grader.ptx.types import BITS

INTEGER = {"u8": 8, "s8": 8, "b8": 8, "u16": 16, "s16": 16, "b16": 16, "u32": 32, "s32": 32, "b32": 32, "u64": 64,
           "s64": 64, "b64": 64}  # fmt: skip
FLOAT = {"f32": "float", "f64": "double"}
# LLVM's half and bfloat would need library functions that the JIT cannot find, so halves are integers here.
HALF = {"f16", "bf16"}
PAIRS = {"f16x2": "f16", "bf16x2": "bf16", "u16x2": "u16", "s16x2": "s16", "e4m3x2": "e4m3", "e5m2x2": "e5m2"}


class NoLowering(Exception):  # noqa: N818
    """No lowering for this opcode."""


class Unit(Protocol):
    """Code under construction: a kernel, or a routine that kernels call."""

    f: Fn

    def value(self, operand: Operand, type_: str, /) -> Value: ...
    def helper(self, name: str, ir: str) -> None: ...


# (unit, modifiers, operands) -> the result, or both results
Handler = Callable[[Unit, list[str], list[Operand]], "Value | tuple[Value, ...]"]


class Routine:
    """A function that kernels call."""

    def __init__(self, name: str, result: str, parameters: dict[str, str]) -> None:
        self.f = Fn(name, result, parameters, "nounwind")
        self.needs: dict[str, str] = {}

    def value(self, _operand: Operand, _type: str, /) -> Value:
        raise NoLowering  # a routine has parameters instead of operands

    def helper(self, name: str, ir: str) -> None:
        self.needs.setdefault(name, ir)

    def texts(self) -> dict[str, str]:
        """The function, last, and all that it calls, by name."""
        return {**self.needs, self.f.name: self.f.text()}


def call(u: Unit, texts: dict[str, str], *arguments: Value) -> Value:
    """Call the last routine of `texts`."""
    for name, text in texts.items():
        u.helper(name, text)
    result = text.split("@", 1)[0].split()[-1]
    return u.f.call(result, name, *arguments)


def llvm_type(type_: str) -> str:
    if type_ == "pred":
        return "i1"
    return FLOAT.get(type_) or f"i{BITS[type_]}"


def intrinsic(u: Unit, name: str, *arguments: Value) -> Value:
    suffix = {"float": "f32", "double": "f64"}.get(arguments[0].type, arguments[0].type)
    full = f"llvm.{name}.{suffix}"
    u.helper(full, f"declare {arguments[0].type} @{full}({', '.join(a.type for a in arguments)})")
    return u.f.call(arguments[0].type, full, *arguments)


def halves_of(pair: Value) -> list[Value]:
    """The low and the high half of a packed value."""
    half = f"i{int(pair.type[1:]) // 2}"
    return [pair.trunc(half), (pair >> int(half[1:])).trunc(half)]


def paired(low: Value, high: Value) -> Value:
    width = int(low.type[1:])
    whole = f"i{2 * width}"
    return low.zext(whole) | (high.zext(whole) << width)
