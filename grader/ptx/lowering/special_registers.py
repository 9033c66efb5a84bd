"""Special registers. PTX ISA, "Special Registers"."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from grader.ptx.analysis.flow import Block
from grader.ptx.ir import Value
from grader.ptx.lowering.arithmetic import Unit
from grader.ptx.machine import LAUNCH, WORKER
from grader.ptx.syntax import Register

MULTIPROCESSORS = 132  # of an H200
SPREAD = 37  # between those of neighbouring blocks; it shares no factor with their number
CYCLES = 40  # at least, between two looks at the clock
FACTOR = 6364136223846793005
Scalars = dict[str, Callable[[], Value]]
RESERVED_BYTES = 1024  # of shared memory in each block, for CUDA's own use
RESERVED_USED = 288  # of these; cooperative groups keep barriers there
SHARED_ALIGN = 16  # of dynamic shared memory behind static
SHARED_UNIT = 128  # shared memory is allocated in multiples of it
IS_RESERVED = re.compile(r"%reserved_smem_offset_(begin|end|cap|0|1)$")
# What an H200 gives in an ordinary launch; it has values of its own in %envreg0, 6 and 10.
ZERO = re.compile(r"%(envreg([1-57-9]|1[1-9]|2[0-9]|3[01])|pm[0-7](_64)?|current_graph_exec)$")
NO_AXIS = "w"  # of a vector with three elements: 0


def _same(value: Value) -> Value:
    return value


def asks_for_reserved(blocks: list[Block]) -> bool:
    return any(IS_RESERVED.match(name) for name in _specials(blocks))


def asks_for_grid(blocks: list[Block]) -> bool:
    """Cooperative groups find the workspace of the grid there."""
    return "%envreg1" in _specials(blocks)


def _specials(blocks: list[Block]) -> set[str]:
    operands = (operand for block in blocks for ins in block.instructions for operand in ins.operands)
    return {operand.name for operand in operands if isinstance(operand, Register) and operand.is_special}


class SpecialRegisters:
    def __init__(
        self, u: Unit, worker: Value, launch: Value, static_shared: int, reserved: Value, rank: Value
    ) -> None:
        """`static_shared`: bytes of the kernel's shared arrays. `reserved`: where CUDA's own shared memory starts.
        `rank`: which block of its cluster the thread belongs to."""
        self._u, self._f = u, u.f
        self._worker, self._launch, self._static_shared = worker, launch, static_shared
        self._reserved, self._rank = reserved.trunc("i32"), rank

    def read(self, name: str) -> Value | None:
        """None if the register is unknown."""
        base, _, axis = name[1:].partition(".")
        vector = self._vectors().get(base)
        if vector and axis == NO_AXIS:
            return self._f.const("i32", 0)
        if vector and axis:
            return vector(axis)
        if ZERO.match(name):
            return self._f.const("i64", 0)
        lane = self._f["tid"] & 31
        scalars = self._lanes(lane) | self._sizes() | self._reserved_shared() | self._clusters() | self._clocks()
        return scalars[name]() if name in scalars else None

    def _vectors(self) -> dict[str, Callable[[str], Value]]:
        f = self._f

        def in_cluster(axis: str) -> Value:
            return LAUNCH.get(self._launch, f"cluster_{axis}")

        def position(axis: str) -> Value:
            """Of the block in its cluster."""
            if self._rank.name == "0":  # of one block
                return self._rank
            below = f.const("i32", 1)
            for inner in "xyz"[: "xyz".index(axis)]:
                below = below * in_cluster(inner)
            return self._rank.udiv(below).urem(in_cluster(axis))

        def thread(axis: str) -> Value:
            table = LAUNCH.get(self._launch, "thread_index")
            return table.index("i32", f["tid"] * 4 + "xyz".index(axis)).load("i32")

        def block(axis: str) -> Value:
            return WORKER.get(self._worker, f"ctaid_{axis}") + position(axis)

        def blocks(axis: str) -> Value:
            return LAUNCH.get(self._launch, f"grid_{axis}")

        return {
            "tid": thread,
            "ntid": lambda axis: LAUNCH.get(self._launch, f"block_{axis}"),
            "ctaid": block,
            "nctaid": blocks,
            "clusterid": lambda axis: WORKER.get(self._worker, f"ctaid_{axis}").udiv(in_cluster(axis)),
            "nclusterid": lambda axis: blocks(axis).udiv(in_cluster(axis)),
            "cluster_ctaid": position,
            "cluster_nctaid": in_cluster,
        }

    def _clusters(self) -> Scalars:
        def size() -> Value:
            x, y, z = (LAUNCH.get(self._launch, f"cluster_{axis}") for axis in "xyz")
            return x * y * z

        return {
            "%cluster_ctarank": lambda: self._rank,
            "%cluster_nctarank": size,
            "%is_explicit_cluster": lambda: size().ugt(1),
        }

    def _reserved_shared(self) -> Scalars:
        """PTX ISA, "%reserved_smem_offset_<…>"; cooperative groups take offset 1."""
        start = self._reserved
        values = {"begin": start, "end": start + RESERVED_USED, "cap": self._f.const("i32", RESERVED_BYTES),
                  "0": start, "1": start}  # fmt: skip
        return {f"%reserved_smem_offset_{name}": partial(_same, at) for name, at in values.items()}

    def _lanes(self, lane: Value) -> Scalars:
        f, one = self._f, self._f.const("i32", 1)

        def block_threads() -> Value:
            return LAUNCH.get(self._launch, "block_threads")

        def below() -> Value:
            return (one << lane) - 1

        return {
            "%laneid": lambda: lane,
            "%warpid": lambda: (f["tid"] - self._rank * block_threads()) >> 5,
            "%nwarpid": lambda: (block_threads() + 31) >> 5,
            "WARP_SZ": lambda: f.const("i32", 32),
            "%lanemask_eq": lambda: one << lane,
            "%lanemask_lt": below,
            "%lanemask_le": lambda: below() | (one << lane),
            "%lanemask_gt": lambda: (below() | (one << lane)) ^ -1,
            "%lanemask_ge": lambda: below() ^ -1,
        }

    def _sizes(self) -> Scalars:
        f = self._f

        def dynamic_shared() -> Value:
            return LAUNCH.get(self._launch, "dynamic_shared")

        def used() -> Value:
            return dynamic_shared() + -(-self._static_shared // SHARED_ALIGN) * SHARED_ALIGN

        def allocated() -> Value:
            bytes_ = used() + (SHARED_UNIT - 1)
            return bytes_ - bytes_.urem(SHARED_UNIT)

        return {
            "%smid": self._multiprocessor,
            "%nsmid": lambda: f.const("i32", MULTIPROCESSORS),
            "%gridid": lambda: f.const("i64", 1),
            "%dynamic_smem_size": dynamic_shared,
            "%total_smem_size": allocated,
            "%aggr_smem_size": lambda: used() + RESERVED_BYTES,
        }

    def _multiprocessor(self) -> Value:
        """Which it is depends on the seed."""
        x, y, z = (LAUNCH.get(self._launch, f"cluster_{axis}") for axis in "xyz")
        block = WORKER.get(self._worker, "block") * (x * y * z).zext("i64") + self._rank.zext("i64")
        salted = block * SPREAD + LAUNCH.get(self._launch, "salt")
        return salted.urem(MULTIPROCESSORS).trunc("i32")

    def _clocks(self) -> Scalars:
        def clock() -> Value:
            """Of the block, and no machine's: it moves on by the time that reading it may take."""
            now = WORKER.get(self._worker, "clock")
            later = now + ((now * FACTOR) >> 58) + CYCLES
            WORKER.set(self._worker, "clock", later)
            return later

        def low() -> Value:
            return clock().trunc("i32")

        def high() -> Value:
            return (clock() >> 32).trunc("i32")

        return {"%clock": low, "%clock_hi": high, "%clock64": clock, "%globaltimer": clock, "%globaltimer_lo": low,
                "%globaltimer_hi": high}  # fmt: skip
