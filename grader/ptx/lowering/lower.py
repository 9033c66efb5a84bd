"""Lowers one kernel of a module to LLVM IR, with what is needed to run it and to read its faults."""

from __future__ import annotations

from dataclasses import dataclass

from grader.ptx.analysis.flow import defs_and_uses, is_named_barrier
from grader.ptx.analysis.looks import BetweenBlocks
from grader.ptx.analysis.shapes import Frame, SharedMap
from grader.ptx.ir import Value
from grader.ptx.lowering import accesses, async_copies, atomics, collectives, matrix, mbarriers, stack
from grader.ptx.lowering.arithmetic import ARITHMETIC, Unit
from grader.ptx.lowering.kernel import Kernel, Site, Tables
from grader.ptx.lowering.memory import granule
from grader.ptx.machine import (
    LOCAL_WINDOW,
    PARAM_WINDOW,
    SHARED_WINDOW,
    WINDOW_BITS,
    window_base,
)
from grader.ptx.parser import Function, Location, Module, Operand
from grader.ptx.runtime.library import declarations


@dataclass(frozen=True)
class Lowered:
    ir: str
    entry: str  # its function
    sites: list[Site]
    shared: SharedMap
    shared_arrays: dict[str, tuple[int, int]]
    frame: Frame
    global_granule: int
    parameter_offsets: list[int]
    parameter_bytes: int
    asynchronous: bool  # copies arrive as the work of machine.ASYNC_THREAD
    own_barriers: bool  # it has mbarriers or named barriers
    between_blocks: BetweenBlocks
    unset: list[Location]  # where a register is first read that may have no value yet


def lower(module: Module, function: Function, read_only: frozenset[int], tables: Tables | None = None) -> Lowered:
    """Raises Unsupported. `read_only`: indices of parameters whose arrays no kernel may write."""
    kernel = Kernel(module, function, read_only, tables or TABLES, accesses.Loads())
    global_granule = granule(kernel.blocks, "global")
    code = declarations() + kernel.lower()
    return Lowered(
        code,
        kernel.f.name,
        kernel.sites,
        kernel.shared,
        kernel.layout.arrays,
        kernel.frame,
        global_granule,
        kernel.parameter_offsets,
        kernel.parameter_bytes,
        async_copies.is_asynchronous(kernel.blocks),
        any(i.base == "mbarrier" or is_named_barrier(i) for b in kernel.blocks for i in b.instructions),
        kernel.looks.between_blocks,
        _first_reads(kernel),
    )


def _first_reads(kernel: Kernel) -> list[Location]:
    first: dict[str, Location] = {}
    for ins in (i for b in kernel.blocks for i in b.instructions):
        for name in defs_and_uses(ins)[1]:
            first.setdefault(name, ins.location)
    return [first[name] for name in kernel.unset]


def _move(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    return u.value(operands[0], mods[-1])


def _to_address(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    """cvta: between a state space's own addresses and generic ones. Global addresses are generic as they are."""
    value = u.value(operands[0], mods[-1])
    window = {"shared": SHARED_WINDOW, "shared::cta": SHARED_WINDOW, "local": LOCAL_WINDOW}.get(mods[-2])
    if window is None:
        return value
    return value - window_base(window) if "to" in mods else value + window_base(window)


def _is_space(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    window = u.value(operands[0], "u64") >> WINDOW_BITS
    if mods[0].startswith("shared"):
        return window.eq(SHARED_WINDOW)
    return window.eq(LOCAL_WINDOW) if mods[0] == "local" else window.uge(PARAM_WINDOW)


TABLES = Tables(
    values={**ARITHMETIC, "mov": _move, "cvta": _to_address, "isspacep": _is_space},
    effects={
        **accesses.HANDLERS,
        **atomics.HANDLERS,
        **async_copies.HANDLERS,
        **matrix.HANDLERS,
        **mbarriers.HANDLERS,
        **stack.HANDLERS,
    },
    collectives=collectives.HANDLERS,
    deposit=collectives.deposit,
    arrive=collectives.arrive,
    poll=mbarriers.poll,
)
