"""The ledger: every finished grading, who submitted what, and the points an instructor gave. One SQLite file.

Written by one process at a time through one connection. Once `record` returns, a grading survives kill -9 and power
loss. A grading is stored once under its key (`identity.Conditions.key`); once settled, it is never written again.
"""

from __future__ import annotations

import base64
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from grader.batch import ledger_schema
from grader.batch.entry import ManualPoints, Submitted
from grader.batch.identity import Conditions
from grader.batch.worker import Graded
from grader.errors import GraderError, UsageError
from grader.model import codec
from grader.model.result import Result, Verdict

_T = TypeVar("_T")

FILE = "ledger.sqlite"
BUSY_SECONDS = 30.0  # another process's transaction takes milliseconds


class Enrolled(msgspec.Struct, frozen=True):
    """A student of the batch. `key` and `sha256` are "" if there is nothing to grade."""

    submitted: Submitted
    sha256: str = ""
    key: str = ""


class Grading(msgspec.Struct, frozen=True):
    """A row of the ledger: a Result, or why there is none, and its conditions."""

    number: int
    sha256: str
    conditions: Conditions
    verdict: str
    problem: str
    finished: str  # UTC, "2026-03-01 09:30:00"
    seconds: float
    attempts: int
    result: Result | None


class LedgerEvent(msgspec.Struct, frozen=True):
    """From `at` on, this grading was the student's."""

    at: str
    grading: Grading
    number: int  # grows with every event in the ledger


class Ledger:
    """Every method raises GraderError if the file cannot be read or written."""

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        """Raises UsageError if there is none and none should be created."""
        self.file = folder / FILE
        if not create and not self.file.is_file():
            raise UsageError(f"there is no ledger in {folder}; name a folder created by grade batch --out")
        if self.file.is_file() and not self.file.stat().st_size and _holds_more(folder):
            raise GraderError(
                f"{self.file} is empty, but {folder} contains other files. If they belong to a batch, restore the "
                "ledger from a backup; otherwise remove it or choose another --out"
            )
        if create:
            _touch(self.file)
        with self._errors():
            self._database = sqlite3.connect(self.file, timeout=BUSY_SECONDS, isolation_level=None)
            try:
                ledger_schema.prepare(self._database, self.file)
            except BaseException:
                self._database.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    # The batch

    def settings(self) -> dict[str, str]:
        found = self._read(dict(self._rows("SELECT name, value FROM setting")), dict[str, str])
        if not found.get("seed", "0").isdecimal():
            raise self._damaged(f"the seed must be a number, not {found['seed']!r}")
        return found

    def real_names(self) -> bool:
        """Whether the leaderboards show real names."""
        return self.settings().get("real_names") == "yes"

    def keep(self, settings: Mapping[str, str]) -> None:
        with self._writing():
            for name, value in settings.items():
                self._run("INSERT OR REPLACE INTO setting VALUES (?, ?)", name, value)

    def enrol(self, students: Sequence[Enrolled], exercise: str) -> None:
        """Sets the batch's students. Existing gradings of their submissions become theirs."""
        with self._writing():
            self._run("DELETE FROM student")
            for position, one in enumerate(students):
                student = one.submitted.student
                row = (student, position, _kept(one.submitted), one.sha256, one.key)
                self._run("INSERT INTO student VALUES (?, ?, ?, ?, ?)", *row)
                self._credit(student, exercise, one.key)

    def enrolled(self) -> list[Enrolled]:
        rows = self._rows("SELECT submitted, submission, key FROM student ORDER BY position")
        return [Enrolled(self._submitted(text), *self._read(rest, tuple[str, str])) for text, *rest in rows]

    # Gradings

    def settled(self, keys: Iterable[str]) -> set[str]:
        """Keys that need no more grading."""
        done = {key for (key,) in self._rows("SELECT key FROM grading WHERE settled")}
        return done.intersection(keys)

    def record(self, key: str, sha256: str, conditions: Conditions, graded: Graded) -> bool:
        """Stores a grading for everyone who submitted exactly this. On disk when this returns.

        False if there is already a settled grading, which is kept.
        """
        result = graded.result
        with self._writing():
            changed = self._run(
                ledger_schema.RECORD,
                key,
                sha256,
                *msgspec.structs.astuple(conditions),
                (result.verdict if result else Verdict.ERROR).value,
                graded.settled,
                codec.encode(result) if result else None,
                graded.problem,
                _now(),
                graded.seconds,
            )
            for (student,) in self._rows("SELECT student FROM student WHERE key = ?", key):
                self._credit(student, conditions.exercise, key)
        return changed == 1

    def gradings(self, keys: Iterable[str]) -> dict[str, Grading]:
        found = ((key, self._rows(f"{_GRADING} WHERE key = ?", key)) for key in dict.fromkeys(keys))
        return {key: self._grading(rows[0]) for key, rows in found if rows}

    def history(self, student: str) -> list[LedgerEvent]:
        """Oldest first."""
        return [LedgerEvent(at, self._grading(row), number) for number, at, *row in self._rows(_HISTORY, student)]

    def last_event(self) -> int:
        """The number of the last event; 0 without one."""
        ((number,),) = self._rows("SELECT COALESCE(MAX(id), 0) FROM history")
        return self._read(number, int)

    def credit(self, student: str, exercise: str, key: str) -> None:
        """The same for a student who is in no batch."""
        with self._writing():
            self._credit(student, exercise, key)

    def _credit(self, student: str, exercise: str, key: str) -> None:
        """From now on its grading, if there is one, is the student's."""
        self._run(ledger_schema.CREDIT, student, exercise, _now(), key, student, exercise)

    # What an instructor gave

    def manual(self, exercise: str) -> dict[str, ManualPoints]:
        rows = self._rows("SELECT student, points, comment, items FROM manual WHERE exercise = ?", exercise)
        return {student: self._manual(rest) for student, *rest in rows}

    def give(self, student: str, exercise: str, given: ManualPoints) -> None:
        self.give_all(exercise, {student: given})

    def give_all(self, exercise: str, given: Mapping[str, ManualPoints]) -> None:
        """By student: replaces what was given before; with nothing given, removes it. All or none."""
        with self._writing():
            for student, one in given.items():
                self._run("DELETE FROM manual WHERE student = ? AND exercise = ?", student, exercise)
                if one != ManualPoints():
                    items = msgspec.json.encode(one.items).decode()
                    row = (student, exercise, one.points, one.comment, _now(), items)
                    self._run(ledger_schema.GIVE, *row)

    # Forgetting

    def knows(self, student: str) -> bool:
        return any(self._rows(f"SELECT 1 FROM {name} WHERE student = ? LIMIT 1", student) for name in _ABOUT)  # noqa: S608

    def purge(self, student: str) -> None:
        """Deletes every row about the student, and gradings that only they have; overwritten, not only unlinked."""
        with self._writing():
            for table in _ABOUT:
                self._run(f"DELETE FROM {table} WHERE student = ?", student)  # noqa: S608 - names of ours
            self._run(ledger_schema.FORGET)
        with self._errors():
            self._database.execute("VACUUM")
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # What stands there, if it is what was written

    def _grading(self, row: Sequence[Any]) -> Grading:
        conditions, result = dict(zip(Conditions.__struct_fields__, row[2:8], strict=True)), row[13]
        plain = dict(zip(_PLAIN, (*row[:2], *row[8:13]), strict=True))
        grading = self._read({**plain, "conditions": conditions, "result": None}, Grading)
        try:
            return msgspec.structs.replace(grading, result=codec.decode(result)) if result else grading
        except (codec.ResultError, TypeError) as error:
            raise self._damaged(f"grading {grading.number}: {error}") from None

    def _submitted(self, kept: bytes) -> Submitted:
        try:
            return msgspec.json.decode(kept, type=Submitted, dec_hook=_path)
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
            raise self._damaged(str(error)) from None

    def _manual(self, row: Sequence[Any]) -> ManualPoints:
        points, comment, items = self._read(row, tuple[float | None, str, str])
        try:
            return ManualPoints(points, comment, msgspec.json.decode(items, type=dict[str, float]))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise self._damaged(str(error)) from None

    def _read(self, value: object, type_: type[_T]) -> _T:
        try:
            return msgspec.convert(value, type_)
        except msgspec.ValidationError as error:
            raise self._damaged(str(error)) from None

    def _damaged(self, what: str) -> GraderError:
        return GraderError(f"{self.file} is damaged: {what}. Restore it from a backup, or choose another --out")

    # SQLite

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """All or nothing."""
        with self._errors():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def _run(self, statement: str, *values: Any) -> int:
        with self._errors():
            return self._database.execute(statement, values).rowcount

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._errors(), closing(self._database.execute(query, values)) as cursor:
            return cursor.fetchall()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            kind = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest of a code says where
            full = "; is the disk full?" if kind == sqlite3.SQLITE_IOERR else ""
            raise GraderError(f"{self.file}: {error}{full}") from None


def _touch(file: Path) -> None:
    """Readable only by its owner, since it names students. SQLite's auxiliary files get the same permissions."""
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise GraderError(f"{file}: {error.strerror}") from None


_ABOUT = ("student", "history", "manual")  # the tables with rows about students
_COLUMNS = (
    "grading.id, submission, grading.exercise, exercise_hash, seed, device, secret, grader, "
    "verdict, problem, finished, seconds, attempts, result"
)
_PLAIN = ("number", "sha256", "verdict", "problem", "finished", "seconds", "attempts")
_GRADING = f"SELECT {_COLUMNS} FROM grading"  # noqa: S608 - names of ours
_HISTORY = (
    f"SELECT history.id, history.at, {_COLUMNS} FROM history JOIN grading ON grading.id = history.grading "  # noqa: S608
    "WHERE student = ? ORDER BY history.id"
)


def _kept(one: Submitted) -> bytes:
    """As JSON; a path is stored as bytes, which may not be text."""
    path = one.path.absolute() if one.path else None
    return msgspec.json.encode(msgspec.structs.replace(one, path=path), enc_hook=bytes)


def _path(_: object, kept: Any) -> Path:
    return Path(os.fsdecode(base64.b64decode(kept)))


def _holds_more(folder: Path) -> bool:
    """A batch that was killed as it began left nothing else."""
    return any(not one.name.startswith((".", FILE)) for one in folder.iterdir())


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
