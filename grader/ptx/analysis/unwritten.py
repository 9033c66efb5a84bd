"""Values that nothing wrote, followed through a kernel until they matter.

A read of memory that nothing has written is no mistake while what it gave is dropped: a prefetch beyond the last
element, the loser of a merge. So once such reads were found, these loads are followed: beside each register that may
hold what one of them gave, another says of which load it is and of what address (0: of none). Where such a value
decides, becomes an address, leaves the thread or is stored, it matters. Stored in shared memory it goes on from there
as unwritten as it came.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

from grader.ptx.analysis.registers import defs_and_uses, registers_of
from grader.ptx.opcodes.rows import MATTERS, UNWRITE, UNWRITTEN
from grader.ptx.syntax import Address, Function, Immediate, Instruction, Label, Location, Operand, Register, items_of

MOST_LOADS = 255  # that can be told apart
FIRST, SECOND = Register("%first@unwritten"), Register("%second@unwritten")  # for what is being combined
Place = tuple[Location, str]  # of a load: where it stands, and its opcode


def follow_unwritten(function: Function, places: Set[Place]) -> list[Instruction]:
    """The loads at `places`, in the order of their numbers, from 1. `function` changes to follow what they give."""
    instructions = [i for i in function.body if isinstance(i, Instruction)]
    loads = [i for i in instructions if i.traits.loads and (i.location, i.opcode) in places][:MOST_LOADS]
    if not loads:
        return []
    follower = _Follower(loads, _reached(instructions, loads))
    zero = [_move(_beside(name), Immediate(0), loads[0]) for name in sorted(follower.values)]
    function.registers |= dict.fromkeys((*map(_beside, follower.values), FIRST.name, SECOND.name), "b64")
    body: list[Instruction | Label] = [*zero]
    for item in function.body:
        body += follower.around(item) if isinstance(item, Instruction) else [item]
    function.body = body
    return loads


def _beside(register: str) -> str:
    return f"{register}@unwritten"


def _reached(instructions: list[Instruction], loads: list[Instruction]) -> set[str]:
    """The registers that computation alone makes of what these loads give."""
    found = {name for load in loads for name in registers_of(load.operands[0])}
    grows = True
    while grows:
        before = len(found)
        for ins in instructions:
            defs, uses = defs_and_uses(ins)
            if ins.traits.computes and found & set(uses):
                found |= set(defs)
        grows = len(found) > before
    return found


def _move(target: str, source: Operand, near: Instruction) -> Instruction:
    return Instruction("mov.b64", (Register(target), source), location=near.location)


class _Follower:
    def __init__(self, loads: list[Instruction], values: set[str]) -> None:
        self.values = values  # registers that may hold such a value
        self._numbers = {id(load): number for number, load in enumerate(loads, 1)}

    def around(self, ins: Instruction) -> Iterator[Instruction]:
        defs, uses = defs_and_uses(ins)
        uses = [name for name in dict.fromkeys(uses) if name in self.values]
        made = [name for name in defs if name in self.values]
        if ins.traits.computes:
            if made:
                yield from self._computed(ins, made, uses)
            yield ins
            return
        own = set(defs) if ins.guard else set()  # only kept, where the guard does not hold
        stored = {name for o in ins.operands[1:] for name in registers_of(o)} if _goes_on(ins) else set()
        for name in uses:
            if name == ins.guard:
                yield self._matters(name, ins, guarded=False)
            elif name not in own | stored:
                yield self._matters(name, ins, guarded=True)
        if id(ins) in self._numbers:
            target = Register(_beside(made[0]))
            number = Immediate(self._numbers[id(ins)])
            opcode = UNWRITTEN + ins.opcode.removeprefix(ins.base)
            yield _like(ins, opcode, (target, ins.operands[1], number))
            yield from (_like(ins, "mov.b64", (Register(_beside(name)), target)) for name in made[1:])
        else:
            yield from (_like(ins, "mov.b64", (Register(_beside(name)), Immediate(0))) for name in made)
        yield ins
        for name in uses:
            if name in stored:
                opcode = UNWRITE + ins.opcode.removeprefix(ins.base)
                yield _like(ins, opcode, (ins.operands[0], Register(_beside(name))))

    def _matters(self, name: str, ins: Instruction, *, guarded: bool) -> Instruction:
        check = Instruction(MATTERS, (Register(_beside(name)),), location=ins.location)
        return _like(ins, check.opcode, check.operands) if guarded else check

    def _computed(self, ins: Instruction, made: list[str], uses: list[str]) -> Iterator[Instruction]:
        """What stands beside the result, before it is made."""
        others = [name for name in uses if name != ins.guard and not (ins.guard and name in made)]
        if ins.base == "selp" and isinstance(ins.operands[3], Register):
            when = ins.operands[3]
            yield _like(ins, "selp.b64", (FIRST, *map(self._beside, ins.operands[1:3]), when))
            yield _like(ins, "max.u64", (FIRST, FIRST, self._beside(when)))
        elif ins.opcode in ("and.pred", "or.pred"):
            yield from self._of_either(ins)
        else:
            yield _like(ins, "mov.b64", (FIRST, Immediate(0)))
            yield from (_like(ins, "max.u64", (FIRST, FIRST, Register(_beside(name)))) for name in others)
        yield from (_like(ins, "mov.b64", (Register(_beside(name)), FIRST)) for name in made)
        if ins.guard in self.values:
            guard = Register(_beside(str(ins.guard)))
            for result in (Register(_beside(name)) for name in made):
                yield Instruction("max.u64", (result, result, guard), location=ins.location)

    def _of_either(self, ins: Instruction) -> Iterator[Instruction]:
        """One of two predicates is dropped if the other one, which was written, decides alone."""
        a, b = ins.operands[1:3]
        zero: Operand = Immediate(0)
        for to, value, other in ((FIRST, a, b), (SECOND, b, a)):
            counts = (self._beside(value), zero) if ins.base == "and" else (zero, self._beside(value))
            yield _like(ins, "selp.b64", (to, *counts, other))
        yield _like(ins, "max.u64", (FIRST, FIRST, SECOND))
        yield _like(ins, "min.u64", (SECOND, self._beside(a), self._beside(b)))
        yield _like(ins, "max.u64", (FIRST, FIRST, SECOND))

    def _beside(self, operand: Operand) -> Operand:
        names = [name for name in registers_of(operand) if name in self.values]
        return Register(_beside(names[0])) if names else Immediate(0)


def _goes_on(ins: Instruction) -> bool:
    """A plain store of one value to shared memory, where it stays as unwritten as it is."""
    plain = ins.traits.stores and ins.op.space == "shared" and not ins.op.is_strong
    return plain and isinstance(ins.operands[0], Address) and len(items_of(ins.operands[1])) == 1


def _like(ins: Instruction, opcode: str, operands: tuple[Operand, ...]) -> Instruction:
    """With its guard and location."""
    return Instruction(opcode, operands, ins.guard, ins.guard_negated, ins.location)
