"""What there is to be won in a kernel that is right, in words; and what was counted of its lines, as a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from grader.model.counted import KernelCounts, LineCounts, Saving
from grader.model.result import Result
from grader.reports.text import plural, readable

MOST_LINES = 12  # of the table: what others take does not matter


class Said(NamedTuple):
    """One saving, for every case where there is one."""

    line: int  # 0: the whole kernel
    kernel: str
    what: str
    step: str
    cases: tuple[str, ...]

    @property
    def sentence(self) -> str:
        place = f"Line {self.line}" if self.line else f"{self.kernel} ({', '.join(self.cases)})"
        return f"{place}: {self.what}. {self.step}."


def said(result: Result) -> tuple[Said, ...]:
    """What would bring most comes first: over the cases together, by the figures of the case with the most to win."""
    found: dict[tuple[str, int | str], list[tuple[str, Saving]]] = {}
    for check in result.checks:
        for saving in check.measurements.savings or ():
            found.setdefault((saving.kind, saving.line or saving.kernel), []).append((check.case or "", saving))
    ranked = sorted(found.values(), key=lambda group: -sum(saving.weight for _, saving in group))
    return tuple(_one(group) for group in ranked)


def _one(group: list[tuple[str, Saving]]) -> Said:
    _, most = max(group, key=lambda one: one[1].weight)
    what, step = WORDS[most.kind](most)
    return Said(most.line, most.kernel, what, step, tuple(case for case, _ in group))


def _times(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _bank_conflicts(saving: Saving) -> tuple[str, str]:
    what = (
        f"each access of a warp to shared memory takes {_times(saving.takes)} wavefronts where "
        f"{_times(saving.least)} would do, because its lanes want different words of one bank"
    )
    return what, "Pad the array's rows by one element, or let neighbouring threads access neighbouring words"


def _scattered(saving: Saving) -> tuple[str, str]:
    what = (
        f"each access of a warp to global memory moves {_times(saving.takes)} sectors of 32 bytes "
        f"where {_times(saving.least)} would do"
    )
    return what, "Let neighbouring threads (threadIdx.x) access neighbouring elements"


def _shared_loads(saving: Saving) -> tuple[str, str]:
    what = f"there are {_times(saving.takes)} loads from shared memory for each multiply-add"
    return what, "Let each thread compute several results, so that it uses what it has loaded several times"


def _global_loads(saving: Saving) -> tuple[str, str]:
    what = f"there are {_times(saving.takes)} loads from global memory for each multiply-add"
    return what, "Load tiles into shared memory, so that each value is loaded once for many threads"


def _contended(saving: Saving) -> tuple[str, str]:
    what = f"one address gets {readable(saving.takes)} atomic updates, which wait for each other"
    return what, "Add up within a warp or a block first, and update once for all of it"


def _local_memory(saving: Saving) -> tuple[str, str]:
    what = f"of 1000 instructions, {_times(saving.takes)} access an array in local memory, which is as far as global"
    return what, "Unroll the loops that index the array, so that it fits into registers, or make it smaller"


def _divergent(saving: Saving) -> tuple[str, str]:
    what = f"of a warp's 32 lanes, {_times(saving.takes)} are active"
    return what, "Spread the work so that all lanes of a warp have some"


def _idle(saving: Saving) -> tuple[str, str]:
    idle = f"{100 * saving.share:.0f}% of the time of the {readable(saving.least)} multiprocessors is idle"
    if saving.takes < saving.least:
        return (
            f"with {plural(int(saving.takes), 'block')}, {idle}",
            "Launch more blocks: with smaller tiles, or split K",
        )
    return f"{idle} while the longest blocks finish", "Make the blocks' work even, or the blocks smaller"


WORDS: dict[str, Callable[[Saving], tuple[str, str]]] = {
    "bank-conflicts": _bank_conflicts,
    "scattered": _scattered,
    "shared-loads": _shared_loads,
    "global-loads": _global_loads,
    "contended": _contended,
    "local-memory": _local_memory,
    "divergent": _divergent,
    "idle": _idle,
}


class Row(NamedTuple):
    """A line of the table. Shares are of all lines together; None where the line has no such access."""

    line: int
    instructions: float
    lanes: float  # active, of 32
    sectors: float | None
    sectors_each: str  # "16 (4)": of an access, and how few would do
    wavefronts: float | None
    wavefronts_each: str


class Table(NamedTuple):
    case: str
    kernel: str
    sample: str  # "" if all was counted
    rows: tuple[Row, ...]


def tables(result: Result) -> tuple[Table, ...]:
    """One for each kernel, of the case in which it does most."""
    found: dict[str, tuple[int, str, KernelCounts]] = {}
    for check in result.checks:
        for counts in check.measurements.counted or ():
            done = sum(line.instructions for line in counts.lines) * counts.warps // max(counts.counted, 1)
            found[counts.kernel] = max(found.get(counts.kernel, (-1, "", counts)), (done, check.case or "", counts))
    return tuple(_table(case, counts) for _, case, counts in found.values())


def _table(case: str, counts: KernelCounts) -> Table:
    part = counts.counted < counts.warps
    sample = f"counted in {readable(counts.counted)} of {plural(counts.warps, 'warp')}" if part else ""
    everything = LineCounts(
        0,
        instructions=sum(line.instructions for line in counts.lines),
        global_sectors=sum(line.global_sectors for line in counts.lines),
        shared_wavefronts=sum(line.shared_wavefronts for line in counts.lines),
    )
    rows = [_row(line, everything) for line in counts.lines if line.line and line.instructions]
    kept = sorted(rows, key=lambda row: -max(row.instructions, row.sectors or 0, row.wavefronts or 0))[:MOST_LINES]
    return Table(case, counts.kernel, sample, tuple(sorted(kept)))


def _row(line: LineCounts, everything: LineCounts) -> Row:
    sectors, wavefronts = line.global_requests, line.shared_requests
    return Row(
        line.line,
        line.instructions / max(everything.instructions, 1),
        line.lanes / line.instructions,
        line.global_sectors / max(everything.global_sectors, 1) if sectors else None,
        f"{_times(line.global_sectors / sectors)} ({_times(line.least_sectors / sectors)})" if sectors else "",
        line.shared_wavefronts / max(everything.shared_wavefronts, 1) if wavefronts else None,
        f"{_times(line.shared_wavefronts / wavefronts)} ({_times(line.least_wavefronts / wavefronts)})"
        if wavefronts
        else "",
    )
