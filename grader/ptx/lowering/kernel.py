"""A PTX kernel as one LLVM function: (worker, frame, pc, tid) -> status.

Each call runs one CUDA thread from `pc` to its next suspension, a barrier or a warp collective, or to its end.
Registers that outlive a suspension are kept in the thread's frame. How instructions are lowered stands in tables
that this class is given: arithmetic.py, accesses.py, collectives.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from grader.ptx.analysis.bitfields import merging_loads
from grader.ptx.analysis.calls import expand_calls
from grader.ptx.analysis.carry import name_the_carry
from grader.ptx.analysis.flow import (
    Block,
    Unsupported,
    blocks_of,
    branch_targets,
    defs_and_uses,
    is_aligned,
    is_arrive,
    is_plain_barrier,
    may_wait,
    pointer_origins,
    split_collectives,
    suspends,
)
from grader.ptx.analysis.gaps import leave_out_gaps
from grader.ptx.analysis.looks import looks_of
from grader.ptx.analysis.meeting_places import meeting_places
from grader.ptx.analysis.speculated import speculated_loads
from grader.ptx.ir import Fn, Value
from grader.ptx.lowering.arithmetic import BITS, Handler, UnknownInstruction, is_signed, llvm_type
from grader.ptx.lowering.memory import access_of, lay_out_frame, lay_out_shared, parameter_layout, variable_windows
from grader.ptx.machine import (
    ABORTED,
    AT_BARRIER,
    AT_PHASE,
    AT_YIELD,
    BLOCK_SCOPE,
    EXITED,
    HEADER,
    LAUNCH,
    MAIL,
    MAIL_BYTES,
    MERGES,
    STRONG,
    TURNS,
    UNALIGNED,
    WORKER,
    Kind,
    window_base,
)
from grader.ptx.parser import (
    Address,
    Function,
    Immediate,
    Instruction,
    Location,
    Module,
    Operand,
    Pair,
    Register,
    Symbol,
    Vector,
)
from grader.ptx.runtime.shadow import SharedShadow

FUEL = 1 << 20  # instructions between two looks at the budget
FLUSHES = {"st", "atom", "red", "bar", "barrier", "call", "membar", "fence", "cp", "deposit", "wmma",
           "stmatrix", "mbarrier", "poll"}  # fmt: skip
IGNORED = {"prefetch", "prefetchu", "nanosleep", "discard", "applypriority", "pmevent", "griddepcontrol",
           "setmaxnreg"}  # fmt: skip
ENDS = {"ret", "exit", "trap"}
WAITING = "waiting"  # as a site's opcode: the loop looks at what another thread may change
# By width: infinity, or where that says nothing a large number. A maximum and a sum both keep it.
POISON = {1: 1, 8: 0x7F, 16: 0x7C00, 32: 0x7F80_0000, 64: 0x7FF0_0000_0000_0000, 128: 0x7FF0_0000_0000_0000}
FLOAT_BITS = {"float": 32, "double": 64, "half": 16, "bfloat": 16}


@dataclass(frozen=True)
class Site:
    """An instruction that a finding can point at; `width` in bytes."""

    location: Location
    opcode: str
    width: int = 0


class LoadGroups(Protocol):
    """Loads that are checked together; accesses.Loads."""

    def plan(self, u: Kernel, instructions: list[Instruction]) -> None: ...
    def passed(self, ins: Instruction) -> None: ...
    def pointer(self, u: Kernel, ins: Instruction) -> Value | None: ...
    def begin(self, u: Kernel) -> None: ...
    def is_postponed(self, ins: Instruction) -> bool: ...
    def postpone(self, u: Kernel, ins: Instruction) -> Value: ...
    def look(self, u: Kernel, ins: Instruction) -> None: ...
    def forget(self, u: Kernel, block: Block) -> None: ...
    def settle(self, u: Kernel) -> None: ...


@dataclass(frozen=True)
class Tables:
    """How instructions become IR, by base opcode."""

    values: dict[str, Handler]  # an operand or more to one value
    effects: Mapping[str, Callable[[Kernel, Instruction], None]]
    collectives: Mapping[str, Callable[[Kernel, Instruction], None]]
    deposit: Callable[[Kernel, Instruction], int]
    arrive: Callable[[Kernel, Instruction], None]
    poll: Callable[[Kernel, Instruction], Value]  # is the phase complete that this instruction waits for?


class Kernel:
    def __init__(
        self, module: Module, function: Function, read_only: frozenset[int], tables: Tables, loads: LoadGroups
    ) -> None:
        self.function = expand_calls(module, function)
        leave_out_gaps(self.function)
        name_the_carry(self.function)
        split_collectives(self.function)
        self.blocks = blocks_of(self.function)
        self.merging_loads = merging_loads(self.blocks)
        self.meeting_places = meeting_places(self.blocks)
        self.speculated = speculated_loads(self.blocks, FLUSHES)
        self.looks = looks_of(self.blocks)
        self.used = frozenset(name for b in self.blocks for i in b.instructions for name in defs_and_uses(i)[1])
        self.read_only, self.instructions, self.loads = read_only, tables, loads
        self.f = Fn("kernel", "i32", {"w": "ptr", "frame": "ptr", "pc": "i32", "tid": "i32"}, "nounwind")
        self.helpers: dict[str, str] = {}
        self.tables: list[str] = []
        self.sites: list[Site] = [Site(Location("", 0, 0), "")]
        self.origins = pointer_origins(self.function)
        self.parameter_offsets, self.parameter_bytes = parameter_layout(function)
        self.variable_windows = variable_windows(module)
        self.layout = lay_out_shared(module, self.function, self.blocks)
        self.shared = self.layout.map
        self.frame_layout = lay_out_frame(self.function, self.blocks)
        self.frame = self.frame_layout.frame
        self.slots: dict[str, Value] = {}
        self.current: dict[str, Value] = {}  # registers whose value is known in this block
        self.dirty: set[str] = set()  # of these, the ones not yet written to their slots
        self.scratch: Value | None = None  # a few bytes to pass values by address
        self.here = Instruction("", ())

    # Driving --------------------------------------------------------------------------------------------------

    def lower(self) -> str:
        f = self.f
        self.worker, self.launch = f["w"], WORKER.get(f["w"], "launch")
        self.barrier_time = WORKER.get(self.worker, "barrier")
        self.met = f.alloca("i32")
        self.met.store(self._when_met())
        self.time = f.alloca("i32")
        self.time.store(WORKER.get(self.worker, "now") | f["tid"])
        self.shared_host = WORKER.get(self.worker, "shared")
        self.shadow = SharedShadow(self.worker, 4 * self.shared.cells)
        self.fuel, self.turns = f.alloca("i64"), f.alloca("i32")
        self.fuel.store(f.const("i64", FUEL))
        # Who draws in a loop lets other blocks draw.
        self.turns.store(f.const("i32", 1 if self.looks.between_blocks.draw else TURNS))
        self.loads.begin(self)
        cases = " ".join(f'i32 {b.index}, label %"B{b.index}"' for b in self.blocks if b.is_resume and b.index)
        f.line(f'switch i32 {f["pc"]}, label %"start" [{cases}]')
        f.label("start")
        self._poison()
        f.jump(self._target(0))
        for block in self.blocks:
            self._block(block)
        return "\n".join([*self.tables, *self.helpers.values(), f.text()])

    @property
    def unset(self) -> list[str]:
        """Registers that may be read before anything was written there."""
        return sorted(self.blocks[0].live_in & self.function.registers.keys())

    def _poison(self) -> None:
        """What nothing has set holds what nobody expects, so that no right number comes of it by luck."""
        for name in self.unset:
            bits = BITS[self.function.registers[name]]
            self._home(name).store(self.f.const(f"i{bits}", POISON[bits]))
        local = self.frame.local_bytes
        if local:
            start = self.f["frame"].at(self.frame.local_start)
            self.f.line(f"call void @llvm.memset.p0.i64(ptr {start}, i8 {POISON[8]}, i64 {local}, i1 false)")

    @property
    def synchronised(self) -> Value:
        """When this thread last met others."""
        return self.met.load("i32")

    def _when_met(self) -> Value:
        """At the block's barrier, or a later __syncwarp or barrier of some threads."""
        time = self.barrier_time
        barriers = [i for b in self.blocks for i in b.instructions if i.base in ("bar", "barrier", "poll")]
        if not all(map(is_plain_barrier, barriers)):
            mail = WORKER.get(self.worker, "mail").at(self.f["tid"].zext("i64") * MAIL_BYTES)
            met = MAIL.get(mail, "met")
            time = self.f.select(met.ugt(time), met, time)
        return time

    @property
    def me(self) -> Value:
        """The stamp of an access by this thread now."""
        return self.time.load("i32")

    def _block(self, block: Block) -> None:
        self.f.label(f"B{block.index}")
        self.current, self.dirty = {}, set()
        if block.is_resume:
            self._resume(block)
        self.loads.forget(self, block)
        self.loads.plan(self, block.instructions)
        for position, ins in enumerate(block.instructions):
            self.here = ins
            self.loads.look(self, ins)
            flushes = ins.base in FLUSHES
            if flushes or (ins.guard and ins.base != "bra"):
                self.loads.settle(self)
            self._instruction(block, ins)
            self.loads.passed(ins)
            if flushes:
                self.loads.plan(self, block.instructions[position + 1 :])
        last = block.instructions[-1]
        if last.base not in {"bra", "brx"} and not suspends(last) and (last.base not in ENDS or last.guard):
            self._leave(block)
            self.f.jump(self._target(block.index + 1))

    def _resume(self, block: Block) -> None:
        """Other blocks may jump here too and find registers in their slots; so a resumed thread fills these."""
        saved = block.live_in - self.frame_layout.resident
        for name in sorted(saved):
            self.define(name, self._home_in_frame(name).load(self._register_type(name)))
        self._store_dirty(block.live_in)
        self.f.jump(f"B{block.index}.body")
        self.f.label(f"B{block.index}.body")
        self.current = {}

    def _target(self, index: int) -> str:
        return f"B{index}.body" if self.blocks[index].is_resume else f"B{index}"

    def _leave(self, block: Block) -> None:
        """Before any jump: settle open checks and write registers that successors read."""
        self.loads.settle(self)
        self._store_dirty(frozenset().union(*(self.blocks[s].live_in for s in block.successors)))

    def _store_dirty(self, live: frozenset[str]) -> None:
        for name in sorted(self.dirty & live):
            self._slot(name).store(self.current[name])
        self.dirty -= live

    def _instruction(self, block: Block, ins: Instruction) -> None:
        if ins.base in ("bra", "brx"):
            self._branch(block, ins)
        elif ins.base == "deposit":
            waits_for = self.instructions.deposit(self, self.blocks[block.index + 1].instructions[0])
            self._suspend(self.blocks[block.index + 1], waits_for)
        elif ins.base == "poll":
            self._poll(self.blocks[block.index + 1], block)
        elif is_plain_barrier(ins):
            self.loads.settle(self)
            count = 0 if is_aligned(ins) else UNALIGNED
            for name, value in {"barrier": 0, "count": count, "predicate": 0}.items():
                HEADER.set(self.f["frame"], name, self.f.const("i32", value))
            self._suspend(self.blocks[block.index + 1], AT_BARRIER)
        elif ins.guard:
            self._guarded(ins)
        else:
            self._plain(ins)

    def _plain(self, ins: Instruction) -> None:
        if ins.base in self.instructions.effects:
            self.instructions.effects[ins.base](self, ins)
        elif is_arrive(ins):
            self.instructions.arrive(self, ins)
        elif ins.base in self.instructions.collectives:
            self.instructions.collectives[ins.base](self, ins)
        elif ins.base in ENDS:
            self.loads.settle(self)
            self.trap() if ins.base == "trap" else self._exit(EXITED)
        elif ins.base not in IGNORED:
            self._compute(ins)

    def _guarded(self, ins: Instruction) -> None:
        """Arithmetic: computed, then selected. Anything else: branched around, registers going through slots."""
        defs, _ = defs_and_uses(ins)
        condition = self._guard(ins)
        if ins.base in self.instructions.values:
            before = {name: self._read(name) for name in defs}
            self._compute(ins)
            for name, old in before.items():
                self.define(name, self.f.select(condition, self.current[name], old))
            return
        self._store_dirty(frozenset(self.dirty))
        do, after = self.f.fresh("do"), self.f.fresh("skip")
        self.f.branch(condition, do, after)
        self.f.label(do)
        kept = dict(self.current)
        self._plain(ins)
        self.loads.settle(self)
        self._store_dirty(frozenset(self.dirty))
        if ins.base not in ENDS:
            self.f.jump(after)
        self.f.label(after)
        self.current = {n: v for n, v in kept.items() if n not in defs}

    def _compute(self, ins: Instruction) -> None:
        handler = self.instructions.values.get(ins.base)
        mods = ins.opcode.split(".")[1:]
        if handler is None:
            raise self.unsupported()
        try:
            result = handler(self, mods, list(ins.operands[1:]))
        except (UnknownInstruction, KeyError, IndexError, ValueError) as error:
            raise self.unsupported() from error
        destination, signed = ins.operands[0], bool(mods) and is_signed(mods[-1])
        if not isinstance(result, tuple):
            self.assign(destination, result, signed=signed)
        elif isinstance(destination, Pair):
            self.assign(destination.first, result[0], signed=signed)
            self.assign(destination.second, result[1])
        else:  # of two results the second is optional
            self.assign(destination, result[0], signed=signed)

    def unsupported(self, what: str = "") -> Unsupported:
        what = what or f"the instruction {self.here.opcode}"
        return Unsupported(f"{what} is not known to the CPU engine", self.here.location)

    def helper(self, name: str, ir: str) -> None:
        """Have a function or declaration in the module once."""
        self.helpers.setdefault(name, ir)

    def site(self, width: int = 0, *, strong: bool = False, opcode: str = "") -> int:
        """`opcode`: where one instruction makes two accesses, the one that it stands for."""
        self.sites.append(Site(self.here.location, opcode or self.here.opcode, width))
        flags = STRONG if strong else MERGES if id(self.here) in self.merging_loads else 0
        if strong and "cta" in self.here.opcode.split("."):
            flags |= BLOCK_SCOPE
        return (len(self.sites) - 1) | flags

    # Registers and operands -----------------------------------------------------------------------------------

    def _register_type(self, name: str) -> str:
        kind = self.function.registers.get(name)
        if kind is None:
            raise self._unknown_register(name)
        return llvm_type(kind) if kind in ("f32", "f64", "pred") else f"i{BITS[kind]}"

    def _unknown_register(self, name: str) -> Unsupported:
        return Unsupported(f"the register {name} is not known to the CPU engine", self.here.location)

    def _slot(self, name: str) -> Value:
        if name not in self.slots:
            self.slots[name] = self.f.alloca(self._register_type(name))
        return self.slots[name]

    def _home_in_frame(self, name: str) -> Value:
        return self.f["frame"].at(self.frame_layout.slots[name])

    def _home(self, name: str) -> Value:
        return self._home_in_frame(name) if name in self.frame_layout.resident else self._slot(name)

    def _read(self, name: str) -> Value:
        value = self.current.get(name)
        if value is None:
            value = self.current[name] = self._home(name).load(self._register_type(name))
        return value

    def define(self, name: str, value: Value) -> None:
        self.current[name] = value
        if name in self.frame_layout.resident:
            self._home_in_frame(name).store(value)
        else:
            self.dirty.add(name)

    def assign(self, operand: Operand, value: Value, *, signed: bool = False) -> None:
        """Write a destination, widening what is narrower than its register."""
        if isinstance(operand, Register):
            if operand.name != "_":
                self.define(operand.name, self._as(value, self._register_type(operand.name), signed))
        elif isinstance(operand, Vector):
            whole = self._as_integer(value)
            width = int(whole.type[1:]) // len(operand.items)
            for k, item in enumerate(operand.items):
                self.assign(item, (whole >> (k * width)).trunc(f"i{width}"))
        elif isinstance(operand, Pair):
            self.assign(operand.first, value, signed=signed)
        else:
            raise self.unsupported()

    def _as_integer(self, value: Value) -> Value:
        return value if value.type.startswith("i") else value.bitcast(f"i{FLOAT_BITS[value.type]}")

    def _as(self, value: Value, type_: str, signed: bool = False) -> Value:
        if value.type == type_:
            return value
        whole = self._as_integer(value)
        width = FLOAT_BITS.get(type_) or int(type_[1:])
        have = int(whole.type[1:])
        if have < width:
            whole = whole.cast("sext" if signed else "zext", f"i{width}")
        elif have > width:
            whole = whole.trunc(f"i{width}")
        return whole if type_.startswith("i") else whole.bitcast(type_)

    def _guard(self, ins: Instruction) -> Value:
        assert ins.guard
        value = self._read(ins.guard)
        return value ^ 1 if ins.guard_negated else value

    def value(self, operand: Operand, type_: str) -> Value:
        """An operand, in the LLVM type of PTX type `type_`."""
        kind = llvm_type(type_)
        if isinstance(operand, Register):
            if operand.name.startswith("!"):
                return self._read(operand.name[1:]) ^ 1
            known = operand.name in self.function.registers
            return self._as(self._read(operand.name) if known else self._special(operand.name), kind)
        if isinstance(operand, Immediate):
            return self._constant(operand, type_)
        if isinstance(operand, Vector):
            return self._as(self._pack(operand, BITS[type_]), kind)
        if isinstance(operand, Symbol):
            return self._as(self.f.const("i64", self.symbol_address(operand.name)), kind)
        if isinstance(operand, Address) and isinstance(operand.base, Symbol):
            return self._as(self.f.const("i64", self.symbol_address(operand.base.name) + operand.offset), kind)
        raise self.unsupported()

    def _constant(self, operand: Immediate, type_: str) -> Value:
        bits, width = operand.bits, BITS[type_]
        if operand.float_width == 64 and width == 32:
            bits = _narrowed(bits)
        elif type_ in ("f32", "f64") and operand.float_width == 0:
            raise self.unsupported()
        return self._as(self.f.const(f"i{width}", bits & ((1 << width) - 1)), llvm_type(type_))

    def _pack(self, vector: Vector, bits: int) -> Value:
        width = bits // len(vector.items)
        result = self.f.const(f"i{bits}", 0)
        for k, item in enumerate(vector.items):
            result = result | (self.value(item, f"b{width}").zext(f"i{bits}") << (k * width))
        return result

    def symbol_address(self, name: str) -> int:
        for known in (self.layout.addresses, self.frame_layout.locals):
            if name in known:
                return known[name]
        if name in self.variable_windows:
            return window_base(self.variable_windows[name])
        raise Unsupported(f"the address of {name} is not known to the CPU engine", self.here.location)

    def _special(self, name: str) -> Value:
        """A special register. PTX ISA, "Special Registers"."""
        f, launch = self.f, self.launch
        base, _, axis = name[1:].partition(".")
        if base in ("ntid", "nctaid") and axis:
            return LAUNCH.get(launch, ("block_" if base == "ntid" else "grid_") + axis)
        if base == "ctaid":
            return WORKER.get(self.worker, f"ctaid_{axis}")
        if base == "tid":
            table = LAUNCH.get(launch, "thread_index")
            return table.index("i32", f["tid"] * 4 + "xyz".index(axis)).load("i32")
        tid, lane, one = f["tid"], f["tid"] & 31, f.const("i32", 1)

        def below() -> Value:
            return (one << lane) - 1

        values: dict[str, Callable[[], Value]] = {
            "%laneid": lambda: lane,
            "%warpid": lambda: tid >> 5,
            "%nwarpid": lambda: (LAUNCH.get(launch, "threads") + 31) >> 5,
            "WARP_SZ": lambda: f.const("i32", 32),
            "%lanemask_eq": lambda: one << lane,
            "%lanemask_lt": below,
            "%lanemask_le": lambda: below() | (one << lane),
            "%lanemask_gt": lambda: (below() | (one << lane)) ^ -1,
            "%lanemask_ge": lambda: below() ^ -1,
            "%smid": lambda: WORKER.get(self.worker, "block").urem(132).trunc("i32"),
            "%nsmid": lambda: f.const("i32", 132),
            "%gridid": lambda: f.const("i64", 1),
            "%dynamic_smem_size": lambda: LAUNCH.get(launch, "dynamic_shared"),
            "%total_smem_size": lambda: LAUNCH.get(launch, "dynamic_shared") + sum(s for _, s in self.shared.arrays),
            "%clock": lambda: self._clock().trunc("i32"),
            "%clock_hi": lambda: (self._clock() >> 32).trunc("i32"),
            "%clock64": self._clock,
            "%globaltimer": self._clock,
            "%globaltimer_lo": lambda: self._clock().trunc("i32"),
            "%globaltimer_hi": lambda: (self._clock() >> 32).trunc("i32"),
        }
        if name not in values:
            raise self._unknown_register(name)
        return values[name]()

    def _clock(self) -> Value:
        self.helper("llvm.readcyclecounter", "declare i64 @llvm.readcyclecounter()")
        return self.f.call("i64", "llvm.readcyclecounter")

    # Control flow ---------------------------------------------------------------------------------------------

    def _branch(self, block: Block, ins: Instruction) -> None:
        self._leave(block)
        f = self.f
        targets = block.successors[: len(branch_targets(self.function, ins))]
        backward = min(targets) <= block.index
        if backward:
            self._spend(min(targets), block.index)
        names = [self._target(t) for t in targets]
        turn = f.fresh("turn")
        if block.yields:
            names = [turn if t <= block.index else name for t, name in zip(targets, names, strict=True)]
        if ins.base == "brx":
            index = self.value(ins.operands[0], "u32")
            cases = " ".join(f'i32 {i}, label %"{name}"' for i, name in enumerate(names))
            f.line(f'switch i32 {index}, label %"{names[-1]}" [{cases}]')
        elif ins.guard:
            f.branch(self._guard(ins), names[0], self._target(block.index + 1))
        else:
            f.jump(names[0])
        if block.yields:
            f.label(turn)
            self._yield_now_and_then(self.blocks[min(targets)], block)

    def _yield_now_and_then(self, head: Block, last: Block) -> None:
        f = self.f
        left = self.turns.load("i32") - 1
        self.turns.store(left)
        rest = f.fresh("rest")
        f.branch(left.eq(0), rest, self._target(head.index))
        f.label(rest)
        self.current = {}
        self._suspend(head, AT_YIELD, self._loop_site(head.index, last.index))

    def _poll(self, wait: Block, block: Block) -> None:
        """Go on to the wait if its phase is complete; else others get their turn first."""
        self.here = wait.instructions[0]  # findings speak of the wait
        complete = self.instructions.poll(self, self.here)
        self._leave(block)
        rest = self.f.fresh("rest")
        self.f.branch(complete, self._target(wait.index), rest)
        self.f.label(rest)
        self.current = {}
        self._suspend(wait, AT_PHASE)

    def _spend(self, start: int, end: int) -> None:
        """Charge one turn of a loop; an endless loop ends here."""
        f = self.f
        cost = sum(len(b.instructions) for b in self.blocks[start : end + 1])
        left = self.fuel.load("i64") - cost
        self.fuel.store(left)
        with f.when(left.icmp("slt", 0), likely=False):
            spent = f.const("i64", FUEL) - left
            stop = f.call("i32", "tick", self.worker, self.me, f.const("i32", self._loop_site(start, end)), spent)
            with f.when(stop.ne(0)):
                self._exit(ABORTED)
                f.label(f.fresh("dead"))
            self.fuel.store(f.const("i64", FUEL))

    def _loop_site(self, start: int, end: int) -> int:
        """A loop is named by its first line, wherever in it the time ran out."""
        at = self.here.location
        body = [i for b in self.blocks[start : end + 1] for i in b.instructions]
        for ins in body:
            if ins.location.file == at.file and 0 < ins.location.line < at.line:
                at = ins.location
        self.sites.append(Site(at, WAITING if any(map(may_wait, body)) else self.here.opcode))
        return len(self.sites) - 1

    def _suspend(self, resume: Block, waits_for: int, site: int | None = None) -> None:
        frame = self.f["frame"]
        for name in sorted(resume.live_in - self.frame_layout.resident):
            self._home_in_frame(name).store(self._read(name))
        HEADER.set(frame, "pc", self.f.const("i32", resume.index))
        self.f.ret(self.f.const("i32", (self.site() if site is None else site) | waits_for))

    def fence(self, *, wide: bool) -> None:
        """What came before is released to who acquires it, if `wide` in other blocks too; time moves on."""
        self.f.call("void", "fence", self.worker, self.f["tid"], self.f.const("i32", int(wide)))
        self.passes()

    def passes(self) -> None:
        """A function of the runtime let the time move on."""
        self.time.store(WORKER.get(self.worker, "now") | self.f["tid"])

    def met_others(self) -> None:
        """What this thread read before must be looked at again."""
        self.met.store(WORKER.get(self.worker, "now"))

    def acquire(self) -> None:
        """This thread looks at what another of its block may have changed: what that released is ordered before."""
        self.f.call("void", "acquire", self.worker, self.f["tid"])

    def trap(self) -> None:
        f = self.f
        kind, site = f.const("i32", int(Kind.TRAP)), f.const("i32", self.site())
        zero, none = f.const("i64", 0), f.const("i32", 0)
        f.call("void", "record", self.worker, kind, site, f["tid"], zero, zero, none)
        self._exit(ABORTED)

    def _exit(self, status: int) -> None:
        self.f.ret(self.f.const("i32", status))


def _narrowed(bits: int) -> int:
    """The bits of a double, rounded to those of a float."""
    (value,) = struct.unpack("<d", bits.to_bytes(8, "little"))
    return int.from_bytes(struct.pack("<f", value), "little")


__all__ = ["FLUSHES", "WAITING", "Kernel", "LoadGroups", "Site", "Tables", "access_of"]
