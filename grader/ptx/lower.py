"""A PTX kernel as one LLVM function: (worker, frame, pc, tid) -> status.

Each call runs one CUDA thread from `pc` to its next suspension (a barrier) or to its end. Live registers are kept
in the thread's frame in between. Loads are checked in groups: the values are read at once, from a place that is
always safe to read, and one test before the next store or barrier sends the whole group to the slow path if any
cell was not known to be good.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from grader.ptx import machine
from grader.ptx.arithmetic import ARITHMETIC, BITS, INTEGER, UnknownInstruction, is_signed, llvm_type
from grader.ptx.flow import (
    MANY,
    Block,
    Unsupported,
    blocks_of,
    branch_targets,
    defs_and_uses,
    expand_calls,
    pointer_origins,
)
from grader.ptx.ir import Fn, Value
from grader.ptx.machine import (
    ABORTED,
    ARENA_TAIL,
    EXITED,
    FRAME_HEADER,
    LAUNCH,
    LOCAL_WINDOW,
    MAX_SHARED_BYTES,
    PARAM_WINDOW,
    SHARED_GUARD,
    SHARED_WINDOW,
    STRONG,
    VARIABLE_WINDOW,
    WINDOW,
    WORKER,
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
from grader.ptx.runtime import Frame, Shadow, SharedMap

FUEL = 1 << 20  # instructions between two looks at the budget
SUSPENDS = {"bar", "barrier"}
SPACES = {"param", "shared", "global", "local", "const", "shared::cta"}
STRONG_MODIFIERS = {"volatile", "relaxed", "acquire", "release", "mmio"}
FLUSHES = {"st", "atom", "red", "bar", "barrier", "call", "membar", "fence", "cp"}
IGNORED = {"prefetch", "prefetchu", "nanosleep", "discard", "applypriority", "pmevent", "membar", "fence",
           "griddepcontrol", "setmaxnreg"}  # fmt: skip


@dataclass(frozen=True)
class Site:
    """An instruction that a finding can point at."""

    location: Location
    opcode: str
    width: int = 0


@dataclass
class Group:
    """Loads of one width from one base register, checked together. Offsets are relative to the base."""

    origin: int | None  # kernel parameter, or None for shared memory
    width: int
    offsets: list[int] = field(default_factory=list)
    items: list[tuple[int, int]] = field(default_factory=list)  # (offset, site) as emitted
    base: Value | None = None
    pointer: Value | None = None  # host address of the lowest offset
    cells: Value | None = None  # shared: its read stamps
    ok: Value | None = None  # global: the whole group is inside the array


@dataclass
class Lowered:
    """A kernel's IR and what is needed to run it and to read its faults."""

    ir: str
    entry: str
    sites: list[Site]
    shared: SharedMap
    shared_names: dict[str, tuple[int, int]]
    frame: Frame
    global_granule: int
    parameter_offsets: list[int]
    parameter_bytes: int


def lower(module: Module, function: Function, read_only: frozenset[int]) -> Lowered:
    """Raises Unsupported. `read_only`: indices of parameters whose arrays no kernel may write."""
    return _Kernel(module, expand_calls(module, function), read_only).lower()


def parameter_layout(function: Function) -> tuple[list[int], int]:
    """Byte offset of each kernel parameter, and the bytes of all. PTX aligns each to its own size."""
    offsets, at = [], 0
    for parameter in function.parameters:
        align = parameter.align or min(parameter.bytes, 8)
        at = (at + align - 1) // align * align
        offsets.append(at)
        at += parameter.bytes
    return offsets, at


def variable_windows(module: Module) -> dict[str, int]:
    """The window of each variable of the module that lives in global or constant memory."""
    used: set[str] = set()
    for function in module.functions.values():
        for item in function.body:
            if isinstance(item, Instruction):
                used.update(symbols_of(item.operands))
    waiting = [v for v in module.variables.values() if v.name in used and v.space in ("global", "const")]
    windows: dict[str, int] = {}
    while waiting:  # what a used table points to is used too
        variable = waiting.pop(0)
        if variable.name not in windows:
            windows[variable.name] = VARIABLE_WINDOW + len(windows)
            waiting += [module.variables[s] for _, s, _ in variable.relocations if s in module.variables]
    return windows


def access_of(opcode: str) -> tuple[str, int, str, set[str]]:
    """(space, vector length, type, modifiers) of a load or store."""
    mods = opcode.split(".")[1:]
    space = next((m for m in mods if m in SPACES), "generic").replace("shared::cta", "shared")
    count = next((int(m[1:]) for m in mods if m in ("v2", "v4", "v8")), 1)
    return space, count, mods[-1], set(mods)


class _Kernel:
    def __init__(self, module: Module, function: Function, read_only: frozenset[int]) -> None:
        self.module, self.function, self.read_only = module, function, read_only
        self.f = Fn("kernel", "i32", {"w": "ptr", "frame": "ptr", "pc": "i32", "tid": "i32"}, "nounwind")
        self.helpers: dict[str, str] = {}
        self.tables: list[str] = []
        self.sites: list[Site] = [Site(Location("", 0, 0), "")]
        self.blocks = blocks_of(function, SUSPENDS)
        self.origins = pointer_origins(function)
        self.parameter_offsets, self.parameter_bytes = parameter_layout(function)
        self.variable_windows = variable_windows(module)
        self.slots: dict[str, Value] = {}
        self.current: dict[str, Value] = {}
        self.dirty: set[str] = set()
        self.here = Instruction("", ())
        self.groups: dict[tuple[str, str, int, int, int], Group] = {}
        self.versions: dict[str, int] = {}
        self._lay_out_memory()

    # Layout ---------------------------------------------------------------------------------------------------

    def _lay_out_memory(self) -> None:
        widths = {"shared": {4}, "global": {4}}
        for ins in (i for b in self.blocks for i in b.instructions):
            if ins.base in ("ld", "st", "atom", "red"):
                space, count, type_, _ = access_of(ins.opcode)
                bits = BITS.get(type_, 32)
                for name in ("shared", "global") if space == "generic" else (space,):
                    widths.setdefault(name, set()).add(max(bits // 8, 1))
        self.global_granule = min(widths["global"])
        variables = {**self.module.variables, **self.function.variables}
        used = {s for b in self.blocks for i in b.instructions for s in symbols_of(i.operands)}
        at, arrays, self.addresses = SHARED_GUARD, [], {}
        self.shared_names: dict[str, tuple[int, int]] = {}
        dynamic = []
        for variable in variables.values():
            if variable.space != "shared" or variable.name not in used:
                continue
            if variable.size == 0:
                dynamic.append(variable)
                continue
            align = max(variable.align, 16)
            at = (at + align - 1) // align * align
            self.addresses[variable.name] = at
            self.shared_names[variable.name] = (at, variable.size)
            arrays.append((at, variable.size))
            at += variable.size + SHARED_GUARD
        align = max([1024, *(v.align for v in dynamic)])
        start = (at + align - 1) // align * align
        for variable in dynamic:
            self.addresses[variable.name] = start
        static = sum(size for _, size in arrays)
        arena = start + (MAX_SHARED_BYTES - static if dynamic else 0) + ARENA_TAIL
        arena = (arena + 1023) // 1024 * 1024
        self.shared = SharedMap(tuple(arrays), start, arena, min(widths["shared"]))
        self._lay_out_frame()

    def _lay_out_frame(self) -> None:
        at = FRAME_HEADER
        self.frame_slots: dict[str, int] = {}
        for name in sorted(set().union(*(b.live_in for b in self.blocks if b.is_resume), frozenset())):
            size = max(BITS[self.function.registers[name]] // 8, 1)
            at = (at + size - 1) // size * size
            self.frame_slots[name] = at
            at += size
        self.resident = self._written_once() & self.frame_slots.keys()
        local_start = (at + 15) // 16 * 16
        local = 0
        for variable in self.function.variables.values():
            if variable.space == "local":
                local = (local + 15) // 16 * 16
                self.addresses[variable.name] = local
                local += variable.size
        # An odd number of cache lines, so that the frames of neighbouring threads do not share cache sets.
        stride = (local_start + local + 63) // 64 | 1
        self.frame = Frame(local_start, local, stride * 64)

    def _written_once(self) -> set[str]:
        """Registers with a single definition. Those that outlive a barrier stay in the frame: written once there,
        read where they are used, so that a barrier need not save and restore them."""
        seen: set[str] = set()
        again: set[str] = set()
        for ins in (i for b in self.blocks for i in b.instructions):
            for name in defs_and_uses(ins)[0]:
                (again if name in seen or ins.guard else seen).add(name)
        return seen - again

    # Driving --------------------------------------------------------------------------------------------------

    def lower(self) -> Lowered:
        f = self.f
        self.worker = f["w"]
        self.now = WORKER.get(self.worker, "now")
        self.me = self.now | f["tid"]
        self.shared_host = WORKER.get(self.worker, "shared")
        self.shadow = Shadow(self.worker, self.shared)
        self.launch = WORKER.get(self.worker, "launch")
        self.fuel = f.alloca("i64")
        self.fuel.store(f.const("i64", FUEL))
        resumes = [b for b in self.blocks if b.is_resume]
        cases = " ".join(f'i32 {b.index}, label %"B{b.index}"' for b in resumes)
        f.line(f'switch i32 {f["pc"]}, label %"B0" [{cases}]')
        for block in self.blocks:
            self._block(block)
        text = "\n".join([*self.tables, *self.helpers.values(), f.text()])
        return Lowered(
            text, "kernel", self.sites, self.shared, self.shared_names, self.frame, self.global_granule,
            self.parameter_offsets, self.parameter_bytes,
        )  # fmt: skip

    def _block(self, block: Block) -> None:
        self.f.label(f"B{block.index}")
        self.current, self.dirty = {}, set()
        if block.is_resume:
            for name in sorted(block.live_in - self.resident):
                self._define(name, self.f["frame"].at(self.frame_slots[name]).load(self._register_type(name)))
            # Other blocks may also jump here; they come through the allocas, so this block gets its own entry.
            self._store_dirty(block.live_in)
            body = f"B{block.index}.body"
            self.f.jump(body)
            self.f.label(body)
            self.current = {}
        self._plan_groups(block.instructions, 0)
        for position, ins in enumerate(block.instructions):
            self.here = ins
            if ins.base in FLUSHES or (ins.guard and ins.base not in ("bra",)):
                self._flush()
            self._instruction(block, ins)
            for name in defs_and_uses(ins)[0]:
                self.versions[name] = self.versions.get(name, 0) + 1
            if ins.base in FLUSHES:
                self._plan_groups(block.instructions, position + 1)
        last = block.instructions[-1]
        if last.base not in {"bra", "brx", "ret", "exit", "trap", *SUSPENDS} or (
            last.guard and last.base not in ("bra", *SUSPENDS)
        ):
            self._leave(block)
            self.f.jump(self._target(block.index + 1))

    def _target(self, index: int) -> str:
        return f"B{index}.body" if self.blocks[index].is_resume else f"B{index}"

    def _leave(self, block: Block) -> None:
        """Before any jump: settle open checks and write registers that successors read."""
        self._flush()
        live = frozenset().union(*(self.blocks[s].live_in for s in block.successors))
        self._store_dirty(live)

    def _store_dirty(self, live: frozenset[str]) -> None:
        for name in sorted(self.dirty & live):
            self._slot(name).store(self.current[name])
        self.dirty -= live

    def _instruction(self, block: Block, ins: Instruction) -> None:
        if ins.base in ("bra", "brx"):
            self._branch(block, ins)
        elif ins.base in SUSPENDS:
            self._barrier(block, ins)
        elif ins.guard:
            self._guarded(block, ins)
        else:
            self._plain(block, ins)

    def _plain(self, block: Block, ins: Instruction) -> None:
        handler = MEMORY.get(ins.base)
        if handler:
            handler(self, ins)
        elif ins.base in ("ret", "exit"):
            self._flush()
            self._exit(EXITED)
        elif ins.base == "trap":
            self._flush()
            self._trap()
        elif ins.base in IGNORED:
            return
        else:
            self._arithmetic(ins)

    def _guarded(self, block: Block, ins: Instruction) -> None:
        """Branch around it, through memory, so that either path leaves the registers right."""
        defs, _ = defs_and_uses(ins)
        condition = self._guard(ins)
        pure = ins.base not in MEMORY and ins.base not in ("ret", "exit", "trap", *IGNORED)
        if pure:
            before = {name: self._read(name) for name in defs}
            self._arithmetic(ins)
            for name, old in before.items():
                self._define(name, self.f.select(condition, self.current[name], old))
            return
        self._store_dirty(frozenset(self.dirty))
        do, after = self.f.fresh("do"), self.f.fresh("skip")
        self.f.branch(condition, do, after)
        self.f.label(do)
        kept = dict(self.current)
        self._plain(block, ins)
        self._flush()
        self._store_dirty(frozenset(self.dirty))
        if ins.base not in ("ret", "exit", "trap"):
            self.f.jump(after)
        self.f.label(after)
        self.current = {n: v for n, v in kept.items() if n not in defs}

    def _arithmetic(self, ins: Instruction) -> None:
        handler = ARITHMETIC.get(ins.base) or OTHER.get(ins.base)
        mods = ins.opcode.split(".")[1:]
        if handler is None:
            raise self._unsupported(ins)
        try:
            result = handler(self, mods, list(ins.operands[1:]))
        except (UnknownInstruction, KeyError, IndexError, ValueError) as error:
            raise self._unsupported(ins) from error
        self._assign(ins.operands[0], result, signed=is_signed(mods[-1]) if mods else False)

    def _unsupported(self, ins: Instruction) -> Unsupported:
        return Unsupported(f"the instruction {ins.opcode} is not known to the CPU engine", ins.location)

    def setp(self, ins: Instruction) -> None:
        from_mods = ins.opcode.split(".")[1:]
        try:
            result = self._compare(from_mods, ins)
        except (UnknownInstruction, KeyError) as error:
            raise self._unsupported(ins) from error
        destination = ins.operands[0]
        if isinstance(destination, Pair):
            self._define(destination.first.name, result[0])
            self._define(destination.second.name, result[1])
        else:
            self._assign(destination, result[0])

    def _compare(self, mods: list[str], ins: Instruction) -> tuple[Value, Value]:
        from grader.ptx.arithmetic import compare

        plain = compare(self, mods, mods[-1], ins.operands[1], ins.operands[2])
        operation = next((m for m in mods[1:] if m in ("and", "or", "xor")), None)
        if operation is None:
            return plain, plain ^ 1 if isinstance(ins.operands[0], Pair) else plain
        other = self.value(ins.operands[3], "pred")
        first = plain._binary(operation, other)
        if not isinstance(ins.operands[0], Pair):
            return first, first
        return first, (plain ^ 1)._binary(operation, other)

    # Registers and operands -----------------------------------------------------------------------------------

    def helper(self, name: str, ir: str) -> None:
        self.helpers.setdefault(name, ir)

    def _register_type(self, name: str) -> str:
        kind = self.function.registers.get(name)
        if kind is None:
            raise self._unsupported_register(name)
        if kind in ("f32", "f64", "pred"):
            return llvm_type(kind)
        return f"i{BITS[kind]}"

    def _unsupported_register(self, name: str) -> Unsupported:
        return Unsupported(f"the register {name} is not known to the CPU engine", self.here.location)

    def _slot(self, name: str) -> Value:
        slot = self.slots.get(name)
        if slot is None:
            slot = self.slots[name] = self.f.alloca(self._register_type(name))
        return slot

    def _read(self, name: str) -> Value:
        value = self.current.get(name)
        if value is None:
            value = self.current[name] = self._home(name).load(self._register_type(name))
        return value

    def _home(self, name: str) -> Value:
        return self.f["frame"].at(self.frame_slots[name]) if name in self.resident else self._slot(name)

    def _define(self, name: str, value: Value) -> None:
        self.current[name] = value
        if name in self.resident:
            self._home(name).store(value)
            return
        self.dirty.add(name)

    def _assign(self, operand: Operand, value: Value, *, signed: bool = False) -> None:
        """Write a destination, widening what is narrower than its register."""
        if isinstance(operand, Register):
            if operand.name == "_":
                return
            self._define(operand.name, self._as(value, self._register_type(operand.name), signed))
        elif isinstance(operand, Vector):
            width = int(self._as_integer(value).type[1:]) // len(operand.items)
            whole = self._as_integer(value)
            for k, item in enumerate(operand.items):
                self._assign(item, (whole >> (k * width)).trunc(f"i{width}"))
        else:
            raise self._unsupported(self.here)

    def _as_integer(self, value: Value) -> Value:
        return value.bitcast(f"i{ {'float': 32, 'double': 64, 'half': 16, 'bfloat': 16}[value.type] }") if (
            not value.type.startswith("i")
        ) else value  # fmt: skip

    def _as(self, value: Value, type_: str, signed: bool = False) -> Value:
        if value.type == type_:
            return value
        whole = self._as_integer(value)
        width = {"float": 32, "double": 64, "half": 16, "bfloat": 16}.get(type_) or int(type_[1:])
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
                return self._as(self._read(operand.name[1:]), "i1") ^ 1
            if operand.name in self.function.registers:
                return self._as(self._read(operand.name), kind)
            return self._as(self._special(operand.name), kind)
        if isinstance(operand, Immediate):
            return self._constant(operand, type_)
        if isinstance(operand, Vector):
            return self._as(self._pack(operand, BITS[type_]), kind)
        if isinstance(operand, Symbol):
            return self._as(self.f.const("i64", self._symbol_address(operand.name)), kind)
        if isinstance(operand, Address):  # mov of symbol+offset
            return self._as(self._address(operand), kind)
        raise self._unsupported(self.here)

    def _constant(self, operand: Immediate, type_: str) -> Value:
        bits = operand.bits
        if type_ in ("f32", "f64"):
            if operand.float_width == 0:
                raise self._unsupported(self.here)
            width = 32 if type_ == "f32" else 64
            kind = self.f.const(f"i{width}", bits if operand.float_width == width else _narrowed(bits))
            return kind.bitcast(llvm_type(type_))
        if operand.float_width == 64 and BITS[type_] == 32:
            bits = _narrowed(bits)
        if type_ == "pred":
            return self.f.const("i1", bits & 1)
        width = BITS[type_]
        constant = self.f.const(f"i{width}", bits & ((1 << width) - 1))
        return constant.bitcast(llvm_type(type_)) if type_ in ("f16", "bf16") else constant

    def _pack(self, vector: Vector, bits: int) -> Value:
        width = bits // len(vector.items)
        result = self.f.const(f"i{bits}", 0)
        for k, item in enumerate(vector.items):
            part = self._as_integer(self.value(item, f"b{width}"))
            result = result | (part.zext(f"i{bits}") << (k * width))
        return result

    def _symbol_address(self, name: str) -> int:
        if name in self.addresses:
            return self.addresses[name]
        if name in self.variable_windows:
            return window_base(self.variable_windows[name])
        raise Unsupported(f"the address of {name} is not known to the CPU engine", self.here.location)

    def _special(self, name: str) -> Value:
        f = self.f
        simple = {
            "%ntid.x": "block_x", "%ntid.y": "block_y", "%ntid.z": "block_z",
            "%nctaid.x": "grid_x", "%nctaid.y": "grid_y", "%nctaid.z": "grid_z",
            "%dynamic_smem_size": "dynamic_shared",
        }  # fmt: skip
        if name in simple:
            return LAUNCH.get(self.launch, simple[name])
        if name.startswith("%ctaid."):
            return WORKER.get(self.worker, f"ctaid_{name[-1]}")
        if name.startswith("%tid."):
            table = LAUNCH.get(self.launch, "thread_index")
            return table.index("i32", f["tid"] * 4 + "xyz".index(name[-1])).load("i32")
        tid, lane = f["tid"], f["tid"] & 31
        one = f.const("i32", 1)
        threads = LAUNCH.get(self.launch, "threads")
        values = {
            "%laneid": lambda: lane,
            "%warpid": lambda: tid >> 5,
            "%nwarpid": lambda: (threads + 31) >> 5,
            "WARP_SZ": lambda: f.const("i32", 32),
            "%lanemask_eq": lambda: one << lane,
            "%lanemask_lt": lambda: (one << lane) - 1,
            "%lanemask_le": lambda: ((one << lane) - 1) | (one << lane),
            "%lanemask_gt": lambda: (((one << lane) - 1) | (one << lane)) ^ -1,
            "%lanemask_ge": lambda: ((one << lane) - 1) ^ -1,
            "%smid": lambda: WORKER.get(self.worker, "block").urem(132).trunc("i32"),
            "%nsmid": lambda: f.const("i32", 132),
            "%gridid": lambda: f.const("i64", 1),
            "%total_smem_size": lambda: LAUNCH.get(self.launch, "dynamic_shared")
            + sum(size for _, size in self.shared.arrays),
            "%clock": lambda: self._clock().trunc("i32"),
            "%clock_hi": lambda: (self._clock() >> 32).trunc("i32"),
            "%clock64": self._clock,
            "%globaltimer": self._clock,
            "%globaltimer_lo": lambda: self._clock().trunc("i32"),
        }
        if name not in values:
            raise self._unsupported_register(name)
        return values[name]()

    def _clock(self) -> Value:
        self.helper("llvm.readcyclecounter", "declare i64 @llvm.readcyclecounter()")
        return self.f.call("i64", "llvm.readcyclecounter")

    # Control flow ---------------------------------------------------------------------------------------------

    def _site(self, width: int = 0, strong: bool = False) -> int:
        self.sites.append(Site(self.here.location, self.here.opcode, width))
        return (len(self.sites) - 1) | (STRONG if strong else 0)

    def _branch(self, block: Block, ins: Instruction) -> None:
        self._leave(block)
        targets = [block.successors[i] for i in range(len(branch_targets(self.function, ins)))]
        backward = min(targets) <= block.index
        if backward:
            self._spend(min(targets), block.index)
        if ins.base == "brx":
            index = self.value(ins.operands[0], "u32")
            cases = " ".join(f'i32 {i}, label %"{self._target(t)}"' for i, t in enumerate(targets))
            self.f.line(f'switch i32 {index}, label %"{self._target(targets[-1])}" [{cases}]')
        elif ins.guard:
            self.f.branch(self._guard(ins), self._target(targets[0]), self._target(block.index + 1))
        else:
            self.f.jump(self._target(targets[0]))

    def _spend(self, start: int, end: int) -> None:
        """Charge one turn of a loop; an endless loop ends here."""
        f = self.f
        cost = sum(len(b.instructions) for b in self.blocks[start : end + 1])
        left = self.fuel.load("i64") - cost
        self.fuel.store(left)
        with f.when(left.icmp("slt", 0), likely=False):
            spent = f.const("i64", FUEL) - left
            stop = f.call("i32", "tick", self.worker, self.me, f.const("i32", self._site()), spent)
            with f.when(stop.ne(0)):
                self._exit(ABORTED)
                f.label(f.fresh("dead"))
            self.fuel.store(f.const("i64", FUEL))

    def _exit(self, status: int) -> None:
        self.f["frame"].store(self.f.const("i32", -1))
        self.f.ret(self.f.const("i32", status))

    def _trap(self) -> None:
        f = self.f
        kind = f.const("i32", int(machine.Kind.TRAP))
        zero, none = f.const("i64", 0), f.const("i32", 0)
        f.call("void", "record", self.worker, kind, f.const("i32", self._site()), f["tid"], zero, zero, none)
        self._exit(ABORTED)

    def _barrier(self, block: Block, ins: Instruction) -> None:
        mods = ins.opcode.split(".")[1:]
        plain = [m for m in mods if m not in ("cta", "aligned")] == ["sync"] and ins.operands == (Immediate(0),)
        if not plain or ins.guard:
            raise self._unsupported(ins)
        resume = self.blocks[block.index + 1]
        self._flush()
        for name in sorted(resume.live_in - self.resident):
            self.f["frame"].at(self.frame_slots[name]).store(self._read(name))
        self.f["frame"].store(self.f.const("i32", resume.index))
        self.f.ret(self.f.const("i32", self._site()))

    # Memory ---------------------------------------------------------------------------------------------------

    def _address(self, operand: Operand) -> Value:
        """The address in the instruction's own state space, i64."""
        assert isinstance(operand, Address)
        base, f = operand.base, self.f
        if isinstance(base, Immediate):
            return f.const("i64", base.bits + operand.offset)
        if isinstance(base, Symbol):
            return f.const("i64", self._symbol_address(base.name) + operand.offset)
        value = self._read(base.name)
        value = value.zext("i64") if value.type == "i32" else value
        return value + operand.offset if operand.offset else value

    def _parameter(self, ins: Instruction, operand: Operand) -> Value | None:
        """Host address of a .param access: the launch's parameter block, or a call's argument."""
        assert isinstance(operand, Address)
        if not isinstance(operand.base, Symbol):
            raise self._unsupported(ins)
        name = operand.base.name
        for parameter, offset in zip(self.function.parameters, self.parameter_offsets, strict=True):
            if parameter.name == name:
                return LAUNCH.get(self.launch, "arguments").at(offset + operand.offset)
        slot = self.slots.get(name)
        if slot is None:
            variable = self.function.variables.get(name)
            if variable is None:
                raise self._unsupported(ins)
            slot = self.slots[name] = self.f.alloca(f"[{max(variable.size, 1)} x i8]", 16)
        return slot.at(operand.offset)

    def load(self, ins: Instruction) -> None:
        space, count, type_, mods = access_of(ins.opcode)
        if type_ not in BITS or type_ == "pred":
            raise self._unsupported(ins)
        element = BITS[type_] // 8
        width = element * count
        destination, address = ins.operands[0], ins.operands[1]
        if space == "param":
            pointer = self._parameter(ins, address)
            assert pointer
        else:
            pointer = self._load_pointer(ins, space, width, bool(mods & STRONG_MODIFIERS))
        items = destination.items if isinstance(destination, Vector) else (destination,)
        for k, item in enumerate(items):
            value = pointer.at(k * element).load(f"i{8 * element}", 1)
            self._assign(item, value, signed=is_signed(type_))

    def _load_pointer(self, ins: Instruction, space: str, width: int, strong: bool) -> Value:
        group = None if strong or ins.guard else self._group_of(ins, space, width)
        if group is not None:
            return self._grouped_pointer(ins, group)
        if space == "local":
            return self._local_pointer(ins, ins.operands[1], width)
        return self._checked(ins, "read", space, ins.operands[1], width, strong)

    def _checked(self, ins: Instruction, direction: str, space: str, operand: Operand, width: int, strong: bool) -> Value:
        """Host address of one access, through the slow path."""
        f = self.f
        address = self._address(operand)
        arguments = (self.worker, self.me, address, f.const("i32", width), f.const("i32", self._site(width, strong)))
        if space == "shared":
            ok = f.call("i32", f"shared_{direction}", *arguments)
            return f.select(ok.ne(0), self.shared_host.at(address), WORKER.get(self.worker, "sink"))
        if space == "generic":
            return f.call("ptr", f"generic_{direction}", *arguments, f["frame"])
        return f.call("ptr", f"global_{direction}", *arguments)

    def _local_pointer(self, ins: Instruction, operand: Operand, width: int) -> Value:
        f = self.f
        address = self._address(operand)
        fits = address.ule(max(self.frame.local_bytes - width, 0)) & (address & (width - 1)).eq(0)
        fast, slow, after = f.fresh("fast"), f.fresh("slow"), f.fresh("local")
        f.branch(fits, fast, slow, likely=True)
        f.label(fast)
        inside = f["frame"].at(address + self.frame.local_start)
        f.jump(after)
        f.label(slow)
        site = f.const("i32", self._site(width))
        outside = f.call(
            "ptr", "local_access", self.worker, self.me, address, f.const("i32", width), site, f["frame"]
        )
        f.jump(after)
        f.label(after)
        return f.emit("ptr", f'phi ptr [ {inside}, %"{fast}" ], [ {outside}, %"{slow}" ]')

    def store(self, ins: Instruction) -> None:
        space, count, type_, mods = access_of(ins.opcode)
        if type_ not in BITS or type_ == "pred":
            raise self._unsupported(ins)
        element = BITS[type_] // 8
        width = element * count
        address, source = ins.operands
        items = source.items if isinstance(source, Vector) else (source,)
        values = [self._as_integer(self.value(item, f"b{8 * element}")) for item in items]
        strong = bool(mods & STRONG_MODIFIERS)
        if space == "param":
            pointer = self._parameter(ins, address)
        elif space == "local":
            pointer = self._local_pointer(ins, address, width)
        elif space == "shared" and not strong:
            pointer = self._shared_store_pointer(address, width)
        else:
            pointer = self._checked(ins, "write", space, address, width, strong)
        assert pointer
        for k, value in enumerate(values):
            pointer.at(k * element).store(value, 1)

    def _shared_store_pointer(self, operand: Operand, width: int) -> Value:
        """Fast where nobody wrote or read these cells since the last barrier."""
        f = self.f
        address = self._address(operand)
        host, cell = self._clamped(address, width, 0)
        cells = max(width // self.shared.granule, 1)
        vector = f"<{cells} x i32>"
        written = self.shadow.write.at(cell).load(vector, 4)
        read = self.shadow.read.at(cell).load(vector, 4)
        newest = self._reduce("umax", self._vector("umax", written, read))
        fast, slow, after = f.fresh("fast"), f.fresh("slow"), f.fresh("stored")
        site = self._site(width)
        f.branch(newest.ult(self.now), fast, slow, likely=True)
        f.label(fast)
        self.shadow.write.at(cell).store(self._splat(self.me, cells), 4)
        self.shadow.write_site.at(cell).store(self._splat(f.const("i32", site), cells), 4)
        f.jump(after)
        f.label(slow)
        width_value, site_value = f.const("i32", width), f.const("i32", site)
        ok = f.call("i32", "shared_write", self.worker, self.me, address, width_value, site_value)
        sink = f.select(ok.ne(0), host, WORKER.get(self.worker, "sink"))
        f.jump(after)
        f.label(after)
        return f.emit("ptr", f'phi ptr [ {host}, %"{fast}" ], [ {sink}, %"{slow}" ]')

    def _clamped(self, address: Value, width: int, span: int) -> tuple[Value, Value]:
        """(host address, byte offset of the cell) of an access; in the arena's tail if it is no good.

        Rotating the alignment bits to the top makes one comparison find both a misaligned address and one
        that is out of range.
        """
        f = self.f
        shift = width.bit_length() - 1
        index = address
        if shift:
            self.helper("llvm.fshr.i64", "declare i64 @llvm.fshr.i64(i64, i64, i64)")
            index = f.emit("i64", f"call i64 @llvm.fshr.i64(i64 {address}, i64 {address}, i64 {shift})")
        self.helper("llvm.umin.i64", "declare i64 @llvm.umin.i64(i64, i64)")
        last = (self.shared.arena - span - width) >> shift
        index = f.emit("i64", f"call i64 @llvm.umin.i64(i64 {index}, i64 {last})")
        offset = index << shift if shift else index
        host = self.shared_host.at(offset)
        scale = (4 // self.shared.granule).bit_length() - 1
        return host, offset << scale if scale else offset

    def _vector(self, op: str, a: Value, b: Value) -> Value:
        suffix = "v" + a.type[1:-1].replace(" x ", "")
        name = f"llvm.{op}.{suffix}"
        self.helper(name, f"declare {a.type} @{name}({a.type}, {a.type})")
        return self.f.call(a.type, name, a, b)

    def _reduce(self, op: str, vector: Value) -> Value:
        count = int(vector.type[1:].split()[0])
        if count == 1:
            return self.f.emit("i32", f"extractelement {vector.typed}, i64 0")
        name = f"llvm.vector.reduce.{op}.v{count}i32"
        self.helper(name, f"declare i32 @{name}({vector.type})")
        return self.f.call("i32", name, vector)

    def _splat(self, value: Value, count: int) -> Value:
        kind = f"<{count} x i32>"
        one = self.f.emit(kind, f"insertelement {kind} poison, i32 {value}, i64 0")
        return self.f.emit(kind, f"shufflevector {one.typed}, {kind} poison, <{count} x i32> zeroinitializer")

    # Groups of loads ------------------------------------------------------------------------------------------

    def _plan_groups(self, instructions: list[Instruction], start: int) -> None:
        """Find the loads up to the next flush that share a base, so that one clamp covers them all."""
        self.groups = {}
        versions = dict(self.versions)
        for ins in instructions[start:]:
            if ins.base in FLUSHES or (ins.guard and ins.base != "bra"):
                break
            key = self._group_key(ins, versions)
            if key:
                address = ins.operands[1]
                assert isinstance(address, Address)
                group = self.groups.setdefault(key, Group(key[4] if key[4] != MANY else None, key[3]))
                group.offsets.append(address.offset)
            for name in defs_and_uses(ins)[0]:
                versions[name] = versions.get(name, 0) + 1

    def _group_key(self, ins: Instruction, versions: dict[str, int]) -> tuple[str, str, int, int, int] | None:
        """(space, base, version of the base and chunk of its offsets, width, parameter) or None."""
        if ins.base != "ld" or ins.guard or not isinstance(ins.operands[1], Address):
            return None
        space, count, type_, mods = access_of(ins.opcode)
        base = ins.operands[1].base
        if mods & STRONG_MODIFIERS or type_ not in BITS or isinstance(base, Immediate):
            return None
        width = BITS[type_] // 8 * count
        offset = ins.operands[1].offset
        origin = self.origins.get(base.name, MANY) if isinstance(base, Register) else MANY
        if space == "shared":
            origin = MANY
        elif space not in ("global", "generic") or origin not in self.read_only:
            return None
        # Aligned offsets only: the clamp keeps the base aligned to the width.
        chunk = (versions.get(base.name, 0) << 20) + offset // (ARENA_TAIL // 2) * 1024 + offset % width
        return ("shared" if origin == MANY else "global", base.name, chunk, width, origin)

    def _group_of(self, ins: Instruction, space: str, width: int) -> Group | None:
        key = self._group_key(ins, self.versions)
        return self.groups.get(key) if key else None

    def _grouped_pointer(self, ins: Instruction, group: Group) -> Value:
        address = ins.operands[1]
        assert isinstance(address, Address)
        low, high = min(group.offsets), max(group.offsets)
        if group.base is None:
            first = self._address(Address(address.base, 0))
            group.base = first
            lowest = first + low if low else first
            if group.origin is None:
                group.pointer, group.cells = self._clamped(lowest, group.width, high - low)
            else:
                self._window_pointer(group, lowest, high - low)
        group.items.append((address.offset, self._site(group.width)))
        assert group.pointer
        return group.pointer.at(address.offset - low)

    def _window_pointer(self, group: Group, address: Value, span: int) -> None:
        """Host address in the array of a read-only parameter, or in the sink if any of the group is outside."""
        f = self.f
        assert group.origin is not None
        window = LAUNCH.get(self.launch, "windows").at((PARAM_WINDOW + group.origin) * WINDOW.size)
        size = WINDOW.get(window, "size")
        self.helper("llvm.usub.sat.i64", "declare i64 @llvm.usub.sat.i64(i64, i64)")
        room = f.emit("i64", f"call i64 @llvm.usub.sat.i64(i64 {size}, i64 {span + group.width - 1})")
        offset = address - window_base(PARAM_WINDOW + group.origin)
        group.ok = offset.ult(room) & (offset & (group.width - 1)).eq(0)
        inside = WINDOW.get(window, "host").at(offset)
        group.pointer = f.select(group.ok, inside, WORKER.get(self.worker, "sink"))

    def _flush(self) -> None:
        """Settle every group of loads that is open."""
        for group in self.groups.values():
            if not group.items:
                continue
            good = group.ok if group.ok is not None else self._shared_group_ok(group)
            self._check_group(group, good)
            group.items = []
            group.base = group.pointer = group.cells = group.ok = None

    def _shared_group_ok(self, group: Group) -> Value:
        """Every cell of the group was read or checked before in this epoch, and not written since."""
        assert group.cells
        low = min(group.offsets)
        per = max(group.width // self.shared.granule, 1)
        least: list[Value] = []
        for start, count in _runs(sorted({o - low for o, _ in group.items}), group.width):
            pointer = self.shadow.read.at(group.cells).at(start * 4 // self.shared.granule)
            stamps = pointer.load(f"<{count * per} x i32>", 4)
            least.append(self._reduce("umin", stamps))
        if len(least) > 1:
            self.helper("llvm.umin.i32", "declare i32 @llvm.umin.i32(i32, i32)")
        while len(least) > 1:  # a tree, not a chain
            pairs = [self.f.call("i32", "llvm.umin.i32", a, b) for a, b in zip(least[::2], least[1::2], strict=False)]
            least = pairs + least[len(pairs) * 2 :]
        return least[0].uge(self.now)

    def _check_group(self, group: Group, good: Value) -> None:
        f = self.f
        name = f"loads.{len(self.tables)}"
        entries = ", ".join(f"{{i64, i32, i32}} {{i64 {o}, i32 {s}, i32 0}}" for o, s in group.items)
        self.tables.append(f"@{name} = private constant [{len(group.items)} x {{i64, i32, i32}}] [{entries}]")
        space = "shared" if group.origin is None else "global"
        slow, after = f.fresh("slow"), f.fresh("checked")
        f.branch(good, after, slow, likely=True)
        f.label(slow)
        assert group.base
        f.call(
            "void", f"{space}_read_many", self.worker, self.me, group.base, f.const("i32", group.width),
            f.const("ptr", f"@{name}"), f.const("i64", len(group.items)),
        )  # fmt: skip
        f.jump(after)
        f.label(after)

    # Atomics and calls ----------------------------------------------------------------------------------------

    def atomic(self, ins: Instruction) -> None:
        mods = ins.opcode.split(".")[1:]
        space = "shared" if "shared" in mods or "shared::cta" in mods else "global" if "global" in mods else "generic"
        type_ = mods[-1]
        operation = next((m for m in mods if m in ATOMIC or m == "cas"), None)
        if operation is None or type_ not in BITS or type_ in ("f16x2", "bf16x2", "f16", "bf16"):
            raise self._unsupported(ins)
        operands = list(ins.operands)
        destination = operands.pop(0) if ins.base == "atom" else None
        width = BITS[type_] // 8
        pointer = self._checked(ins, "write", space, operands[0], width, strong=True)
        f, kind = self.f, llvm_type(type_)
        if operation == "cas":
            kind = f"i{BITS[type_]}"
            expected, new = (self._as(self.value(o, type_), kind) for o in operands[1:3])
            pair = f.emit(f"{{{kind}, i1}}", f"cmpxchg ptr {pointer}, {expected.typed}, {new.typed} seq_cst seq_cst")
            old = f.emit(kind, f"extractvalue {pair.typed}, 0")
        else:
            name = ATOMIC[operation]
            if operation in ("min", "max", "add") and type_ in ("f32", "f64"):
                name = "f" + operation
            elif operation in ("min", "max") and not is_signed(type_):
                name = "u" + operation
            old = f.emit(kind, f"atomicrmw {name} ptr {pointer}, {self.value(operands[1], type_).typed} seq_cst")
        if destination is not None:
            self._assign(destination, old)

    def call(self, ins: Instruction) -> None:
        """vprintf and __assertfail; other calls were expanded."""
        vectors = [o for o in ins.operands if isinstance(o, Vector)]
        target = next(o for o in ins.operands if isinstance(o, Symbol))
        f = self.f
        if target.name == "__assertfail":
            self._trap()
            f.label(f.fresh("dead"))
            return
        arguments = vectors[-1].items
        format_, values = (self._call_argument(ins, a) for a in arguments[:2])
        self.helper("print_line", "declare i32 @print_line(i64, ptr)")
        site = f.const("i32", self._site())
        host = f.call(
            "ptr", "generic_read", self.worker, self.me, values, f.const("i32", 1), site, f["frame"]
        )
        printed = f.call("i32", "print_line", format_, host)
        if len(vectors) == 2:
            result = self._parameter(ins, Address(vectors[0].items[0]))  # type: ignore[arg-type]
            assert result
            result.store(printed)

    def _call_argument(self, ins: Instruction, operand: Operand) -> Value:
        assert isinstance(operand, Symbol)
        pointer = self._parameter(ins, Address(operand))
        assert pointer
        return pointer.load("i64")


def symbols_of(operands: tuple[Operand, ...]) -> list[str]:
    names = []
    for operand in operands:
        if isinstance(operand, Symbol):
            names.append(operand.name)
        elif isinstance(operand, Address) and isinstance(operand.base, Symbol):
            names.append(operand.base.name)
        elif isinstance(operand, Vector):
            names += symbols_of(operand.items)
    return names


def _narrowed(bits: int) -> int:
    import struct

    return int.from_bytes(struct.pack("<f", struct.unpack("<d", bits.to_bytes(8, "little"))[0]), "little")


def _runs(offsets: list[int], width: int) -> list[tuple[int, int]]:
    """Neighbouring accesses merged: (offset of the first, how many), at most 16 in one."""
    runs: list[tuple[int, int]] = []
    for offset in offsets:
        if runs and runs[-1][0] + runs[-1][1] * width == offset and runs[-1][1] * width < 64:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((offset, 1))
    # Powers of two only: other vector lengths compile badly.
    split: list[tuple[int, int]] = []
    for offset, count in runs:
        while count:
            part = 1 << (count.bit_length() - 1)
            split.append((offset, part))
            offset, count = offset + part * width, count - part
    return split


ATOMIC = {"add": "add", "and": "and", "or": "or", "xor": "xor", "exch": "xchg", "min": "min", "max": "max",
          "inc": "uinc_wrap", "dec": "udec_wrap"}  # fmt: skip


def _move(u: _Kernel, mods: list[str], operands: list[Operand]) -> Value:
    return u.value(operands[0], mods[-1])


def _to_address(u: _Kernel, mods: list[str], operands: list[Operand]) -> Value:
    """cvta: between a state space's own addresses and generic ones."""
    value = u.value(operands[0], mods[-1])
    window = {"shared": SHARED_WINDOW, "shared::cta": SHARED_WINDOW, "local": LOCAL_WINDOW}.get(mods[-2])
    if window is None:
        return value
    base = window_base(window)
    return value - base if "to" in mods else value + base


def _is_space(u: _Kernel, mods: list[str], operands: list[Operand]) -> Value:
    window = u.value(operands[0], "u64") >> machine.WINDOW_BITS
    space = mods[0]
    if space.startswith("shared"):
        return window.eq(SHARED_WINDOW)
    if space == "local":
        return window.eq(LOCAL_WINDOW)
    return window.uge(PARAM_WINDOW)


OTHER = {"mov": _move, "cvta": _to_address, "isspacep": _is_space}
MEMORY = {
    "ld": _Kernel.load,
    "ldu": _Kernel.load,
    "st": _Kernel.store,
    "atom": _Kernel.atomic,
    "red": _Kernel.atomic,
    "call": _Kernel.call,
    "setp": _Kernel.setp,
}
__all__ = ["INTEGER", "Lowered", "Site", "lower", "parameter_layout", "variable_windows"]
