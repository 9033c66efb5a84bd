"""Loads that are checked together.

The values are read at once, from an address that is always safe. Before the next store or barrier, one test sends the
whole group to the slow path unless all of its cells are known to be good.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from grader.ptx.analysis.around import inside
from grader.ptx.analysis.pointers import MANY
from grader.ptx.analysis.registers import defs_and_uses
from grader.ptx.ir import Value
from grader.ptx.lowering.addresses import address_of
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.lowering.shared_cells import clamped, reduced
from grader.ptx.lowering.speculated_loads import SpeculatedLoads
from grader.ptx.machine import ARENA_TAIL, LAUNCH, PARAM_WINDOW, WINDOW, WORKER
from grader.ptx.syntax import Address, Immediate, Instruction, Register

# (space, base register, version of the base and chunk of offsets, width, parameter)
GroupKey = tuple[str, str, int, int, int]


@dataclass
class LoadGroup:
    """Loads of one width from one base register. Offsets are relative to the base."""

    origin: int | None  # kernel parameter, or None for shared memory
    width: int
    offsets: list[int] = field(default_factory=list)
    items: list[tuple[int, int]] = field(default_factory=list)  # (offset, site) as emitted
    base: Value | None = None
    pointer: Value | None = None  # host address of the lowest offset
    cells: Value | None = None  # shared: byte offset of its first cell
    ok: Value | None = None  # global: the whole group is inside the array


class Loads:
    """The open groups of the basic block that is being lowered."""

    def __init__(self) -> None:
        self.speculated = SpeculatedLoads()
        self.groups: dict[GroupKey, LoadGroup] = {}
        self.versions: dict[str, int] = {}  # a register that is redefined is another base

    def plan(self, u: KernelBuilder, instructions: list[Instruction]) -> None:
        """Group the loads that share a base, up to where groups are settled, so that one clamp covers each group."""
        self.groups = {}
        versions = dict(self.versions)
        for ins in instructions:
            if is_settled_at(ins):
                break
            key = self._key(u, ins, versions)
            if key:
                source = ins.operands[1]
                assert isinstance(source, Address)
                group = self.groups.setdefault(key, LoadGroup(key[4] if key[4] != MANY else None, key[3]))
                group.offsets.append(source.offset)
            _count(versions, ins)

    def passed(self, ins: Instruction) -> None:
        _count(self.versions, ins)

    def pointer(self, u: KernelBuilder, ins: Instruction) -> Value | None:
        """Host address of a load that is speculated or in a group; None for other loads."""
        if ins in self.speculated:
            return self.speculated.postpone(u, ins)
        key = self._key(u, ins, self.versions)
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

    def _key(self, u: KernelBuilder, ins: Instruction, versions: dict[str, int]) -> GroupKey | None:
        """The group of a load; None if it is checked by itself."""
        op = ins.op
        if not ins.traits.loads or op.is_strong or ins.guard or ins in self.speculated:
            return None
        if id(ins) in u.looks.guesses or id(ins) in u.followed or inside(ins) is not None:
            return None
        if u.in_cluster and op.space == "shared" and op.may_leave_block:
            return None
        source = ins.operands[1]
        if not isinstance(source, Address) or isinstance(source.base, Immediate) or not op.element_bytes:
            return None
        base, offset, width = source.base, source.offset, op.bytes
        origin = u.origins.get(base.name, MANY) if isinstance(base, Register) else MANY
        if op.space == "shared":
            origin = MANY
        elif op.space not in ("global", "generic") or origin not in u.read_only:
            return None
        # One clamp must cover the group, so its offsets have the same alignment and a limited span.
        chunk = (versions.get(base.name, 0) << 20) + offset // (ARENA_TAIL // 2) * 1024 + offset % width
        return (op.space, base.name, chunk, width, origin)

    def settle(self, u: KernelBuilder) -> None:
        """Test every open group; the slow path then checks load by load."""
        for group in self.groups.values():
            if group.items:
                _check(u, group, group.ok if group.ok is not None else _cells_good(u, group))
                group.items = []
                group.base = group.pointer = group.cells = group.ok = None


def is_settled_at(ins: Instruction) -> bool:
    """Are open groups tested before this instruction?"""
    return ins.traits.orders or (ins.guard is not None and not ins.traits.branches)


def _count(versions: dict[str, int], ins: Instruction) -> None:
    for name in defs_and_uses(ins)[0]:
        versions[name] = versions.get(name, 0) + 1


def _bound(u: KernelBuilder, group: LoadGroup, address: Value, span: int) -> None:
    """Point the group into the array of a read-only parameter, or at the sink if any load is out of bounds."""
    f = u.f
    assert group.origin is not None
    window = LAUNCH.get(u.launch, "windows").at((PARAM_WINDOW + group.origin) * WINDOW.size)
    u.helper("llvm.usub.sat.i64", "declare i64 @llvm.usub.sat.i64(i64, i64)")
    size = WINDOW.get(window, "size")
    room = f.emit("i64", f"call i64 @llvm.usub.sat.i64(i64 {size}, i64 {span + group.width - 1})")
    offset = address - WINDOW.get(window, "base")
    group.ok = offset.ult(room) & (offset & (group.width - 1)).eq(0)
    group.pointer = f.select(group.ok, WINDOW.get(window, "host").at(offset), WORKER.get(u.worker, "sink"))


def _cells_good(u: KernelBuilder, group: LoadGroup) -> Value:
    """Has every cell of the group already been checked for a read in this epoch, and not been written since?"""
    assert group.cells
    low, granule = min(group.offsets), u.shared.granule
    per = max(group.width // granule, 1)
    oldest: list[Value] = []
    for start, count in _runs(sorted({offset - low for offset, _ in group.items}), group.width):
        pointer = u.shadow.read.at(group.cells).at(start * 4 // granule)
        oldest.append(reduced(u, "smin", pointer.load(f"<{count * per} x i32>", 4)))
    if len(oldest) > 1:
        u.helper("llvm.smin.i32", "declare i32 @llvm.smin.i32(i32, i32)")
    while len(oldest) > 1:  # a tree, not a chain
        pairs = [u.f.call("i32", "llvm.smin.i32", a, b) for a, b in zip(oldest[::2], oldest[1::2], strict=False)]
        oldest = pairs + oldest[len(pairs) * 2 :]
    return oldest[0].icmp("sge", u.synchronised)  # UNSETTLED stamps are negative


def _check(u: KernelBuilder, group: LoadGroup, good: Value) -> None:
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


def _runs(offsets: list[int], width: int) -> list[tuple[int, int]]:
    """Adjacent accesses merged into (first offset, count): a power of two, at most 64 bytes."""
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
