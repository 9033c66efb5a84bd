"""What the page of the class is told of each student, and the names that a leaderboard uses."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from grader.batch import classroom, mistakes, pseudonyms
from grader.errors import GraderError
from grader.model.details import Detail
from grader.model.result import Finding, Status
from tests.batch.class_of import (
    BROKEN,
    CLASS,
    EXERCISE,
    LOST,
    MISSING,
    OPEN,
    PASSED,
    RACE,
    does_not_compile,
    entry,
    grader_error,
    passed,
    slow,
    wrong,
    wrong_values,
)

KEY = b"k" * 32


def test_rows_hold_what_is_known() -> None:
    rows = {row.student: row for row in classroom.rows_of(CLASS, EXERCISE, KEY)}
    assert list(rows) == sorted(rows)
    alice, bob = rows["alice"], rows["bob"]
    assert (alice.points, alice.complete, alice.report) == (92.0, True, "reports/alice.html")
    assert (alice.case("uniform").right, alice.case("uniform").ratio) == (Status.PASSED, 0.71)
    assert (bob.points, bob.complete, bob.case("uniform").ratio) == (52.0, False, None)
    assert rows["carol"].case("variable").right is Status.FAILED
    assert rows["heidi"].late


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (MISSING, "no .cu file, only notes.pdf"),
        (LOST, "its process was killed twice"),
        (BROKEN, "the grader failed: the child process ended with signal 9"),
        (PASSED, ""),
        (OPEN, ""),
    ],
)
def test_why_somebody_has_no_points(entry, why: str) -> None:  # type: ignore[no-untyped-def]
    (row,) = classroom.rows_of((entry,), EXERCISE, KEY)
    assert row.problem == why


def test_code_not_written_yet_is_no_wrong_result() -> None:
    finding = msgspec.structs.replace(wrong_values(""), detail=Detail.UNTOUCHED)
    (mistake,) = mistakes.of(wrong(finding))
    assert (mistake.title, mistake.detail) == ("Not written yet", "the unchanged starter")


def test_mistakes_are_told_once_and_without_what_is_the_students_own() -> None:
    cause = "rows of the last tile are never stored"
    found = {
        "race": mistakes.of(wrong(RACE)),
        "diagnosed": mistakes.of(wrong(wrong_values(cause))),
        "undiagnosed": mistakes.of(wrong(wrong_values(""))),
        "slow": mistakes.of(slow()),
        "compile": mistakes.of(does_not_compile()),
        "none": mistakes.of(passed()),
        "grader": mistakes.of(grader_error()),
    }
    assert {name: [(m.kind, m.detail) for m in made] for name, made in found.items()} == {
        "race": [("race", "")],
        "diagnosed": [("wrong-values", cause)],
        "undiagnosed": [("wrong-values", mistakes.UNEXPLAINED)],
        "slow": [("too-slow", "")],
        "compile": [("compile-error", 'identifier "…" is undefined')],
        "none": [],
        "grader": [],
    }


def test_a_mistake_with_the_students_own_numbers_keeps_its_name() -> None:
    cause = "every element is nearly right, to about 1 part in 1.5"
    (mistake,) = mistakes.of(wrong(msgspec.structs.replace(wrong_values(cause), mistake="nearly-right")))
    assert (mistake.key, mistake.detail) == (("wrong-values", "nearly-right"), cause)
    redacted = Finding("wrong-values", "", 0, "redacted: this case is the instructor's secret")
    assert mistakes.of(wrong(redacted))[0].detail == mistakes.UNEXPLAINED


def test_pseudonyms_are_stable_unique_and_secret() -> None:
    students = [f"student-{n}" for n in range(400)]
    names = pseudonyms.of(students, KEY)
    assert len(set(names.values())) == len(students)
    assert pseudonyms.of(reversed(students), KEY) == names
    other = pseudonyms.of(students, b"x" * 32)
    assert sum(names[student] == other[student] for student in students) < 10
    assert len(set(pseudonyms.of([str(n) for n in range(5000)], KEY).values())) == 5000


def test_a_batch_keeps_its_key(tmp_path: Path) -> None:
    key = pseudonyms.key_of(tmp_path)
    assert pseudonyms.key_of(tmp_path) == key
    assert (tmp_path / pseudonyms.KEY_FILE).stat().st_mode & 0o077 == 0
    (tmp_path / pseudonyms.KEY_FILE).write_text("damaged")
    assert pseudonyms.key_of(tmp_path) != key


def test_both_pages_are_written(tmp_path: Path) -> None:
    page = classroom.write((*CLASS, entry("x\ud800", passed())), EXERCISE, tmp_path)
    assert page == tmp_path / "class.html"
    assert "Doe, Alice" in page.read_text(encoding="utf-8")
    board = (tmp_path / "leaderboard.html").read_text(encoding="utf-8")
    assert "Doe, Alice" not in board
    first = page.read_bytes()
    assert classroom.write((*CLASS, entry("x\ud800", passed())), EXERCISE, tmp_path).read_bytes() == first
    (tmp_path / "file").write_text("")
    with pytest.raises(GraderError, match="cannot"):
        classroom.write(CLASS, EXERCISE, tmp_path / "file")
