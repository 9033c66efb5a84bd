"""Fault records into reports: the array by its name, how far outside, which thread and block, at which lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Protocol

from grader.ptx import words
from grader.ptx.facts import Actor, Detail, Dim3, Facts, Place, Related, Report, Side
from grader.ptx.lowering.lower import Lowered
from grader.ptx.lowering.memory import variable_windows
from grader.ptx.lowering.sites import PRODUCT_READ, WAITING, Site
from grader.ptx.machine import (
    ABSENT_LANE,
    ARGUMENTS_WINDOW,
    ASYNC_THREAD,
    BARRIER_NUMBER,
    HEAP_BYTES,
    HEAP_WINDOW,
    LOCAL_WINDOW,
    OWN_LANE,
    PARAM_WINDOW,
    SHARED_WINDOW,
    STAMP_STEP,
    VARIABLE_WINDOW,
    WINDOW_BITS,
    Kind,
    Misuse,
    window_base,
)
from grader.ptx.opcodes.traits import BarrierKind, Flow
from grader.ptx.syntax import Location, Module

NAMES = {
    Kind.OUT_OF_BOUNDS: "out-of-bounds",
    Kind.UNINITIALISED_READ: "uninitialised-read",
    Kind.MISALIGNED: "misaligned-access",
    Kind.RACE: "race",
    Kind.BLOCK_RACE: "race",
    Kind.READ_ONLY_WRITE: "read-only-write",
    Kind.BARRIER_DIVERGENCE: "barrier-divergence",
    Kind.COLLECTIVE_MISMATCH: "collective-mismatch",
    Kind.DID_NOT_FINISH: "did-not-finish",
    Kind.TRAP: "trap",
    Kind.STUCK_PHASE: "barrier-divergence",
    Kind.NO_MBARRIER: "uninitialised-read",
    Kind.MISUSE: "barrier-divergence",
    Kind.BULK_SIZE: "misaligned-access",
    Kind.NO_PROXY_FENCE: "race",
    Kind.UNFINISHED_COPY: "race",
    Kind.EARLY_READ: "race",
    Kind.COUNTS_DIFFER: "barrier-divergence",
    Kind.LEFT_BLOCK: "race",
    Kind.EARLY_ACCUMULATOR: "race",
    Kind.NO_PRODUCT_FENCE: "race",
    Kind.EARLY_FACTOR: "race",
    Kind.SPLIT_WARPGROUP: "collective-mismatch",
    Kind.WRONG_DESCRIPTOR: "misaligned-access",
    Kind.NO_TENSOR_MAP: "uninitialised-read",
    Kind.MISALIGNED_TILE: "misaligned-access",
    Kind.REGISTER_COUNT: "trap",
    Kind.CLUSTER_ORDER: "barrier-divergence",
}
WHOLE_WARP = ("mma", "wmma", "ldmatrix", "stmatrix", "movmatrix")  # have no mask: every lane takes part
# Kinds that are no more than a detail of their public kind.
DETAILS = {
    Kind.STUCK_PHASE: Detail.STUCK_MBARRIER,
    Kind.NO_MBARRIER: Detail.NO_MBARRIER,
    Kind.MISUSE: Detail.MBARRIER_MISUSE,
    Kind.COUNTS_DIFFER: Detail.COUNTS_DIFFER,
    Kind.BULK_SIZE: Detail.BULK_SIZE,
    Kind.NO_PROXY_FENCE: Detail.NO_PROXY_FENCE,
    Kind.UNFINISHED_COPY: Detail.UNFINISHED_COPY,
    Kind.LEFT_BLOCK: Detail.LEFT_BLOCK,
    Kind.EARLY_ACCUMULATOR: Detail.EARLY_ACCUMULATOR,
    Kind.NO_PRODUCT_FENCE: Detail.NO_PRODUCT_FENCE,
    Kind.EARLY_FACTOR: Detail.EARLY_FACTOR,
    Kind.SPLIT_WARPGROUP: Detail.SPLIT_WARPGROUP,
    Kind.WRONG_DESCRIPTOR: Detail.WRONG_DESCRIPTOR,
    Kind.NO_TENSOR_MAP: Detail.NO_TENSOR_MAP,
    Kind.MISALIGNED_TILE: Detail.MISALIGNED_TILE,
    Kind.REGISTER_COUNT: Detail.REGISTER_COUNT,
    Kind.CLUSTER_ORDER: Detail.CLUSTER_ORDER,
}
IN_BOUNDS = (Kind.RACE, Kind.EARLY_READ, Kind.UNINITIALISED_READ, Kind.LEFT_BLOCK)  # only of what is memory
TRAPS: dict[Flow | None, Detail] = {Flow.CALL: Detail.ASSERTION, Flow.SWITCH: Detail.BRANCH_INDEX}
WITHOUT_MEMORY = (
    Kind.BARRIER_DIVERGENCE,
    Kind.COUNTS_DIFFER,
    Kind.COLLECTIVE_MISMATCH,
    Kind.DID_NOT_FINISH,
    Kind.TRAP,
    Kind.CLUSTER_ORDER,
    Kind.REGISTER_COUNT,
    Kind.EARLY_ACCUMULATOR,
    Kind.NO_PRODUCT_FENCE,
    Kind.EARLY_FACTOR,
    Kind.SPLIT_WARPGROUP,
)
OF_COPIES = (
    Kind.STUCK_PHASE,
    Kind.EARLY_ACCUMULATOR,
    Kind.EARLY_FACTOR,
    Kind.NO_PRODUCT_FENCE,
    Kind.WRONG_DESCRIPTOR,
)
WAITS_ELSEWHERE = (Kind.BARRIER_DIVERGENCE, Kind.COLLECTIVE_MISMATCH)
TELLING = (Kind.BLOCK_RACE, Kind.COUNTS_DIFFER)  # of several faults at one line: what the others follow from
DYNAMIC = "dynamic shared memory"
SCALAR_BYTES = 16
IN_FLIGHT = 1  # the `other` of a read of what an asynchronous copy has not brought yet
ORDER = ["did-not-finish", "barrier-divergence", "collective-mismatch", "misaligned-access", "out-of-bounds", "race",
         "uninitialised-read", "read-only-write", "trap"]  # fmt: skip


class FaultLike(Protocol):
    """launch.Fault; named here by its shape, so that this module needs nothing that runs code."""

    @property
    def site(self) -> int: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def count(self) -> int: ...
    @property
    def block(self) -> int: ...
    @property
    def thread(self) -> int: ...
    @property
    def address(self) -> int: ...
    @property
    def other(self) -> int: ...
    @property
    def other_site(self) -> int: ...
    @property
    def tile(self) -> int: ...


@dataclass(frozen=True)
class _Explained:
    """A fault with the report it would make alone."""

    fault: FaultLike
    report: Report

    @property
    def order(self) -> tuple[int, int]:
        return self.fault.block, self.fault.thread

    @property
    def preference(self) -> tuple[bool, int, int]:
        return self.fault.kind not in TELLING, *self.order


class Explainer:
    def __init__(
        self,
        lowered: Lowered,
        arguments: Sequence[Any],
        module: Module,
        grid: Dim3,
        block: Dim3,
        dynamic_shared: int,
    ) -> None:
        self.lowered, self.arguments, self.module = lowered, arguments, module
        self.grid, self.block, self.dynamic_shared = grid, block, dynamic_shared

    def reports(self, faults: Sequence[FaultLike]) -> list[Report]:
        """One report per kind, line and array, in the order of blocks and threads. A race shows at both its lines."""
        merged: dict[tuple[str, str, int, str], list[_Explained]] = {}
        early = {fault.site for fault in faults if fault.kind is Kind.EARLY_READ}  # of what is written, too late
        for fault in faults:
            if fault.kind is Kind.UNINITIALISED_READ and fault.other != IN_FLIGHT and fault.site in early:
                continue
            report = self._report(fault)
            key = (report.kind, report.file, report.line, report.array)
            merged.setdefault(key, []).append(_Explained(fault, report))
        found = []
        for same in merged.values():
            first = min(same, key=lambda one: one.preference)
            total = sum(one.report.count for one in same)
            found.append(_Explained(first.fault, replace(first.report, count=total)))
        found.sort(key=lambda one: (_rank(one.fault, one.report.kind, self._causes(faults)), *one.order))
        return [one.report for one in found]

    def _report(self, fault: FaultLike) -> Report:
        site = self.lowered.sites[fault.site]
        at = submission_frame(site.location)
        facts = self._facts(fault)
        return Report(
            kind=self._name(fault),
            detail=facts.detail.value,
            file=at.file,
            line=at.line,
            column=at.column,
            count=fault.count,
            array=facts.place.array if facts.place else "",
            space=facts.place.space if facts.place else "",
            access=_access(facts.writes and fault.kind is not Kind.UNINITIALISED_READ) if facts.place else "",
            related=_related(fault.kind, facts.other) + tuple(Related("call", at.file, line) for line in facts.calls),
            message=words.message(facts),
            notes=words.notes(facts),
        )

    def _causes(self, faults: Sequence[FaultLike]) -> _Causes:
        races = [fault for fault in faults if fault.kind is Kind.RACE]
        diverging = [fault for fault in faults if fault.kind is Kind.BARRIER_DIVERGENCE]
        return _Causes(
            frozenset(race.site for race in races if not _is_write(self.lowered.sites[race.other_site])),
            any(self.place(self.lowered.sites[race.site], race.address).size <= SCALAR_BYTES for race in races),
            not self.lowered.own_barriers and not any(fault.other_site or fault.address for fault in diverging),
        )

    def _facts(self, fault: FaultLike) -> Facts:
        site = self.lowered.sites[fault.site]
        address = fault.address
        if fault.kind in IN_BOUNDS and site.op.space == "generic" and not address >> WINDOW_BITS:
            address += window_base(SHARED_WINDOW)  # from its start, as the checks of shared memory know it
        place = None if fault.kind in WITHOUT_MEMORY else self._seen_from(fault.thread, self.place(site, address))
        place = place and _in_tiles(place, fault.tile)
        other = self._other(fault)
        x, y, z = self.block
        return Facts(
            kind=fault.kind,
            detail=self._detail(fault, site, place),
            actor=self._actor(fault.thread, fault.block),
            place=place,
            width=site.width,
            writes=_is_write(site),
            other=other,
            number=fault.address if fault.address and fault.kind in WAITS_ELSEWHERE else fault.other,
            instruction=site.op.base,
            threads=fault.address if fault.kind in (Kind.COUNTS_DIFFER, Kind.REGISTER_COUNT) else x * y * z,
            calls=_calls(site.location),
        )

    def _name(self, fault: FaultLike) -> str:
        return "race" if self._reads_too_soon(fault) else NAMES[fault.kind]

    def _reads_too_soon(self, fault: FaultLike) -> bool:
        """What a bulk copy has not brought yet."""
        copied = fault.kind is Kind.UNINITIALISED_READ and fault.other == IN_FLIGHT
        return copied and self.lowered.sites[fault.other_site].opcode.endswith(".bulk")

    def _detail(self, fault: FaultLike, site: Site, place: Place | None) -> Detail:
        """What tells this fault from others of its public kind."""
        match fault.kind:
            case Kind.RACE | Kind.EARLY_READ:
                if self._is_copy(fault.thread) or self._is_copy(fault.other % STAMP_STEP):
                    is_product = self.lowered.sites[fault.other_site].opcode == PRODUCT_READ
                    return Detail.WITH_PRODUCT if is_product else Detail.WITH_COPY
                return self._detail_within(site, self.lowered.sites[fault.other_site])
            case Kind.BLOCK_RACE:
                sides = site, self.lowered.sites[fault.other_site]
                return Detail.UPDATE if _is_update(sides) else _detail_between(*sides)
            case Kind.OUT_OF_BOUNDS if place:
                return _side_of(place)
            case Kind.MISALIGNED if place:
                return _misalignment(site, place)
            case Kind.UNINITIALISED_READ:
                in_flight = fault.other == IN_FLIGHT
                return Detail.COPY_IN_FLIGHT if in_flight else _unwritten(place)
            case Kind.BARRIER_DIVERGENCE:
                return _detail_of_barrier(site, fault.address)
            case Kind.COLLECTIVE_MISMATCH if fault.address >= ABSENT_LANE:
                of_all = site.op.base in WHOLE_WARP
                missing = Detail.WHOLE_WARP if of_all else Detail.ABSENT_LANE
                return Detail.OWN_LANE if fault.address >= OWN_LANE else missing
            case Kind.DID_NOT_FINISH:
                return {"push": Detail.RECURSION, WAITING: Detail.WAITS_FOR_OTHERS}.get(site.opcode, Detail.NONE)
            case Kind.TRAP:
                of_grid = self.lowered.asks_for_grid and "cooperative_groups" in site.location.file
                return Detail.COOPERATIVE_LAUNCH if of_grid else TRAPS.get(site.op.traits.flow, Detail.NONE)
            case _:
                return _plain_detail(fault)

    def _detail_within(self, *sides: Site) -> Detail:
        """Of a race of threads of one block."""
        if _is_untried_swap(sides):
            return Detail.UNTRIED_SWAP
        if _is_update(sides):
            return Detail.UPDATE
        if self.lowered.own_barriers:
            return Detail.OWN_BARRIERS
        return Detail.BOTH_WRITE if all(map(_is_write, sides)) else Detail.NONE

    def _other(self, fault: FaultLike) -> Side | None:
        """The other side of a race; the copy that was not waited for; where the thread of a divergence waits."""
        at = submission_frame(self.lowered.sites[fault.other_site].location)
        if fault.kind in words.RACES:
            block = (fault.other >> 32) - 2 if fault.other >> 33 else fault.block
            actor = self._actor(fault.other % STAMP_STEP, block)
        elif fault.other_site and self._names_copy(fault):
            actor = self._actor(ASYNC_THREAD, fault.block)
        elif fault.kind in (*WAITS_ELSEWHERE, Kind.COUNTS_DIFFER) and fault.other_site:
            actor = self._actor(fault.thread, fault.block)
        else:
            return None
        site = self.lowered.sites[fault.other_site]
        return Side(at.file, at.line, actor, _is_write(site), site.opcode == PRODUCT_READ)

    @staticmethod
    def _names_copy(fault: FaultLike) -> bool:
        """Is the other side what was started and not waited for, or what an mbarrier got last?"""
        in_flight = fault.kind is Kind.UNINITIALISED_READ and fault.other == IN_FLIGHT
        return in_flight or fault.kind in OF_COPIES

    def _is_copy(self, thread: int) -> bool:
        return self.lowered.asynchronous and thread == ASYNC_THREAD

    def _actor(self, thread: int, block: int) -> Actor:
        """`block`: of a cluster all; `thread` counts through its blocks."""
        rank, own = divmod(thread, prod(self.block))
        if self._is_copy(thread):
            rank, own = 0, thread
        at = _position(own, self.block)
        clusters = tuple(g // c for g, c in zip(self.grid, self.lowered.cluster, strict=True))
        first, inside = _position(block, clusters), _position(rank, self.lowered.cluster)
        x, y, z = (f * c + i for f, c, i in zip(first, self.lowered.cluster, inside, strict=True))
        return Actor(at, (x, y, z), self._is_copy(thread))

    def place(self, site: Site, address: int) -> Place:
        """The array that an address belongs to, by the space of the instruction."""
        window = address >> WINDOW_BITS
        if site.op.space == "shared" or self._is_fragment_in_shared(site, address):
            return self._shared_place(address, site)
        if window == SHARED_WINDOW:
            return self._shared_place(address - window_base(SHARED_WINDOW), site)
        if window == LOCAL_WINDOW:
            item = 4 if site.width >= 4 else site.width or 1
            local = self.lowered.frame.local_bytes
            return Place("a local array", address - window_base(LOCAL_WINDOW), local, item, "local")
        if window == ARGUMENTS_WINDOW:
            size = self.lowered.parameter_bytes
            return Place("the parameters", address - window_base(window), size, 1, "global")
        if window == HEAP_WINDOW:
            return Place("the device heap", address - window_base(window), HEAP_BYTES, 1, "global")
        index = window - PARAM_WINDOW
        if 0 <= index < len(self.arguments) and hasattr(self.arguments[index], "data"):
            buffer = self.arguments[index]
            data = buffer.data
            return Place(buffer.name, address - window_base(window), data.nbytes, data.itemsize, "global")
        for name, at in variable_windows(self.module).items() if window >= VARIABLE_WINDOW else ():
            if at != window:
                continue
            return Place(readable(name), address - window_base(window), self.module.variables[name].size, 1, "global")
        return Place("", address, 0)

    def _seen_from(self, thread: int, place: Place) -> Place:
        """A place in the thread's own block needs no rank."""
        return replace(place, rank=None) if place.rank == thread // prod(self.block) else place

    def _is_fragment_in_shared(self, site: Site, address: int) -> bool:
        """wmma takes generic pointers; checks of shared memory record offsets."""
        return site.op.base == "wmma" and address < self.lowered.shared.arena

    def _shared_place(self, address: int, site: Site) -> Place:
        address, shared = address - (1 << 64) if address >> 63 else address, self.lowered.shared
        rank = None
        if shared.blocks > 1 and 0 <= address < shared.arena:
            rank, address = divmod(address, shared.block_bytes)
        item = 8 if site.op.traits.on_mbarrier else 4 if site.width >= 4 else site.width or 1
        arrays = [(start, size, readable(name)) for name, (start, size) in self.lowered.shared_arrays.items()]
        if shared.has_dynamic:
            arrays.append((shared.dynamic_start, self.dynamic_shared, DYNAMIC))
        if not arrays:
            return Place("shared memory", address, 0, 1, "shared")
        # The array that it lies in or is closest to.
        start, size, name = min(arrays, key=lambda a: max(a[0] - address, address - (a[0] + a[1]) + 1, 0))
        return Place(name, address - start, size, item, "shared", name == DYNAMIC, rank)


def _in_tiles(place: Place, tile: int) -> Place:
    """`tile`: bytes of those that the array holds, or 0."""
    several = tile and place.space == "shared" and place.size > tile and place.size % tile == 0
    return replace(place, tile=place.offset // tile) if several and 0 <= place.offset < place.size else place


def _position(index: int, size: Sequence[int]) -> Dim3:
    """The index in three dimensions, x the fastest."""
    x, y, _ = size
    return index % x, index // x % y, index // (x * y)


def _detail_of_barrier(site: Site, number: int) -> Detail:
    if site.op.traits.barrier is BarrierKind.CLUSTER:
        return Detail.CLUSTER_BARRIER
    if number:
        return Detail.BARRIER_NUMBER if number & BARRIER_NUMBER else Detail.THREAD_COUNT
    return Detail.NONE


def _misalignment(site: Site, place: Place) -> Detail:
    if site.op.base == "wmma":
        return Detail.FRAGMENT
    starts_there = place.array and place.offset % max(site.width, 1) == 0
    return Detail.OWN_ALIGNMENT if starts_there else Detail.NONE


def _unwritten(place: Place | None) -> Detail:
    return Detail.GLOBAL_MEMORY if place and place.space == "global" else Detail.NONE


def _side_of(place: Place) -> Detail:
    """On which side of its array an address lies. Past the end is what `out-of-bounds` means by itself."""
    if not place.array:
        return Detail.STRAY_POINTER
    if place.offset < 0:
        return Detail.BEFORE_START
    if place.is_dynamic:
        return Detail.DYNAMIC_SHARED if place.size else Detail.NOT_REQUESTED
    return Detail.NONE


def _related(kind: Kind, other: Side | None) -> tuple[Related, ...]:
    if other is None or not other.line:
        return ()
    if kind in words.RACES:
        return (Related("other-access", other.file, other.line, _access(other.writes)),)
    waits = kind in WAITS_ELSEWHERE or kind is Kind.COUNTS_DIFFER
    product = kind in (Kind.EARLY_FACTOR, Kind.EARLY_ACCUMULATOR)
    role = "wait" if waits else "product" if product else "change" if kind is Kind.NO_PRODUCT_FENCE else "copy"
    return (Related(role, other.file, other.line),)


def _plain_detail(fault: FaultLike) -> Detail:
    """Where the kind says all, or nearly."""
    if fault.kind is Kind.MISUSE and fault.other & 0xFF == Misuse.PASSED_EARLY:
        return Detail.PASSED_EARLY
    if fault.kind is Kind.NO_PRODUCT_FENCE and fault.other_site:
        return Detail.CHANGED_REGISTER
    return DETAILS.get(fault.kind, Detail.NONE)


def _access(writes: bool) -> str:
    return "write" if writes else "read"


def _is_update(sides: Sequence[Site]) -> bool:
    """Of one line: what lies between updates on two lines may well be a missing barrier."""
    lines = {(at.file, at.line) for at in (submission_frame(side.location) for side in sides)}
    return all(side.updates for side in sides) and len(lines) == 1


def _is_write(site: Site) -> bool:
    return site.op.traits.writes


def is_of_block_scope(site: Site) -> bool:
    return site.op.traits.atomic and site.op.is_of_block_scope


def _detail_between(*sides: Site) -> Detail:
    """Of a race of threads of two blocks."""
    if any(is_of_block_scope(side) for side in sides):
        return Detail.BLOCK_SCOPE
    if all(map(_is_write, sides)):
        return Detail.BETWEEN_BLOCKS
    if _is_untried_swap(sides):
        return Detail.UNTRIED_SWAP
    read, written = sorted(sides, key=_is_write)
    flagged = written.op.is_strong and not read.op.is_strong
    return Detail.PLAIN_READ if flagged else Detail.READ_BETWEEN_BLOCKS


def _is_untried_swap(sides: Sequence[Site]) -> bool:
    read, written = sorted(sides, key=_is_write)
    return not _is_write(read) and written.op.traits.atomic and "cas" in written.op.modifiers


@dataclass(frozen=True)
class _Causes:
    """What says which faults follow from others."""

    overwriting: frozenset[int]  # sites that write what other threads of the block still read
    raced_scalar: bool  # threads race for a single variable, as a counter or a flag
    threads_left: bool  # where threads are missing at a barrier, they have all returned

    def refills(self, fault: FaultLike) -> bool:
        """A copy to what is still being read, which then has not arrived."""
        return fault.other_site in self.overwriting

    @property
    def race_decides(self) -> bool:
        """Threads that leave before a barrier stop their block at once: the race was there before, and is why."""
        return self.threads_left and self.raced_scalar


def _rank(fault: FaultLike, name: str, causes: _Causes) -> float:
    """What is likelier to be the cause comes first; a phase that never completes is rather an effect."""
    if fault.kind is Kind.STUCK_PHASE:
        return len(ORDER)
    if fault.kind is Kind.BARRIER_DIVERGENCE and causes.race_decides:
        return ORDER.index("race") + 0.25
    if fault.kind is Kind.UNINITIALISED_READ and fault.other == IN_FLIGHT:
        # A thread that does not wait for a copy races with it too.
        return ORDER.index("race") + (0.25 if causes.refills(fault) else -0.5)
    return ORDER.index(name) + (0.5 if fault.kind is Kind.BLOCK_RACE else 0)


def submission_frame(location: Location) -> Location:
    """The innermost position in the file of the outermost one: the student's own line, not a header's."""
    frames = location.frames()
    return next(f for f in frames if f.file == frames[-1].file)


def _calls(location: Location) -> tuple[int, ...]:
    """The lines that call the student's own function that holds the location, if another one calls it."""
    frames = location.frames()
    own = [f for f in frames if f.file == frames[-1].file]
    return tuple(dict.fromkeys(f.line for f in own[1:] if f.line and f.line != own[0].line))


def readable(symbol: str) -> str:
    """`_ZZ19grouped_gemm_kernelE2As` -> `As` (Itanium mangling: a local name, or a namespace's)."""
    symbol = symbol.partition("@")[0]  # of a scope of inline assembly
    symbol = re.sub(r"_\$_\d+$", "", symbol)  # of an array that the compiler changed
    for match in re.finditer(r"E(\d+)", symbol):  # template arguments may look like names; the one at the end is it
        end = match.end() + int(match.group(1))
        name, rest = symbol[match.end() : end], symbol[end:]
        if re.fullmatch(r"[A-Za-z_]\w*", name) and re.fullmatch(r"(_\d|__\d+_)?", rest) and end <= len(symbol):
            return name
    named = re.match(r"_ZN?(?:\d+[A-Za-z_]\w*?)?(\d+)([A-Za-z_]\w*?)E?$", symbol)
    return named.group(2) if named else symbol
