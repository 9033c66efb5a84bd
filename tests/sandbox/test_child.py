"""A child seen by its parent: answers, deadlines, deaths, lies."""

from __future__ import annotations

import ast
import os
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from grader.compile.cache import Cache
from grader.model.execution import Invocation, LaunchConfig
from grader.model.exercise import Array
from grader.sandbox import ChildDied, ChildFailed, ChildMemory, ChildTimeout, confine
from grader.sandbox.child import MOST_UNSET, Child, default_workers
from grader.sandbox.forked import Forked
from grader.sandbox.process import Process
from grader.sandbox.zygote import Zygote

Open = Callable[..., Child]


def is_gone(pid: int) -> bool:
    """Neither running nor a zombie of ours."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z" and pid != os.getpid() and parent_of(pid) != os.getpid()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def wait_until_gone(pid: int, seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_gone(pid):
            return True
        time.sleep(0.01)
    return False


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    made = Zygote("tests.sandbox.fake_zygote")
    yield made
    made.close()


@pytest.fixture(params=["started", "forked"])
def open_child(request: pytest.FixtureRequest, zygote: Zygote) -> Iterator[Open]:
    """Wherever it comes from, a child is the same."""
    children = []
    of = zygote if request.param == "forked" else None

    def start(*, memory_bytes: int | None = None, cache: Path | None = None, **options: object) -> Child:
        process = Process("tests.sandbox.fake_engine", memory_bytes=memory_bytes, zygote=of)
        assert isinstance(process._child, Forked) == (of is not None)
        child = Child(process, "cpu", cache=Cache(cache), **options)  # type: ignore[arg-type]
        children.append(child)
        return child

    yield start
    for child in children:
        child.close()
        assert is_gone(child.process.pid)


def ask(child: Child, text: str) -> str:
    return child.compile(text.encode(), "starter.cu").log


def test_it_answers(open_child: Open) -> None:
    child = open_child()
    assert ask(child, "echo one") == "one"
    assert ask(child, "echo two") == "two"


def test_findings_carry_the_students_file_name(open_child: Open) -> None:
    (finding,) = open_child().compile(b"echo x", "starter.cu").findings
    assert (finding.file, finding.message) == ("starter.cu", "x in starter.cu")


def test_bad_files_never_reach_it(open_child: Open) -> None:
    child = open_child()
    for content in (b"", b"\0", b"x" * (2 << 20)):
        compilation = child.compile(content, "starter.cu")
        assert not compilation.ok
        assert compilation.findings[0].file == "starter.cu"


def test_what_it_says_cannot_steer_a_terminal(open_child: Open) -> None:
    log = ask(open_child(), "echo a\x1b[2Jb\x9bc\u202ed\te")
    assert log == "a\ufffd[2Jb\ufffdc\ufffdd\te"


def test_arrays_travel_both_ways(open_child: Open) -> None:
    child = open_child(workers=3)
    random = np.random.default_rng(1)
    big = random.standard_normal((300, 7001)).astype(np.float32)
    arrays = (
        Array("given", np.arange(5, dtype=np.int32)),
        Array("changed", big.T, "inout"),  # not contiguous
        Array("made", np.empty((2, 3), np.float64), "out"),
        Array("none", np.empty((0, 4), np.uint8), "inout"),
        Array("narrow", np.full(3, 200, np.uint8), "inout"),
    )
    outcome = child.run((), arrays, deadline=10)
    assert outcome.unset == frozenset(range(1, MOST_UNSET + 1))  # of the many that it names
    assert sorted(outcome.outputs) == ["changed", "made", "narrow", "none"]
    np.testing.assert_array_equal(outcome.outputs["changed"], big.T * 2)
    np.testing.assert_array_equal(outcome.outputs["made"], np.full((2, 3), 10.0))
    np.testing.assert_array_equal(outcome.outputs["narrow"], np.full(3, 144, np.uint8))
    assert outcome.outputs["none"].shape == (0, 4)
    assert outcome.outputs["changed"].dtype == np.float32
    assert outcome.printed.endswith(" 3 8")  # workers; four fifths of the deadline
    np.testing.assert_array_equal(arrays[1].data, big.T)


def test_outputs_are_private_copies(open_child: Open) -> None:
    child = open_child()
    first = child.run((), (Array("x", np.ones(4), "inout"),), deadline=10).outputs["x"]
    child.run((), (Array("x", np.full(4, 5.0), "inout"),), deadline=10)
    np.testing.assert_array_equal(first, np.full(4, 2.0))


def test_an_output_never_arrives_with_what_lay_there_before(open_child: Open) -> None:
    child = open_child()
    child.run((), (Array("x", np.ones(4, np.float32), "inout"),), deadline=10)
    outcome = child.run((), (Array("x", np.ones(4, np.float32), "out"),), deadline=10)
    assert "'x': 'ffffffff'" in outcome.printed


def test_objects_do_not_travel(open_child: Open) -> None:
    child = open_child()
    with pytest.raises(TypeError, match="which no kernel can read"):
        child.run((), (Array("x", np.array([object()])),), deadline=1)
    assert ask(child, "echo on") == "on"


def test_a_cut_arena_is_a_death_and_no_crash_here(open_child: Open) -> None:
    child = open_child()
    with pytest.raises(ChildDied, match="truncated"):
        child.run((Invocation("shrink", LaunchConfig(), ()),), (Array("x", np.ones(9), "inout"),), deadline=10)


@pytest.mark.parametrize("open_child", ["started"], indirect=True)  # a zygote's is as confined as the zygote was told
def test_a_deadline_kills_and_leaves_no_process(open_child: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor of those that it may start where the kernel filters no calls."""
    monkeypatch.setenv(confine.SWITCH, "off")
    child = open_child(compile_seconds=0.5)
    start = time.monotonic()
    with pytest.raises(ChildTimeout, match=r"stopped after 0\.5 s"):
        ask(child, "fork")
    assert time.monotonic() - start < 30
    assert is_gone(child.process.pid)
    (grandchild,) = struct.unpack("<I", os.pread(child.process.arena.fileno(), 4, 0))
    assert wait_until_gone(grandchild)
    with pytest.raises(ChildDied, match="was stopped"):
        ask(child, "echo too late")


def test_a_crash_is_reported_with_its_signal_and_last_words(open_child: Open) -> None:
    with pytest.raises(ChildDied, match="died of SIGSEGV") as caught:
        ask(open_child(), "segfault")
    assert "last words" in caught.value.stderr


def test_an_exit_is_reported_with_its_code(open_child: Open) -> None:
    with pytest.raises(ChildDied, match="ended with exit code 7"):
        ask(open_child(), "leave")


def test_a_closed_channel_is_a_death(open_child: Open) -> None:
    child = open_child()
    with pytest.raises(ChildDied, match="closed its channel"):
        ask(child, "close")
    assert is_gone(child.process.pid)


def test_too_much_memory_is_a_death_of_its_own(open_child: Open) -> None:
    with pytest.raises(ChildMemory, match=r"the limit is 0\.2 GiB"):
        ask(open_child(memory_bytes=200 << 20), "hoard")


def test_a_fault_of_the_graders_is_told_from_a_death(open_child: Open) -> None:
    with pytest.raises(ChildFailed, match=r"fake_engine\.py:\d+: ZeroDivisionError: by zero") as caught:
        ask(open_child(), "fail by zero")
    assert "Traceback" in caught.value.stderr
    with pytest.raises(ChildFailed, match=r"^install this$"):
        ask(open_child(), "lack install this")


def test_it_can_say_no_more_than_somebody_can_read(open_child: Open) -> None:
    compilation = open_child().compile(b"prattle", "starter.cu")
    assert len(compilation.findings) == 500
    first = compilation.findings[0]
    assert (len(first.message), len(first.notes), first.line) == (10_000, 50, 0)
    assert "\x1b" not in first.kind + first.detail + first.related[0].role
    assert (len(first.detail), len(first.related), first.array) == (10_000, 50, "a\ufffd")
    assert (first.related[0].line, len(first.related[0].file)) == (1 << 20, 10_000)
    assert len(compilation.log) == 200_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("announce", "announced a message of 4294967280 bytes"),
        ("babble", "invalid answer"),
        ("confuse", "Loaded instead of Built"),
    ],
)
def test_a_message_that_is_none_is_a_death(open_child: Open, text: str, words: str) -> None:
    child = open_child()
    with pytest.raises(ChildDied, match=words):
        ask(child, text)
    assert is_gone(child.process.pid)


def test_what_it_writes_to_stdout_and_stderr_neither_blocks_nor_grows(open_child: Open) -> None:
    child = open_child()
    assert ask(child, "chatter done") == "done"
    assert os.fstat(child.process._output.fileno()).st_size <= 16 << 20


def test_it_gets_nothing_of_ours(open_child: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "abc")
    with pytest.raises(ChildFailed) as caught:
        ask(open_child(), "describe")
    found = ast.literal_eval(str(caught.value))
    assert "SECRET_TOKEN" not in found["environment"]
    assert found["environment"]["HOME"] == "/nonexistent"
    assert found["limits"] == [0, 16 << 20, 256, 24 * 3600]
    assert found["folder"] == "removed"
    assert found["session"] is True
    assert found["stdin"] == b""
    assert found["descriptors"] == 6  # 0, 1, 2, channel, arena, and the listing itself


def test_a_child_may_be_killed_from_another_thread(open_child: Open) -> None:
    child = open_child()
    ask(child, "echo up")
    timer = threading.Timer(0.2, child.process.kill)
    timer.start()
    with pytest.raises(ChildDied):
        ask(child, "sleep")
    timer.join()


def test_a_child_outlives_the_thread_that_opened_it(open_child: Open) -> None:
    children: list[Child] = []
    thread = threading.Thread(target=lambda: children.append(open_child()))
    thread.start()
    thread.join()
    assert ask(children[0], "echo alive") == "alive"
    time.sleep(0.1)
    assert ask(children[0], "echo still") == "still"


def test_ctrl_c_ends_it_at_once(open_child: Open) -> None:
    child = open_child()
    ask(child, "echo up")
    timer = threading.Timer(0.2, signal.raise_signal, (signal.SIGINT,))
    timer.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ask(child, "sleep")
    assert is_gone(child.process.pid)
    assert time.monotonic() - start < 10
    timer.join()


def test_a_second_compilation_comes_from_the_cache(open_child: Open, tmp_path: Path) -> None:
    first = open_child(cache=tmp_path).compile(b"echo once", "a.cu")
    again = open_child(cache=tmp_path)
    second = again.compile(b"echo once", "b.cu")
    assert (first.cached, second.cached) == (False, True)
    assert second.findings[0].file == "b.cu"
    assert again.run((), (Array("x", np.ones(1), "inout"),), deadline=10).outputs["x"] == 2
    assert open_child(cache=tmp_path).compile(b"echo twice", "a.cu").cached is False


def test_what_killed_the_compiler_is_not_cached(open_child: Open, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ChildDied):
            open_child(cache=tmp_path).compile(b"leave", "a.cu")


def test_workers_are_the_cores_or_what_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRADER_WORKERS", raising=False)
    assert default_workers() == len(os.sched_getaffinity(0))
    monkeypatch.setenv("GRADER_WORKERS", "5")
    assert default_workers() == 5
    monkeypatch.setenv("GRADER_WORKERS", "many")
    assert default_workers() == len(os.sched_getaffinity(0))
