"""The ledger's tables, and the migrations from every earlier version.

`MIGRATIONS[n]` leads from version n to n + 1; an empty file is version 0. Released migrations are never
changed; add new ones at the end.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from grader.errors import GraderError

# In the file's header, to distinguish a ledger from other programs' databases: "GRDL".
APPLICATION_ID = 0x4752444C

_FIRST = (
    "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    # submission: its SHA-256. settled: no check ended in an error; such a row is never written again.
    # result: a Result as JSON, under a neutral file name; NULL if the grader failed before there was one.
    """CREATE TABLE grading (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        submission TEXT NOT NULL,
        exercise TEXT NOT NULL,
        exercise_hash TEXT NOT NULL,
        seed INTEGER NOT NULL,
        device TEXT NOT NULL,
        secret TEXT NOT NULL,
        grader TEXT NOT NULL,
        verdict TEXT NOT NULL,
        settled INTEGER NOT NULL,
        result BLOB,
        problem TEXT NOT NULL,
        finished TEXT NOT NULL,
        seconds REAL NOT NULL,
        attempts INTEGER NOT NULL
    )""",
    # The batch's current students. submitted: as JSON. submission, key: "" if there is nothing to grade.
    """CREATE TABLE student (
        student TEXT PRIMARY KEY,
        position INTEGER NOT NULL,
        submitted BLOB NOT NULL,
        submission TEXT NOT NULL,
        key TEXT NOT NULL
    )""",
    "CREATE INDEX student_by_key ON student (key)",
    # Which grading was a student's, and since when.
    """CREATE TABLE history (
        id INTEGER PRIMARY KEY,
        student TEXT NOT NULL,
        exercise TEXT NOT NULL,
        grading INTEGER NOT NULL REFERENCES grading (id),
        at TEXT NOT NULL
    )""",
    "CREATE INDEX history_by_student ON history (student)",
    """CREATE TABLE manual (
        student TEXT NOT NULL,
        exercise TEXT NOT NULL,
        points REAL,
        comment TEXT NOT NULL,
        at TEXT NOT NULL,
        PRIMARY KEY (student, exercise)
    )""",
)

# items: of the instructor's rubric, as JSON.
_RUBRIC = ("ALTER TABLE manual ADD COLUMN items TEXT NOT NULL DEFAULT '{}'",)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _RUBRIC)

# Only failed gradings are replaced.
RECORD = """
    INSERT INTO grading (key, submission, exercise, exercise_hash, seed, device, secret, grader,
                         verdict, settled, result, problem, finished, seconds, attempts)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)
    ON CONFLICT (key) DO UPDATE SET
        verdict = excluded.verdict, settled = excluded.settled, result = excluded.result,
        problem = excluded.problem, finished = excluded.finished, seconds = excluded.seconds,
        attempts = attempts + 1
    WHERE NOT settled
"""

GIVE = "INSERT INTO manual (student, exercise, points, comment, at, items) VALUES (?, ?, ?, ?, ?, ?)"

# (student, exercise, at, key, student, exercise): unless it is the student's current grading.
CREDIT = """
    INSERT INTO history (student, exercise, grading, at)
    SELECT ?, ?, id, ? FROM grading
    WHERE key = ? AND id IS NOT (
        SELECT grading FROM history WHERE student = ? AND exercise = ? ORDER BY id DESC LIMIT 1
    )
"""

FORGET = "DELETE FROM grading WHERE id NOT IN (SELECT grading FROM history)"


def prepare(database: sqlite3.Connection, file: Path) -> None:
    """Sets up the connection and this version's tables. Raises GraderError if the file is not a ledger."""
    version = database.execute("PRAGMA user_version").fetchone()[0]
    known = database.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    empty = not database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    if not known and not empty:
        raise GraderError(f"{file} is not a ledger of grade batch; move it away or choose another --out")
    if version > len(MIGRATIONS):
        raise GraderError(
            f"{file} was written by a newer grader (version {version}; this one reads up to {len(MIGRATIONS)}): "
            "update the grader"
        )
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")  # a finished grading is on disk, whatever happens next
    database.execute("PRAGMA secure_delete = ON")  # what is purged is overwritten
    database.execute("PRAGMA foreign_keys = ON")
    if version < len(MIGRATIONS):
        _migrate(database)


def _migrate(database: sqlite3.Connection) -> None:
    """All or nothing. Checks the version again inside the transaction, since another process may have been faster."""
    database.execute("BEGIN IMMEDIATE")
    try:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                database.execute(statement)
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
