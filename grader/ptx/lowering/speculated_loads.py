"""Loads that the compiler hoisted above their condition: they run at once and are checked where they matter."""

from __future__ import annotations

from dataclasses import dataclass

from grader.ptx.analysis.flow import Block
from grader.ptx.analysis.speculated import Condition
from grader.ptx.ir import Value
from grader.ptx.lowering.addresses import address_of
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.lowering.shared_cells import clamped
from grader.ptx.syntax import Instruction, Operand, Register


@dataclass(frozen=True)
class Postponed:
    """A load whose value may be dropped."""

    source: Operand
    width: int
    site: int
    pending: Value  # i1: it ran, and is still to be checked


class SpeculatedLoads:
    def __init__(self) -> None:
        self._postponed: dict[int, Postponed] = {}  # by the load's `id`

    def __contains__(self, ins: Instruction) -> bool:
        return id(ins) in self._postponed

    def begin(self, u: KernelBuilder) -> None:
        """At the start of the kernel, and after every suspension, none is pending."""
        for ins in u.speculated.loads:
            u.here = ins
            width = ins.op.bytes
            self._postponed[id(ins)] = load = Postponed(ins.operands[1], width, u.site(width), u.f.alloca("i1"))
            load.pending.store(u.f.const("i1", 0))

    def forget(self, u: KernelBuilder, block: Block) -> None:
        """Drop the loads whose values are dead from here on."""
        for load in u.speculated.forgotten.get(block.index, ()):
            self._postponed[load].pending.store(u.f.const("i1", 0))

    def postpone(self, u: KernelBuilder, ins: Instruction) -> Value:
        """Host address of a load whose check is postponed."""
        load = self._postponed[id(ins)]
        load.pending.store(u.f.const("i1", 1))
        return clamped(u, address_of(u, load.source), load.width, 0)[0]

    def look(self, u: KernelBuilder, ins: Instruction) -> None:
        """Check the loads whose values matter here, perhaps under a condition."""
        for look in u.speculated.looks.get(id(ins), ()):
            _check_if_wanted(u, self._postponed[look.load], look.condition)


def _check_if_wanted(u: KernelBuilder, load: Postponed, condition: Condition | None) -> None:
    f, wanted = u.f, load.pending.load("i1")
    if condition:
        predicate, negated = condition
        wanted = wanted & (u.value(Register(predicate), "pred") ^ int(negated))
    address = address_of(u, load.source)
    with f.when(wanted):
        width, site = f.const("i32", load.width), f.const("i32", load.site)
        f.call("i32", "shared_read", u.worker, u.me, address, width, site)
        load.pending.store(f.const("i1", 0))
