"""Reads the operands of instructions and writes their results."""

from __future__ import annotations

import struct
from collections.abc import Callable

from grader.ptx.ir import Fn, Value
from grader.ptx.lowering.arithmetic import llvm_type
from grader.ptx.lowering.registers import Registers
from grader.ptx.lowering.special_registers import SpecialRegisters
from grader.ptx.syntax import Address, Immediate, Operand, Pair, Register, Symbol, Vector
from grader.ptx.types import BITS
from grader.ptx.unsupported import Unsupported

FLOAT_BITS = {"float": 32, "double": 64, "half": 16, "bfloat": 16}


class OperandAccess:
    def __init__(
        self,
        f: Fn,
        registers: Registers,
        special: SpecialRegisters,
        place_of: Callable[[str, int], Value],
        unsupported: Callable[[], Unsupported],
    ) -> None:
        """`place_of` returns the address of a variable, and so many bytes further, in its own state space."""
        self._f, self._registers, self._special = f, registers, special
        self._place_of, self._unsupported = place_of, unsupported

    def value(self, operand: Operand, type_: str) -> Value:
        """An operand, in the LLVM type of PTX type `type_`."""
        kind = llvm_type(type_)
        if isinstance(operand, Register):
            return self._register(operand.name, kind)
        if isinstance(operand, Immediate):
            return self._constant(operand, type_)
        if isinstance(operand, Vector):
            return converted(self._packed(operand, BITS[type_]), kind)
        if isinstance(operand, Symbol):
            return converted(self._place_of(operand.name, 0), kind)
        if isinstance(operand, Address) and isinstance(operand.base, Symbol):
            return converted(self._place_of(operand.base.name, operand.offset), kind)
        raise self._unsupported()

    def assign(self, operand: Operand, value: Value, *, signed: bool = False) -> None:
        """Write a destination, widening what is narrower than its register."""
        if isinstance(operand, Register):
            if operand.name != "_":
                type_ = self._registers.type_of(operand.name)
                self._registers.define(operand.name, converted(value, type_, signed=signed))
        elif isinstance(operand, Vector):
            whole = as_integer(value)
            width = int(whole.type[1:]) // len(operand.items)
            for k, item in enumerate(operand.items):
                self.assign(item, (whole >> (k * width)).trunc(f"i{width}"))
        elif isinstance(operand, Pair):
            self.assign(operand.first, value, signed=signed)
        else:
            raise self._unsupported()

    def _register(self, name: str, kind: str) -> Value:
        if name.startswith("!"):
            return self._registers.read(name[1:]) ^ 1
        if name in self._registers:
            return converted(self._registers.read(name), kind)
        special = self._special.read(name)
        if special is None:
            raise self._registers.unknown(name)
        return converted(special, kind)

    def _constant(self, operand: Immediate, type_: str) -> Value:
        bits, width = operand.bits, BITS[type_]
        if operand.float_width == 64 and width == 32:
            bits = _narrowed(bits)
        elif type_ in ("f32", "f64") and operand.float_width == 0:
            raise self._unsupported()
        return converted(self._f.const(f"i{width}", bits & ((1 << width) - 1)), llvm_type(type_))

    def _packed(self, vector: Vector, bits: int) -> Value:
        width = bits // len(vector.items)
        result = self._f.const(f"i{bits}", 0)
        for k, item in enumerate(vector.items):
            result = result | (self.value(item, f"b{width}").zext(f"i{bits}") << (k * width))
        return result


def as_integer(value: Value) -> Value:
    return value if value.type.startswith("i") else value.bitcast(f"i{FLOAT_BITS[value.type]}")


def converted(value: Value, type_: str, *, signed: bool = False) -> Value:
    """The bits of a value in another LLVM type: truncated, zero-extended or sign-extended."""
    if value.type == type_:
        return value
    whole = as_integer(value)
    width = FLOAT_BITS.get(type_) or int(type_[1:])
    have = int(whole.type[1:])
    if have < width:
        whole = whole.cast("sext" if signed else "zext", f"i{width}")
    elif have > width:
        whole = whole.trunc(f"i{width}")
    return whole if type_.startswith("i") else whole.bitcast(type_)


def _narrowed(bits: int) -> int:
    """The bits of a double, rounded to those of a float."""
    (value,) = struct.unpack("<d", bits.to_bytes(8, "little"))
    return int.from_bytes(struct.pack("<f", value), "little")
