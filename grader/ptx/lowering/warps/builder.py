"""A kernel on its way to one LLVM function that runs a warp: (worker, frame, pc, warp) -> status.

Each call runs the lanes of one warp from `pc` to their next __syncthreads(), which gives the block to go on at, or to
their end: EXITED. LEFT: something is not as it should be, or too difficult; the scalar engine then runs the launch
from its start.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from grader.ptx.analysis.strides import HALF, SAME, indices_of, strides
from grader.ptx.analysis.suspensions import is_plain_barrier
from grader.ptx.analysis.uniformity import uniformity
from grader.ptx.analysis.work import times_run
from grader.ptx.ir import Layout, Value
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.lowering.load_groups import Loads
from grader.ptx.lowering.memory import written_once
from grader.ptx.lowering.operands import OperandAccess
from grader.ptx.lowering.special_registers import SpecialRegisters
from grader.ptx.lowering.warps.lanes import LANES, LaneFn, NotTaken, wide
from grader.ptx.lowering.warps.registers import WarpRegisters, lay_out
from grader.ptx.machine import ABORTED, SEVERAL, WARP_HEADER, WORKER
from grader.ptx.runtime.shadow import SharedShadow
from grader.ptx.syntax import Address, Function, Module, Register

LEFT = ABORTED
LEAVE = "left"  # the label
INDEX = ", ".join(f"i32 {lane}" for lane in range(LANES))
ROOT = Layout(first="i64", second="i64", proven="i32")  # the lowest place of each half, and lanes that are in theirs
ONE_BY_ONE = 20  # instructions for all lanes, that an access lane by lane takes the gain of
BOTH = "<" + ", ".join(f"i32 {lane // HALF}" for lane in range(LANES)) + ">"  # for each lane, its half
CLOCKS = ("%clock", "%globaltimer")


class WarpBuilder(KernelBuilder):
    f: LaneFn

    def __init__(
        self, module: Module, function: Function, read_only: frozenset[int], block: tuple[int, int, int]
    ) -> None:
        self.shape = block
        super().__init__(module, function, read_only, Loads(), frozenset())

    def _begin(self) -> None:
        """The prologue of the function."""
        parameters = {"w": "ptr", "frame": "ptr", "pc": "i32", "warp": "i32"}
        f = self.f = LaneFn("kernel", "i32", parameters, self.helper)
        self.lanes = uniformity(self.blocks)
        self.times_run = {id(ins): times for ins, times in times_run(self.function)}
        self.lane_by_lane = 0  # how often a thread makes accesses that take the lanes one after the other
        self.strides = strides(self.function, indices_of(self.shape))
        self.worker, self.launch = f["w"], WORKER.get(f["w"], "launch")
        self.barrier_time = WORKER.get(self.worker, "barrier")
        self.several = self.barrier_time + SEVERAL
        self.rank, self.shared_base = f.const("i32", 0), f.const("i64", 0)
        self.shared_host = WORKER.get(self.worker, "shared")
        self.shadow = SharedShadow(self.worker, 4 * self.shared.cells)
        first = f["warp"] << 5
        self.first_stamp = WORKER.get(self.worker, "now") + first
        self.index = f.named["tid"] = f.lanes("i32", f"add {wide('i32')} {f.vector(first)}, <{INDEX}>")
        self.pending = f["frame"].at(WARP_HEADER.size)
        self.resumed = {b.index + 1 for b in self.blocks if is_plain_barrier(b.instructions[-1])}
        live = frozenset[str]().union(*(self.blocks[index].live_in for index in self.resumed))
        start = WARP_HEADER.size + 4 * len(self.blocks)
        places, start = lay_out(live, self.function.registers, self.lanes.varying, start)
        self.roots = self._roots(places, start)
        self.frame_bytes = start + ROOT.size * len(self.roots)
        self.active = f.alloca("i32")  # the lanes that run this block
        self.mask = f.const("i32", -1)  # those that run this instruction
        self.selects = False  # other lanes may need what registers hold
        self.registers: WarpRegisters = WarpRegisters(
            f,
            self.function.registers,
            self.lanes.varying,
            places,
            lambda: self.mask_lanes() if self.selects else None,
            self.unsupported,
            written_once(self.blocks) & places.keys(),
            self._note_root,
        )
        static = sum(size for _, size in self.layout.arrays.values())
        special = _Special(self, self.worker, self.launch, static, self.shared_base, self.rank)
        self._operands = OperandAccess(f, self.registers, special, self.place_of, self.unsupported)

    def _roots(self, places: dict[str, int], start: int) -> dict[str, Value]:
        """Registers that are written once, and from which lanes access memory in a pattern, with a ROOT of each."""
        start = (start + 7) // 8 * 8
        found: dict[str, Value] = {}
        for ins in (i for b in self.blocks for i in b.instructions if i.traits.loads or i.traits.stores):
            place = ins.operands[1 if ins.traits.loads else 0]
            if ins.op.space == "shared" and isinstance(place, Address) and isinstance(place.base, Register):
                name = place.base.name
                known = name in self.lanes.varying and self.strides.get(name, SAME).values
                if known and name in places and name in written_once(self.blocks) and name not in found:
                    found[name] = self.f["frame"].at(start + ROOT.size * len(found))
        return found

    def _note_root(self, name: str, value: Value) -> None:
        """Prove now where the lanes are that get this address."""
        if name in self.roots:
            first, second, proven = located(self, value.zext("i64"), pattern_of(self, name))
            for field, number in zip(ROOT.type, (first, second, proven & self.mask), strict=True):
                ROOT.set(self.roots[name], field, number)

    # Lanes ------------------------------------------------------------------------------------------------------

    def mask_lanes(self) -> Value:
        """An i1 for each lane: does it run this instruction?"""
        return self.f.lanes("i1", f"bitcast i32 {self.mask} to {wide('i1')}")

    def bits(self, condition: Value) -> Value:
        """An i1 as a mask of the lanes in which it holds."""
        f = self.f
        if not f.varies(condition):
            return condition.sext("i32")
        return f.scalar("i32", f"bitcast {wide('i1')} {condition} to i32")

    def state(self, name: str) -> Value:
        """The address of a field of the warp's frame."""
        return WARP_HEADER.at(self.f["frame"], name)

    def pending_at(self, block: int) -> Value:
        return self.pending.at(4 * block)

    def require(self, condition: Value) -> None:
        """Else leave it to the scalar engine."""
        go_on = self.f.fresh("on")
        self.f.branch(condition, go_on, LEAVE, likely=True)
        self.f.label(go_on)

    def require_of_all(self, condition: Value) -> None:
        """The same of each lane that runs this instruction."""
        self.require((self.bits(condition) | (self.mask ^ -1)).eq(-1))

    @contextmanager
    def only(self, lanes: Value) -> Iterator[None]:
        """Only these run what follows, if there are any. Registers must be in their slots, and are again after it."""
        before, selects = self.mask, self.selects
        with self.f.when(lanes.ne(0)):
            self.mask, self.selects = lanes, True
            yield
        self.mask, self.selects = before, selects

    def takes_lanes_one_by_one(self) -> None:
        self.lane_by_lane += self.times_run.get(id(self.here), 1)

    @property
    def is_fast(self) -> bool:
        """Is it likely to be faster than the scalar engine?"""
        return self.lane_by_lane * ONE_BY_ONE < sum(self.times_run.values())

    def stride_of(self, register: Register) -> int | None:
        """How many bytes neighbouring lanes are apart, most likely."""
        return self.strides.get(register.name, SAME).step


def pattern_of(u: WarpBuilder, register: str) -> tuple[int, ...]:
    """How many bytes from the lowest address each lane of a half is, most likely; empty: nothing is known."""
    values = u.strides.get(register, SAME).values
    return tuple(value - min(values) for value in values)


def located(u: WarpBuilder, places: Value, pattern: tuple[int, ...]) -> tuple[Value, Value, Value]:
    """The lowest place of each half, and the lanes that are where the pattern says.

    It is found from the first lane that runs the instruction. A half without one has the place of the other.
    """
    f, starts, here = u.f, [], []
    for half, mask in enumerate((u.mask & 0xFFFF, u.mask >> HALF)):
        first = f.call("i32", "llvm.cttz.i32", mask | (1 << HALF), f.const("i1", 0)) & (HALF - 1)
        place = f.scalar("i64", f"extractelement {wide('i64')} {places}, {(first + HALF * half).typed}")
        if any(pattern):
            kind, text = f"<{HALF} x i64>", ", ".join(f"i64 {offset}" for offset in pattern)
            place = place - f.scalar("i64", f"extractelement {kind} <{text}>, {first.typed}")
        starts.append(place)
        here.append(mask.ne(0))
    first, second = f.select(here[0], starts[0], starts[1]), f.select(here[1], starts[1], starts[0])
    expected = both(u, first, second)
    if any(pattern):
        text = ", ".join(f"i64 {offset}" for offset in pattern * 2)
        expected = f.lanes("i64", f"add {wide('i64')} {expected}, <{text}>")
    return first, second, u.bits(places.eq(expected))


def both(u: WarpBuilder, first: Value, second: Value) -> Value:
    """A vector with one value in its first half and another in its second."""
    f, pair = u.f, f"<2 x {first.type}>"
    one = f.scalar(pair, f"insertelement {pair} poison, {first.typed}, i64 0")
    two = f.scalar(pair, f"insertelement {pair} {one}, {second.typed}, i64 1")
    return f.lanes(first.type, f"shufflevector {pair} {two}, {pair} poison, <{LANES} x i32> {BOTH}")


class _Special(SpecialRegisters):
    """Where a thread is in its block follows from the block's shape."""

    def __init__(self, u: WarpBuilder, *others: Value | int) -> None:
        super().__init__(u, *others)  # type: ignore[arg-type]
        self._builder = u

    def read(self, name: str) -> Value | None:
        u, (width, height, _) = self._builder, self._builder.shape
        if name.startswith(CLOCKS):
            raise NotTaken(name)
        if name == "%warpid":
            return u.f["warp"]
        thread = {
            "%tid.x": lambda: u.index.urem(width),
            "%tid.y": lambda: u.index.udiv(width).urem(height),
            "%tid.z": lambda: u.index.udiv(width * height),
        }
        return thread[name]() if name in thread else super().read(name)
