"""Special registers. PTX ISA, "Special Registers"."""

from __future__ import annotations

from collections.abc import Callable

from grader.ptx.ir import Value
from grader.ptx.lowering.arithmetic import Unit
from grader.ptx.machine import LAUNCH, WORKER

MULTIPROCESSORS = 132  # of an H200
SPREAD = 37  # between those of neighbouring blocks; it shares no factor with their number
CYCLES = 40  # at least, between two looks at the clock
FACTOR = 6364136223846793005
Scalars = dict[str, Callable[[], Value]]


class SpecialRegisters:
    def __init__(self, u: Unit, worker: Value, launch: Value, static_shared: int) -> None:
        """`static_shared`: bytes of the kernel's own shared arrays."""
        self._u, self._f = u, u.f
        self._worker, self._launch, self._static_shared = worker, launch, static_shared

    def read(self, name: str) -> Value | None:
        """None if the register is unknown."""
        base, _, axis = name[1:].partition(".")
        if base in ("ntid", "nctaid") and axis:
            return LAUNCH.get(self._launch, ("block_" if base == "ntid" else "grid_") + axis)
        if base == "ctaid":
            return WORKER.get(self._worker, f"ctaid_{axis}")
        if base == "tid":
            table = LAUNCH.get(self._launch, "thread_index")
            return table.index("i32", self._f["tid"] * 4 + "xyz".index(axis)).load("i32")
        scalars = self._lanes(self._f["tid"] & 31) | self._sizes() | self._clocks()
        return scalars[name]() if name in scalars else None

    def _lanes(self, lane: Value) -> Scalars:
        f, one = self._f, self._f.const("i32", 1)

        def below() -> Value:
            return (one << lane) - 1

        return {
            "%laneid": lambda: lane,
            "%warpid": lambda: f["tid"] >> 5,
            "%nwarpid": lambda: (LAUNCH.get(self._launch, "threads") + 31) >> 5,
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

        return {
            "%smid": self._multiprocessor,
            "%nsmid": lambda: f.const("i32", MULTIPROCESSORS),
            "%gridid": lambda: f.const("i64", 1),
            "%dynamic_smem_size": dynamic_shared,
            "%total_smem_size": lambda: dynamic_shared() + self._static_shared,
        }

    def _multiprocessor(self) -> Value:
        """Which it is depends on the seed."""
        salted = WORKER.get(self._worker, "block") * SPREAD + LAUNCH.get(self._launch, "salt")
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
