"""Loads of a warp. Those from one base register are looked at together, as in load_groups.py."""

from __future__ import annotations

from dataclasses import dataclass, field

from grader.ptx.analysis.pointers import MANY
from grader.ptx.analysis.registers import defs_and_uses
from grader.ptx.analysis.strides import HALF
from grader.ptx.ir import Value
from grader.ptx.lowering.addresses import address_of, parameter_pointer
from grader.ptx.lowering.load_groups import is_settled_at
from grader.ptx.lowering.warps.builder import WarpBuilder, both
from grader.ptx.lowering.warps.cells import cell_bytes, lane_shift, oldest_read, runs_of, who
from grader.ptx.lowering.warps.lanes import LANES, wide
from grader.ptx.lowering.warps.places import (
    REGION,
    Shape,
    base_of,
    halves_of,
    joined,
    pattern,
    shape_of,
    spread,
)
from grader.ptx.machine import ARENA_TAIL, LAUNCH, PARAM_WINDOW, WINDOW
from grader.ptx.syntax import Address, Immediate, Instruction, Operand, Register, items_of
from grader.ptx.types import is_signed

GroupKey = tuple[str, str, int, int, int]  # space, base register, version and chunk of offsets, width, parameter


@dataclass
class Group:
    """Loads of one width from one base register, all run by the same lanes."""

    origin: int | None  # kernel parameter whose array is read-only, or None for shared memory
    width: int
    offsets: list[int] = field(default_factory=list)
    shape: Shape = Shape.ANY
    begun: bool = False
    seen: list[int] = field(default_factory=list)  # offsets of loads that are not checked for races yet
    places: tuple[Value, ...] = ()  # i64: of the warp, or of its halves
    lanes: tuple[Value, ...] = ()  # of each, those that run the loads
    source: Operand = field(default_factory=lambda: Address(Immediate(0)))  # of one of them
    pattern: tuple[int, ...] = ()  # of the lanes in each half
    host: Value | None = None  # of the array
    addresses: Value | None = None  # of each lane, in memory


class WarpLoads:
    """The open groups of the basic block that is being lowered."""

    def __init__(self) -> None:
        self._groups: dict[GroupKey, Group] = {}
        self._versions: dict[str, int] = {}  # a register that is redefined is another base

    def plan(self, u: WarpBuilder, instructions: list[Instruction]) -> None:
        """Group the loads that share a base, up to where groups are settled."""
        self._groups = {}
        versions = dict(self._versions)
        for ins in instructions:
            if is_settled_at(ins):
                break
            key = _key(u, ins, versions)
            if key:
                self._groups.setdefault(key, Group(_origin(key), key[3])).offsets.append(_offset(ins))
            _count(versions, ins)

    def passed(self, ins: Instruction) -> None:
        _count(self._versions, ins)

    def load(self, u: WarpBuilder, ins: Instruction) -> None:
        op, (destination, source, *_) = ins.op, ins.operands
        if op.space == "param":
            pointer = parameter_pointer(u, source, op.bytes)
            values = [pointer.at(k * op.element_bytes).load(f"i{8 * op.element_bytes}", 1) for k in range(op.count)]
        else:
            values = self._values(u, ins)
        for item, value in zip(items_of(destination), values, strict=True):
            u.assign(item, value, signed=is_signed(op.type))

    def settle(self, u: WarpBuilder) -> None:
        """Check the shared loads so far for races; they cannot wait for others to store."""
        for group in self._groups.values():
            if group.seen and group.origin is None:
                _check(u, group)
            group.seen, group.begun = [], False

    def _values(self, u: WarpBuilder, ins: Instruction) -> list[Value]:
        key = _key(u, ins, self._versions)
        if key is None:
            return _gathered(u, ins, base_of(u, ins.operands[1]))
        if ins.guard:  # alone
            self._groups = {key: Group(_origin(key), key[3], [_offset(ins)])}
        group, offset = self._groups[key], _offset(ins)
        if not group.begun:
            _begin(u, group, ins)
        if group.shape is Shape.ANY:
            return _gathered(u, ins, None, group)
        group.seen.append(offset)
        return _loaded(u, group, offset, ins.op.element_bytes, ins.op.count)


def _origin(key: GroupKey) -> int | None:
    return key[4] if key[4] != MANY else None


def _key(u: WarpBuilder, ins: Instruction, versions: dict[str, int]) -> GroupKey | None:
    """The group of a load; None if it is checked lane by lane."""
    op = ins.op
    if not ins.traits.loads or op.space not in ("shared", "global") or not op.element_bytes:
        return None
    source = ins.operands[1]
    if not isinstance(source, Address) or isinstance(source.base, Immediate):
        return None
    origin = u.origins.get(source.base.name, MANY) if isinstance(source.base, Register) else MANY
    if op.space == "shared":
        origin = MANY
    elif origin not in u.read_only:
        return None
    chunk = (versions.get(source.base.name, 0) << 20) + source.offset // (ARENA_TAIL // 2) * 1024
    return (op.space, source.base.name, chunk + source.offset % op.bytes, op.bytes, origin)


def _offset(ins: Instruction) -> int:
    source = ins.operands[1]
    assert isinstance(source, Address)
    return source.offset


def _count(versions: dict[str, int], ins: Instruction) -> None:
    for name in defs_and_uses(ins)[0]:
        versions[name] = versions.get(name, 0) + 1


def _begin(u: WarpBuilder, group: Group, ins: Instruction) -> None:
    """Check where the loads of a group go."""
    group.begun, group.source = True, ins.operands[1]
    group.shape = shape_of(u, group.source, group.width, ins.op.element_bytes)
    if group.shape is Shape.SHARED and group.origin is not None:
        group.shape = Shape.ANY
    if group.shape is Shape.ANY:
        group.addresses = spread(u, base_of(u, group.source))
        return
    low, high = min(group.offsets), max(group.offsets)
    if group.shape is Shape.UNIFORM:
        group.places, group.lanes = (base_of(u, group.source),), (u.mask,)
    else:
        halves = halves_of(u, group.source)
        group.places, group.lanes, group.pattern = halves.places, halves.lanes, pattern(u, group.source)
    if group.origin is None:
        _begin_shared(u, group, low, high)
    else:
        _begin_global(u, group, low, high)
    _aligned(u, group.places, low, group.width)


def _aligned(u: WarpBuilder, places: tuple[Value, ...], offset: int, width: int) -> None:
    if width > 1:
        bits = places[0] + offset
        for place in places[1:]:
            bits = bits | (place + offset)
        u.require((bits & (width - 1)).eq(0))


def _begin_shared(u: WarpBuilder, group: Group, low: int, high: int) -> None:
    """What lies behind the end of a row, or of the cells of one vector, is in the tail of the arena."""
    last = u.shared.arena - (high - low) - REGION - 2 * HALF * u.shared.granule
    for place in group.places:
        u.require((place + low).ule(last))
    group.host = u.shared_host


def _begin_global(u: WarpBuilder, group: Group, low: int, high: int) -> None:
    f = u.f
    assert group.origin is not None
    window = LAUNCH.get(u.launch, "windows").at((PARAM_WINDOW + group.origin) * WINDOW.size)
    u.helper("llvm.usub.sat.i64", "declare i64 @llvm.usub.sat.i64(i64, i64)")
    base, size = WINDOW.get(window, "base"), WINDOW.get(window, "size")
    room = f.emit("i64", f"call i64 @llvm.usub.sat.i64(i64 {size}, i64 {high - low + group.width - 1})")
    inside = (base_of(u, group.source) - base + low).ult(room)
    if group.shape is Shape.UNIFORM:
        u.require(inside)
    else:
        u.require_of_all(inside)
    group.places = tuple(place - base for place in group.places)
    group.host = WINDOW.get(window, "host")


def _loaded(u: WarpBuilder, group: Group, offset: int, size: int, count: int) -> list[Value]:
    """The elements at `offset`, `count` of `size` bytes for each lane."""
    f, type_ = u.f, f"i{8 * size}"
    assert group.host is not None
    hosts = [group.host.at(place).at(offset) for place in group.places]
    if group.shape is Shape.UNIFORM:
        return [hosts[0].at(k * size).load(type_, 1) for k in range(count)]
    if group.shape is Shape.SAME:
        return [both(u, *(host.at(k * size).load(type_, 1) for host in hosts)) for k in range(count)]
    if group.shape is Shape.SHARED:
        return _shared_region(u, group, hosts, size, count)
    kind = f"<{HALF * count} x {type_}>"
    parts = [
        host.load(kind, size) if group.origin is None else _masked(u, host, lanes, size, count)
        for host, lanes in zip(hosts, group.lanes, strict=True)
    ]
    if count == 1:
        return [joined(u, type_, *parts)]
    values = []
    for k in range(count):
        order = ", ".join(f"i32 {lane * count + k}" for lane in range(LANES))
        text = f"shufflevector {kind} {parts[0]}, {kind} {parts[1]}, <{LANES} x i32> <{order}>"
        values.append(f.lanes(type_, text))
    return values


def _shared_region(u: WarpBuilder, group: Group, hosts: list[Value], size: int, count: int) -> list[Value]:
    """Of shared memory: what all lanes of a half want is read at once, and each gets its part."""
    f, type_ = u.f, f"i{8 * size}"
    items = 1 << ((max(group.pattern) + group.width) // size - 1).bit_length()
    kind = f"<{items} x {type_}>"
    parts = [host.load(kind, size) for host in hosts]
    values = []
    for k in range(count):
        order = ", ".join(f"i32 {items * half + o // size + k}" for half in (0, 1) for o in group.pattern)
        text = f"shufflevector {kind} {parts[0]}, {kind} {parts[1]}, <{LANES} x i32> <{order}>"
        values.append(f.lanes(type_, text))
    return values


def aligned(u: WarpBuilder, ins: Instruction) -> None:
    """The alignment check of a vector load of which only some elements are loaded."""
    (place,) = ins.operands
    u.require_of_all((address_of(u, place) & (ins.op.bytes - 1)).eq(0))


def _masked(u: WarpBuilder, host: Value, lanes: Value, size: int, count: int) -> Value:
    """A row of an array: what lies next to the lanes that are there may be no memory."""
    f, items, type_ = u.f, HALF * count, f"i{8 * size}"
    flags = f.scalar(f"<{HALF} x i1>", f"bitcast i16 {lanes.trunc('i16')} to <{HALF} x i1>")
    if count > 1:
        order = ", ".join(f"i32 {item // count}" for item in range(items))
        text = f"shufflevector <{HALF} x i1> {flags}, <{HALF} x i1> poison, <{items} x i32> <{order}>"
        flags = f.scalar(f"<{items} x i1>", text)
    kind, name = f"<{items} x {type_}>", f"llvm.masked.load.v{items}{type_}.p0"
    u.helper(name, f"declare {kind} @{name}(ptr, i32, <{items} x i1>, {kind})")
    text = f"call {kind} @{name}(ptr {host}, i32 {size}, {flags.typed}, {kind} zeroinitializer)"
    return f.scalar(kind, text)


def _gathered(u: WarpBuilder, ins: Instruction, base: Value | None, group: Group | None = None) -> list[Value]:
    """Checked and loaded by the runtime, for lanes that are anywhere."""
    f, op = u.f, ins.op
    addresses = group.addresses if group else None
    if addresses is None:
        assert base is not None
        addresses = spread(u, base)
    room = _gather(u, _offset(ins), op.element_bytes, op.count, addresses, group, op.space)
    size, type_ = op.element_bytes, f"i{8 * op.element_bytes}"
    values = []
    for k in range(op.count):
        values.append(f.lanes(type_, f"load {wide(type_)}, ptr {room.at(k * LANES * size)}, align {size}"))
    if base is None or f.varies(base):
        return values
    # All lanes have loaded the same.
    first = f.call("i32", "llvm.cttz.i32", u.mask, f.const("i1", 0)) & (LANES - 1)
    return [f.scalar(type_, f"extractelement {wide(type_)} {v}, {first.typed}") for v in values]


def _gather(
    u: WarpBuilder, offset: int, size: int, count: int, addresses: Value, group: Group | None, space: str
) -> Value:
    """Returns where the elements are then."""
    f, origin = u.f, group.origin if group else None
    room = f.alloca(f"[{LANES * count} x i{8 * size}]", 64)
    arguments = [u.worker, u.first_stamp, u.mask, addresses, f.const("i64", offset), f.const("i32", count), room]
    kind = "shared" if space == "shared" else "global" if origin is None else "array"
    if kind == "global" or size < 4:
        u.takes_lanes_one_by_one()
    if origin is not None:
        arguments.append(LAUNCH.get(u.launch, "windows").at((PARAM_WINDOW + origin) * WINDOW.size))
    f.call("void", f"{kind}_gather_{size}", *arguments)
    return room


def _check(u: WarpBuilder, group: Group) -> None:
    """Unless all cells are known to have been read by several threads in this epoch, look at each."""
    f, granule = u.f, u.shared.granule
    offsets = [o + p for o in group.seen for p in (set(group.pattern) if group.shape is Shape.SHARED else (0,))]
    runs, shift = runs_of(group.shape, offsets, group.width, granule), lane_shift(group.shape, group.width, granule)
    cells = [cell_bytes(u, place) for place in group.places]
    good = oldest_read(u, group.shape, list(zip(cells, group.lanes, strict=True)), runs, shift).icmp("sge", u.several)
    if group.shape is Shape.SHARED:  # this says nothing of a half in which some lanes are not there
        whole = [lanes.eq(0) | lanes.eq((1 << HALF) - 1) for lanes in group.lanes]
        known = u.registers.known()
        with f.when((whole[0] & whole[1]) ^ 1, likely=False):
            addresses = spread(u, base_of(u, group.source))
            for offset in dict.fromkeys(group.seen):
                _gather(u, offset, 4, group.width // 4, addresses, None, "shared")
        u.registers.know(known)
        good = good | ((whole[0] & whole[1]) ^ 1)
    name = f"runs.{len(u.tables)}"
    entries = ", ".join(f"{{i32, i32, i32}} {{i32 {r.start}, i32 {r.count}, i32 {r.before}}}" for r in runs)
    u.tables.append(f"@{name} = private constant [{len(runs)} x {{i32, i32, i32}}] [{entries}]")
    with f.when(good ^ 1, likely=False):
        table, count = f.const("ptr", f"@{name}"), f.const("i32", len(runs))
        for half, (first, lanes) in enumerate(zip(cells, group.lanes, strict=True)):
            by = u.several if group.shape is Shape.SHARED else who(u, group.shape, half, lanes)
            if group.shape is not Shape.ROW:
                lanes = lanes.ne(0).zext("i32")
            f.call("void", "read_cells", u.worker, first, by, f.const("i32", shift), lanes, table, count)
