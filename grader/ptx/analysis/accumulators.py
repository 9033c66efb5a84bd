"""Registers of wgmma that a thread may touch before it has waited for them, or that no fence hands over.

PTX ISA, "wgmma.mma_async": until the group is waited for, only further products may use the registers of D, and
nothing may change those of A. Where a register may hold what a product has not finished, the kernel checks whether it
has. Before the first product, and after anything else has changed a register of D or A, wgmma.fence must run. Copies
from register to register are the compiler's, and stay as pending as what they copy; so do constants, which it puts
wherever they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass

from grader.ptx.analysis.flow import Block
from grader.ptx.analysis.registers import defs_and_uses, registers_of
from grader.ptx.syntax import Immediate, Instruction, Vector

PRODUCT, FENCE, COMMIT, WAIT = "wgmma.mma_async", "wgmma.fence", "wgmma.commit_group", "wgmma.wait_group"
Pending = dict[int, int]  # by the number of a product: the groups that were committed since, at least


@dataclass(frozen=True)
class Accumulators:
    """Of products by their numbers; of instructions by their `id`."""

    products: tuple[Instruction, ...]
    touched: dict[int, frozenset[int]]  # by an instruction: products whose sums it may use
    overwritten: dict[int, frozenset[int]]  # by an instruction: products of which it may change a register of A
    # Products that no wgmma.fence comes before on any path (None), or not since that instruction changed a register.
    unfenced: dict[int, Instruction | None]


@dataclass
class _State:
    """What registers may hold, and whether no fence has run."""

    sums: dict[str, Pending]
    factors: dict[str, Pending]
    unfenced: bool
    changed: dict[str, Instruction]  # registers that were computed since the last fence, and by what

    def copy(self) -> _State:
        sums, factors = ({name: dict(entry) for name, entry in held.items()} for held in (self.sums, self.factors))
        return _State(sums, factors, self.unfenced, dict(self.changed))

    def takes_in(self, other: _State) -> bool:
        """Another path to the same place. Returns whether anything is new."""
        new = self.unfenced and not other.unfenced
        self.unfenced = self.unfenced and other.unfenced
        for mine, theirs in ((self.sums, other.sums), (self.factors, other.factors)):
            for name, entry in theirs.items():
                known = mine.setdefault(name, {})
                for product, age in entry.items():
                    if age < known.get(product, age + 1):
                        known[product], new = age, True
        more = {name: by for name, by in other.changed.items() if name not in self.changed}
        self.changed |= more
        return new or bool(more)


def accumulators(blocks: list[Block]) -> Accumulators:
    everything = [i for b in blocks for i in b.instructions]
    products = tuple(i for i in everything if i.op.row == PRODUCT)
    if not products:
        return Accumulators((), {}, {}, {})
    walk = _Walk({id(product): number for number, product in enumerate(products)}, _fed(everything, products))
    found = Accumulators(products, {}, {}, {})
    fences = [i for i in everything if i.op.row == FENCE]
    for block, now in zip(blocks, walk.states(blocks), strict=True):
        if now is None:
            continue
        for ins in block.instructions:
            if used := _touches(now.sums, ins):
                found.touched[id(ins)] = used
            if lost := _overwrites(now.factors, ins):
                found.overwritten[id(ins)] = lost
            if ins.op.row == PRODUCT:
                changes = [now.changed[name] for name in _registers(ins) if name in now.changed]
                changes = [change for change in changes if not _is_fenced(change, fences, ins)]
                if now.unfenced or changes:
                    found.unfenced[id(ins)] = None if now.unfenced else changes[0]
            walk.past(now, ins)
    return found


class _Walk:
    """Along all paths, until nothing new is seen."""

    def __init__(self, numbers: dict[int, int], fed: set[str]) -> None:
        self._numbers, self._fed = numbers, fed

    def states(self, blocks: list[Block]) -> list[_State | None]:
        """What holds at the start of each block; None: no path leads there."""
        before: list[_State | None] = [None] * len(blocks)
        before[0] = _State({}, {}, True, {})
        waiting = [0]
        while waiting:
            index = waiting.pop()
            state = before[index]
            assert state is not None
            after = state.copy()
            for ins in blocks[index].instructions:
                self.past(after, ins)
            for target in blocks[index].successors:
                known = before[target]
                if known is None:
                    before[target] = after.copy()
                if known is None or known.takes_in(after):
                    waiting.append(target)
        return [state.copy() if state else None for state in before]

    def past(self, state: _State, ins: Instruction) -> None:
        """The state behind an instruction."""
        self._write(state, ins)
        row = ins.op.row
        if row == PRODUCT:
            number = self._numbers[id(ins)]
            state.sums |= {name: {number: 0} for name in _sums_of(ins)}
            state.factors |= {name: state.factors.get(name, {}) | {number: 0} for name in _factors_of(ins)}
        elif row == FENCE:
            state.unfenced = False
            state.changed.clear()
        elif row == COMMIT:
            for held in (state.sums, state.factors):
                for entry in held.values():
                    entry |= {product: age + 1 for product, age in entry.items()}
        elif row == WAIT and ins.operands and isinstance(ins.operands[0], Immediate):
            state.sums, state.factors = (_kept(held, ins.operands[0].bits) for held in (state.sums, state.factors))

    def _write(self, state: _State, ins: Instruction) -> None:
        """Registers get new values, or those of others."""
        defs, uses = defs_and_uses(ins)
        copies = uses if _is_copy(ins) else []
        pending = next((state.sums[name] for name in copies if name in state.sums), None)
        by = next((state.changed[name] for name in copies if name in state.changed), None)
        if not _is_copy(ins) and ins.op.row != PRODUCT:
            by = ins
        for name in defs:
            state.factors.pop(name, None)
            state.sums.pop(name, None)
            state.changed.pop(name, None)
            if pending:
                state.sums[name] = dict(pending)
            if by and name in self._fed:
                state.changed[name] = by


def _kept(held: dict[str, Pending], groups: int) -> dict[str, Pending]:
    """What the last groups may not have finished."""
    left = ({p: age for p, age in entry.items() if age <= groups} for entry in held.values())
    return {name: entry for name, entry in zip(held, left, strict=True) if entry}


def _sums_of(product: Instruction) -> list[str]:
    return registers_of(product.operands[0])


def _factors_of(product: Instruction) -> list[str]:
    """Registers of A, if it lies in registers."""
    a = product.operands[1]
    return registers_of(a) if isinstance(a, Vector) else []


def _registers(product: Instruction) -> list[str]:
    return _sums_of(product) + _factors_of(product)


def _fed(instructions: list[Instruction], products: tuple[Instruction, ...]) -> set[str]:
    """Registers of products, and those that are copied to them."""
    fed = {name for product in products for name in _registers(product)}
    copies = [defs_and_uses(ins) for ins in instructions if _is_copy(ins)]
    before = -1
    while len(fed) != before:
        before = len(fed)
        fed |= {name for defs, uses in copies if fed.intersection(defs) for name in uses}
    return fed


def _is_copy(ins: Instruction) -> bool:
    return ins.base == "mov" and ins.guard is None


def _touches(sums: dict[str, Pending], ins: Instruction) -> frozenset[int]:
    if _is_copy(ins):
        return frozenset()
    own = _sums_of(ins) if ins.op.row == PRODUCT else []
    uses = (name for name in defs_and_uses(ins)[1] if name not in own)
    return frozenset(product for name in uses for product in sums.get(name, ()))


def _overwrites(factors: dict[str, Pending], ins: Instruction) -> frozenset[int]:
    return frozenset(product for name in defs_and_uses(ins)[0] for product in factors.get(name, ()))


def _is_fenced(change: Instruction, fences: list[Instruction], product: Instruction) -> bool:
    """In the source there is a fence between the two: then the compiler has moved the change behind it."""
    first, last = (_line(ins) for ins in (change, product))
    return any(first <= _line(fence) <= last for fence in fences)


def _line(ins: Instruction) -> int:
    """In the kernel itself, whatever it calls there."""
    return ins.location.frames()[-1].line
