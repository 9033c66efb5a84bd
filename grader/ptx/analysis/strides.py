"""How far the addresses of neighbouring lanes are apart, as far as the PTX tells.

A guess that decides which code is generated for an access; that code checks it for every lane. The guess is made from
the first half of a block's first warp. Half a warp, because blocks of 16 threads in x are common: there threadIdx.x
counts lanes and threadIdx.y is the same for all.
"""

from __future__ import annotations

from dataclasses import dataclass

from grader.ptx.analysis.registers import defs_and_uses
from grader.ptx.definition import semantics
from grader.ptx.syntax import Address, Function, Immediate, Instruction, Label, Operand, Register, Symbol
from grader.ptx.types import BITS

HALF = 16  # lanes
COPIES = {"mov", "cvta", "cvt"}
SUMS = {"add", "or"}  # of an address, `or` sets bits that are clear


@dataclass(frozen=True)
class Lanes:
    """The values of a register in half a warp: `exact`, or how much more each is than the first."""

    values: tuple[int, ...]
    exact: bool = False

    @property
    def step(self) -> int | None:
        """From one lane to the next, if that is a single number."""
        if not self.values:
            return None
        step = self.values[1] - self.values[0]
        return step if all(b - a == step for a, b in zip(self.values, self.values[1:], strict=False)) else None

    @property
    def relative(self) -> Lanes:
        return Lanes(tuple(v - self.values[0] for v in self.values)) if self.exact else self

    def scaled(self, factor: int) -> Lanes:
        return Lanes(tuple(v * factor for v in self.relative.values))


SAME, UNKNOWN = Lanes((0,) * HALF), Lanes(())
Special = dict[str, Lanes]  # by the name of a special register; of all others, lanes have the same value


def indices_of(block: tuple[int, int, int]) -> Special:
    """What threads of a block of this shape know of their place in it."""
    width, height = block[:2]
    return {
        "%laneid": Lanes(tuple(range(HALF)), exact=True),
        "%tid.x": Lanes(tuple(t % width for t in range(HALF)), exact=True),
        "%tid.y": Lanes(tuple(t // width % height for t in range(HALF)), exact=True),
        "%tid.z": Lanes(tuple(t // (width * height) for t in range(HALF)), exact=True),
        **{f"%lanemask_{which}": UNKNOWN for which in ("eq", "lt", "le", "gt", "ge")},
    }


def strides(function: Function, special: Special) -> dict[str, Lanes]:
    """Of each register, over all its definitions. What is missing is never written."""
    found: dict[str, Lanes] = {}
    changed = True
    while changed:
        changed = False
        for ins in function.body:
            if isinstance(ins, Label):
                continue
            defs, uses = defs_and_uses(ins)
            if any(name not in found and name not in defs for name in uses):
                continue
            new = _result(ins, found, special)
            for name in defs:
                known = _joined(found[name], new) if name in found else new
                if found.get(name) != known:
                    found[name], changed = known, True
    return found


def _joined(old: Lanes, new: Lanes) -> Lanes:
    if old == new or UNKNOWN in (old, new):
        return old if old == new else UNKNOWN
    return old.relative if old.relative == new.relative else UNKNOWN


def _result(ins: Instruction, found: dict[str, Lanes], special: Special) -> Lanes:
    if ins.traits.collective is not None:
        return UNKNOWN
    operands = ins.operands[1:]
    given = [_of_operand(o, found, special) for o in operands]
    if all(lanes.exact for lanes in given) and given:
        exact = _evaluated(ins, given)
        if exact:
            return exact
    return _relative(ins, [lanes.relative for lanes in given], operands)


def _evaluated(ins: Instruction, given: list[Lanes]) -> Lanes | None:
    """By the definition; None if that is no integer."""
    try:
        types = semantics.signature(ins.opcode).operands
        if not ins.traits.computes or any(t[0] not in "bsu" for t in (*types, ins.op.type)):
            return None
        rows = [[v % (1 << BITS[t]) for v in lanes.values] for t, lanes in zip(types, given, strict=True)]
        results = [semantics.evaluate(ins.opcode, row) for row in zip(*rows, strict=True)]
    except (KeyError, ValueError):
        return None
    width = BITS[semantics.signature(ins.opcode).results[0]]
    values = [r for r in results if isinstance(r, int)]
    half = 1 << (width - 1)
    return Lanes(tuple((v + half) % (2 * half) - half for v in values), exact=True) if len(values) == HALF else None


def _relative(ins: Instruction, given: list[Lanes], operands: tuple[Operand, ...]) -> Lanes:
    """Where what is not known is the same for all lanes."""
    if all(lanes == SAME for lanes in given):
        return SAME
    if UNKNOWN in given or not ins.traits.computes or ins.op.type[0] not in "bsu":
        return UNKNOWN
    if ins.base in COPIES:
        return given[0]
    if ins.base in SUMS:
        return _sum(given[0], given[1])
    if ins.base == "sub":
        return _sum(given[0], given[1].scaled(-1))
    if ins.base == "shl" and isinstance(operands[1], Immediate):
        return given[0].scaled(1 << operands[1].bits)
    if ins.base in ("mul", "mad") and "hi" not in ins.modifiers:
        product = _product(given, operands)
        return _sum(product, given[2]) if ins.base == "mad" else product
    return UNKNOWN


def _product(given: list[Lanes], operands: tuple[Operand, ...]) -> Lanes:
    if given[0] == given[1] == SAME:
        return SAME
    for lanes, factor in ((given[0], operands[1]), (given[1], operands[0])):
        if isinstance(factor, Immediate):
            return lanes.scaled(factor.bits)
    return UNKNOWN


def _sum(a: Lanes, b: Lanes) -> Lanes:
    if UNKNOWN in (a, b):
        return UNKNOWN
    return Lanes(tuple(x + y for x, y in zip(a.values, b.values, strict=True)))


def _of_operand(operand: Operand, found: dict[str, Lanes], special: Special) -> Lanes:
    if isinstance(operand, Immediate):
        return Lanes((operand.bits,) * HALF, exact=True) if not operand.float_width else SAME
    if isinstance(operand, Address):
        operand = operand.base
    if isinstance(operand, Register):
        if operand.is_special:
            return special.get(operand.name, SAME)
        return found.get(operand.name.lstrip("!"), SAME)
    return SAME if isinstance(operand, Immediate | Symbol) else UNKNOWN
