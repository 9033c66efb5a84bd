"""Runs rounds of submission and baseline in turn until the verdict is clear, then verifies the outputs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import msgspec

from grader.baselines.registry import Chosen
from grader.errors import GraderError
from grader.sandbox.messages import SUBMISSION, UP_TO, Measured, Occupancy, Prepared, Verified
from grader.timing import gate
from grader.timing.clocks import Reading
from grader.timing.gate import Decision
from grader.timing.statistics import MIN_BLOCKS, Interval, interval

ROUNDS_PER_BLOCK = 8
HOPELESS = 0.25  # share of the threshold: a kernel whose best round is below it gets blocks of one round
LOOKS = (8, 12, 16)  # in blocks; the last look ends the measurement
MAX_BLOCKS = 24  # including blocks dropped because of throttling
SELECTION_ROUNDS = 3
CONTENDER_FACTOR = 1.5  # a route whose best round is this much slower than the best route's cannot become the fastest
WARM_UP_SECONDS = 0.15  # of kernels, so that clocks ramp up
STILL_WARM_SECONDS = 1.0  # after another timing
CLOCK_SLACK = 1.02  # tolerance between the GPU's clock and ours


class TimingError(GraderError):
    """The measurement contradicts itself; this is not the submission's fault."""


class Meter(Protocol):
    """A child with a submission and the inputs of one problem."""

    def prepare(self) -> Prepared: ...

    def measure(self, rounds: int, contenders: tuple[str, ...], *, keep: bool) -> Measured: ...


class Alone(NamedTuple):
    """The state of a GPU held exclusively."""

    read_clocks: Callable[[], Reading | None]
    idle_seconds: float  # seconds since the last timing


class Timing(msgspec.Struct, frozen=True):
    """One process's measurements of one case. Times are medians over the rounds, in microseconds per launch."""

    interval: Interval
    route: str
    time_us: float
    baseline_us: float
    routes: dict[str, float]  # routes that dropped out early: medians of the rounds they took part in
    rounds: int
    dropped: int
    slowdowns: tuple[str, ...]
    sm_mhz: tuple[int, int] | None  # lowest and highest reading
    memory_mhz: int | None
    looks: int
    busy_seconds: float  # in which the GPU ran kernels
    seconds: float
    verified: Verified
    empty_us: float = 0.0
    occupancy: tuple[Occupancy, ...] = ()
    version: str = ""  # of the baseline's library
    shown: dict[str, float] = {}  # routes that only inform
    floors: dict[str, Interval] = {}  # by route, of the ratios that must be reached too
    kernels_us: dict[str, float] = {}  # if there are several kernels, by name what each adds
    rounds_us: tuple[float, ...] = ()  # of the submission, by round


class TooFewRounds(Exception):  # noqa: N818
    """Too many rounds were dropped for a result."""


def take(
    meter: Meter,
    alone: Callable[[], AbstractContextManager[Alone]],
    proof: Callable[[], Verified],
    *,
    baseline: Chosen,
    threshold: float,
    floors: Mapping[str, float] | None = None,
) -> Timing:
    """All measurements happen within `alone`; `proof`, which checks the kept outputs, comes after it.

    `floors`: by route, a ratio that must be reached too.
    """
    floors = floors or {}
    with alone() as gpu:
        start = time.monotonic()
        prepared = meter.prepare()
        _refuse(prepared, baseline, floors)
        run = _Run(meter, gpu.read_clocks, prepared.launches)
        parts = tuple(name for name in prepared.launches if name.startswith(UP_TO))
        everything = tuple(name for name in prepared.launches if name not in parts)
        first = run.measure(SELECTION_ROUNDS, everything, keep=False)
        contenders = chosen(everything, first.times, baseline)
        while run.busy_seconds < WARM_UP_SECONDS and gpu.idle_seconds > STILL_WARM_SECONDS:
            run.measure(ROUNDS_PER_BLOCK, contenders, keep=False)
        if _best_ratio(first.times, contenders, baseline) < HOPELESS * threshold:
            run.rounds_per_block = 1
        decided = _decided(run, contenders, baseline, threshold, floors)
        by_part = run.measure(SELECTION_ROUNDS, (*parts, SUBMISSION), keep=False).times if parts else {}
        seconds = time.monotonic() - start
    medians = {name: statistics.median(run.of(name)) for name in contenders}
    out = {n: statistics.median(t) for n, t in first.times.items() if n not in medians}
    return Timing(
        interval=decided.interval,
        route=decided.route,
        time_us=medians[SUBMISSION],
        baseline_us=medians[decided.route],
        routes={name: us for name, us in (medians | out).items() if _is_route(name, baseline)},
        rounds=len(run.blocks) * run.rounds_per_block,
        dropped=run.dropped,
        slowdowns=tuple(sorted(run.slowdowns)),
        sm_mhz=(min(run.sm_mhz), max(run.sm_mhz)) if run.sm_mhz else None,
        memory_mhz=run.memory_mhz,
        looks=decided.looks,
        busy_seconds=run.busy_seconds,
        verified=proof(),
        seconds=seconds,
        empty_us=prepared.empty_us,
        occupancy=prepared.occupancy,
        version=prepared.version,
        rounds_us=tuple(run.of(SUBMISSION)),
        floors=decided.floors,
        shown={name: us for name, us in medians.items() if _informs(name, baseline)},
        kernels_us=_added(by_part, prepared.occupancy),
    )


def _refuse(prepared: Prepared, baseline: Chosen, floors: Mapping[str, float]) -> None:
    """Raises TimingError if a route that decides is missing."""
    if not any(map(baseline.decides, prepared.launches)):
        why = "; ".join(prepared.unavailable.values()) or f"this case has no route {baseline.route}"
        raise TimingError(f"there is nothing to time it against: {why}")
    if missing := [name for name in floors if name not in prepared.launches]:
        raise TimingError(f"this case has no route {missing[0]}")


class _Decided(NamedTuple):
    """`interval`: of the ratio to the deciding route; `floors`: of the ratios to others; `looks`: taken."""

    route: str
    interval: Interval
    floors: dict[str, Interval]
    looks: int


def _decided(
    run: _Run, contenders: tuple[str, ...], baseline: Chosen, threshold: float, floors: Mapping[str, float]
) -> _Decided:
    """Measures until every ratio is clearly above or below what is required, or the looks are used up."""
    for blocks in LOOKS:
        run.extend(blocks, contenders)
        route = _route(run.blocks, contenders, baseline)
        found = interval(run.ratios(route), looks=len(LOOKS))
        to_floors = {name: interval(run.ratios(name), looks=len(LOOKS)) for name in floors}
        decisions = [gate.decide(found, threshold)] + [gate.decide(to_floors[n], floors[n]) for n in floors]
        if Decision.ACROSS not in decisions:
            break
    return _Decided(route, found, to_floors, LOOKS.index(blocks) + 1)


def chosen(contenders: Sequence[str], times: Mapping[str, Sequence[float]], baseline: Chosen) -> tuple[str, ...]:
    """The routes that stay for all rounds, by their best round, so that a route with two speeds has a chance."""
    if baseline.route:
        return tuple(name for name in contenders if name == baseline.route or not _is_route(name, baseline))
    routes = [name for name in contenders if baseline.decides(name)]
    best = min(min(times[name]) for name in routes)
    slow = {name for name in routes if min(times[name]) > CONTENDER_FACTOR * best}
    return tuple(name for name in contenders if name not in slow)


def _route(blocks: Sequence[Mapping[str, Sequence[float]]], contenders: Sequence[str], baseline: Chosen) -> str:
    """The deciding route with the smallest median over the run."""
    routes = [name for name in contenders if baseline.decides(name)]
    return min(routes, key=lambda name: statistics.median(t for block in blocks for t in block[name]))


def _best_ratio(times: Mapping[str, Sequence[float]], contenders: Sequence[str], baseline: Chosen) -> float:
    """The baseline's slowest round over the submission's fastest, so that only hopeless kernels count as such."""
    route = _route([times], contenders, baseline)
    return max(times[route]) / min(times[SUBMISSION])


def _added(times: Mapping[str, Sequence[float]], kernels: Sequence[Occupancy]) -> dict[str, float]:
    """What each kernel adds to those before it, by name. `times`: of the first, the first two, ... all of them."""
    up_to = [statistics.median(of) for of in times.values()]
    added = [after - before for before, after in zip([0.0, *up_to], up_to, strict=False)]
    return {kernel.kernel: us for kernel, us in zip(kernels, added, strict=False)}


def _is_route(contender: str, baseline: Chosen) -> bool:
    """One of the baseline's routes, which may be the fastest."""
    route = baseline.baseline.routes.get(contender)
    return route is not None and route.decides


def _informs(contender: str, baseline: Chosen) -> bool:
    route = baseline.baseline.routes.get(contender)
    return route is not None and not route.decides


class _Run:
    """The rounds so far. If the GPU throttled during a block, the whole block is dropped."""

    def __init__(self, meter: Meter, read_clocks: Callable[[], Reading | None], launches: Mapping[str, int]) -> None:
        self._meter, self._read, self._launches = meter, read_clocks, launches
        self.blocks: list[Mapping[str, Sequence[float]]] = []
        self.rounds_per_block = ROUNDS_PER_BLOCK
        self.dropped = 0
        self.slowdowns: set[str] = set()
        self.sm_mhz: list[int] = []
        self.memory_mhz: int | None = None
        self.busy_seconds = 0.0

    def extend(self, blocks: int, contenders: tuple[str, ...]) -> None:
        """Runs until there are that many valid blocks. Raises TooFewRounds."""
        while len(self.blocks) < blocks:
            if len(self.blocks) + self.dropped // self.rounds_per_block >= MAX_BLOCKS:
                if len(self.blocks) >= MIN_BLOCKS:
                    return
                raise TooFewRounds(
                    f"{self.dropped} rounds were dropped: {', '.join(sorted(self.slowdowns))} of the GPU"
                )
            before = self._clocks()
            measured = self.measure(self.rounds_per_block, contenders, keep=True)
            slowed = {*before, *self._clocks()}
            if slowed:
                self.slowdowns |= slowed
                self.dropped += self.rounds_per_block
            else:
                self.blocks.append(measured.times)

    def measure(self, rounds: int, contenders: tuple[str, ...], *, keep: bool) -> Measured:
        """Compares the child's times with our own clock."""
        start = time.monotonic()
        measured = self._meter.measure(rounds, contenders, keep=keep)
        elapsed = time.monotonic() - start
        if set(measured.times) != set(contenders) or any(len(t) != rounds for t in measured.times.values()):
            raise TimingError("the child process sent rounds that were not requested")
        summed = sum(sum(times) * self._launches[name] for name, times in measured.times.items()) / 1e6
        if not 0 < summed <= CLOCK_SLACK * measured.busy_seconds <= CLOCK_SLACK**2 * elapsed:
            raise TimingError(
                f"the GPU reports {summed:.4f} s of rounds in {measured.busy_seconds:.4f} s, "
                f"and this machine's clock {elapsed:.4f} s"
            )
        self.busy_seconds += measured.busy_seconds
        return measured

    def ratios(self, route: str) -> list[list[float]]:
        """t_baseline / t_submission of each round, by block."""
        return [
            [base / own for base, own in zip(block[route], block[SUBMISSION], strict=True)] for block in self.blocks
        ]

    def of(self, contender: str) -> list[float]:
        return [t for block in self.blocks for t in block[contender]]

    def _clocks(self) -> tuple[str, ...]:
        """The current slowdowns."""
        reading = self._read()
        if reading is None:
            return ()
        self.sm_mhz.append(reading.sm_mhz)
        self.memory_mhz = reading.memory_mhz
        return reading.slowdowns
