"""Lowers one kernel to LLVM IR, together with what is needed to run it and to explain its faults."""

from __future__ import annotations

from dataclasses import dataclass

from grader.ptx.analysis.around import inside
from grader.ptx.analysis.looks import BetweenBlocks
from grader.ptx.analysis.registers import defs_and_uses
from grader.ptx.analysis.shapes import Frame, SharedMap
from grader.ptx.analysis.suspensions import is_named_barrier
from grader.ptx.analysis.unwritten import Place
from grader.ptx.lowering import async_copies, calls
from grader.ptx.lowering.body import BodyLowering
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.lowering.load_groups import Loads
from grader.ptx.lowering.memory import granule
from grader.ptx.lowering.sites import Site
from grader.ptx.lowering.special_registers import asks_for_grid
from grader.ptx.lowering.tables import TABLES, Tables
from grader.ptx.runtime.library import declarations
from grader.ptx.syntax import Function, Location, Module
from grader.ptx.unsupported import UNFORESEEN, Unsupported


@dataclass(frozen=True)
class Lowered:
    ir: str
    entry: str  # the name of its function
    sites: list[Site]
    shared: SharedMap
    shared_arrays: dict[str, tuple[int, int]]
    frame: Frame
    global_granule: int
    parameter_offsets: list[int]
    parameter_bytes: int
    asks_for_grid: bool  # where what all blocks share lies, as grid.sync() does
    allocates: bool  # with malloc
    cluster: tuple[int, int, int]  # blocks of a cluster
    asynchronous: bool  # its copies count as accesses of machine.ASYNC_THREAD
    own_barriers: bool  # it uses mbarriers or named barriers, or runs in clusters
    overhangs: bool  # it may access a whole word around the last bytes of an array
    between_blocks: BetweenBlocks
    lacking: dict[int, Unsupported]  # by site: what a thread that gets there would need
    unset: list[Location]  # where registers that may be uninitialised are first read


def lower(
    module: Module,
    function: Function,
    read_only: frozenset[int],
    unwritten: frozenset[Place] = frozenset(),
    *,
    tables: Tables = TABLES,
) -> Lowered:
    """Raises Unsupported. `read_only`: indices of parameters whose arrays the kernel may not write."""
    loads = Loads()
    try:
        kernel = KernelBuilder(module, function, read_only, loads, unwritten)
        BodyLowering(kernel, loads, tables).lower()
    except UNFORESEEN as error:
        raise Unsupported(
            f"the CPU engine does not understand the PTX of {function.name}", Location("", function.line, 0)
        ) from error
    return described(kernel, function, kernel.frame)


def described(kernel: KernelBuilder, function: Function, frame: Frame) -> Lowered:
    """A kernel that is complete."""
    return Lowered(
        declarations() + kernel.text(),
        kernel.f.name,
        kernel.sites,
        kernel.shared,
        kernel.layout.arrays,
        frame,
        granule(kernel.blocks, "global"),
        kernel.parameter_offsets,
        kernel.parameter_bytes,
        asks_for_grid(kernel.blocks),
        calls.allocates(kernel.blocks),
        function.cluster,
        async_copies.is_asynchronous(kernel.blocks),
        kernel.in_cluster
        or any(i.traits.on_mbarrier or is_named_barrier(i) for b in kernel.blocks for i in b.instructions),
        any(inside(i) is not None for b in kernel.blocks for i in b.instructions),
        kernel.looks.between_blocks,
        kernel.lacking,
        _first_reads(kernel),
    )


def _first_reads(kernel: KernelBuilder) -> list[Location]:
    first: dict[str, Location] = {}
    for ins in (i for b in kernel.blocks for i in b.instructions):
        for name in defs_and_uses(ins)[1]:
            first.setdefault(name, ins.location)
    return [first[name] for name in kernel.unset]
