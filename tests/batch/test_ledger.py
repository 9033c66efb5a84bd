"""The ledger by itself: what it keeps, what it refuses, and files of other versions."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from grader.batch import ledger_schema
from grader.batch.entry import ManualPoints, Submitted
from grader.batch.identity import Conditions
from grader.batch.ledger import FILE, Enrolled, Ledger
from grader.batch.worker import Graded
from grader.errors import GraderError, UsageError
from grader.model.result import Check, Points, Result, Status, Submission, verdict_of

WHERE = Conditions("01_double", "hash", 7, "cpu")
ADA = Enrolled(Submitted("ada", path=Path("/there/ada.cu"), identifiers={"ID": "1"}), "sha-a", "key-a")
AT = datetime(2026, 9, 21, 23, 59, tzinfo=UTC)
BOB = Enrolled(Submitted("bob", problem="nothing was handed in"))


def graded(status: Status = Status.PASSED) -> Graded:
    checks = (Check("compile", status),)
    points = Points(40.0, None, 12.0, None, 52.0, 100.0)
    result = Result(1, "01_double", Submission("submission.cu", "sha-a"), verdict_of(checks), points, 7, {}, checks)
    return Graded(result, seconds=1.5)


def test_what_was_enrolled_comes_back(tmp_path: Path) -> None:
    odd = Enrolled(Submitted("odd", path=Path(os.fsdecode(b"/there/\xff.cu")), late=True, at=AT), "s", "k")
    with Ledger(tmp_path, create=True) as ledger:
        ledger.enrol([ADA, BOB, odd], "01_double")
    with Ledger(tmp_path) as ledger:
        assert ledger.enrolled() == [ADA, BOB, odd]


def test_a_grading_comes_back_as_it_was(tmp_path: Path) -> None:
    with Ledger(tmp_path, create=True) as ledger:
        ledger.enrol([ADA], "01_double")
        assert ledger.record("key-a", "sha-a", WHERE, graded())
    with Ledger(tmp_path) as ledger:
        found = ledger.gradings(["key-a", "key-b"])["key-a"]
        assert (found.result, found.conditions, found.seconds) == (graded().result, WHERE, 1.5)
        assert [event.grading for event in ledger.history("ada")] == [found]
        assert ledger.settled(["key-a", "key-b"]) == {"key-a"}


def test_what_is_settled_is_never_written_again(tmp_path: Path) -> None:
    with Ledger(tmp_path, create=True) as ledger:
        assert ledger.record("key-a", "sha-a", WHERE, graded())
        assert not ledger.record("key-a", "sha-a", WHERE, graded(Status.FAILED))
        assert ledger.gradings(["key-a"])["key-a"].verdict == "passed"


@pytest.mark.parametrize("failure", [Graded(None, "no space"), graded(Status.ERROR)])
def test_an_error_is_replaced(tmp_path: Path, failure: Graded) -> None:
    with Ledger(tmp_path, create=True) as ledger:
        assert ledger.record("key-a", "sha-a", WHERE, failure)
        assert not ledger.settled(["key-a"])
        assert ledger.record("key-a", "sha-a", WHERE, graded())
        found = ledger.gradings(["key-a"])["key-a"]
        assert (found.verdict, found.attempts, found.problem) == ("passed", 2, "")


def test_history_grows_when_the_grading_is_another(tmp_path: Path) -> None:
    second = Enrolled(ADA.submitted, "sha-b", "key-b")
    with Ledger(tmp_path, create=True) as ledger:
        for one in (ADA, ADA, second, ADA):
            ledger.enrol([one], "01_double")
            ledger.record(one.key, one.sha256, WHERE, graded())
        assert [event.grading.sha256 for event in ledger.history("ada")] == ["sha-a", "sha-b", "sha-a"]


def test_manual_points_are_kept_by_exercise_and_can_be_taken_back(tmp_path: Path) -> None:
    with Ledger(tmp_path, create=True) as ledger:
        ledger.give("ada", "01_double", ManualPoints(6.5, "good"))
        ledger.enrol([BOB], "01_double")
        assert ledger.manual("01_double") == {"ada": ManualPoints(6.5, "good")}
        assert ledger.manual("02_triple") == {}
        ledger.give("ada", "01_double", ManualPoints())
        assert ledger.manual("01_double") == {}


def test_what_was_given_under_an_older_version_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(ledger_schema, "MIGRATIONS", ledger_schema.MIGRATIONS[:1])
        Ledger(tmp_path, create=True).__exit__(None, None, None)
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("INSERT INTO manual VALUES ('ada', '01_double', 6.5, 'good', '2026-01-01 00:00:00')")
    with Ledger(tmp_path) as ledger:
        assert ledger.manual("01_double") == {"ada": ManualPoints(6.5, "good")}
        given = ManualPoints(6.0, "better", {"names": 2.0, "comments": 4.0})
        ledger.give("ada", "01_double", given)
        assert ledger.manual("01_double") == {"ada": given}


def test_an_older_ledger_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger(tmp_path, create=True) as ledger:
        ledger.enrol([ADA], "01_double")
        ledger.record("key-a", "sha-a", WHERE, graded())
    added = ("ALTER TABLE student ADD COLUMN section TEXT NOT NULL DEFAULT 'A'",)
    monkeypatch.setattr(ledger_schema, "MIGRATIONS", (*ledger_schema.MIGRATIONS, added))
    with Ledger(tmp_path) as ledger:
        assert ledger.enrolled() == [ADA]
        assert ledger.gradings(["key-a"])["key-a"].result == graded().result
    with sqlite3.connect(tmp_path / FILE) as database:
        assert database.execute("SELECT section FROM student").fetchall() == [("A",)]
        assert database.execute("PRAGMA user_version").fetchone() == (len(ledger_schema.MIGRATIONS),)


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger(tmp_path, create=True) as ledger:
        ledger.enrol([ADA], "01_double")
    broken = ("ALTER TABLE student ADD COLUMN section TEXT", "ALTER TABLE nowhere ADD COLUMN x TEXT")
    with monkeypatch.context() as patched:
        patched.setattr(ledger_schema, "MIGRATIONS", (*ledger_schema.MIGRATIONS, broken))
        with pytest.raises(GraderError, match="nowhere"):
            Ledger(tmp_path)
    with Ledger(tmp_path) as ledger:
        assert ledger.enrolled() == [ADA]


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    Ledger(tmp_path, create=True).__exit__(None, None, None)
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(GraderError, match=r"newer grader \(version 99"):
        Ledger(tmp_path)


def test_another_programs_file_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("CREATE TABLE music (title TEXT)")
    with pytest.raises(GraderError, match="is not a ledger of grade batch"):
        Ledger(tmp_path)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database at all" * 100)
    with pytest.raises(GraderError, match=r"ledger\.sqlite"):
        Ledger(tmp_path)


def test_a_full_disk_is_suspected(tmp_path: Path) -> None:
    Ledger(tmp_path, create=True).__exit__()
    most, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # nothing more can be written
    try:
        with pytest.raises(GraderError, match=r"ledger\.sqlite: disk I/O error; is the disk full\?"):
            Ledger(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))


def test_it_is_its_owners_alone(tmp_path: Path) -> None:
    with Ledger(tmp_path, create=True) as ledger:
        ledger.give("ada", "01_double", ManualPoints(1))
        assert {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {
            FILE: 0o600,
            f"{FILE}-wal": 0o600,
            f"{FILE}-shm": 0o600,
        }


def test_none_is_made_by_looking(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no ledger"):
        Ledger(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_transaction_of_another_process_is_waited_for(tmp_path: Path) -> None:
    with Ledger(tmp_path, create=True) as ledger:
        other = sqlite3.connect(tmp_path / FILE, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.2, lambda: other.execute("COMMIT")).start()
        ledger.give("ada", "01_double", ManualPoints(1))
        assert ledger.manual("01_double")
        other.close()


WRITER = """
import sys
from pathlib import Path
from tests.batch.test_ledger import ADA, WHERE, Ledger, graded
with Ledger(Path(sys.argv[1]), create=True) as ledger:
    for number in range(10_000):
        ledger.record(f"key-{number}", "sha", WHERE, graded())
        print(number, flush=True)
"""


def test_what_was_recorded_outlives_kill_9(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    last = [process.stdout.readline() for _ in range(20)][-1]
    process.send_signal(signal.SIGKILL)
    last = (process.communicate()[0].split("\n")[:-1] or [last])[-1]
    with Ledger(tmp_path) as ledger:
        said = [f"key-{number}" for number in range(int(last) + 1)]
        assert ledger.settled(said) == set(said)


def test_an_emptied_ledger_is_no_new_one(tmp_path: Path) -> None:
    """Who has a gradebook beside it has lost a class; a batch that was killed as it began has nothing beside."""
    (tmp_path / "ledger.sqlite").touch()
    Ledger(tmp_path, create=True).__exit__()
    (tmp_path / "ledger.sqlite").write_bytes(b"")
    (tmp_path / "gradebook.csv").write_text("student\n")
    for create in (True, False):
        with pytest.raises(GraderError, match=r"ledger\.sqlite is empty, but .* restore the ledger from a backup"):
            Ledger(tmp_path, create=create)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE student SET submitted = 'no json'",
        "UPDATE student SET submitted = 7",
        "UPDATE student SET submitted = ?",
        "UPDATE student SET submission = X'FF'",
        "UPDATE grading SET result = ?",
        "UPDATE grading SET result = 7",
        "UPDATE grading SET result = X'00'",
        "UPDATE grading SET seed = 'x'",
        "UPDATE grading SET seconds = 'x'",
        "UPDATE grading SET verdict = X'FF'",
        "INSERT INTO setting VALUES ('seed', 'x')",
        "INSERT INTO setting VALUES ('exercise', X'FF')",
        "INSERT INTO manual VALUES ('alice', '01', 'x', 'y', 'z', '{}')",
        "INSERT INTO manual VALUES ('alice', '01', 1.0, 'y', 'z', '{\"a\": \"b\"}')",
        "INSERT INTO manual VALUES ('alice', '01', 1.0, 'y', 'z', ?)",
    ],
)
def test_rows_that_are_damaged_name_the_file(tmp_path: Path, statement: str) -> None:
    with Ledger(tmp_path, create=True) as ledger:
        ledger.enrol([ADA], WHERE.exercise)
        ledger.record(ADA.key, ADA.sha256, WHERE, graded())
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)) as database:
        database.execute(statement, ("[" * 50_000,) if "?" in statement else ())
    with Ledger(tmp_path) as ledger, pytest.raises(GraderError, match=r"ledger\.sqlite"):
        ledger.settings()
        ledger.enrolled()
        ledger.gradings([ADA.key])
        ledger.manual("01")
