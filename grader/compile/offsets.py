"""Offsets that span groups but are computed in 32 bits: right in every case here, wrong for large models.

Named are products of three sizes or indices (`group * K * N`), and those of a number from memory and another size
(`group_offsets[group] * K`), if they become an address. Within one matrix, 32 bits are usually enough.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from grader.model.result import Finding
from grader.ptx.analysis.registers import defs_and_uses, registers_of
from grader.ptx.syntax import Address, Function, Instruction, Module, Operand, Register

KIND = "narrow-offset"
MESSAGE = (
    "this offset is computed in 32 bits; with larger or more groups than here it exceeds 2^31 and wraps around. "
    "Compute it in 64 bits: (size_t)group * K * N"
)
PRODUCTS = {("mul", "lo"), ("mad", "lo")}
TYPES = {"s32", "u32"}
SUMS = {"add", "sub", "mov", "cvt", "mad"}  # what keeps a product a product
PASSES = SUMS | {"mul", "shl", "cvta", "selp", "neg", "or", "min", "max", "fma"}  # on the way to an address
FEW = ("%ntid", "%tid", "%laneid", "%warpid", "%nctaid")  # of these, and of what is divided, products stay small
DIVISIONS = {"div", "rem", "shr"}
Makers = dict[str, Instruction]


def findings(module: Module, source_name: str) -> tuple[Finding, ...]:
    """One for each line."""
    lines = {line for function in module.functions.values() for line in _lines(function, source_name)}
    return tuple(Finding(KIND, source_name, line, MESSAGE) for line in sorted(lines))


def _lines(function: Function, source_name: str) -> Iterator[int]:
    values = _Values(function)
    for ins in values.instructions:
        if values.spans_groups(ins) and values.becomes_address(ins):
            yield from (at.line for at in ins.location.frames()[:1] if at.file == source_name)


class _Values:
    def __init__(self, function: Function) -> None:
        self.instructions = [item for item in function.body if isinstance(item, Instruction)]
        self._makers: dict[str, list[Instruction]] = defaultdict(list)
        self._users: dict[str, list[Instruction]] = defaultdict(list)
        for ins in self.instructions:
            made, used = defs_and_uses(ins)
            for name in made:
                self._makers[name].append(ins)
            for name in used:
                self._users[name].append(ins)

    def spans_groups(self, ins: Instruction) -> bool:
        factors = self._factors(ins)
        if not factors:
            return False
        return any(self._is_loaded(factor) or self._is_product(factor) for factor in factors)

    def _factors(self, ins: Instruction) -> list[Register]:
        """Two registers, neither of which is known to be small; or none."""
        if (ins.base, *ins.modifiers[:1]) not in PRODUCTS or ins.op.type not in TYPES:
            return []
        factors = [o for o in ins.operands[1:3] if isinstance(o, Register) and not self._is_small(o)]
        return factors if len(factors) == 2 else []

    def _maker(self, operand: Operand) -> Instruction | None:
        """What makes a register, through copies."""
        seen = 0
        while isinstance(operand, Register) and seen < len(self.instructions):
            makers = self._makers[operand.name]
            if len(makers) != 1:
                return None
            source = makers[0].operands[1] if makers[0].base in ("mov", "cvt") else None
            if not isinstance(source, Register) or source.is_special:
                return makers[0]
            operand, seen = source, seen + 1
        return None

    def _is_small(self, operand: Register) -> bool:
        if operand.is_special:
            return operand.name.startswith(FEW)
        maker = self._maker(operand)
        if maker is None:
            return False
        source = maker.operands[1] if maker.base == "mov" else None
        special = isinstance(source, Register) and source.is_special and self._is_small(source)
        return special or maker.base in DIVISIONS

    def _is_loaded(self, operand: Register) -> bool:
        maker = self._maker(operand)
        return maker is not None and maker.traits.loads and maker.op.space in ("global", "generic")

    def _is_product(self, operand: Register) -> bool:
        """Or a sum with one in it."""
        waiting, seen = [operand.name], set[str]()
        while waiting:
            for maker in self._makers[waiting.pop()]:
                if self._factors(maker):
                    return True
                if maker.base in SUMS:
                    new = {name for o in maker.operands[1:] for name in registers_of(o)} - seen
                    seen |= new
                    waiting += new
        return False

    def becomes_address(self, ins: Instruction) -> bool:
        waiting, seen = list(registers_of(ins.operands[0])), set[str]()
        while waiting:
            name = waiting.pop()
            for user in self._users[name]:
                if any(isinstance(o, Address) and name in registers_of(o) for o in user.operands):
                    return user.op.space in ("global", "generic")
                if user.base in PASSES:
                    new = set(defs_and_uses(user)[0]) - seen
                    seen |= new
                    waiting += new
        return False
