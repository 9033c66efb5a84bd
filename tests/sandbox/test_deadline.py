"""Deadlines in processor time: what a busy machine takes from a child is given back."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from grader.sandbox import deadline
from grader.sandbox.deadline import Deadline

SPIN = "print('up', flush=True)\nwhile True: pass"
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
        assert deadline.processor_seconds(pid) - before >= 0.3


def test_who_waits_is_stopped_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "PATIENCE", 10.0)
    with child(SLEEP) as pid:
        assert until_over(Deadline(pid, 0.1, patient=True)) > 0.8  # a second, less what passes before it is looked at
        assert until_over(Deadline(pid, 0.1, patient=False)) < 0.8


def test_time_on_several_cores_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "PATIENCE", 1000.0)
    with child(SPIN) as pid:
        before = deadline.processor_seconds(pid)
        until_over(Deadline(pid, 0.1, patient=True, cores=3))
        assert deadline.processor_seconds(pid) - before >= 0.28


def test_of_a_process_that_is_gone_the_clock_counts() -> None:
    with child(SLEEP) as pid:
        pass
    assert deadline.processor_seconds(pid) == 0.0
    assert 0 < Deadline(pid, 10.0, patient=True).left() <= 10.0
