"""Counts what the warps of a launch do, by the instruction that does it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import gcd

import numpy as np

from grader.ptx.counting import hardware
from grader.ptx.counting.trace import ROWS_OF, Place, Trace, Tracing
from grader.ptx.counting.warps import WARP, Accesses, of_block
from grader.ptx.explain import submission_frame
from grader.ptx.jit import NativeKernel, compile_kernel
from grader.ptx.launch import Argument, Buffer, Dim3, Launch, Limits, place_variables
from grader.ptx.lowering.lower import lower
from grader.ptx.machine import FIRST_WINDOW, LOCAL_WINDOW, SHARED_WINDOW, WINDOW_BITS
from grader.ptx.opcodes.rows import INSERTED
from grader.ptx.syntax import Location, Module

# Records of lanes after which no further block is begun: a tenth of a second.
MOST_RECORDS = 2_000_000


@dataclass(frozen=True)
class Count:
    """Of one instruction; of one that accesses memory, there is one more for each access, with its `space`.

    `moved`, `least`: sectors of global and local memory, or wavefronts of shared memory, and how few would do.
    `busiest`: of an atomic, how many updates one address got.
    """

    location: Location
    opcode: str
    space: str
    width: int  # bytes of a lane
    warps: int  # executions
    lanes: int  # of them, together
    moved: int = 0
    least: int = 0
    busiest: int = 0


@dataclass(frozen=True)
class Counted:
    """What was counted in some blocks of a launch, or in all. `work`: warp instructions, by block."""

    blocks: int
    work: dict[int, int]
    counts: tuple[Count, ...]


class Counter:
    """Counts for kernels of one module, which run one block after the other, as they did when they were checked."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._variables = place_variables(module)
        self._kernels: dict[tuple[str, Dim3, frozenset[int]], tuple[NativeKernel, Trace]] = {}

    def count(
        self,
        kernel: str,
        *,
        grid: Dim3,
        block: Dim3,
        shared_bytes: int = 0,
        cluster: Dim3 | None = None,
        arguments: Sequence[Argument],
        limits: Limits | None = None,
        seed: int = 0,
        most_records: int = MOST_RECORDS,
    ) -> Counted:
        """Buffers are modified in place. Raises Unsupported, as for a run."""
        cluster = cluster or self._module.kernels[kernel].cluster
        read_only = frozenset(i for i, a in enumerate(arguments) if isinstance(a, Buffer) and not a.writable)
        native, trace = self._compiled(kernel, cluster, read_only)
        launch = Launch(
            native, self._variables, grid, block, shared_bytes, arguments, limits or Limits(), seed, serial=False
        )
        tally, left = _Tally(trace), most_records
        order = _order(launch.blocks, in_turn=native.lowered.between_blocks.meet)
        for number in launch.one_by_one(order):
            left -= int(trace.used.sum())
            tally.add(number, launch.threads)
            trace.clear()
            if left <= 0:
                break
        return tally.counted(launch.blocks)

    def _compiled(self, kernel: str, cluster: Dim3, read_only: frozenset[int]) -> tuple[NativeKernel, Trace]:
        key = (kernel, cluster, read_only)
        if key not in self._kernels:
            trace = Trace()
            function = replace(self._module.kernels[kernel], cluster=cluster)
            lowered = lower(self._module, function, read_only, tables=Tracing(trace).tables())
            self._kernels[key] = compile_kernel(lowered), trace
        return self._kernels[key]


def _order(blocks: int, *, in_turn: bool) -> Iterator[int]:
    """All blocks, so that the first few are spread evenly; in index order if they wait for each other."""
    step = 1 if in_turn else max(int(blocks * 0.618), 1)
    while gcd(step, blocks) > 1:
        step += 1
    return (k * step % blocks for k in range(blocks))


class _Tally:
    """What has been counted so far, by place."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._sums = np.zeros((len(trace.places), 4), np.int64)  # warps, lanes, moved, least
        self._updates: dict[int, dict[int, int]] = {}  # by place and address
        self._work: dict[int, int] = {}
        self._blocks = np.array([sum(i.base not in INSERTED for i in p.block) for p in trace.places])

    def add(self, block: int, threads: int) -> None:
        before = self._sums[:, 0].copy()
        found = list(of_block(self._trace, threads))
        if found:
            self._add(Accesses(*(np.concatenate(parts) for parts in zip(*found, strict=True))))
        self._work[block] = int(((self._sums[:, 0] - before) * self._blocks).sum())

    def _add(self, did: Accesses) -> None:
        count = len(self._trace.places)
        self._sums[:, 0] += np.bincount(did.places, minlength=count)
        self._sums[:, 1] += np.bincount(did.places, did.active.sum(axis=1), count).astype(np.int64)
        kinds = np.array([_kind(place) for place in self._trace.places])[did.places]
        for kind in np.unique(kinds[kinds > 0]):
            of_kind = Accesses(*(part[kinds == kind] for part in did))
            for space, rows in _by_space(SPACES[kind >> 8], of_kind):
                moved, least = _cost(space, rows, int(kind & 0xFF))
                self._sums[:, 2] += np.bincount(rows.places, moved, count).astype(np.int64)
                self._sums[:, 3] += np.bincount(rows.places, least, count).astype(np.int64)
        for place in np.unique(did.places):
            if self._trace.places[place].instruction.traits.atomic and self._trace.places[place].space:
                self._add_updates(int(place), did)

    def _add_updates(self, place: int, did: Accesses) -> None:
        mine = did.places == place
        addresses, counts = np.unique(did.addresses[mine][did.active[mine]], return_counts=True)
        known = self._updates.setdefault(place, {})
        for address, number in zip(addresses.tolist(), counts.tolist(), strict=True):
            known[address] = known.get(address, 0) + number

    def counted(self, blocks: int) -> Counted:
        counts: list[Count] = []
        for number, (place, sums) in enumerate(zip(self._trace.places, self._sums.tolist(), strict=True)):
            warps, lanes, moved, least = sums
            if not warps:
                continue
            for ins in place.block or (place.instruction,):
                if place.block and ins.base in INSERTED:
                    continue
                at, busiest = submission_frame(ins.location), max(self._updates.get(number, {}).values(), default=0)
                counts.append(Count(at, ins.opcode, place.space, place.width, warps, lanes, moved, least, busiest))
        return Counted(blocks, self._work, tuple(counts))


SPACES = ("", "global", "shared", "local", "generic", *ROWS_OF.values())


def _kind(place: Place) -> int:
    """The accesses with the same number cost alike. 0: none."""
    return SPACES.index(place.space) << 8 | place.width if place.space else 0


def _by_space(space: str, did: Accesses) -> Iterator[tuple[str, Accesses]]:
    """Generic pointers lead to what lies where they point."""
    if space != "generic":
        yield space, did
        return
    windows = np.where(did.active, (did.addresses >> WINDOW_BITS) - FIRST_WINDOW, 0).max(axis=1)
    for name, chosen in (
        ("shared", windows == SHARED_WINDOW),
        ("local", windows == LOCAL_WINDOW),
        ("global", (windows != SHARED_WINDOW) & (windows != LOCAL_WINDOW)),
    ):
        if chosen.any():
            yield name, Accesses(*(part[chosen] for part in did))


def _cost(space: str, did: Accesses, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Sectors or wavefronts, and how few would do."""
    addresses, active = did.addresses, did.active
    if space.startswith("rows"):
        space, active = "shared", active & (np.arange(WARP) < int(space.removeprefix("rows")))
    if space == "shared":
        return hardware.wavefronts(addresses, active, width), hardware.least_wavefronts(active, width)
    if space == "local":
        addresses = hardware.interleaved(addresses)
    return hardware.sectors(addresses, active, width), hardware.least_sectors(active, width)


assert WARP == hardware.WARP
