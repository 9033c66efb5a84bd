"""Children that are forked: each on its own, whatever happens to another one or to the zygote."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from grader import executors
from grader.compile.cache import Cache
from grader.exercise import catalog, submission
from grader.grading import pipeline
from grader.model import codec
from grader.model.result import Result
from grader.sandbox import ChildDied, ChildTimeout, confine
from grader.sandbox.child import Child
from grader.sandbox.forked import Forked
from grader.sandbox.process import Process
from grader.sandbox.zygote import MOST_STARTS, Zygote
from tests.sandbox.test_child import ask, parent_of, wait_until_gone

ROOT = Path(__file__).parents[2]


@pytest.fixture
def zygote() -> Iterator[Zygote]:
    before = children_of_ours()
    made = Zygote("tests.sandbox.fake_zygote")
    yield made
    made.close()
    assert children_of_ours() <= before


def children_of_ours() -> set[str]:
    """Zombies too, whichever thread started them."""
    return {pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()}


def opened(zygote: Zygote) -> Child:
    return Child(Process("tests.sandbox.fake_engine", zygote=zygote), "cpu", cache=Cache(None))


def is_forked(child: Child) -> bool:
    return isinstance(child.process._child, Forked)


def zygotes_pid(zygote: Zygote) -> int:
    assert zygote._process is not None
    return zygote._process.pid


def test_each_is_a_process_of_its_own_and_a_child_of_ours(zygote: Zygote) -> None:
    with opened(zygote) as first, opened(zygote) as second:
        assert first.process.pid != second.process.pid
        assert {parent_of(child.process.pid) for child in (first, second)} == {os.getpid()}
        assert ask(first, "echo one") == "one"
        assert ask(second, "echo two") == "two"


def test_a_child_that_dies_or_hangs_costs_no_other(zygote: Zygote) -> None:
    with opened(zygote) as steady:
        for text in ("segfault", "leave", "close"):
            with opened(zygote) as child, pytest.raises(ChildDied):
                ask(child, text)
        with opened(zygote) as child:
            os.kill(child.process.pid, signal.SIGKILL)
            with pytest.raises(ChildDied, match="SIGKILL"):
                ask(child, "echo")
        hanging = Process("tests.sandbox.fake_engine", zygote=zygote)
        with Child(hanging, "cpu", compile_seconds=0.3) as child, pytest.raises(ChildTimeout):
            ask(child, "sleep")
        assert ask(steady, "echo still there") == "still there"
        with opened(zygote) as child:
            assert is_forked(child)


def test_a_zygote_that_dies_costs_no_child_and_there_is_another(zygote: Zygote) -> None:
    with opened(zygote) as before:
        for _ in range(MOST_STARTS - 1):
            os.kill(zygotes_pid(zygote), signal.SIGKILL)
            with opened(zygote) as child:
                assert is_forked(child)
                assert ask(child, "echo forked") == "forked"
        os.kill(zygotes_pid(zygote), signal.SIGKILL)
        with opened(zygote) as child:  # it dies too often here
            assert not is_forked(child)
            assert ask(child, "echo started") == "started"
        assert ask(before, "echo still there") == "still there"


def test_without_one_that_starts_children_start_by_themselves() -> None:
    zygote = Zygote("no.such.module")
    with opened(zygote) as child:
        assert not is_forked(child)
        assert ask(child, "echo alone") == "alone"
    zygote.close()


def test_a_closed_one_forks_no_more_and_a_waiting_fork_gives_up(zygote: Zygote) -> None:
    children: list[Child] = []
    opening = threading.Thread(target=lambda: children.append(opened(zygote)))
    opening.start()
    while zygote._process is None:
        time.sleep(0.001)
    os.kill(zygotes_pid(zygote), signal.SIGSTOP)  # while it loads, which takes longer
    zygote.close()
    opening.join()
    with children.pop() as child, opened(zygote) as later:
        assert not is_forked(child)
        assert not is_forked(later)
        assert ask(child, "echo alone") == "alone"


@pytest.mark.skipif(bool(confine.missing()), reason="this kernel cannot confine a child")
def test_it_is_confined_and_cannot_reach_the_zygote() -> None:
    zygote = Zygote("tests.sandbox.hostile_zygote")
    with opened(zygote) as child:
        assert is_forked(child)
        for text, refused in (
            ("open('/etc/passwd')", "PermissionError"),
            (f"open('{__file__}')", "PermissionError"),
            ("import os; os.fork()", "PermissionError"),
            ("import socket; socket.socket()", "PermissionError"),
            (f"import os; os.kill({zygotes_pid(zygote)}, 9)", "PermissionError"),
            (f"open('/proc/{zygotes_pid(zygote)}/mem', 'r+b')", "PermissionError"),
        ):
            assert refused in child.compile(text.encode(), "a.cu").log, text
        assert child.unconfined == ()
    zygote.close()


DIES = """
import sys, time
from grader import executors
zygote = executors.cpu_zygote()
child = executors.open_cpu(workers=1, zygote=zygote)
print(zygote._process.pid, child.process.pid, flush=True)
time.sleep(60)
"""


def test_with_us_both_die() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", DIES], env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pids = [int(word) for word in process.stdout.readline().split()]
    assert len(pids) == 2
    process.kill()
    process.communicate()
    assert all(map(wait_until_gone, pids))


@pytest.mark.parametrize("file", ["wrong/no_column_bound.cu", "wrong/syntax_error.cu"])
def test_the_result_is_that_of_a_started_child(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADER_CACHE_DIR", "")
    exercise = catalog.find("1", ROOT / "exercises")
    source = submission.read(exercise.folder / file)
    zygote = executors.cpu_zygote()
    forked, started = (
        pipeline.grade(
            exercise, source, seed=1, only="small", open_executor=partial(executors.open_cpu, 1, zygote=of)
        )
        for of in (zygote, None)
    )
    zygote.close()
    assert without_times(forked) == without_times(started)


def without_times(result: Result) -> str:
    return re.sub(r'("[a-z_]*seconds":|"date":)[^,}]*', r"\1", codec.encode(result).decode())
