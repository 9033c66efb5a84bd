"""Updates: a load and a store of one element, where what is stored is computed from what was loaded: count[i]++.

Of two threads that update an element at the same time, one overwrites what the other has stored, and no barrier can
separate the two. So a race of updates is told from other races.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from grader.ptx.analysis.registers import defs_and_uses, registers_of
from grader.ptx.syntax import Address, Instruction


def updates(instructions: Iterable[Instruction]) -> frozenset[int]:
    """The loads and stores of updates, by id(). Both have the same address operand."""
    known = list(instructions)
    loads: dict[Address, list[Instruction]] = defaultdict(list)
    for ins in known:
        if ins.traits.loads and isinstance(address := ins.operands[1], Address):
            loads[address].append(ins)
    stores = [ins for ins in known if ins.traits.stores and ins.operands[0] in loads]
    if not stores:
        return frozenset()
    makers: dict[str, list[Instruction]] = defaultdict(list)
    for ins in known:
        for name in defs_and_uses(ins)[0]:
            makers[name].append(ins)
    found = set()
    for store in stores:
        made_of = _made_of(store, makers)
        if read := {id(load) for load in loads[_address(store)] if id(load) in made_of}:
            found |= read | {id(store)}
    return frozenset(found)


def _address(store: Instruction) -> Address:
    address = store.operands[0]
    assert isinstance(address, Address)
    return address


def _made_of(store: Instruction, makers: dict[str, list[Instruction]]) -> set[int]:
    """Loads that the stored value is computed from, by id()."""
    waiting = [name for operand in store.operands[1:] for name in registers_of(operand)]
    seen, found = set(waiting), set()
    while waiting:
        for maker in makers[waiting.pop()]:
            if maker.traits.loads:
                found.add(id(maker))
            elif maker.traits.computes:
                more = set(defs_and_uses(maker)[1]) - seen
                seen |= more
                waiting += more
    return found
