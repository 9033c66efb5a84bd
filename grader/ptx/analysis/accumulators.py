"""Accumulators of wgmma that a thread may touch before it has waited for them.

PTX ISA, "wgmma.mma_async": until the group is waited for, only further products may use the registers of D, and
before the first product, wgmma.fence must have run. Where a register may hold what a product has not finished, the
kernel checks whether it has. Copies from register to register are the compiler's, and stay as pending as what they
copy.
"""

from __future__ import annotations

from dataclasses import dataclass

from grader.ptx.analysis.flow import Block
from grader.ptx.analysis.registers import defs_and_uses, registers_of
from grader.ptx.syntax import Immediate, Instruction

PRODUCT, FENCE, COMMIT, WAIT = "wgmma.mma_async", "wgmma.fence", "wgmma.commit_group", "wgmma.wait_group"
Pending = dict[int, int]  # by the number of a product: the groups that were committed since, at least


@dataclass(frozen=True)
class Accumulators:
    products: tuple[Instruction, ...]  # by their numbers
    touched: dict[int, frozenset[int]]  # by the `id` of an instruction: products whose sums it may use
    unfenced: frozenset[int]  # products, by `id`, that no wgmma.fence comes before on any path


@dataclass
class _State:
    """What registers may hold, and whether no fence has run."""

    pending: dict[str, Pending]
    unfenced: bool

    def copy(self) -> _State:
        return _State({name: dict(entry) for name, entry in self.pending.items()}, self.unfenced)

    def takes_in(self, other: _State) -> bool:
        """Another path to the same place. Returns whether anything is new."""
        new = self.unfenced and not other.unfenced
        self.unfenced = self.unfenced and other.unfenced
        for name, entry in other.pending.items():
            mine = self.pending.setdefault(name, {})
            for product, age in entry.items():
                if age < mine.get(product, age + 1):
                    mine[product], new = age, True
        return new


def accumulators(blocks: list[Block]) -> Accumulators:
    products = tuple(i for b in blocks for i in b.instructions if i.op.row == PRODUCT)
    if not products:
        return Accumulators((), {}, frozenset())
    numbers = {id(product): number for number, product in enumerate(products)}
    before: list[_State | None] = [None] * len(blocks)
    before[0] = _State({}, True)
    waiting = [0]
    while waiting:
        index = waiting.pop()
        after = _at(before, index)
        for ins in blocks[index].instructions:
            _pass(after, ins, numbers)
        for target in blocks[index].successors:
            known = before[target]
            if known is None:
                before[target] = after.copy()
            if known is None or known.takes_in(after):
                waiting.append(target)
    touched: dict[int, frozenset[int]] = {}
    unfenced: set[int] = set()
    for block in blocks:
        if before[block.index] is None:
            continue
        now = _at(before, block.index)
        for ins in block.instructions:
            if used := _touches(now, ins):
                touched[id(ins)] = used
            if ins.op.row == PRODUCT and now.unfenced:
                unfenced.add(id(ins))
            _pass(now, ins, numbers)
    return Accumulators(products, touched, frozenset(unfenced))


def _at(before: list[_State | None], index: int) -> _State:
    state = before[index]
    assert state is not None
    return state.copy()


def _sums_of(product: Instruction) -> set[str]:
    return {name for operand in product.operands[:1] for name in registers_of(operand)}


def _is_copy(ins: Instruction) -> bool:
    return ins.base == "mov" and ins.guard is None


def _touches(state: _State, ins: Instruction) -> frozenset[int]:
    if _is_copy(ins):
        return frozenset()
    own = _sums_of(ins) if ins.op.row == PRODUCT else set()
    uses = (name for name in defs_and_uses(ins)[1] if name not in own)
    return frozenset(product for name in uses for product in state.pending.get(name, ()))


def _pass(state: _State, ins: Instruction, numbers: dict[int, int]) -> None:
    """The state behind an instruction."""
    pending, (defs, uses) = state.pending, defs_and_uses(ins)
    copied = [pending[name] for name in uses if name in pending] if _is_copy(ins) else []
    for name in defs:
        pending.pop(name, None)
        if copied:
            pending[name] = dict(copied[0])
    row = ins.op.row
    if row == PRODUCT:
        pending |= {name: {numbers[id(ins)]: 0} for name in _sums_of(ins)}
    elif row == FENCE:
        state.unfenced = False
    elif row == COMMIT:
        for entry in pending.values():
            entry |= {product: age + 1 for product, age in entry.items()}
    elif row == WAIT and ins.operands and isinstance(ins.operands[0], Immediate):
        keep = ins.operands[0].bits
        left = ({p: age for p, age in entry.items() if age <= keep} for entry in pending.values())
        state.pending = {name: entry for name, entry in zip(pending, left, strict=True) if entry}
