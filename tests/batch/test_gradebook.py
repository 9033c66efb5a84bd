"""gradebook.csv: nothing invented, nothing lost, and no formula of a student's."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.batch import classroom, gradebook, table
from grader.batch.entry import Entry
from grader.batch.exports import canvas, gradescope
from grader.errors import GraderError
from tests.batch.class_of import (
    BROKEN,
    BY_HAND,
    CLASS,
    EXERCISE,
    LATE,
    LOST,
    MISSING,
    ODD_NAMES,
    OPEN,
    PASSED,
    WRONG,
    entry,
    passed,
)


def written(entries: tuple[Entry, ...], out: Path) -> dict[str, dict[str, str]]:
    file = gradebook.write(entries, EXERCISE, out)
    assert file == out / "gradebook.csv"
    with file.open(encoding="utf-8", newline="") as stream:
        return {row["student"]: row for row in csv.DictReader(stream, strict=True)}


def test_a_row_for_each_student(tmp_path: Path) -> None:
    rows = written(CLASS, tmp_path)
    assert list(rows) == ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"]


def test_points_and_cases_of_who_passed(tmp_path: Path) -> None:
    row = written((PASSED,), tmp_path)["alice"]
    assert PASSED.result
    wanted = {
        "name": "Doe, Alice",
        "verdict": "passed",
        "correctness": "40",
        "performance": "40",
        "quality": "12",
        "manual": "",
        "total": "92",
        "max": "100",
        "days late": "0",
        "percent lost": "0",
        "final": "92",
        "uniform": "passed",
        "uniform speed": "passed",
        "uniform ratio": "0.71",
        "small ratio": "0.71",
        "late": "no",
        "problem": "",
        "seed": "1234567",
        "sha256": PASSED.result.submission.sha256,
        "report": "reports/alice.html",
    }
    assert {key: row[key] for key in wanted} == wanted


def test_what_is_not_known_is_empty_and_never_zero(tmp_path: Path) -> None:
    rows = written(CLASS, tmp_path)
    unknown = (
        "correctness",
        "performance",
        "quality",
        "manual",
        "total",
        "uniform",
        "uniform ratio",
        "seed",
        "sha256",
    )
    for student in ("dave", "frank"):
        assert {rows[student][key] for key in unknown} == {""}
        assert rows[student]["verdict"] == ""
        assert rows[student]["problem"]
    assert (rows["bob"]["performance"], rows["bob"]["total"]) == ("", "52")
    assert (rows["bob"]["uniform"], rows["bob"]["uniform speed"], rows["bob"]["uniform ratio"]) == (
        "passed",
        "not-judged",
        "",
    )
    assert (rows["erin"]["verdict"], rows["erin"]["total"], rows["erin"]["uniform"]) == ("error", "", "error")
    assert rows["carol"]["correctness"] == "16"


def test_wrong_and_further_cases(tmp_path: Path) -> None:
    rows = written((WRONG, OPEN), tmp_path)
    assert (rows["carol"]["uniform"], rows["carol"]["variable"]) == ("passed", "failed")
    assert rows["bob"]["extra cases"] == "2 of 2"
    assert rows["carol"]["extra cases"] == "1 of 2"


def test_what_the_instructor_gave(tmp_path: Path) -> None:
    rows = written((LATE, BY_HAND), tmp_path)
    assert (rows["heidi"]["manual"], rows["heidi"]["total"], rows["heidi"]["late"]) == ("7.5", "99.5", "yes")
    assert rows["heidi"]["comment"] == "well explained; 5 < 6 & more"
    assert (rows["grace"]["manual"], rows["grace"]["total"], rows["grace"]["verdict"]) == ("30", "30", "")
    assert rows["grace"]["problem"] == "handed in nothing"


def test_the_order_of_the_entries_does_not_matter(tmp_path: Path) -> None:
    first = gradebook.write(CLASS, EXERCISE, tmp_path / "a").read_bytes()
    assert gradebook.write(CLASS[::-1], EXERCISE, tmp_path / "b").read_bytes() == first


def test_no_cell_of_a_student_is_a_formula(tmp_path: Path) -> None:
    entries = tuple(entry(f"{name}#{n}", passed(), name) for n, name in enumerate(ODD_NAMES))
    content = gradebook.write(entries, EXERCISE, tmp_path).read_bytes().decode()
    rows = list(csv.reader(io.StringIO(content, newline=""), strict=True))
    assert len(rows) == 1 + len(ODD_NAMES)
    for row in rows[1:]:
        for cell in row:
            assert not cell.lstrip(" ").startswith(table.FORMULA), cell
    shown = {row[1].removeprefix("'") for row in rows[1:]}
    assert shown == set(ODD_NAMES)


@given(st.lists(st.lists(st.text(), min_size=2, max_size=3), min_size=1, max_size=5))
def test_any_text_comes_back(rows: list[list[str]]) -> None:
    width = len(rows[0])
    rows = [[*row, ""][:width] for row in rows]
    text = table.encode(rows).decode()
    for row, back in zip(rows, csv.reader(io.StringIO(text, newline=""), strict=True), strict=True):
        for cell, found in zip(row, back, strict=True):
            sent = cell.replace("\0", "").encode(errors="replace").decode()
            assert found in (sent, "'" + sent)
            assert not found.lstrip(" ").startswith(table.FORMULA)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (40.0, "40"), (33.33, "33.33"), (-5.0, "-5"), (0.70496, "0.705"), (1e6, "1000000")],
)
def test_numbers(value: float, shown: str) -> None:
    assert table.shown(value) == shown


def test_a_gradebook_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = gradebook.write((PASSED,), EXERCISE, tmp_path).read_bytes()

    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(GraderError, match=r"cannot write .*gradebook.csv: No space left on device"):
        gradebook.write(CLASS, EXERCISE, tmp_path)
    assert (tmp_path / "gradebook.csv").read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == ["gradebook.csv"]


def test_a_place_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GraderError, match="cannot write"):
        gradebook.write((MISSING, LOST, BROKEN), EXERCISE, tmp_path / "file")


def test_where_the_grader_failed_no_row_holds_points(tmp_path: Path) -> None:
    """As an earlier grader recorded it: 8 points for what it had judged before it failed."""
    assert BROKEN.result
    points = msgspec.structs.replace(BROKEN.result.points, quality=8.0, total=8.0)
    result = msgspec.structs.replace(BROKEN.result, points=points)
    failed = msgspec.structs.replace(BROKEN, result=result)
    row = written((failed,), tmp_path)["erin"]
    assert row["verdict"] == "error"
    assert [row[name] for name in (*gradebook.RUBRIC, "total")] == [""] * 5
    for so_far in (True, False):
        assert canvas.new([failed], EXERCISE, so_far=so_far).graded == 0
    handed = gradescope.results(result, EXERCISE)
    assert "score" not in handed
    assert "points" not in handed["extra_data"]
    assert "8 of" not in handed["output"]
    (shown,) = classroom.rows_of([failed], EXERCISE, b"key")
    assert (shown.points, shown.complete) == (None, False)
