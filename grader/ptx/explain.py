"""Fault records into findings: the array by its name, how far outside, which thread and block."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from grader.ptx import asynchronous
from grader.ptx.lowering.lower import Lowered
from grader.ptx.lowering.memory import variable_windows
from grader.ptx.lowering.sites import WAITING, Site
from grader.ptx.machine import (
    ABSENT_LANE,
    ASYNC_THREAD,
    LOCAL_WINDOW,
    OWN_LANE,
    PARAM_WINDOW,
    SHARED_WINDOW,
    STAMP_STEP,
    VARIABLE_WINDOW,
    WINDOW_BITS,
    Kind,
    window_base,
)
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
}


@dataclass(frozen=True)
class Report:
    """One finding: `message` says what happened first, `count` how often the same happened at this line."""

    kind: str
    file: str
    line: int
    message: str
    count: int
    notes: tuple[str, ...] = ()
    column: int = 0


@dataclass(frozen=True)
class Place:
    """Where an address lies: the array's name ("": in none), and the offset in bytes into it."""

    array: str
    offset: int
    size: int
    item: int = 1  # bytes of an element

    def describe(self, width: int) -> str:
        if not self.array:
            return f"address {self.offset & (1 << 64) - 1:#x}, which lies in no array (a null or stray pointer)"
        name = f"{self.array}[{self.offset // self.item}]" if self.offset % self.item == 0 else (
            f"{self.array} + {self.offset} bytes"
        )  # fmt: skip
        if self.offset >= 0 and self.offset + width <= self.size:
            return name
        if self.offset < 0:
            return f"{name}, {-self.offset} bytes before its start"
        if self.offset >= self.size:
            past = self.offset - self.size
            where = "just past its end" if past == 0 else f"{past} bytes past its end"
            return f"{name}, {where} ({self.size // self.item} elements)"
        return f"{name}, across its end ({self.size // self.item} elements)"


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


class Explainer:
    def __init__(
        self,
        lowered: Lowered,
        arguments: Sequence[Any],
        module: Module,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        dynamic_shared: int,
    ) -> None:
        self.lowered, self.arguments, self.module = lowered, arguments, module
        self.grid, self.block, self.dynamic_shared = grid, block, dynamic_shared

    def reports(self, faults: Sequence[FaultLike]) -> list[Report]:
        """One report per kind, line and array, in the order of blocks and threads. A race shows at both its lines."""
        merged: dict[tuple[str, str, int, str], list[tuple[FaultLike, Report]]] = {}
        early = {fault.site for fault in faults if fault.kind is Kind.EARLY_READ}  # of what is written, too late
        for fault in faults:
            if fault.kind is Kind.UNINITIALISED_READ and fault.other != IN_FLIGHT and fault.site in early:
                continue
            site = self.lowered.sites[fault.site]
            at = submission_frame(site.location)
            message, array = self._message(fault.kind, site, fault)
            notes = ((self._other(fault),) if fault.kind in RACES else ()) + called_from(site.location)
            report = Report(self._name(fault), at.file, at.line, message, fault.count, notes, at.column)
            merged.setdefault((report.kind, at.file, at.line, array), []).append((fault, report))
        reports = []
        for entries in merged.values():
            first = min(entries, key=lambda e: (e[0].block, e[0].thread))
            r = first[1]
            total = sum(e[1].count for e in entries)
            reports.append((first[0], Report(r.kind, r.file, r.line, r.message, total, r.notes, r.column)))
        reports.sort(key=lambda e: (_rank(e[0], e[1].kind), e[0].block, e[0].thread))
        return [report for _, report in reports]

    def _name(self, record: FaultLike) -> str:
        return "race" if self._reads_too_soon(record) else NAMES[record.kind]

    def _reads_too_soon(self, record: FaultLike) -> bool:
        """What a bulk copy has not brought yet."""
        copied = record.kind is Kind.UNINITIALISED_READ and record.other == IN_FLIGHT
        return copied and self.lowered.sites[record.other_site].opcode.endswith(".bulk")

    def _message(self, kind: Kind, site: Site, record: FaultLike) -> tuple[str, str]:
        who = self._who(record.thread, record.block)
        if kind is Kind.BARRIER_DIVERGENCE:
            return self._divergence(record), ""
        if kind is Kind.COLLECTIVE_MISMATCH:
            return self._mismatch(site, record), ""
        if kind is Kind.DID_NOT_FINISH:
            if site.opcode == "push":
                return f"{who} calls on from here until its stack is full: the recursion does not seem to end", ""
            if site.opcode == WAITING:
                return f"{who} is still in this loop, which looks at what other threads may change", ""
            return f"{who} is still in this loop: it does not seem to end", ""
        if kind is Kind.TRAP:
            return f"{who} stopped the kernel here (assert or trap)", ""
        place = self.place(site, record.address)
        verb = "writes" if self._is_write(site) else "reads"
        what = f"{place.describe(site.width)}"
        if kind in asynchronous.KINDS:
            line = submission_frame(self.lowered.sites[record.other_site].location).line
            return asynchronous.message(kind, who, what, record.other, line), place.array
        if self._reads_too_soon(record):
            line = submission_frame(self.lowered.sites[record.other_site].location).line
            return f"{who} reads {what}, which the bulk copy of line {line} writes and nobody waited for", place.array
        texts = {
            Kind.OUT_OF_BOUNDS: f"{who} {verb} {what}",
            Kind.UNINITIALISED_READ: f"{who} reads {what}, {NOT_WRITTEN[record.other == IN_FLIGHT]}",
            Kind.MISALIGNED: f"{who} {verb} {site.width} bytes at {what}: byte {place.offset} is no multiple of that",
            Kind.READ_ONLY_WRITE: f"{who} writes {what}, which a kernel may only read",
            Kind.RACE: f"{who} {verb} {what}; {self._also(record)}, and {self._within_a_block()} the two",
            Kind.EARLY_READ: f"{who} {verb} {what}; {self._also(record)}, and {self._within_a_block()} the two",
            Kind.BLOCK_RACE: f"{who} {verb} {what}; {self._also(record)}, and {self._between_blocks(site, record)}",
        }
        return texts[kind], place.array

    def _also(self, record: FaultLike) -> str:
        """The line on the other side of a race."""
        other = self.lowered.sites[record.other_site]
        verb = "writes" if self._is_write(other) else "reads"
        copy = "the copy of " if self._is_copy(record.other % STAMP_STEP) else ""
        return f"{copy}line {submission_frame(other.location).line} {verb} it too"

    def _within_a_block(self) -> str:
        """What is missing between the two. With barriers of its own, a kernel may only use one of them wrongly."""
        return "none of the kernel's barriers orders" if self.lowered.own_barriers else "no barrier orders"

    def _between_blocks(self, site: Site, record: FaultLike) -> str:
        """Why nothing orders the two."""
        if any(is_of_block_scope(s) for s in (site, self.lowered.sites[record.other_site])):
            return "an atomic operation of block scope is atomic within its own block only"
        return "blocks run in any order"

    def _other(self, record: FaultLike) -> str:
        """Who stood on the other side of a race."""
        other = self.lowered.sites[record.other_site]
        at = submission_frame(other.location)
        stamp, verb = record.other, "wrote" if self._is_write(other) else "read"
        if self._is_copy(stamp % STAMP_STEP):
            return f"the copy that starts in line {at.line} {verb} it"
        block = (stamp >> 32) - 2 if stamp >> 33 else record.block
        who = self._who(stamp % STAMP_STEP, block)
        return f"{who} {verb} it in line {at.line}"

    def _divergence(self, record: FaultLike) -> str:
        if record.address % 32:
            return f"this barrier is for {record.address} threads: {WHOLE_WARPS}"
        if record.address:
            x, y, z = self.block
            return f"this barrier waits for {record.address} threads, and only {x * y * z} come"
        count = record.other
        who = self._who(record.thread, record.block)
        other = record.other_site
        are = "1 thread" if count == 1 else f"{count} threads"
        if other == 0:
            return f"{are} of the block never reach this barrier: {who} has already left the kernel"
        line = submission_frame(self.lowered.sites[other].location).line
        return f"{are} of the block do not wait here: {who} waits at the barrier in line {line}"

    def _mismatch(self, site: Site, record: FaultLike) -> str:
        what = COLLECTIVES.get(site.opcode.split(".")[0], "this warp operation")
        thread, block = record.thread, record.block
        if record.address >= OWN_LANE:
            lane = record.address - OWN_LANE
            return f"{self._who(thread, block)}, lane {lane}, calls {what} with a mask that does not name it"
        if record.address >= ABSENT_LANE:
            lane = record.address - ABSENT_LANE
            return f"{self._who(thread, block)} reads lane {lane} in {what}, which is not in the mask"
        other = record.other_site
        line = submission_frame(self.lowered.sites[other].location).line if other else 0
        where = f"waits in line {line}" if line else "has left the kernel"
        return f"{what} waits for lanes of its mask that never come: {self._who(thread, block)} {where}"

    @staticmethod
    def _is_write(site: Site) -> bool:
        if site.opcode.startswith(("mbarrier.test_wait", "mbarrier.try_wait")):
            return False
        writes = ("st", "atom", "red", "stmatrix", "mbarrier", "cp")
        return site.opcode.split(".")[0] in writes or site.opcode.startswith("wmma.store")

    def _is_copy(self, thread: int) -> bool:
        return self.lowered.asynchronous and thread == ASYNC_THREAD

    def _who(self, thread: int, block: int) -> str:
        if self._is_copy(thread):
            return "the copy that starts here"
        x, y, _ = self.block
        at = (thread % x, thread // x % y, thread // (x * y))
        gx, gy, _ = self.grid
        where = (block % gx, block // gx % gy, block // (gx * gy))
        return f"thread ({at[0]},{at[1]},{at[2]}) of block ({where[0]},{where[1]},{where[2]})"

    def place(self, site: Site, address: int) -> Place:
        """The array that an address belongs to, by the space of the instruction."""
        mods = site.opcode.split(".")
        window = address >> WINDOW_BITS
        if "shared" in mods or "shared::cta" in mods:
            return self._shared_place(address, site)
        if window == SHARED_WINDOW:
            return self._shared_place(address - window_base(SHARED_WINDOW), site)
        if window == LOCAL_WINDOW:
            item = 4 if site.width >= 4 else site.width or 1
            local = self.lowered.frame.local_bytes
            return Place("a local array", address - window_base(LOCAL_WINDOW), local, item)
        index = window - PARAM_WINDOW
        if 0 <= index < len(self.arguments) and hasattr(self.arguments[index], "data"):
            buffer = self.arguments[index]
            return Place(buffer.name, address - window_base(window), buffer.data.nbytes, buffer.data.itemsize)
        for name, at in variable_windows(self.module).items() if window >= VARIABLE_WINDOW else ():
            if at != window:
                continue
            variable = self.module.variables[name]
            return Place(readable(variable.name), address - window_base(window), variable.size)
        return Place("", address, 0)

    def _shared_place(self, address: int, site: Site) -> Place:
        address = address - (1 << 64) if address >> 63 else address
        item = 8 if site.opcode.startswith("mbarrier") else 4 if site.width >= 4 else site.width or 1
        arrays = [(start, size, readable(name)) for name, (start, size) in self.lowered.shared_arrays.items()]
        if self.lowered.shared.dynamic_start < self.lowered.shared.arena and self.dynamic_shared:
            arrays.append((self.lowered.shared.dynamic_start, self.dynamic_shared, "dynamic shared memory"))
        if not arrays:
            return Place("shared memory", address, 0)
        # The array that it lies in or is closest to.
        start, size, name = min(arrays, key=lambda a: max(a[0] - address, address - (a[0] + a[1]) + 1, 0))
        return Place(name, address - start, size, item)


IN_FLIGHT = 1  # the `other` of a read of what cp.async has not brought yet
WHOLE_WARPS = "warps arrive as a whole, so the number must be a multiple of 32"
NOT_WRITTEN = {False: "which nothing has written", True: "whose cp.async nobody has waited for"}
COLLECTIVES = {"shfl": "the shuffle", "vote": "the vote", "match": "the match", "redux": "the warp reduction",
               "bar": "__syncwarp", "elect": "elect", "mma": "the matrix product",
               "wmma": "the matrix product", "ldmatrix": "ldmatrix", "stmatrix": "stmatrix",
               "movmatrix": "movmatrix"}  # fmt: skip
RACES = (Kind.RACE, Kind.BLOCK_RACE, Kind.NO_PROXY_FENCE, Kind.EARLY_READ)
ORDER = ["did-not-finish", "barrier-divergence", "collective-mismatch", "misaligned-access", "out-of-bounds", "race",
         "uninitialised-read", "read-only-write", "trap"]  # fmt: skip


def is_of_block_scope(site: Site) -> bool:
    parts = site.opcode.split(".")
    return parts[0] in ("atom", "red") and "cta" in parts


def _rank(fault: FaultLike, name: str) -> float:
    """What is likelier to be the cause comes first; a phase that never completes is rather an effect."""
    if fault.kind is Kind.STUCK_PHASE:
        return len(ORDER)
    if fault.kind is Kind.UNINITIALISED_READ and fault.other == IN_FLIGHT:
        return ORDER.index("race") - 0.5  # who does not wait for a copy races with it too
    return ORDER.index(name) + (0.5 if fault.kind is Kind.BLOCK_RACE else 0)


def submission_frame(location: Location) -> Location:
    """The innermost position in the file of the outermost one: the student's own line, not a header's."""
    frames = location.frames()
    return next(f for f in frames if f.file == frames[-1].file)


def called_from(location: Location) -> tuple[str, ...]:
    """Where the student's own function that holds the line is called, if another one calls it."""
    frames = location.frames()
    own = [f for f in frames if f.file == frames[-1].file]
    lines = list(dict.fromkeys(f.line for f in own[1:] if f.line and f.line != own[0].line))
    return (f"called in line {', in line '.join(map(str, lines))}",) if lines else ()


def readable(symbol: str) -> str:
    """`_ZZ19grouped_gemm_kernelE2As` -> `As` (Itanium mangling: a local name, or a namespace's)."""
    symbol = re.sub(r"_\$_\d+$", "", symbol)  # of an array that the compiler changed
    for match in re.finditer(r"E(\d+)", symbol):  # template arguments may look like names; the one at the end is it
        end = match.end() + int(match.group(1))
        name, rest = symbol[match.end() : end], symbol[end:]
        if re.fullmatch(r"[A-Za-z_]\w*", name) and re.fullmatch(r"(_\d|__\d+_)?", rest) and end <= len(symbol):
            return name
    named = re.match(r"_ZN?(?:\d+[A-Za-z_]\w*?)?(\d+)([A-Za-z_]\w*?)E?$", symbol)
    return named.group(2) if named else symbol
