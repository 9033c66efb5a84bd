"""Loads, stores, asynchronous copies and calls: where an access goes and how it is checked.

Loads are checked in groups. The values are read at once, from a place that is always safe to read; one test before
the next store or barrier sends a whole group to the slow path if any of its cells was not known to be good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from grader.ptx.analysis.flow import MANY, Block, defs_and_uses
from grader.ptx.analysis.speculated import Condition
from grader.ptx.ir import Value
from grader.ptx.lowering.arithmetic import BITS, is_signed
from grader.ptx.lowering.kernel import FLUSHES, Kernel, access_of
from grader.ptx.machine import ARENA_TAIL, BLIND, CHANGES, HEADER, LAUNCH, LOOKS, PARAM_WINDOW, WINDOW, WORKER
from grader.ptx.parser import Address, Immediate, Instruction, Operand, Register, Symbol, Vector

STRONG_MODIFIERS = {"volatile", "relaxed", "acquire", "release", "mmio"}
WIDE_SCOPES = {"gpu", "sys", "gl", "cluster"}
GroupKey = tuple[str, str, int, int, int]


def address_of(u: Kernel, operand: Operand) -> Value:
    """The address in the instruction's own state space, i64."""
    assert isinstance(operand, Address)
    base, f = operand.base, u.f
    if isinstance(base, Immediate):
        return f.const("i64", base.bits + operand.offset)
    if isinstance(base, Symbol):
        return f.const("i64", u.symbol_address(base.name) + operand.offset)
    value = u.value(base, "u64")
    return value + operand.offset if operand.offset else value


def parameter_pointer(u: Kernel, operand: Operand, width: int = 8, *, writes: bool = False) -> Value:
    """Host address of a .param access: the launch's parameter block, or a call's argument.

    Nothing checks it as it runs, so one that leaves its parameter is refused here.
    """
    if not isinstance(operand, Address) or not isinstance(operand.base, Symbol):
        raise u.unsupported()
    name, last = operand.base.name, operand.offset + width
    for parameter, offset in zip(u.function.parameters, u.parameter_offsets, strict=True):
        if parameter.name == name:
            if writes or not width <= last <= parameter.bytes:
                raise u.unsupported(f"{u.here.opcode} outside {name}")
            return LAUNCH.get(u.launch, "arguments").at(offset + operand.offset)
    variable = u.function.variables.get(name)
    if variable is None or not width <= last <= variable.size:
        raise u.unsupported(f"{u.here.opcode} outside {name}")
    if name not in u.slots:
        u.slots[name] = u.f.alloca(f"[{variable.size} x i8]", 16)
    return u.slots[name].at(operand.offset)


# Loads ----------------------------------------------------------------------------------------------------------


def load(u: Kernel, ins: Instruction) -> None:
    space, count, type_, mods = access_of(ins.opcode)
    if type_ not in BITS or type_ == "pred":
        raise u.unsupported()
    element = BITS[type_] // 8
    destination, source = ins.operands[0], ins.operands[1]
    width = element * count
    pointer = parameter_pointer(u, source, width) if space == "param" else _load_pointer(u, ins, space, width, mods)
    items = destination.items if isinstance(destination, Vector) else (destination,)
    for k, item in enumerate(items):
        value = pointer.at(k * element).load(f"i{8 * element}", 1)
        u.assign(item, value, signed=is_signed(type_))


def _load_pointer(u: Kernel, ins: Instruction, space: str, width: int, mods: set[str]) -> Value:
    if u.loads.is_postponed(ins):
        return u.loads.postpone(u, ins)
    grouped = u.loads.pointer(u, ins)
    if grouped is not None:
        return grouped
    if space == "local":
        return _local_pointer(u, ins.operands[1], width)
    looks = bool(mods & STRONG_MODIFIERS - {"volatile"}) or id(ins) in u.looks.polls
    pointer = checked(u, "read", space, ins.operands[1], width, strong=looks or id(ins) in u.looks.guesses)
    if looks:
        u.acquire()  # behind the checks: it orders what follows, and not itself
        synchronise(u, space, mods, address_of(u, ins.operands[1]), u.f.const("i32", LOOKS))
    return pointer


def synchronise(u: Kernel, space: str, mods: set[str], address: Value, how: Value) -> None:
    """A strong access was carried out: what it signals to other blocks, or acquires from them."""
    if is_wide(space, mods):
        u.f.call("void", "synchronise", u.worker, u.me, address, how)


def aligned(u: Kernel, ins: Instruction) -> None:
    """The place of a vector load of which only elements are looked at."""
    space, count, type_, _ = access_of(ins.opcode)
    width = BITS[type_] // 8 * count
    with u.f.when((address_of(u, ins.operands[0]) & (width - 1)).ne(0), likely=False):
        checked(u, "read", space, ins.operands[0], width)


def is_wide(space: str, mods: set[str]) -> bool:
    """May another block see or make it? A strong access without a scope is one of all."""
    return space != "shared" and "cta" not in mods


def checked(
    u: Kernel,
    direction: str,
    space: str,
    operand: Operand,
    width: int,
    *,
    strong: bool = False,
    flags: int = 0,
    values: Sequence[Value] = (),
) -> Value:
    """Host address of one access, through the slow path. `values`: what a store writes, if that is known.

    `direction` is "read", "write" or "update": a write that needs what is there.
    """
    return checked_at(u, direction, space, address_of(u, operand), width, strong=strong, flags=flags, values=values)


def checked_at(
    u: Kernel,
    direction: str,
    space: str,
    address: Value,
    width: int,
    *,
    strong: bool = False,
    flags: int = 0,
    values: Sequence[Value] = (),
) -> Value:
    site = u.f.const("i32", u.site(width, strong=strong) | flags)
    return check(u, direction, space, address, width, site, values)


def check(
    u: Kernel, direction: str, space: str, address: Value, width: int, site: Value, values: Sequence[Value] = ()
) -> Value:
    """`site`: with its flags, of which some may be known only as it runs."""
    f = u.f
    arguments = [u.worker, u.me, address, f.const("i32", width), site]
    if direction != "read":
        arguments.append(_in_memory(u, values))
    if space == "shared":
        stamp = (u.me,) if direction != "read" else ()
        ok = f.call("i32", f"shared_{direction}", *arguments, *stamp)
        return f.select(ok.ne(0), u.shared_host.at(address), WORKER.get(u.worker, "sink"))
    if space == "generic":
        return f.call("ptr", f"generic_{direction}", *arguments, f["frame"])
    return f.call("ptr", f"global_{direction}", *arguments)


def _local_pointer(u: Kernel, operand: Operand, width: int) -> Value:
    f = u.f
    address = address_of(u, operand)
    fits = address.ule(max(u.frame.local_bytes - width, 0)) & (address & (width - 1)).eq(0)
    fast, slow, after = f.fresh("fast"), f.fresh("slow"), f.fresh("local")
    f.branch(fits, fast, slow, likely=True)
    f.label(fast)
    inside = f["frame"].at(address + u.frame.local_start)
    f.jump(after)
    f.label(slow)
    site = f.const("i32", u.site(width))
    outside = f.call("ptr", "local_access", u.worker, u.me, address, f.const("i32", width), site, f["frame"])
    f.jump(after)
    f.label(after)
    return f.emit("ptr", f'phi ptr [ {inside}, %"{fast}" ], [ {outside}, %"{slow}" ]')


@dataclass
class Group:
    """Loads of one width from one base register, checked together. Offsets are relative to the base."""

    origin: int | None  # kernel parameter, or None for shared memory
    width: int
    offsets: list[int] = field(default_factory=list)
    items: list[tuple[int, int]] = field(default_factory=list)  # (offset, site) as emitted
    base: Value | None = None
    pointer: Value | None = None  # host address of the lowest offset
    cells: Value | None = None  # shared: byte offset of its first cell
    ok: Value | None = None  # global: the whole group is inside the array


@dataclass(frozen=True)
class Postponed:
    """A load whose value may be dropped."""

    source: Operand
    width: int
    site: int
    pending: Value  # i1: it ran, and its value did not matter yet


class Loads:
    """The groups of loads that are open in the block being lowered, and those that are no reads yet."""

    def __init__(self) -> None:
        self.groups: dict[GroupKey, Group] = {}
        self.postponed: dict[int, Postponed] = {}  # by the load's `id`
        self.versions: dict[str, int] = {}  # of each register: a new definition is a new base

    def plan(self, u: Kernel, instructions: list[Instruction]) -> None:
        """Find the loads up to the next flush that share a base, so that one clamp covers them all."""
        self.groups = {}
        versions = dict(self.versions)
        for ins in instructions:
            if ins.base in FLUSHES or (ins.guard and ins.base != "bra"):
                break
            key = _key(u, ins, versions)
            if key:
                source = ins.operands[1]
                assert isinstance(source, Address)
                group = self.groups.setdefault(key, Group(key[4] if key[4] != MANY else None, key[3]))
                group.offsets.append(source.offset)
            _count(versions, ins)

    def passed(self, ins: Instruction) -> None:
        _count(self.versions, ins)

    def pointer(self, u: Kernel, ins: Instruction) -> Value | None:
        """Host address of a load that belongs to a group; None for others."""
        key = _key(u, ins, self.versions)
        group = self.groups.get(key) if key else None
        if group is None:
            return None
        source = ins.operands[1]
        assert isinstance(source, Address)
        low, high = min(group.offsets), max(group.offsets)
        if group.base is None:
            group.base = address_of(u, Address(source.base, 0))
            lowest = group.base + low if low else group.base
            if group.origin is None:
                group.pointer, group.cells = clamped(u, lowest, group.width, high - low)
            else:
                _bound(u, group, lowest, high - low)
        group.items.append((source.offset, u.site(group.width)))
        assert group.pointer
        return group.pointer.at(source.offset - low)

    def begin(self, u: Kernel) -> None:
        """Of a kernel: no speculated load is pending. None ever is where others may act."""
        for ins in u.speculated.loads:
            u.here = ins
            _, count, type_, _ = access_of(ins.opcode)
            width = BITS[type_] // 8 * count
            self.postponed[id(ins)] = load = Postponed(ins.operands[1], width, u.site(width), u.f.alloca("i1"))
            load.pending.store(u.f.const("i1", 0))

    def is_postponed(self, ins: Instruction) -> bool:
        return id(ins) in self.postponed

    def forget(self, u: Kernel, block: Block) -> None:
        """What no way from here looks at."""
        for load in u.speculated.forgotten.get(block.index, ()):
            self.postponed[load].pending.store(u.f.const("i1", 0))

    def postpone(self, u: Kernel, ins: Instruction) -> Value:
        """Host address of a speculated load."""
        load = self.postponed[id(ins)]
        load.pending.store(u.f.const("i1", 1))
        return clamped(u, address_of(u, load.source), load.width, 0)[0]

    def look(self, u: Kernel, ins: Instruction) -> None:
        """Here the values of speculated loads matter, or do so on a condition."""
        for look in u.speculated.looks.get(id(ins), ()):
            _check_if_wanted(u, self.postponed[look.load], look.condition)

    def settle(self, u: Kernel) -> None:
        """Test every open group; what is not known to be good is looked at load by load."""
        for group in self.groups.values():
            if group.items:
                _check(u, group, group.ok if group.ok is not None else _cells_good(u, group))
                group.items = []
                group.base = group.pointer = group.cells = group.ok = None


def _count(versions: dict[str, int], ins: Instruction) -> None:
    for name in defs_and_uses(ins)[0]:
        versions[name] = versions.get(name, 0) + 1


def _key(u: Kernel, ins: Instruction, versions: dict[str, int]) -> GroupKey | None:
    """(space, base, version of the base and chunk of its offsets, width, parameter), or None: not grouped."""
    if ins.base != "ld" or ins.guard or not isinstance(ins.operands[1], Address) or u.loads.is_postponed(ins):
        return None
    if id(ins) in u.looks.guesses:
        return None
    space, count, type_, mods = access_of(ins.opcode)
    base, offset = ins.operands[1].base, ins.operands[1].offset
    if mods & STRONG_MODIFIERS or type_ not in BITS or isinstance(base, Immediate):
        return None
    width = BITS[type_] // 8 * count
    origin = u.origins.get(base.name, MANY) if isinstance(base, Register) else MANY
    if space == "shared":
        origin = MANY
    elif space not in ("global", "generic") or origin not in u.read_only:
        return None
    # Offsets of one alignment and of limited span: one clamp must do for all.
    chunk = (versions.get(base.name, 0) << 20) + offset // (ARENA_TAIL // 2) * 1024 + offset % width
    return (space, base.name, chunk, width, origin)


def clamped(u: Kernel, address: Value, width: int, span: int) -> tuple[Value, Value]:
    """(host address, byte offset of the cell) of an access; in the arena's tail if it is no good.

    Rotating the alignment bits to the top makes one comparison find both a misaligned address and one that is
    out of range.
    """
    f = u.f
    shift = width.bit_length() - 1
    index = address
    if shift:
        u.helper("llvm.fshr.i64", "declare i64 @llvm.fshr.i64(i64, i64, i64)")
        index = f.emit("i64", f"call i64 @llvm.fshr.i64(i64 {address}, i64 {address}, i64 {shift})")
    u.helper("llvm.umin.i64", "declare i64 @llvm.umin.i64(i64, i64)")
    last = (u.shared.arena - span - width) >> shift
    index = f.emit("i64", f"call i64 @llvm.umin.i64(i64 {index}, i64 {last})")
    offset = index << shift if shift else index
    scale = (4 // u.shared.granule).bit_length() - 1
    return u.shared_host.at(offset), offset << scale if scale else offset


def _bound(u: Kernel, group: Group, address: Value, span: int) -> None:
    """Host address in the array of a read-only parameter, or the sink if any of the group is outside."""
    f = u.f
    assert group.origin is not None
    window = LAUNCH.get(u.launch, "windows").at((PARAM_WINDOW + group.origin) * WINDOW.size)
    u.helper("llvm.usub.sat.i64", "declare i64 @llvm.usub.sat.i64(i64, i64)")
    size = WINDOW.get(window, "size")
    room = f.emit("i64", f"call i64 @llvm.usub.sat.i64(i64 {size}, i64 {span + group.width - 1})")
    offset = address - WINDOW.get(window, "base")
    group.ok = offset.ult(room) & (offset & (group.width - 1)).eq(0)
    group.pointer = f.select(group.ok, WINDOW.get(window, "host").at(offset), WORKER.get(u.worker, "sink"))


def _cells_good(u: Kernel, group: Group) -> Value:
    """Every cell of the group was checked for a reader before in this epoch, and not written since."""
    assert group.cells
    low, granule = min(group.offsets), u.shared.granule
    per = max(group.width // granule, 1)
    oldest: list[Value] = []
    for start, count in _runs(sorted({offset - low for offset, _ in group.items}), group.width):
        pointer = u.shadow.read.at(group.cells).at(start * 4 // granule)
        oldest.append(_reduce(u, "smin", pointer.load(f"<{count * per} x i32>", 4)))
    if len(oldest) > 1:
        u.helper("llvm.smin.i32", "declare i32 @llvm.smin.i32(i32, i32)")
    while len(oldest) > 1:  # a tree, not a chain
        pairs = [u.f.call("i32", "llvm.smin.i32", a, b) for a, b in zip(oldest[::2], oldest[1::2], strict=False)]
        oldest = pairs + oldest[len(pairs) * 2 :]
    return oldest[0].icmp("sge", u.synchronised)  # an unsettled one is negative


def _check(u: Kernel, group: Group, good: Value) -> None:
    f = u.f
    name = f"loads.{len(u.tables)}"
    entries = ", ".join(f"{{i64, i32, i32}} {{i64 {o}, i32 {s}, i32 0}}" for o, s in group.items)
    u.tables.append(f"@{name} = private constant [{len(group.items)} x {{i64, i32, i32}}] [{entries}]")
    space = "shared" if group.origin is None else "global"
    slow, after = f.fresh("slow"), f.fresh("checked")
    f.branch(good, after, slow, likely=True)
    f.label(slow)
    assert group.base
    width, table, count = f.const("i32", group.width), f.const("ptr", f"@{name}"), f.const("i64", len(group.items))
    f.call("void", f"{space}_read_many", u.worker, u.me, u.synchronised, group.base, width, table, count)
    f.jump(after)
    f.label(after)


def _check_if_wanted(u: Kernel, load: Postponed, condition: Condition | None) -> None:
    f, wanted = u.f, load.pending.load("i1")
    if condition:
        predicate, negated = condition
        wanted = wanted & (u.value(Register(predicate), "pred") ^ int(negated))
    address = address_of(u, load.source)
    with f.when(wanted):
        width, site = f.const("i32", load.width), f.const("i32", load.site)
        f.call("i32", "shared_read", u.worker, u.me, address, width, site)
        load.pending.store(f.const("i1", 0))


def _runs(offsets: list[int], width: int) -> list[tuple[int, int]]:
    """Neighbouring accesses merged, (offset of the first, how many): powers of two, 64 bytes at most."""
    runs: list[tuple[int, int]] = []
    for offset in offsets:
        if runs and runs[-1][0] + runs[-1][1] * width == offset and (runs[-1][1] + 1) * width <= 64:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((offset, 1))
    split: list[tuple[int, int]] = []
    for offset, count in runs:
        while count:  # other vector lengths compile badly
            part = 1 << (count.bit_length() - 1)
            split.append((offset, part))
            offset, count = offset + part * width, count - part
    return split


# Stores ---------------------------------------------------------------------------------------------------------


def store(u: Kernel, ins: Instruction) -> None:
    space, count, type_, mods = access_of(ins.opcode)
    if type_ not in BITS or type_ == "pred" or "async" in mods:
        raise u.unsupported()
    element = BITS[type_] // 8
    width = element * count
    target, source = ins.operands
    items = source.items if isinstance(source, Vector) else (source,)
    values = [u.value(item, f"b{8 * element}") for item in items]
    strong = bool(mods & STRONG_MODIFIERS)
    flags = BLIND if strong else 0
    if "release" in mods:
        u.fence(wide=bool(mods & WIDE_SCOPES))
    if space == "param":
        pointer = parameter_pointer(u, target, width, writes=True)
    elif space == "local":
        pointer = _local_pointer(u, target, width)
    elif space == "shared" and not strong:
        pointer = _shared_store_pointer(u, target, width, values)
    else:
        pointer = checked(u, "write", space, target, width, strong=strong, flags=flags, values=values)
    for k, value in enumerate(values):
        pointer.at(k * element).store(value, 1)
    if strong:
        synchronise(u, space, mods, address_of(u, target), u.f.const("i32", CHANGES))


def _in_memory(u: Kernel, values: Sequence[Value]) -> Value:
    """The address of `values`, one after the other; null where there are none."""
    if not values:
        return u.f.const("ptr", "null")
    size = int(values[0].type[1:]) // 8
    if u.scratch is None:
        u.scratch = u.f.alloca("[64 x i8]", 16)
    for k, value in enumerate(values):
        u.scratch.at(k * size).store(value)
    return u.scratch


def _shared_store_pointer(u: Kernel, operand: Operand, width: int, values: Sequence[Value]) -> Value:
    """Fast where nobody wrote or read these cells since the last barrier."""
    f = u.f
    address = address_of(u, operand)
    host, cell = clamped(u, address, width, 0)
    cells = max(width // u.shared.granule, 1)
    vector = f"<{cells} x i32>"
    written = u.shadow.write.at(cell).load(vector, 4)
    read = u.shadow.read.at(cell).load(vector, 4)
    newest = _reduce(u, "umax", _larger(u, written, read))
    fast, slow, after = f.fresh("fast"), f.fresh("slow"), f.fresh("stored")
    site = u.site(width)
    f.branch(newest.ult(u.barrier_time), fast, slow, likely=True)
    f.label(fast)
    u.shadow.write.at(cell).store(_splat(u, u.me, cells), 4)
    u.shadow.write_site.at(cell).store(_splat(u, f.const("i32", site), cells), 4)
    f.jump(after)
    f.label(slow)
    given = _in_memory(u, values)
    arguments = (u.worker, u.me, address, f.const("i32", width), f.const("i32", site), given, u.me)
    ok = f.call("i32", "shared_write", *arguments)
    elsewhere = f.select(ok.ne(0), host, WORKER.get(u.worker, "sink"))
    f.jump(after)
    f.label(after)
    return f.emit("ptr", f'phi ptr [ {host}, %"{fast}" ], [ {elsewhere}, %"{slow}" ]')


def _larger(u: Kernel, a: Value, b: Value) -> Value:
    name = f"llvm.umax.v{a.type[1:-1].replace(' x ', '')}"
    u.helper(name, f"declare {a.type} @{name}({a.type}, {a.type})")
    return u.f.call(a.type, name, a, b)


def _reduce(u: Kernel, op: str, vector: Value) -> Value:
    count = int(vector.type[1:].split()[0])
    if count == 1:
        return u.f.emit("i32", f"extractelement {vector.typed}, i64 0")
    name = f"llvm.vector.reduce.{op}.v{count}i32"
    u.helper(name, f"declare i32 @{name}({vector.type})")
    return u.f.call("i32", name, vector)


def _splat(u: Kernel, value: Value, count: int) -> Value:
    kind = f"<{count} x i32>"
    one = u.f.emit(kind, f"insertelement {kind} poison, i32 {value}, i64 0")
    return u.f.emit(kind, f"shufflevector {one.typed}, {kind} poison, <{count} x i32> zeroinitializer")


# Fences, copies, calls ---------------------------------------------------------------------------------


def memory_fence(u: Kernel, ins: Instruction) -> None:
    """membar and fence. Whatever its kind, it is taken as a release; what acquires is an access."""
    u.fence(wide=bool(WIDE_SCOPES & set(ins.opcode.split("."))))


def policy(u: Kernel, ins: Instruction) -> None:
    """createpolicy: nothing looks at what it gives."""
    u.assign(ins.operands[0], u.f.const("i64", 0))


def copy_async(u: Kernel, ins: Instruction) -> None:
    """cp.async and its groups. PTX ISA, "Data Movement and Conversion Instructions: Asynchronous copy"."""
    mods = ins.opcode.split(".")
    f = u.f
    if mods[2] == "commit_group":
        HEADER.set(f["frame"], "group", HEADER.get(f["frame"], "group") + 1)
    elif mods[2] in ("wait_group", "wait_all"):
        keep = u.value(ins.operands[0], "u32") if mods[2] == "wait_group" else f.const("i32", -1)
        if mods[2] == "wait_all":
            HEADER.set(f["frame"], "group", HEADER.get(f["frame"], "group") + 1)
            keep = f.const("i32", 0)
        f.call("void", "copy_wait", u.worker, u.me, keep, f["frame"])
    elif mods[2] in ("ca", "cg") and len(ins.operands) in (3, 4) and isinstance(ins.operands[2], Immediate):
        width = ins.operands[2].bits
        filled = _filled(u, ins.operands[3], width) if len(ins.operands) == 4 else f.const("i32", width)
        source = _copy_source(u, ins.operands[1], width, filled)
        site = f.const("i32", u.site(width, opcode="st.shared"))
        target = address_of(u, ins.operands[0])
        f.call("void", "copy_start", u.worker, u.me, target, f.const("i32", width), site, source, filled, f["frame"])
    else:
        raise u.unsupported()


def _filled(u: Kernel, operand: Operand, width: int) -> Value:
    """Bytes that come from the source; the operand is their number, or a predicate: none of them."""
    f, whole = u.f, u.f.const("i32", width)
    if isinstance(operand, Register) and u.function.registers.get(operand.name.lstrip("!")) == "pred":
        return f.select(u.value(operand, "pred"), f.const("i32", 0), whole)
    given = u.value(operand, "u32")
    return f.select(given.ult(width), given, whole)


def _copy_source(u: Kernel, operand: Operand, width: int, filled: Value) -> Value:
    """Host address of the bytes to copy. Where none are (zero fill), the source is not looked at."""
    f = u.f
    do, skip, after = f.fresh("do"), f.fresh("skip"), f.fresh("source")
    f.branch(filled.ne(0), do, skip)
    f.label(do)
    site = f.const("i32", u.site(width, opcode="ld.global"))
    address = address_of(u, operand)
    pointer = f.call("ptr", "copy_source", u.worker, u.me, address, f.const("i32", width), site, filled)
    f.jump(after)
    f.label(skip)
    sink = WORKER.get(u.worker, "sink")
    f.jump(after)
    f.label(after)
    return f.emit("ptr", f'phi ptr [ {pointer}, %"{do}" ], [ {sink}, %"{skip}" ]')


def call(u: Kernel, ins: Instruction) -> None:
    """vprintf and __assertfail; other calls were expanded."""
    vectors = [o for o in ins.operands if isinstance(o, Vector)]
    target = next(o for o in ins.operands if isinstance(o, Symbol))
    f = u.f
    if target.name == "__assertfail":
        u.trap()
        f.label(f.fresh("dead"))
        return
    format_, values = (parameter_pointer(u, Address(a)).load("i64") for a in vectors[-1].items[:2])  # type: ignore[arg-type]
    u.helper("print_line", "declare i32 @print_line(i64, ptr, i64)")
    no_values, some, after = f.fresh("none"), f.fresh("some"), f.fresh("print")
    f.branch(values.eq(0), no_values, some)
    f.label(some)
    site = f.const("i32", u.site())
    host = f.call("ptr", "generic_read", u.worker, u.me, values, f.const("i32", 1), site, f["frame"])
    room = f.call("i64", "generic_room", u.worker, values)
    f.jump(after)
    f.label(no_values)
    f.jump(after)
    f.label(after)
    pointer = f.emit("ptr", f'phi ptr [ {host}, %"{some}" ], [ null, %"{no_values}" ]')
    bytes_ = f.emit("i64", f'phi i64 [ {room}, %"{some}" ], [ 0, %"{no_values}" ]')
    printed = f.call("i32", "print_line", format_, pointer, bytes_)
    if len(vectors) == 2:
        parameter_pointer(u, Address(vectors[0].items[0]), 4, writes=True).store(printed)  # type: ignore[arg-type]


HANDLERS = {
    "ld": load,
    "ldu": load,
    "aligned": aligned,
    "st": store,
    "createpolicy": policy,
    "membar": memory_fence,
    "fence": memory_fence,
    "cp": copy_async,
    "call": call,
}
