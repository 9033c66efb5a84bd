"""Canvas: its documented columns, its own cells untouched, and no grade that is none."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from grader.batch.exports import canvas
from grader.errors import UsageError
from tests.batch.class_of import (
    BROKEN,
    BY_HAND,
    EXERCISE,
    LOST,
    MISSING,
    ODD_NAMES,
    OPEN,
    PASSED,
    entry,
    judged,
    passed,
    rows_of,
    wrong,
)

# As lib/gradebook_exporter.rb writes it: a second line where grades are posted by hand, totals that are read only.
EXPORT = (Path(__file__).parent / "exported" / "canvas_gradebook.csv").read_text(encoding="utf-8")


def test_canvas_without_an_export_has_the_documented_columns() -> None:
    students = (entry("101", passed(), "doealice", ID="101"), entry("bob", passed(), "=Bob", SID="S102"), OPEN, LOST)
    made = canvas.new(students, EXERCISE)
    assert rows_of(made.content) == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Simple grouped GEMM"],
        ["    Points Possible", "", "", "", "", "100"],
        ["doealice", "101", "", "", "", "92"],
        ["'=Bob", "", "S102", "", "", "92"],
    ]
    assert made.graded == 2
    assert made.notes == (
        "left out because they are not fully graded (--so-far exports the points so far): bob, frank",
    )


def test_canvas_grades_go_into_the_exported_gradebook() -> None:
    students = (
        entry("101", passed(), ID="101"),
        entry("x", judged(wrong()), SID="S102"),
        entry("jose@example.edu", passed()),
        entry("m", passed(3.5), **{"SIS Login ID": "mallory"}),
    )
    merged = canvas.merge(EXPORT.encode(), students, EXERCISE)
    assert rows_of(merged.content) == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Simple grouped GEMM (4711)"],
        ["", "", "", "", "", "Manual Posting"],
        ["    Points Possible", "", "", "", "", "100.00"],
        ["Doe, Alice", "101", "S101", "alice", "CS 5, Monday", "92"],
        ["Roe, Bob", "102", "S102", "bob", "CS 5", "28"],
        ["Núñez, José", "103", "S103", "jose@example.edu", "CS 5", "EX"],  # excused stays so
        ['="=cmd"', "104", "S104", "mallory", "CS 5", "95.5"],  # the name as Canvas wrote it, or it finds nobody
        ["Student, Test", "199", "", "f00d", "CS 5", ""],
    ]
    assert (merged.graded, merged.notes) == (3, ())


def test_canvas_who_is_not_judged_in_full_keeps_the_old_grade() -> None:
    open_too = msgspec.structs.replace(OPEN, submitted=msgspec.structs.replace(OPEN.submitted, identifiers={}))
    students = (PASSED, open_too, MISSING, BROKEN)
    merged = canvas.merge(EXPORT.encode(), students, EXERCISE)
    assert [row[-1] for row in rows_of(merged.content)[3:]] == ["92", "55.00", "EX", "", ""]
    assert merged.notes == (
        "missing from the file, so without a grade there: dave, erin",
        "left unchanged because they are not fully graded (--so-far exports the points so far): bob",
    )
    so_far = canvas.merge(EXPORT.encode(), students, EXERCISE, so_far=True)
    assert [row[-1] for row in rows_of(so_far.content)[3:5]] == ["92", "52"]


def test_canvas_points_given_by_hand_count() -> None:
    by_hand = msgspec.structs.replace(BY_HAND, submitted=msgspec.structs.replace(BY_HAND.submitted, student="bob"))
    assert [row[-1] for row in rows_of(canvas.merge(EXPORT.encode(), (by_hand,), EXERCISE).content)[4:5]] == ["30"]


def test_canvas_names_find_students_only_where_they_are_unique() -> None:
    named = entry("folder 1", passed(), "Alice Doe")
    assert rows_of(canvas.merge(EXPORT.encode(), (named,), EXERCISE).content)[3][-1] == "92"
    twin = entry("folder 2", passed(), "Doe Alice")
    assert rows_of(canvas.merge(EXPORT.encode(), (named, twin), EXERCISE).content)[3][-1] == ""


def test_canvas_assignments_of_other_points_are_scaled() -> None:
    export = EXPORT.replace(",100.00,", ",25.00,")
    merged = canvas.merge(export.encode(), (PASSED,), EXERCISE)
    assert rows_of(merged.content)[3][-1] == "23"
    assert "the exercise has 100 points, the assignment 25: grades are scaled" in merged.notes


def test_canvas_first_and_last_names_semicolons_and_byte_order_mark() -> None:
    header = "\ufeffLastName;FirstName;ID;SIS Login ID;Section;HW 1 (7)\r\n"
    export = header + "    Points Possible;;;;;100,00\r\nDoe;Alice;101;a;S;\r\n"
    merged = canvas.merge(export.encode(), (PASSED,), EXERCISE, column="HW 1")
    assert merged.content.decode() == export.replace(";S;\r\n", ";S;92\r\n")


@pytest.mark.parametrize(
    ("export", "column", "says"),
    [
        (EXPORT, "HW 9", r"no assignment 'HW 9'; choose one with --column. It has: Attendance \(11\); Simple"),
        (EXPORT.replace("Attendance (11)", "simple grouped gemm (9)"), "", "more than one assignment"),
        (EXPORT.replace("Simple grouped GEMM", "Other"), "", "no assignment 'Simple grouped GEMM'"),
        ("name,grade\n", "", "no line that starts with Student or LastName: is it the right export"),
        ("", "", "no line that starts with"),
    ],
)
def test_canvas_exports_that_do_not_fit(export: str, column: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        canvas.merge(export.encode(), (PASSED,), EXERCISE, column=column)


def test_canvas_export_in_another_encoding() -> None:
    with pytest.raises(UsageError, match="is not UTF-8"):
        canvas.merge(EXPORT.encode("utf-16"), (PASSED,), EXERCISE)


def test_canvas_odd_names() -> None:
    students = tuple(entry(str(n), passed(), name, ID=str(n)) for n, name in enumerate(ODD_NAMES))
    made = canvas.new(students, EXERCISE)
    assert len(rows_of(made.content)) == 2 + len(ODD_NAMES)
    again = canvas.merge(made.content, students, EXERCISE)
    assert again.graded == len(ODD_NAMES)
    assert rows_of(again.content) == rows_of(made.content)
