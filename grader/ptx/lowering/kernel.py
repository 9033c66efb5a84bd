"""A kernel on its way to one LLVM function: (worker, frame, pc, tid) -> status.

Each call of that function runs one CUDA thread from `pc` to its next suspension, a barrier or a warp collective, or
to its end. `KernelBuilder` holds the results of analysis, the registers, and what the lowering of an instruction
needs; body.py goes through the blocks.
"""

from __future__ import annotations

from typing import Protocol

from grader.ptx.analysis.accumulators import accumulators
from grader.ptx.analysis.around import name_what_is_inside
from grader.ptx.analysis.bitfields import merging_loads
from grader.ptx.analysis.calls import expand_calls
from grader.ptx.analysis.carry import name_the_carry
from grader.ptx.analysis.flow import blocks_of
from grader.ptx.analysis.fused import fuse_products
from grader.ptx.analysis.gaps import leave_out_gaps
from grader.ptx.analysis.looks import looks_of
from grader.ptx.analysis.meeting_places import meeting_places
from grader.ptx.analysis.pointers import pointer_origins
from grader.ptx.analysis.registers import defs_and_uses
from grader.ptx.analysis.speculated import speculated_loads
from grader.ptx.analysis.suspensions import is_plain_barrier, split_collectives
from grader.ptx.analysis.unwritten import Place, follow_unwritten
from grader.ptx.analysis.updates import updates
from grader.ptx.ir import Fn, Value
from grader.ptx.lowering.memory import (
    RESERVED,
    function_addresses,
    lay_out_frame,
    lay_out_shared,
    parameter_layout,
    variable_windows,
)
from grader.ptx.lowering.operands import OperandAccess
from grader.ptx.lowering.registers import Registers
from grader.ptx.lowering.sites import Site
from grader.ptx.lowering.special_registers import SpecialRegisters
from grader.ptx.machine import (
    ABORTED,
    ARGUMENTS_WINDOW,
    BLOCK_SCOPE,
    ENOUGH,
    LAUNCH,
    MAIL,
    MAIL_BYTES,
    MERGES,
    SITE_MASK,
    STRONG,
    TURNS,
    WORKER,
    Kind,
    kernel_address,
)
from grader.ptx.runtime.shadow import SharedShadow
from grader.ptx.syntax import NOWHERE, Function, Instruction, Module, Operand
from grader.ptx.unsupported import Unsupported

FUEL = 1 << 20  # instructions between two checks of the budget


class OpenLoads(Protocol):
    """Loads whose checks are pending; implemented by load_groups.Loads."""

    def pointer(self, u: KernelBuilder, ins: Instruction) -> Value | None: ...
    def settle(self, u: KernelBuilder) -> None: ...


class KernelBuilder:
    def __init__(
        self,
        module: Module,
        function: Function,
        read_only: frozenset[int],
        loads: OpenLoads,
        unwritten: frozenset[Place],
    ) -> None:
        self.function = expand_calls(module, function)
        fuse_products(self.function)
        leave_out_gaps(self.function)
        name_what_is_inside(self.function)
        followed = follow_unwritten(self.function, unwritten)
        self.followed = {id(load): number for number, load in enumerate(followed, 1)}
        name_the_carry(self.function)
        split_collectives(self.function)
        self.blocks = blocks_of(self.function)
        self.merging_loads = merging_loads(self.blocks)
        self.updates = updates(i for block in self.blocks for i in block.instructions)
        self.meeting_places = meeting_places(self.blocks)
        self.speculated = speculated_loads(self.blocks, self.followed.keys())
        self.looks = looks_of(self.blocks)
        self.accumulators = accumulators(self.blocks)
        self.used = frozenset(name for b in self.blocks for i in b.instructions for name in defs_and_uses(i)[1])
        self.origins = pointer_origins(self.function)
        self.parameter_offsets, self.parameter_bytes = parameter_layout(function)
        self.variable_windows = variable_windows(module)
        self.functions = function_addresses(module)
        self.layout = lay_out_shared(module, self.function, self.blocks)
        self.shared = self.layout.map
        self.frame_layout = lay_out_frame(self.function, self.blocks)
        self.frame = self.frame_layout.frame
        self.read_only, self.loads = read_only, loads
        self.helpers: dict[str, str] = {}
        self.tables: list[str] = []
        self.sites: list[Site] = [Site(NOWHERE, "")]
        self.lacking: dict[int, Unsupported] = {}  # by the site that a thread must reach for it to matter
        self.here = Instruction("", ())
        self.parameters: dict[str, Value] = {}  # .param variables of calls
        self.scratch: Value | None = None  # a buffer to pass values by address
        self.f = Fn("kernel", "i32", {"w": "ptr", "frame": "ptr", "pc": "i32", "tid": "i32"}, "nounwind")
        self._begin()

    def _begin(self) -> None:
        """The prologue of the function."""
        f = self.f
        self.worker, self.launch = f["w"], WORKER.get(f["w"], "launch")
        self.barrier_time = WORKER.get(self.worker, "barrier")
        self.met = f.alloca("i32")
        self.met.store(self._when_met())
        self.time = f.alloca("i32")
        self.passes()
        self.rank, self.shared_base = self._rank()
        self.shared_host = WORKER.get(self.worker, "shared")
        self.shadow = SharedShadow(self.worker, 4 * self.shared.cells)
        self.fuel, self.turns = f.alloca("i64"), f.alloca("i32")
        self.fuel.store(f.const("i64", FUEL))
        # Who draws in a loop lets other blocks draw.
        self.turns.store(f.const("i32", 1 if self.looks.between_blocks.draw else TURNS))
        self._name_followed()
        layout = self.layout
        static = sum(size for name, (_, size) in layout.arrays.items() if name != RESERVED)
        reserved = layout.addresses.get(RESERVED, 0)
        special = SpecialRegisters(self, self.worker, self.launch, static, self.shared_base + reserved, self.rank)
        self.registers = Registers(f, self.function.registers, self.frame_layout, self.unsupported)
        self._operands = OperandAccess(f, self.registers, special, self.place_of, self.unsupported)

    def _rank(self) -> tuple[Value, Value]:
        """Which block of its cluster the thread belongs to, and where the shared memory of that starts (i64)."""
        f = self.f
        if not self.in_cluster:
            return f.const("i32", 0), f.const("i64", 0)
        rank = f["tid"].udiv(LAUNCH.get(self.launch, "block_threads"))
        return rank, rank.zext("i64") * self.shared.block_bytes

    @property
    def in_cluster(self) -> bool:
        """Of more than one block."""
        return self.shared.blocks > 1

    def _name_followed(self) -> None:
        """A table of the sites of loads that are followed, by their numbers."""
        sites = ["i32 0"]
        for load in (i for b in self.blocks for i in b.instructions if id(i) in self.followed):
            self.here = load
            sites.append(f"i32 {self.site(load.op.bytes) & SITE_MASK}")
        if self.followed:
            self.tables.append(f"@followed = private constant [{len(sites)} x i32] [{', '.join(sites)}]")

    @property
    def followed_sites(self) -> Value:
        return self.f.const("ptr", "@followed")

    def text(self) -> str:
        return "\n".join([*self.tables, *self.helpers.values(), self.f.text()])

    @property
    def unset(self) -> list[str]:
        """Registers that may be read before they are written."""
        return sorted(self.blocks[0].live_in & self.function.registers.keys())

    # For the lowering of an instruction -------------------------------------------------------------------------

    def value(self, operand: Operand, type_: str) -> Value:
        """An operand, in the LLVM type of PTX type `type_`."""
        return self._operands.value(operand, type_)

    def assign(self, operand: Operand, value: Value, *, signed: bool = False) -> None:
        """Write a destination, widening what is narrower than its register."""
        self._operands.assign(operand, value, signed=signed)

    def place_of(self, name: str, offset: int = 0) -> Value:
        """The address of a variable, i64, in its own state space."""
        at = self.f.const("i64", self.symbol_address(name) + offset)
        return self.shared_base + at if self.in_cluster and name in self.layout.addresses else at

    def symbol_address(self, name: str) -> int:
        """The same, in the cluster's first block."""
        for known in (self.layout.addresses, self.frame_layout.locals):
            if name in known:
                return known[name]
        if name in self.variable_windows:
            return kernel_address(self.variable_windows[name])
        if name in self.functions:
            return self.functions[name]
        for parameter, offset in zip(self.function.parameters, self.parameter_offsets, strict=True):
            if parameter.name == name:
                return kernel_address(ARGUMENTS_WINDOW) + offset
        raise self.unsupported(f"the address of {name}")

    def unsupported(self, what: str = "") -> Unsupported:
        what = what or f"the instruction {self.here.opcode}"
        return Unsupported(f"{what} is not known to the CPU engine", self.here.location)

    def helper(self, name: str, ir: str) -> None:
        """Add a function or a declaration to the module, once."""
        self.helpers.setdefault(name, ir)

    def site(self, width: int = 0, *, strong: bool = False, opcode: str = "") -> int:
        """The index of a new site, with its flags. `opcode` names one access of an instruction that makes several."""
        self.sites.append(Site(self.here.location, opcode or self.here.opcode, width, id(self.here) in self.updates))
        drops = id(self.here) in self.merging_loads or id(self.here) in self.followed
        flags = STRONG if strong else MERGES if drops else 0
        if strong and self.here.op.is_of_block_scope:
            flags |= BLOCK_SCOPE
        return (len(self.sites) - 1) | flags

    # Time and memory order --------------------------------------------------------------------------------------

    @property
    def synchronised(self) -> Value:
        """When this thread last synchronised with others."""
        return self.met.load("i32")

    def _when_met(self) -> Value:
        """The last barrier of the block, or a later __syncwarp() or barrier of some threads."""
        time = self.barrier_time
        barriers = [i for b in self.blocks for i in b.instructions if i.traits.barrier]
        if self.in_cluster or not all(map(is_plain_barrier, barriers)):
            mail = WORKER.get(self.worker, "mail").at(self.f["tid"].zext("i64") * MAIL_BYTES)
            met = MAIL.get(mail, "met")
            time = self.f.select(met.ugt(time), met, time)
        return time

    @property
    def me(self) -> Value:
        """The stamp of an access by this thread now."""
        return self.time.load("i32")

    def passes(self) -> None:
        """A runtime function has advanced the time."""
        self.time.store(WORKER.get(self.worker, "now") | self.f["tid"])

    def fence(self, *, wide: bool) -> None:
        """Release all earlier accesses, with `wide` to other blocks too; time advances."""
        self.f.call("void", "fence", self.worker, self.f["tid"], self.f.const("i32", int(wide)))
        self.passes()

    def acquire(self) -> None:
        """This thread reads what another of its block may change: what that released is ordered before."""
        self.f.call("void", "acquire", self.worker, self.f["tid"])

    def met_others(self) -> None:
        """This thread has synchronised: later reads must be checked again."""
        self.met.store(WORKER.get(self.worker, "now"))

    # Ends -------------------------------------------------------------------------------------------------------

    def exit(self, status: int) -> None:
        self.f.ret(self.f.const("i32", status))

    def trap(self) -> None:
        self.fail(Kind.TRAP)

    def fail(self, kind: Kind, address: Value | None = None, other: Value | None = None, *, opcode: str = "") -> None:
        """Record a fault here; the block ends."""
        f, zero = self.f, self.f.const("i64", 0)
        site = f.const("i32", self.site(opcode=opcode))
        numbers = (zero if address is None else address, zero if other is None else other)
        what = f.const("i32", int(kind))
        f.call("void", "record", self.worker, what, site, f["tid"], *numbers, f.const("i32", 0))
        self.exit(ABORTED)

    def give_up(self, lacking: Unsupported) -> None:
        """Instead of an instruction that is not known. A thread that gets here ends the launch: nothing is judged.

        Where blocks run side by side, the others go on, so that always the same thread is the first to get here.
        """
        f = self.f
        self.lacking[len(self.sites)] = lacking
        stop = LAUNCH.get(self.launch, "stop")
        serial = LAUNCH.get(self.launch, "serial").ne(0)
        LAUNCH.set(self.launch, "stop", f.select(serial, f.const("i32", ENOUGH), stop))
        self.fail(Kind.UNSUPPORTED)
        f.label(f.fresh("dead"))
