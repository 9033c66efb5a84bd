"""Products that ptxas fuses into the sums that follow them, as a GPU's machine code shows.

PTX leaves it open for a `mul` and an `add` or `sub` without a rounding mode; ptxas 13.0 fuses where all that uses a
product are such sums of the same type, in its own basic block, each with the product once. Of a sum of two products
it takes the first. NVRTC has fused most of them before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from grader.ptx.analysis.registers import defs_and_uses
from grader.ptx.opcodes.traits import Flow
from grader.ptx.syntax import Function, Instruction, Label, Register, Symbol

TYPES = {"f32", "f64", "f16", "f16x2", "bf16", "bf16x2"}
FREE = {"ftz", "sat", *TYPES}  # with any other modifier, it says how it is rounded


def fuse_products(function: Function) -> None:
    """Each such sum becomes a fused multiply-add. The product stays, and nothing uses it."""
    if not any(isinstance(item, Instruction) and _is_product(item) for item in function.body):
        return
    values = _Values(function)
    products = {register: mul for block in _blocks(function) for register, mul in _products(block, values)}
    body: list[Instruction | Label] = []
    for item in function.body:
        body += _fused(item, products, function) if isinstance(item, Instruction) else [item]
    function.body = body


def _blocks(function: Function) -> Iterator[list[Instruction]]:
    jumps = [i for i in function.body if isinstance(i, Instruction) and i.traits.branches]
    targets = {o.name for jump in jumps for o in jump.operands if isinstance(o, Symbol)}
    targets |= {label for labels in function.tables.values() for label in labels}
    block: list[Instruction] = []
    for item in function.body:
        if isinstance(item, Instruction):
            block.append(item)
        if (isinstance(item, Label) and item.name in targets) or (isinstance(item, Instruction) and _ends(item)):
            yield block
            block = []
    yield block


def _ends(ins: Instruction) -> bool:
    return ins.traits.branches or ins.traits.ends or ins.traits.flow is Flow.CALL


class _Values:
    """By register: the instructions that use it, and how many make it."""

    def __init__(self, function: Function) -> None:
        self.users: dict[str, list[Instruction]] = defaultdict(list)
        self.makers: dict[str, int] = defaultdict(int)
        for ins in (i for i in function.body if isinstance(i, Instruction)):
            made, used = defs_and_uses(ins)
            for name in made:
                self.makers[name] += 1
            for name in used:
                self.users[name].append(ins)


def _products(block: list[Instruction], values: _Values) -> Iterator[tuple[str, Instruction]]:
    places = {id(ins): place for place, ins in enumerate(block)}
    for mul in filter(_is_product, block):
        result, *sources = mul.operands
        if not isinstance(result, Register) or values.makers[result.name] != 1:
            continue
        if any(isinstance(source, Register) and values.makers[source.name] > 1 for source in sources):
            continue
        users = values.users[result.name]
        if users and all(places.get(id(i), -1) > places[id(mul)] and _takes(i, mul) for i in users):
            yield result.name, mul


def _is_product(ins: Instruction) -> bool:
    return _is_free(ins, "mul") and ins.guard is None and "sat" not in ins.modifiers


def _is_free(ins: Instruction, *names: str) -> bool:
    return ins.base in names and ins.op.type in TYPES and FREE.issuperset(ins.modifiers)


def _takes(ins: Instruction, mul: Instruction) -> bool:
    same = ins.op.type == mul.op.type and ("ftz" in ins.modifiers) == ("ftz" in mul.modifiers)
    return same and _is_free(ins, "add", "sub") and ins.operands[1:].count(mul.operands[0]) == 1


def _fused(ins: Instruction, products: dict[str, Instruction], function: Function) -> list[Instruction]:
    """PTX ISA: a - b is fused as a + (-b)."""
    if not _is_free(ins, "add", "sub"):
        return [ins]
    result, *terms = ins.operands
    chosen = next((i for i, term in enumerate(terms) if isinstance(term, Register) and term.name in products), None)
    if chosen is None:
        return [ins]
    product = terms[chosen]
    assert isinstance(product, Register)
    x, y = products[product.name].operands[1:]
    other, before = terms[1 - chosen], list[Instruction]()
    if ins.base == "sub":
        minus = Register(f"{product.name}.minus")
        function.registers[minus.name] = function.registers[product.name]
        before = [Instruction(f"neg.{ins.op.type}", (minus, x if chosen else other), location=ins.location)]
        x, other = (minus, other) if chosen else (x, minus)
    tail = [m for m in ("ftz", "sat") if m in ins.modifiers]
    opcode = ".".join(("fma", "rn", *tail, ins.op.type))
    return [*before, replace(ins, opcode=opcode, operands=(result, x, y, other))]
