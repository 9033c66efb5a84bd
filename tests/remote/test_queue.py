"""Whose turn it is. Students are threads here, and processes in test_host."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from grader.errors import GraderError
from grader.remote.queue import MOST_EACH, STARTS, TICKETS, Left, Queue

WAIT_SECONDS = 20


class Students:
    """Each waits in a thread, and keeps the turn until it is finished."""

    def __init__(self, folder: Path, queue: Queue | None = None) -> None:
        self._queue, self._tickets = queue or Queue(folder), folder / TICKETS
        self.turns: list[str] = []
        self.told: dict[str, list[int]] = {}
        self._gone: dict[str, threading.Event] = {}
        self._finished = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []

    def come(self, *names: str) -> None:
        """ "ada-2" is Ada, once more."""
        for name in names:
            self._gone[name], self.told[name] = threading.Event(), []
            thread = threading.Thread(target=self._wait, args=(name,))
            self._threads.append(thread)
            before = len(list(self._tickets.iterdir()))
            thread.start()
            until(lambda before=before: len(list(self._tickets.iterdir())) > before)  # type: ignore[misc]

    def leave(self, name: str) -> None:
        self._gone[name].set()

    def finish(self) -> list[str]:
        """Everyone's turn ends, one after the other."""
        self._finished.release(len(self._threads))
        for thread in self._threads:
            thread.join()
        return self.turns

    def _wait(self, name: str) -> None:
        try:
            with self._queue.turn(name.partition("-")[0], self._gone[name], self.told[name].append):
                self.turns.append(name)
                self._finished.acquire()
        except Left:
            pass


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def take(queue: Queue, student: str) -> None:
    """A turn that ends at once."""
    with queue.turn(student, threading.Event(), print):
        pass


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grader.remote.queue.POLL_SECONDS", 0.01)


def test_nobody_comes_twice_before_the_others(tmp_path: Path) -> None:
    students = Students(tmp_path)
    students.come("ada-1", "ada-2", "ada-3", "bob-1", "bob-2", "cyd-1")
    until(lambda: students.told["cyd-1"] != [])
    assert students.finish() == ["ada-1", "bob-1", "cyd-1", "ada-2", "bob-2", "ada-3"]
    assert students.told["ada-1"] == []
    assert students.told["cyd-1"][0] == 2  # Ada, who is being graded, and Bob
    assert students.told["ada-3"][0] == 2  # until the others came


def test_who_was_served_longest_ago_comes_first(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    take(queue, "bob")
    take(queue, "ada")
    students = Students(tmp_path, queue)
    students.come("eve", "ada", "bob", "cyd")
    assert students.finish() == ["eve", "cyd", "bob", "ada"]


def test_several_at_a_time(tmp_path: Path) -> None:
    students = Students(tmp_path, Queue(tmp_path, at_once=2))
    students.come("ada", "bob", "cyd")
    until(lambda: students.told["cyd"] == [2])
    assert sorted(students.turns) == ["ada", "bob"]
    assert sorted(students.finish()) == ["ada", "bob", "cyd"]


def test_who_leaves_makes_room(tmp_path: Path) -> None:
    students = Students(tmp_path)
    students.come("ada", "bob", "cyd")
    students.leave("bob")
    until(lambda: 1 in students.told["cyd"])
    assert students.finish() == ["ada", "cyd"]


def test_a_ticket_of_a_process_that_died_is_none(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    (tmp_path / TICKETS / "0-1").write_text('{"student": "ada", "arrived": 0, "running": true}')
    (tmp_path / TICKETS / "0-2").write_text("{")  # it died while it wrote
    with queue.turn("bob", threading.Event(), pytest.fail):
        assert len(list((tmp_path / TICKETS).iterdir())) == 1


def test_tickets_may_be_given_back_while_another_counts_them(tmp_path: Path) -> None:
    queue = Queue(tmp_path, at_once=9, per_hour=1000)

    def often(student: str) -> int:
        for _ in range(40):
            take(queue, student)
        return 40

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(often, "abcdefgh")) == [40] * 8


def test_a_full_queue(tmp_path: Path) -> None:
    queue = Queue(tmp_path, most=1)
    full = pytest.raises(GraderError, match=r"its queue is full: 1 gradings are waiting. Try again")
    with queue.turn("ada", threading.Event(), print), full:
        take(queue, "bob")


def test_one_student_does_not_fill_it(tmp_path: Path) -> None:
    students = Students(tmp_path)
    students.come(*(f"ada-{number}" for number in range(MOST_EACH)))
    with pytest.raises(GraderError, match="of your gradings are already waiting there"):
        take(Queue(tmp_path), "ada")
    students.come("bob")
    assert students.finish()[1] == "bob"


def test_an_hour_has_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue(tmp_path, per_hour=2)
    take(queue, "ada")
    take(queue, "ada")
    with pytest.raises(GraderError, match=r"your 2 gradings per hour there. Try again in 60 min"):
        take(queue, "ada")
    take(queue, "bob")
    later = time.time() + 3601
    monkeypatch.setattr(time, "time", lambda: later)
    take(queue, "ada")


def test_what_waits_counts_too(tmp_path: Path) -> None:
    queue = Queue(tmp_path, per_hour=2)
    students = Students(tmp_path, queue)
    students.come("ada-1", "ada-2")
    with pytest.raises(GraderError, match="your 2 gradings per hour"):
        take(queue, "ada")
    students.finish()


def test_a_damaged_record_of_the_hour_is_begun_again(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    (tmp_path / STARTS).write_bytes(b"\xff{")
    take(queue, "ada")
    assert "ada" in (tmp_path / STARTS).read_text()


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "queue").write_text("a file")
    with pytest.raises(GraderError, match=r"its queue cannot be used: .*queue"):
        Queue(tmp_path / "queue")


def test_a_queue_that_is_emptied_meanwhile(tmp_path: Path) -> None:
    students = Students(tmp_path)
    students.come("ada")
    failed: list[GraderError] = []

    def wait() -> None:
        with pytest.raises(GraderError) as raised:
            take(Queue(tmp_path), "bob")
        failed.append(raised.value)

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: len(list((tmp_path / TICKETS).iterdir())) == 2)
    for ticket in (tmp_path / TICKETS).iterdir():
        ticket.unlink()
    thread.join()
    assert "its queue was emptied" in str(failed[0])
    students.finish()
