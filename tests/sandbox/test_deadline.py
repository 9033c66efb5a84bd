"""Deadlines in processor time: what a busy machine takes from a child is given back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from grader.sandbox import deadline
from grader.sandbox.deadline import Deadline

SPIN = "print('up', flush=True)\nwhile True: pass"
SPIN_IN_THREE = (
    "import threading\nprint('up', flush=True)\ndef spin():\n    while True: pass\n"
    "for _ in range(3): threading.Thread(target=spin).start()\n"
)
SLEEP = "import time; print('up', flush=True); time.sleep(60)"


@contextmanager
def child(code: str) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def until_over(it: Deadline) -> float:
    began = time.monotonic()
    while it.left() > 0:
        time.sleep(0.01)
    return time.monotonic() - began


def test_who_works_has_the_processor_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "PATIENCE", 1000.0)
    with child(SPIN) as pid:
        before = deadline.processor_seconds(pid)
        until_over(Deadline(pid, 0.3, patient=True))
        assert deadline.processor_seconds(pid) - before > 0.25  # the system counts in hundredths


def test_who_waits_is_stopped_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "PATIENCE", 10.0)
    with child(SLEEP) as pid:
        assert until_over(Deadline(pid, 0.1, patient=True)) > 0.8  # a second, less what passes before it is looked at
        assert until_over(Deadline(pid, 0.1, patient=False)) < 0.8


def test_time_on_several_cores_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "PATIENCE", 1000.0)
    with child(SPIN_IN_THREE) as pid:
        before = deadline.processor_seconds(pid)
        until_over(Deadline(pid, 0.2, patient=True, cores=3))
        assert deadline.processor_seconds(pid) - before > 0.25  # the system counts in hundredths


@pytest.mark.parametrize("cores", [0, 1, 16])
def test_one_threads_work_gets_no_more_time_on_more_cores(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    """As that of the compiler of a kernel: else a verdict would depend on how many cores a machine has."""
    monkeypatch.setattr(deadline, "PATIENCE", 1000.0)
    with child(SPIN) as pid:
        before = deadline.processor_seconds(pid)
        until_over(Deadline(pid, 0.3, patient=True, cores=cores))
        assert 0.27 <= deadline.processor_seconds(pid) - before < 0.6  # ticks of 10 ms


def test_what_threads_used_before_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "PATIENCE", 1000.0)
    with child(SPIN) as pid:
        until_over(Deadline(pid, 0.3, patient=True, cores=4))
        assert Deadline(pid, 0.2, patient=True, cores=4).left() > 0


def test_a_busy_machine_takes_nothing_away() -> None:
    """Beside others that want all of the cores, the same work gets the same processor time."""
    with ExitStack() as others:
        for _ in range(2 * len(os.sched_getaffinity(0))):
            others.enter_context(child(SPIN))
        pid = others.enter_context(child(SPIN))
        before = deadline.processor_seconds(pid)
        until_over(Deadline(pid, 0.1, patient=True))
        assert deadline.processor_seconds(pid) - before >= 0.07  # ticks of 10 ms


def test_of_a_process_that_is_gone_the_clock_counts() -> None:
    with child(SLEEP) as pid:
        pass
    assert deadline.processor_seconds(pid) == 0.0
    assert 0 < Deadline(pid, 10.0, patient=True).left() <= 10.0
