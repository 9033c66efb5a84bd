"""Looks, routes, dropped rounds and lies, with a child that measures what a test says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest

from grader.baselines import registry
from grader.sandbox.messages import Measured, Occupancy, Prepared, Verified
from grader.timing import session
from grader.timing.clocks import Reading
from grader.timing.session import LOOKS, ROUNDS_PER_BLOCK, Alone, Timing, TimingError, TooFewRounds

CONTENDERS = ("submission", "sequential", "streams", "grouped", "single_matrix")
US = {"submission": 100.0, "sequential": 98.0, "streams": 90.0, "grouped": 180.0, "single_matrix": 70.0}
CALM = Reading(1980, 3201, 0)
HOT = Reading(1200, 3201, 0x40)


class FakeMeter:
    """`times` gives a contender's microseconds in a round."""

    def __init__(
        self,
        times: Callable[[str, int], float] = lambda name, _: US[name],
        contenders: tuple[str, ...] = CONTENDERS,
        kernels: tuple[Occupancy, ...] = (),
    ) -> None:
        self._times, self._contenders, self._kernels = times, contenders, kernels
        self._round = 0
        self.asked: list[tuple[int, tuple[str, ...], bool]] = []
        self.events: list[str] = []
        self.busy = 1.0  # of the sum of the times

    def prepare(self) -> Prepared:
        self.events.append("prepare")
        return Prepared(dict.fromkeys(self._contenders, 1), {}, 0.7, self._kernels, "13.1.0")

    def measure(self, rounds: int, contenders: tuple[str, ...], *, keep: bool) -> Measured:
        self.asked.append((rounds, contenders, keep))
        self.events.append("measure")
        self._round += rounds
        numbers = range(self._round - rounds, self._round)
        times = {name: tuple(self._times(name, i) for i in numbers) for name in contenders}
        busy = self.busy * sum(map(sum, times.values())) / 1e6
        time.sleep(min(0.05, busy))
        return Measured(times, busy)

    def prove(self) -> Verified:
        self.events.append("prove")
        return Verified(1e-5, 0, 10, {})


def take(
    meter: FakeMeter,
    readings: Iterator[Reading | None] | None = None,
    *,
    idle_seconds: float = 0.0,
    baseline: str = "fastest",
    threshold: float = 0.6,
    floors: Mapping[str, float] | None = None,
) -> Timing:
    read = (lambda: next(readings)) if readings else (lambda: CALM)

    @contextmanager
    def alone() -> Iterator[Alone]:
        meter.events.append("alone")
        yield Alone(read, idle_seconds)
        meter.events.append("shared")

    return session.take(
        meter, alone, meter.prove, baseline=registry.find(baseline), threshold=threshold, floors=floors
    )


def kept_rounds(meter: FakeMeter) -> int:
    return sum(rounds for rounds, _, keep in meter.asked if keep)


def test_the_ratio_is_to_the_fastest_route() -> None:
    found = take(FakeMeter())
    assert (found.route, found.baseline_us, found.time_us, found.shown) == (
        "streams",
        90.0,
        100.0,
        {"single_matrix": 70.0},
    )
    assert found.interval.ratio == pytest.approx(0.9)
    assert found.routes == {name: US[name] for name in ("sequential", "streams", "grouped")}


def test_a_kernel_of_several_is_timed_after_those_before_it() -> None:
    """By itself it might find a workspace that no run leaves to it: a cursor that is already at its end."""
    us = {"up to route": 30.0, "up to place": 45.0} | US
    kernels = tuple(Occupancy(name, 8, 0.5, 128) for name in ("route", "place", "combine"))
    meter = FakeMeter(lambda name, _: us[name], tuple(us), kernels)
    found = take(meter)
    assert found.kernels_us == {"route": 30.0, "place": 15.0, "combine": 55.0}
    assert meter.asked[-1] == (session.SELECTION_ROUNDS, ("up to route", "up to place", "submission"), False)
    assert all("up to route" not in contenders for _, contenders, _ in meter.asked[:-1])


def test_a_clear_case_needs_one_look() -> None:
    meter = FakeMeter()
    assert take(meter).looks == 1
    assert kept_rounds(meter) == LOOKS[0] * ROUNDS_PER_BLOCK


def test_an_open_case_is_looked_at_to_the_end() -> None:
    meter = FakeMeter()
    assert take(meter, threshold=0.9).looks == len(LOOKS)
    assert kept_rounds(meter) == LOOKS[-1] * ROUNDS_PER_BLOCK


def test_a_hopeless_case_is_not_waited_for() -> None:
    meter = FakeMeter(lambda name, _: 1000.0 if name == "submission" else US[name])
    found = take(meter)
    assert found.interval.ratio == pytest.approx(0.09)
    assert kept_rounds(meter) == found.rounds == LOOKS[0]


def test_what_was_slow_at_first_alone_is_not_hopeless() -> None:
    meter = FakeMeter(lambda name, i: 1000.0 if name == "submission" and i < 2 else US[name])
    assert take(meter).rounds == LOOKS[0] * ROUNDS_PER_BLOCK


def test_nothing_is_hopeless_where_nothing_is_asked_for() -> None:
    meter = FakeMeter(lambda name, _: 1000.0 if name == "submission" else US[name])
    assert take(meter, threshold=0.0).rounds == LOOKS[0] * ROUNDS_PER_BLOCK


def test_a_route_that_cannot_win_leaves_early_and_is_still_shown() -> None:
    meter = FakeMeter()
    take(meter)
    assert all("grouped" in contenders for _, contenders, keep in meter.asked[:1])
    assert not any("grouped" in contenders for _, contenders, keep in meter.asked if keep)


def test_a_route_with_two_speeds_has_its_chance() -> None:
    """Slow at first and in the median, fast enough now and then: it stays, and does not win."""
    meter = FakeMeter(lambda name, i: 110.0 if name == "grouped" and i % 3 == 2 else US[name])
    found = take(meter)
    assert any("grouped" in contenders for _, contenders, keep in meter.asked if keep)
    assert found.route == "streams"


def test_a_named_baseline_is_the_one() -> None:
    assert take(FakeMeter(), baseline="single_matrix").interval.ratio == pytest.approx(0.7)


def test_the_gpu_is_ours_alone_for_the_rounds_and_no_longer() -> None:
    meter = FakeMeter()
    take(meter)
    assert meter.events[:3] == ["alone", "prepare", "measure"]
    assert meter.events[-3:] == ["measure", "shared", "prove"]


def test_a_gpu_that_was_idle_is_warmed_up_first() -> None:
    cold, warm = FakeMeter(), FakeMeter()
    take(cold, idle_seconds=60.0)
    take(warm, idle_seconds=0.5)
    assert kept_rounds(cold) == kept_rounds(warm)
    assert len(cold.asked) > len(warm.asked)


def test_rounds_of_a_hot_gpu_are_dropped_and_counted() -> None:
    def readings() -> Iterator[Reading]:
        yield from (CALM, CALM, CALM, HOT, HOT, CALM)
        while True:
            yield CALM

    meter = FakeMeter()
    found = take(meter, readings())
    assert (found.dropped, found.rounds) == (2 * ROUNDS_PER_BLOCK, LOOKS[0] * ROUNDS_PER_BLOCK)
    assert found.slowdowns == ("hardware thermal slowdown",)
    assert found.sm_mhz == (1200, 1980)


def test_a_gpu_that_stays_hot_judges_nothing() -> None:
    def readings() -> Iterator[Reading]:
        while True:
            yield HOT

    with pytest.raises(TooFewRounds, match="hardware thermal slowdown"):
        take(FakeMeter(), readings())


def test_a_machine_without_nvml_still_times() -> None:
    def readings() -> Iterator[None]:
        while True:
            yield None

    assert take(FakeMeter(), readings()).sm_mhz is None


@pytest.mark.parametrize("busy", [0.5, 1e6])
def test_times_that_do_not_fit_the_clock_are_no_measurement(busy: float) -> None:
    """Rounds longer than the GPU was busy; a GPU that was busy for longer than this process waited."""
    meter = FakeMeter()
    meter.busy = busy
    with pytest.raises(TimingError, match="clock"):
        take(meter)


def test_a_floor_has_an_interval_of_its_own_and_stays_for_all_rounds() -> None:
    meter = FakeMeter()
    found = take(meter, floors={"single_matrix": 0.5})
    assert found.floors["single_matrix"].ratio == pytest.approx(0.7)
    assert (found.route, found.looks) == ("streams", 1)


def test_a_floor_that_is_open_keeps_the_measurement_going() -> None:
    found = take(FakeMeter(), floors={"single_matrix": 0.7})
    assert found.looks == len(LOOKS)


def test_a_floor_without_its_route_is_refused() -> None:
    with pytest.raises(TimingError, match="no route padded"):
        take(FakeMeter(), floors={"padded": 1.3})
