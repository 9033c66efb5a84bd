"""The lowering of each instruction, by the key of its row in opcodes/rows.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from grader.ptx.analysis.flow import Block
from grader.ptx.ir import Value
from grader.ptx.lowering import (
    accesses,
    async_copies,
    atomics,
    calls,
    clusters,
    collectives,
    fences,
    mbarriers,
    stack,
    tensor_bounds,
    tensor_copies,
    unwritten,
    warpgroups,
    wmma,
)
from grader.ptx.lowering.arithmetic import ARITHMETIC, Handler
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.syntax import Instruction


@dataclass(frozen=True)
class Tables:
    values: Mapping[str, Handler]  # instructions that only compute
    effects: Mapping[str, Callable[[KernelBuilder, Instruction], None]]
    deposit: Callable[[KernelBuilder, Instruction], int]  # returns what the thread waits for
    poll: Callable[[KernelBuilder, Instruction], Value]  # is the phase that it waits for complete?
    enter: Callable[[KernelBuilder, Block], None] = lambda _u, _block: None  # what goes first in each basic block


TABLES = Tables(
    values=ARITHMETIC,
    effects={
        **accesses.HANDLERS,
        **async_copies.HANDLERS,
        **atomics.HANDLERS,
        **calls.HANDLERS,
        **clusters.HANDLERS,
        **collectives.HANDLERS,
        **fences.HANDLERS,
        **mbarriers.HANDLERS,
        **stack.HANDLERS,
        **tensor_bounds.HANDLERS,
        **tensor_copies.HANDLERS,
        **unwritten.HANDLERS,
        **warpgroups.HANDLERS,
        **wmma.HANDLERS,
    },
    deposit=collectives.deposit,
    poll=mbarriers.poll,
)
