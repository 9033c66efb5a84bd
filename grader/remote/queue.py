"""Whose turn it is on a machine that many students share: a folder, in which every waiting process holds a ticket.

A ticket is a file that its process keeps locked. The system unlocks it however the process ends, so one that was
killed leaves the queue. Everything is read and written under one lock, for a moment at a time.
"""

from __future__ import annotations

import fcntl
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

import msgspec

from grader import files
from grader.errors import GraderError

HOUR = 3600.0
POLL_SECONDS = 0.2  # how often a waiting process looks; a grading takes seconds
MOST_EACH = 3  # tickets of one student at a time: a forgotten grade watch, and the one after it
MAX_BYTES = 1 << 20

# Hidden, next to the ledger.
LOCK, TICKETS, STARTS = ".queue.lock", ".tickets", ".starts.json"


class Left(Exception):  # noqa: N818 - no error
    """The student has disconnected, so the result is no longer needed."""


class Ticket(msgspec.Struct, frozen=True):
    """`arrived`: in nanoseconds since 1970."""

    student: str
    arrived: int
    running: bool = False


class Queue:
    """At most `at_once` gradings run. A student may start `per_hour` of them; `most` tickets are held in all."""

    def __init__(self, folder: Path, *, at_once: int = 1, per_hour: int = 20, most: int = 40) -> None:
        """Creates the folder. Raises GraderError."""
        self._folder, self._at_once, self._per_hour, self._most = folder, at_once, per_hour, most
        with _told(folder):
            (folder / TICKETS).mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextmanager
    def turn(self, student: str, gone: Event, tell: Callable[[int], None]) -> Iterator[None]:
        """Waits for the student's turn, telling how many come first. The body is the turn.

        Raises GraderError if the queue is full or the student has used up the hour; Left once `gone` is set.
        """
        with self._ticket(student) as mine:
            told = 0
            while before := self._before(mine):
                if before != told:
                    tell(before)
                told = before
                if gone.wait(POLL_SECONDS):
                    raise Left
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Held for moments only: what several processes must not do at once."""
        with _told(self._folder):
            descriptor = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)

    @contextmanager
    def _ticket(self, student: str) -> Iterator[Path]:
        with self.alone():
            self._refuse(student)
            arrived = time.time_ns()
            file = self._folder / TICKETS / f"{arrived:020d}-{os.getpid()}"
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            _write(descriptor, Ticket(student, arrived))
        try:
            yield file
        finally:
            file.unlink(missing_ok=True)
            os.close(descriptor)

    def _refuse(self, student: str) -> None:
        tickets, starts = list(self._tickets().values()), self._starts().get(student, ())
        if len(tickets) >= self._most:
            raise GraderError(f"its queue is full: {len(tickets)} gradings are waiting. Try again in a few minutes")
        mine = [ticket for ticket in tickets if ticket.student == student]
        if len(mine) >= MOST_EACH:
            raise GraderError(f"{len(mine)} of your gradings are already waiting there. Wait for one of them")
        if len(starts) + sum(not ticket.running for ticket in mine) >= self._per_hour:
            minutes = math.ceil((min(starts, default=time.time()) + HOUR - time.time()) / 60)
            raise GraderError(
                f"you have used your {self._per_hour} gradings per hour there. Try again in {minutes} min"
            )

    def _before(self, file: Path) -> int:
        """How many come before that ticket; 0 if its turn begins now."""
        with self.alone():
            tickets, starts = self._tickets(), self._starts()
            if file not in tickets:
                raise GraderError("its queue was emptied. Try again")
            waiting = _fair({f: t for f, t in tickets.items() if not t.running}, starts)
            running, place = len(tickets) - len(waiting), waiting.index(file)
            if running >= self._at_once or place:
                return running + place
            mine = tickets[file]
            starts[mine.student] = (*starts.get(mine.student, ()), time.time())
            files.publish(self._folder / STARTS, msgspec.json.encode(starts), durable=False)
            with file.open("r+b") as stream:
                _write(stream.fileno(), msgspec.structs.replace(mine, running=True))
            return 0

    def forget(self, student: str) -> None:
        """Removes what the folder holds about the student, but for gradings that are waiting or running now."""
        with self.alone():
            self._tickets()
            others = {one: times for one, times in self._starts().items() if one != student}
            files.publish(self._folder / STARTS, msgspec.json.encode(others), durable=False)

    def _tickets(self) -> dict[Path, Ticket]:
        """Those whose process is alive. Removes the others."""
        found = {}
        for file in sorted((self._folder / TICKETS).iterdir()):
            with suppress(FileNotFoundError):  # given back meanwhile
                if ticket := self._held(file):
                    found[file] = ticket
        return found

    def _held(self, file: Path) -> Ticket | None:
        """None if its process has ended; then it is removed."""
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink()
            return None
        except BlockingIOError:
            return msgspec.json.decode(files.read(file, MAX_BYTES), type=Ticket)
        finally:
            os.close(descriptor)

    def _starts(self) -> dict[str, tuple[float, ...]]:
        """By student, when the gradings of the last hour began, oldest first."""
        now = time.time()
        try:
            kept = msgspec.json.decode(
                files.read(self._folder / STARTS, MAX_BYTES), type=dict[str, tuple[float, ...]]
            )
        except (OSError, msgspec.DecodeError):  # the first one, or it was damaged
            kept = {}
        recent = {student: tuple(at for at in times if now - HOUR < at <= now) for student, times in kept.items()}
        return {student: times for student, times in recent.items() if times}


def _fair(tickets: dict[Path, Ticket], starts: dict[str, tuple[float, ...]]) -> list[Path]:
    """Everyone's first ticket before anyone's second; among those, whoever's last turn is longest ago."""
    seen: Counter[str] = Counter()
    order = []
    for file, ticket in sorted(tickets.items(), key=lambda item: item[1].arrived):
        last = starts.get(ticket.student, (0.0,))[-1]
        order.append((seen[ticket.student], last, ticket.arrived, file))
        seen[ticket.student] += 1
    return [file for *_, file in sorted(order)]


def _write(descriptor: int, ticket: Ticket) -> None:
    content = msgspec.json.encode(ticket)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, content, 0)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise GraderError(f"its queue cannot be used: {folder}: {error.strerror}. Tell your instructor") from None
