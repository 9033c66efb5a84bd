"""Accesses to global memory in which the neighbouring threads of a warp are a whole row apart: right, but slow.

From the PTX alone: by how many bytes an address grows with threadIdx.x. A row's length is known only when the kernel
runs, so threadIdx.x times such a number is what is looked for. What cannot be told is not named.
"""

from __future__ import annotations

from collections.abc import Iterator

from grader.model.execution import UNCOALESCED
from grader.model.result import Finding
from grader.ptx.analysis.registers import defs_and_uses
from grader.ptx.syntax import Address, Function, Immediate, Instruction, Module, Operand, Register, Symbol

MESSAGE = (
    "threads with neighbouring threadIdx.x access elements that lie a whole row apart here, so a warp needs 32 "
    "transactions instead of one"
)

A_ROW = "a row"  # times a number that is known only when the kernel runs
UNKNOWN = "unknown"
MOST = 1 << 40  # bytes or elements: no array is larger
Growth = int | str  # bytes or elements for each step of threadIdx.x

PASSES = 6  # through the instructions of a kernel: as many loops in each other as matter
COPIES = ("mov", "cvt", "cvta")
SUMS = ("add", "sub")


def findings(module: Module, source_name: str) -> tuple[Finding, ...]:
    """One for each kernel, at its first such line."""
    found = []
    for name, function in module.kernels.items():
        lines = sorted(set(_lines(function, source_name)))
        if lines:
            found.append(Finding(UNCOALESCED, source_name, lines[0], MESSAGE, count=len(lines), kernel=name))
    return tuple(found)


def _lines(function: Function, source_name: str) -> Iterator[int]:
    body = [item for item in function.body if isinstance(item, Instruction)]
    grown = _growths(body)
    for ins in body:
        if ins.base not in ("ld", "st") or ins.op.space != "global":
            continue
        address = next((operand for operand in ins.operands if isinstance(operand, Address)), None)
        if address and isinstance(address.base, Register) and grown.get(address.base.name) == A_ROW:
            yield from (at.line for at in ins.location.frames()[-1:] if at.file == source_name)


def _growths(body: list[Instruction]) -> dict[str, Growth]:
    """Of each register. One that a loop changes has what all its changes leave it."""
    grown: dict[str, Growth] = {}
    for _ in range(PASSES):
        before = dict(grown)
        for ins in body:
            names, _used = defs_and_uses(ins)
            value = _bounded(_growth(ins, grown))
            for name in names:
                earlier = grown.get(name)
                grown[name] = value if earlier in (None, value) else UNKNOWN
        if grown == before:
            return grown
    return grown


def _bounded(growth: Growth) -> Growth:
    """Numbers that inline PTX makes as large as it likes say nothing."""
    return UNKNOWN if isinstance(growth, int) and abs(growth) > MOST else growth


def _growth(ins: Instruction, grown: dict[str, Growth]) -> Growth:
    given = [_of(operand, grown) for operand in ins.operands[1:]]
    if ins.base == "ld":
        constant = ins.op.space == "param" or all(growth == 0 for growth in given)
        return 0 if constant else UNKNOWN
    if ins.base in COPIES and len(given) == 1:
        return given[0]
    if ins.base in SUMS and len(given) == 2:
        return _sum(given[0], given[1], -1 if ins.base == "sub" else 1)
    if ins.base == "mul" and len(given) == 2:
        return _product(given, ins.operands[1:])
    if ins.base in ("mad", "fma") and len(given) == 3:
        return _sum(_product(given[:2], ins.operands[1:3]), given[2], 1)
    if ins.base == "shl" and isinstance(ins.operands[2], Immediate):
        return given[0] << min(ins.operands[2].bits, 64) if isinstance(given[0], int) else given[0]
    return 0 if given and all(growth == 0 for growth in given) else UNKNOWN


def _of(operand: Operand, grown: dict[str, Growth]) -> Growth:
    if isinstance(operand, Register):
        if operand.is_special:
            return int(operand.name == "%tid.x")
        return grown.get(operand.name, UNKNOWN)
    if isinstance(operand, Address):
        return _of(operand.base, grown)
    return 0 if isinstance(operand, Immediate | Symbol) else UNKNOWN


def _sum(one: Growth, other: Growth, sign: int) -> Growth:
    if UNKNOWN in (one, other):
        return UNKNOWN
    if isinstance(one, int) and isinstance(other, int):
        return one + sign * other
    return UNKNOWN if one == other == A_ROW else A_ROW


def _product(given: list[Growth], operands: tuple[Operand, ...]) -> Growth:
    if given == [0, 0]:
        return 0
    if UNKNOWN in given or 0 not in given:
        return UNKNOWN
    at = given.index(0)
    factor, growth = operands[at], given[1 - at]
    if isinstance(factor, Immediate) and not factor.float_width:
        return growth * factor.bits if isinstance(growth, int) else growth
    return A_ROW
