"""Who grades what when: jobs at a time, GPUs that fail, an early end."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from grader.batch import schedule
from grader.batch.lanes import Cpu, Gpus
from grader.batch.schedule import Hands, local
from grader.batch.worker import Graded, Task
from grader.exercise.submission import Source
from grader.model.exercise import Exercise
from grader.model.result import Check, Points, Result, Status, Submission, Verdict

EXERCISE = Exercise("01_double", "", Path(), (), {})


def task(key: str) -> Task:
    return Task(key, Source(Path("submission.cu"), b"", key), EXERCISE, "hash", 7)


def right(of: Task) -> Graded:
    checks = (Check("compile", Status.PASSED),)
    points = Points(40, None, 12, None, 52, 100)
    return Graded(Result(1, "01", Submission("", of.key), Verdict.PASSED, points, 7, {"gpu": of.gpu}, checks))


class Bench:
    """Grades with `grade`; GPUs in `dead` do not answer."""

    def __init__(self) -> None:
        self.dead: set[int] = set()
        self.seen: list[tuple[str, int | None]] = []
        self.at_once = self.most = 0
        self.ended = threading.Event()
        self.kills: set[str] = set()  # takes the GPU with it
        self.seconds = 0.0
        self._lock = threading.Lock()

    def grade(self, one: Task) -> Graded:
        with self._lock:
            self.seen.append((one.key, one.gpu))
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        self.ended.wait(self.seconds)
        with self._lock:
            self.at_once -= 1
            if one.key in self.kills and one.gpu is not None:
                self.dead.add(one.gpu)
            return Graded(None, "no GPU") if one.gpu in self.dead else right(one)

    def hands(self) -> Hands:
        return Hands(self.grade, self.ended.set, lambda gpu: gpu not in self.dead)


def keys(count: int) -> list[Task]:
    return [task(f"k{number}") for number in range(count)]


@pytest.mark.parametrize("jobs", [1, 3])
def test_each_once_and_no_more_at_a_time_than_asked(jobs: int) -> None:
    bench = Bench()
    bench.seconds = 0.01
    done = list(local(keys(9), jobs=jobs, lanes=Cpu(), hands=bench.hands()))
    assert Counter(one.key for one, _ in done) == Counter(one.key for one in keys(9))
    assert bench.most == jobs


def test_gpus_share_the_work_and_none_gets_more_than_its_lanes() -> None:
    bench = Bench()
    bench.seconds = 0.01
    list(local(keys(12), jobs=8, lanes=Gpus({0: 2, 3: 2}), hands=bench.hands()))
    assert bench.most <= 4
    assert {gpu for _, gpu in bench.seen} == {0, 3}


def test_a_gpu_that_does_not_answer_leaves_and_its_work_goes_elsewhere() -> None:
    bench = Bench()
    bench.dead = {0}
    done = {
        one.key: graded for one, graded in local(keys(6), jobs=2, lanes=Gpus({0: 10, 1: 10}), hands=bench.hands())
    }
    assert len(done) == 6
    assert all(graded.settled for graded in done.values())
    assert sum(gpu == 0 for _, gpu in bench.seen) <= 2


def test_a_submission_that_takes_gpus_down_gets_no_third() -> None:
    bench = Bench()
    bench.kills = {"k0"}
    done = {
        one.key: graded
        for one, graded in local(keys(5), jobs=1, lanes=Gpus({0: 10, 1: 10, 2: 10}), hands=bench.hands())
    }
    assert len(bench.dead) == schedule.MOST_GPUS_LOST
    assert [key for key, graded in done.items() if not graded.settled] == ["k0"]


def test_without_a_gpu_left_the_rest_is_not_graded_and_says_so() -> None:
    bench = Bench()
    bench.dead = {0}
    done = list(local(keys(4), jobs=1, lanes=Gpus({0: 10}), hands=bench.hands()))
    assert len(done) == 4
    assert all(schedule.NO_GPU_LEFT in graded.problem for _, graded in done)


def test_an_error_on_a_gpu_that_answers_is_the_submissions_own() -> None:
    def grade(one: Task) -> Graded:
        return Graded(None, "lost its child")

    gpus = Gpus({0: 10})
    done = list(local(keys(2), jobs=1, lanes=gpus, hands=Hands(grade, lambda: None, lambda _: True)))
    assert [graded.problem for _, graded in done] == ["lost its child"] * 2
    assert gpus.left == (0,)


def test_whatever_a_grading_raises_the_others_go_on() -> None:
    def grade(one: Task) -> Graded:
        if one.key == "k1":
            raise SystemExit(1)
        return right(one)

    done = {
        one.key: graded
        for one, graded in local(keys(3), jobs=2, lanes=Cpu(), hands=Hands(grade, lambda: None, lambda _: True))
    }
    assert [key for key, graded in sorted(done.items()) if graded.settled] == ["k0", "k2"]


def test_closing_early_ends_what_runs() -> None:
    bench = Bench()
    bench.seconds = 60
    finishing = local([task("quick"), *keys(4)], jobs=2, lanes=Cpu(), hands=bench.hands())
    bench.seconds = 0
    next(finishing)
    bench.seconds = 60
    began = time.monotonic()
    finishing.close()
    assert time.monotonic() - began < 5
    assert bench.ended.is_set()
