"""Counts what the warps of a launch do, by the instruction that does it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from itertools import islice
from math import gcd
from typing import NamedTuple

import numpy as np

from grader.ptx.analysis.looks import MOVES, is_looked_at, operation_of
from grader.ptx.analysis.registers import defs_and_uses
from grader.ptx.counting import hardware
from grader.ptx.counting.trace import COPIES, MOST_RECORDS, SOURCE_BITS, ZEROS, Place, Trace, Tracing, room
from grader.ptx.counting.warps import WARP, Accesses, of_block
from grader.ptx.counting.wider import Base, joined
from grader.ptx.explain import submission_frame
from grader.ptx.jit import NativeKernel, compile_kernel
from grader.ptx.launch import Argument, Buffer, Dim3, Launch, Limits, place_variables
from grader.ptx.lowering.lower import lower
from grader.ptx.machine import FIRST_WINDOW, LOCAL_WINDOW, SHARED_WINDOW, WINDOW_BITS, Kind
from grader.ptx.opcodes.rows import INSERTED
from grader.ptx.syntax import Address, Immediate, Instruction, Location, Module, Register, Symbol


class Sample(NamedTuple):
    """How much is counted: blocks at most, and, of each, about so many records of lanes."""

    blocks: int = 24
    records: int = 20_000


SAMPLE = Sample()
EVERYTHING = Sample(blocks=1 << 24, records=1 << 40)


@dataclass(frozen=True)
class Count:
    """Of one instruction; of one that accesses memory, there is one more for each access, with its `memory`.

    `moved`, `least`: sectors of global and local memory, or wavefronts of shared memory, and how few would do.
    `busiest`: of an atomic, how many updates one address got.
    """

    location: Location
    opcode: str
    memory: str  # "global", "shared" or "local"; "" of the instruction itself
    width: int  # bytes of a lane
    warps: int  # executions
    lanes: int  # of them, together
    moved: int = 0
    least: int = 0
    busiest: int = 0


@dataclass(frozen=True)
class Counted:
    """What was counted of some warps of a launch, or of all. `work`: warp instructions, by block."""

    blocks: int
    warps: int  # of the launch
    counted: int  # of these
    work: dict[int, int]
    counts: tuple[Count, ...]
    whole: bool = True  # no thread had more to record than there is room for


class Counter:
    """Counts for kernels of one module, which run one block after the other, as they did when they were checked."""

    def __init__(self, module: Module, most_records: int = MOST_RECORDS) -> None:
        self._module = module
        self._variables, self._room = place_variables(module), room(most_records)
        self._kernels: dict[tuple[str, Dim3, frozenset[int]], tuple[NativeKernel, Trace]] = {}
        self._lock = threading.Lock()

    def prepare(self, kernel: str, arguments: Sequence[Argument], cluster: Dim3 | None = None) -> None:
        """Compiles for `count` with such arguments. May run beside anything else. Raises Unsupported."""
        self._compiled(kernel, cluster or self._module.kernels[kernel].cluster, _read_only(arguments))

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
        sample: Sample = SAMPLE,
    ) -> Counted:
        """Buffers are modified in place. Raises Unsupported, as for a run."""
        cluster = cluster or self._module.kernels[kernel].cluster
        native, trace = self._compiled(kernel, cluster, _read_only(arguments))
        launch = Launch(
            native,
            self._variables,
            grid,
            block,
            shared_bytes,
            arguments,
            limits or Limits(),
            seed,
            serial=native.lowered.between_blocks.meet,
        )
        order = _order(launch.blocks, in_turn=native.lowered.between_blocks.meet)
        tally, watched = _Tally(trace, launch.threads), _Watched(sample, -(-launch.threads // WARP))
        trace.begin(watched.threads(launch.threads))
        for number in launch.one_by_one(islice(order, sample.blocks)):
            watched.records(tally.add(number))
            if tally.records >= sample.blocks * sample.records:
                break
            trace.begin(watched.threads(launch.threads))
        if lacking := [fault.site for fault in launch.faults() if fault.kind is Kind.UNSUPPORTED]:
            raise native.lowered.lacking[lacking[0]]
        return tally.counted(launch.blocks)

    def _compiled(self, kernel: str, cluster: Dim3, read_only: frozenset[int]) -> tuple[NativeKernel, Trace]:
        key = (kernel, cluster, read_only)
        with self._lock:
            if key not in self._kernels:
                trace = Trace(self._room)
                function = replace(self._module.kernels[kernel], cluster=cluster)
                lowered = lower(self._module, function, read_only, tables=Tracing(trace).tables())
                self._kernels[key] = compile_kernel(lowered), trace
            return self._kernels[key]


def _read_only(arguments: Sequence[Argument]) -> frozenset[int]:
    return frozenset(i for i, a in enumerate(arguments) if isinstance(a, Buffer) and not a.writable)


def _order(blocks: int, *, in_turn: bool) -> Iterator[int]:
    """All blocks, so that the first few are spread evenly; in index order if they wait for each other."""
    step = 1 if in_turn else max(int(blocks * 0.618), 1)
    while gcd(step, blocks) > 1:
        step += 1
    return (k * step % blocks for k in range(blocks))


class _Watched:
    """The warps of a block that leave records: as many as the sample has room for, others in each block."""

    def __init__(self, sample: Sample, warps: int) -> None:
        self._sample, self._warps = sample, warps
        self._next, self._count = 0, warps if sample is EVERYTHING else min(warps, 2)
        self._most = 1.0  # records of a warp

    def threads(self, threads: int) -> Iterator[range]:
        for k in range(self._next, self._next + self._count):
            first = k % self._warps * WARP
            yield range(first, min(first + WARP, threads))

    def records(self, of_last_block: int) -> None:
        self._next += self._count
        self._most = max(self._most, of_last_block / self._count)
        self._count = min(max(int(self._sample.records / self._most), 1), self._warps)


class _Tally:
    """What has been counted so far: by place and by the memory that it led to."""

    def __init__(self, trace: Trace, threads: int) -> None:
        self._trace, self._warps = trace, -(-threads // WARP)
        self._counted = 0
        self.records, self._whole = 0, True
        self._sums = np.zeros((len(trace.places), len(MEMORIES), 4), np.int64)  # warps, lanes, moved, least
        self._updates: dict[int, dict[int, int]] = {}  # by place and address
        self._work: dict[int, int] = {}
        registers = _registers(trace.places)
        kinds = [_kind(place, registers) for place in trace.places]
        self._kinds = list(dict.fromkeys(kinds))
        self._kind_of = np.array([self._kinds.index(kind) for kind in kinds])
        self._neighbours = _neighbours(trace.places)
        self._instructions = np.array([sum(i.base not in INSERTED for i in place.block) for place in trace.places])

    def add(self, block: int) -> int:
        """Returns how many records there were."""
        before = self._sums[:, 0, 0].copy()
        found = list(of_block(self._trace))
        if found:
            self._add(Accesses(*(np.concatenate(parts) for parts in zip(*found, strict=True))))
        watched = len(self._trace.watched)
        self._whole = self._whole and not self._trace.is_full
        self._counted += watched
        work = int(((self._sums[:, 0, 0] - before) * self._instructions).sum())
        self._work[block] = work * self._warps // watched
        records = sum(did.active.size for did in found)
        self.records += records
        return records

    def _add(self, did: Accesses) -> None:
        kinds = self._kind_of[did.places]
        for place, kind in self._wider(did).items():
            kinds[did.places == place] = self._number(kind)
        kinds, did = kinds[kinds >= 0], _chosen(did, kinds >= 0)
        for number in np.unique(kinds):
            kind, of_kind = self._kinds[number], _chosen(did, kinds == number)
            for memory, rows, moved, least in _costs(kind, of_kind):
                into = self._sums[:, MEMORIES.index(memory)]
                for k, values in enumerate((None, rows.active.sum(axis=1), moved, least)):
                    into[:, k] += np.bincount(rows.places, values, len(into)).astype(np.int64)
        for place in np.unique(did.places):
            if self._trace.places[place].space and self._trace.places[place].instruction.traits.atomic:
                self._add_updates(int(place), _chosen(did, did.places == place))

    def _wider(self, did: Accesses) -> dict[int, _Kind | None]:
        """By place, what a load became; None if another one brings its value."""
        found: dict[int, _Kind | None] = {}
        for loads in self._neighbours:
            here = np.flatnonzero(did.places == loads[0][1])
            if len(here):
                bases = did.addresses[here][did.active[here]] - loads[0][0]
                places = dict(loads)
                widths = {offset: self._trace.places[place].width for offset, place in loads}
                for width, parts in joined(widths, bases):
                    found |= dict.fromkeys((places[part] for part in parts), None)
                    found[places[parts[0]]] = _Kind("shared", width, loads=True)
        return found

    def _number(self, kind: _Kind | None) -> int:
        if kind is not None and kind not in self._kinds:
            self._kinds.append(kind)
        return -1 if kind is None else self._kinds.index(kind)

    def _add_updates(self, place: int, did: Accesses) -> None:
        addresses, counts = np.unique(did.addresses[did.active], return_counts=True)
        known = self._updates.setdefault(place, {})
        for address, number in zip(addresses.tolist(), counts.tolist(), strict=True):
            known[address] = known.get(address, 0) + number

    def counted(self, blocks: int) -> Counted:
        counts: list[Count] = []
        for number, place in enumerate(self._trace.places):
            busiest = max(self._updates.get(number, {}).values(), default=0)
            for memory, (warps, lanes, moved, least) in zip(MEMORIES, self._sums[number].tolist(), strict=True):
                for ins in place.block or (place.instruction,):
                    if warps and not (place.block and ins.base in INSERTED):
                        at = submission_frame(ins.location)
                        counts.append(Count(at, ins.opcode, memory, place.width, warps, lanes, moved, least, busiest))
        return Counted(blocks, blocks * self._warps, self._counted, self._work, tuple(counts), self._whole)


def _neighbours(places: Sequence[Place]) -> list[list[tuple[int, int]]]:
    """The loads from each base: (offset, place), of two at least."""
    found: dict[Base, dict[int, int]] = {}
    for number, place in enumerate(places):
        if place.neighbour is not None:
            found.setdefault(place.neighbour.base, {}).setdefault(place.neighbour.offset, number)
    return [list(loads.items()) for loads in found.values() if len(loads) > 1]


MEMORIES = ("", "global", "shared", "local")
# Atomic operations on shared memory, as an H200 shows them. Of a float, a loop over compare-and-swap.
TURNS = {"cas": 2}
FLOAT_TURNS = 3
ONE = Immediate(1)
GATHERED = {"add", "min", "max", "and", "or", "xor"}  # of one address that the compiler knows

Costs = tuple[str, Accesses, np.ndarray, np.ndarray]  # the memory, accesses; sectors or wavefronts; how few would do


class _Kind(NamedTuple):
    """Accesses of one kind cost alike."""

    space: str
    width: int
    loads: bool
    turns: int = 0  # of an atomic operation on a word of shared memory: wavefronts of each lane that a bank serves
    gathered: bool = False  # an atomic operation that ptxas makes one of for the whole warp


class _Registers(NamedTuple):
    used: frozenset[str]
    fixed: frozenset[str]  # they hold the address of a variable, for all threads the same


def _registers(places: Sequence[Place]) -> _Registers:
    makers: dict[str, list[Instruction]] = {}
    used: set[str] = set()
    for ins in (ins for place in places for ins in place.block):
        defs, uses = defs_and_uses(ins)
        used.update(uses)
        for name in defs:
            makers.setdefault(name, []).append(ins)
    found: set[str] = set()
    while new := {name for name, by in makers.items() if len(by) == 1 and _copies(by[0], found)} - found:
        found |= new
    return _Registers(frozenset(used), frozenset(found))


def _copies(ins: Instruction, known: Set[str]) -> bool:
    """A variable's address, or one of these registers, perhaps moved on by a constant."""
    if ins.base not in MOVES or ins.guard:
        return False
    first, *rest = ins.operands[1:]
    known_first = isinstance(first, Symbol) or (isinstance(first, Register) and first.name in known)
    return known_first and all(isinstance(one, Immediate) for one in rest)


def _kind(place: Place, registers: _Registers) -> _Kind:
    if not place.space:
        return _Kind(place.space, place.width, loads=False)
    ins = place.instruction
    kind = _Kind(place.space, place.width, ins.traits.loads)
    if not ins.traits.atomic or place.width != hardware.WORD:
        return kind
    operation, whole = operation_of(ins), not ins.op.type.startswith("f")
    target = ins.operands[1 if ins.traits.result else 0]
    if whole and operation == "add" and ins.operands[-1] == ONE and not is_looked_at(ins, registers.used):
        return kind  # those of one word are counted, and added at once
    base = target.base if isinstance(target, Address) else None
    one_place = isinstance(base, Symbol) or (isinstance(base, Register) and base.name in registers.fixed)
    turns = TURNS.get(operation, 1) if whole else FLOAT_TURNS
    return kind._replace(turns=turns, gathered=one_place and whole and operation in GATHERED)


def _chosen(did: Accesses, which: np.ndarray) -> Accesses:
    return Accesses(*(part[which] for part in did))


def _costs(kind: _Kind, did: Accesses) -> Iterator[Costs]:
    if kind.space in COPIES:
        yield from _of_copies(kind, did)
        return
    for memory, rows in _by_memory(kind.space, did):
        some, which = _patterns(rows)
        moved, least = _cost_of_each(memory, _chosen(rows, some), kind)
        yield memory, rows, moved[which], least[which]


def _by_memory(space: str, did: Accesses) -> Iterator[tuple[str, Accesses]]:
    """Generic pointers lead to what lies where they point; of ldmatrix, the first lanes bring addresses."""
    if space in MEMORIES:
        yield space, did
    elif space != "generic":
        lanes = int(space.removeprefix("rows"))
        yield "shared", did._replace(active=did.active & (np.arange(WARP) < lanes))
    else:
        windows = np.where(did.active, (did.addresses >> WINDOW_BITS) - FIRST_WINDOW, 0).max(axis=1)
        elsewhere = {"shared": windows == SHARED_WINDOW, "local": windows == LOCAL_WINDOW}
        for memory, here in (*elsewhere.items(), ("global", ~np.logical_or(*elsewhere.values()))):
            if here.any():
                yield memory, _chosen(did, here)


ALIKE = 128  # bytes: an access as far on costs the same
_WEIGHTS = np.random.default_rng(1).integers(1 << 62, size=(2, WARP), dtype=np.int64) | 1


def _patterns(did: Accesses) -> tuple[np.ndarray, np.ndarray]:
    """Of accesses that only lie elsewhere, one each; and for every access, which of these it is like.

    Told apart by a number of 64 bits that is made of all lanes.
    """
    first = np.take_along_axis(did.addresses, did.active.argmax(axis=1)[:, None], axis=1)
    apart = np.where(did.active, did.addresses - first // ALIKE * ALIKE, 0)
    numbers = apart @ _WEIGHTS[0] + did.active @ _WEIGHTS[1]
    _, some, which = np.unique(numbers, return_index=True, return_inverse=True)
    return some, which


def _cost_of_each(memory: str, did: Accesses, kind: _Kind) -> tuple[np.ndarray, np.ndarray]:
    """Sectors or wavefronts, and how few would do; zeros for what accesses nothing."""
    addresses, active, width = did.addresses, did.active, kind.width
    if not memory:
        return np.zeros(len(active)), np.zeros(len(active))
    if memory == "shared" and kind.turns:
        moved = kind.turns * hardware.updates(addresses, active)
        moved = np.minimum(moved, 1) if kind.gathered else moved
        return moved, hardware.least_wavefronts(moved, active, width)
    if memory == "shared":
        moved = hardware.wavefronts(addresses, active, width, load=kind.loads)
        return moved, hardware.least_wavefronts(moved, active, width)
    if memory == "local":
        addresses = hardware.interleaved(addresses)
    moved = hardware.sectors(addresses, active, width)
    return moved, hardware.least_sectors(moved, active, width)


def _of_copies(kind: _Kind, did: Accesses) -> Iterator[Costs]:
    targets = (did.addresses & (ZEROS - 1)) >> SOURCE_BITS
    sources = did.addresses & ((1 << SOURCE_BITS) - 1)
    through = kind.space == "through"
    reads = did.active & (did.addresses & ZEROS == 0)
    moved, fronts = hardware.copied(targets, sources, did.active, reads, kind.width, through=through)
    yield "global", did, moved, hardware.least_sectors(moved, reads, kind.width)
    yield "shared", did, fronts, hardware.least_wavefronts(fronts, did.active, kind.width)
