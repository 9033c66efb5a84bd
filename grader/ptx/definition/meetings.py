"""Where the interpreter's threads wait for each other, and which of them may continue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from grader.ptx.definition.spaces import InterpreterError

LANES = 32


@dataclass(frozen=True)
class Barrier:
    """At a barrier: its number, the thread count (None: all), and a predicate."""

    number: int
    threads: int | None
    predicate: int


@dataclass(frozen=True)
class Arrival:
    """At a warp collective: which one, the lanes that must take part (0: those that arrive), what this one brings."""

    operation: tuple[str, int]
    mask: int
    brings: Any


@dataclass(frozen=True)
class Phase:
    """At a phase of an mbarrier."""

    is_complete: Callable[[], bool]


class Met(dict[int, Any]):
    """What each lane brought to a collective. `once` computes a shared result only once."""

    def __init__(self, brought: dict[int, Any]) -> None:
        super().__init__(brought)
        self._result: Any = None

    def once(self, compute: Callable[[Met], Any]) -> Any:
        if self._result is None:
            self._result = compute(self)
        return self._result


@dataclass(frozen=True)
class AllArrive:
    """At the barrier of the cluster, for the given time: until all its threads have arrived so often."""

    times: int


Place = Barrier | Arrival | Phase | AllArrive
Answer = list[int] | Met | bool


@dataclass
class Meetings:
    """The waiting threads of a cluster, by index: those of each block are `stride` apart, a multiple of LANES."""

    stride: int
    waits: dict[int, Place] = field(default_factory=dict)
    arrived: dict[tuple[int, int], int] = field(default_factory=dict)  # at a block's barrier, without waiting
    at_cluster: dict[int, int] = field(default_factory=dict)  # how often each thread arrived at the cluster's barrier

    def released(self, alive: set[int]) -> dict[int, Answer]:
        """The threads that may continue, each with what those that met brought."""
        released = self._phase() or self._collective(alive) or self._barrier(alive) or self._cluster(alive)
        if not released:
            raise InterpreterError(
                f"{len(self.waits)} threads wait at barriers or collectives that will not complete"
            )
        for index in released:
            del self.waits[index]
        return released

    def _phase(self) -> dict[int, Answer]:
        phases = {index: wait for index, wait in self.waits.items() if isinstance(wait, Phase)}
        return {index: True for index, phase in phases.items() if phase.is_complete()}

    def _collective(self, alive: set[int]) -> dict[int, Answer]:
        arrivals = {index: wait for index, wait in self.waits.items() if isinstance(wait, Arrival)}
        for needs_all in (True, False):
            for index, arrival in arrivals.items():
                if needs_all != (arrival.mask != 0):
                    continue
                first = index // LANES * LANES
                here = {
                    lane: arrivals[first + lane].brings
                    for lane in range(LANES)
                    if (other := arrivals.get(first + lane))
                    and (other.operation, other.mask) == (arrival.operation, arrival.mask)
                }
                wanted = {lane for lane in range(LANES) if arrival.mask >> lane & 1 and first + lane in alive}
                if wanted <= here.keys():
                    met = Met({lane: here[lane] for lane in sorted(wanted or here)})
                    return {first + lane: met for lane in met}
        return {}

    def _cluster(self, alive: set[int]) -> dict[int, Answer]:
        """All threads that have not exited must have arrived."""
        waits = {index: wait for index, wait in self.waits.items() if isinstance(wait, AllArrive)}
        least = min((self.at_cluster.get(index, 0) for index in alive), default=0)
        return {index: True for index, wait in waits.items() if wait.times <= least}

    def _barrier(self, alive: set[int]) -> dict[int, Answer]:
        """All threads of a block, or as many as the barrier counts; then warps count as a whole, including exited
        threads."""
        barriers = {index: wait for index, wait in self.waits.items() if isinstance(wait, Barrier)}
        for block, number in sorted({(index // self.stride, barrier.number) for index, barrier in barriers.items()}):
            mine = {index for index in alive if index // self.stride == block}
            met = {i: barrier for i, barrier in barriers.items() if i in mine and barrier.number == number}
            counts = {barrier.threads for barrier in met.values()}
            count, arrived = counts.pop(), self.arrived.get((block, number), 0)
            warps = {index // LANES for index in met}
            whole = all(index in met for index in mine if index // LANES in warps)
            complete = whole and LANES * len(warps) + arrived == count if count else len(met) + arrived == len(mine)
            if not counts and complete:
                self.arrived[block, number] = 0
                return {index: [barrier.predicate for barrier in met.values()] for index in met}
        return {}
