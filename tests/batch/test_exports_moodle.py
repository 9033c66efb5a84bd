"""Moodle: only grades and empty comments are filled in; everything else goes back as it came."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from grader.batch.entry import Entry
from grader.batch.exports import moodle, sheet
from grader.errors import UsageError
from grader.model.result import Result
from tests.batch.class_of import EXERCISE, LATE, OPEN, PASSED, entry, passed, rows_of

# As mod/assign/gradingtable.php writes it.
WORKSHEET = (Path(__file__).parent / "exported" / "moodle_worksheet.csv").read_text(encoding="utf-8")


def by_participant(number: int, result: Result | None = None) -> Entry:
    return entry(str(number), result or passed(), Identifier=f"Participant {number}")


def test_moodle_fills_grade_and_comments_and_nothing_else() -> None:
    filled = moodle.fill(WORKSHEET.encode(), (by_participant(1234567), by_participant(1234568)), EXERCISE)
    before, after = rows_of(WORKSHEET.encode()), rows_of(filled.content)
    comment = "correctness 40 of 40; performance 40 of 40; quality 12 of 20."
    before[1][4], before[1][10] = "92.00", comment
    before[2][4] = "92.00"  # what somebody wrote stays
    assert after == before
    assert (filled.graded, filled.notes) == (2, ())


def test_moodle_locked_and_open_grades_stay() -> None:
    entries = (by_participant(1234569), entry("1234570", OPEN.result, Identifier="Participant 1234570"), LATE)
    filled = moodle.fill(WORKSHEET.encode(), entries, EXERCISE)
    assert filled.content.decode() == WORKSHEET
    assert filled.graded == 0
    assert filled.notes == (
        "missing from the file, so without a grade there: heidi",
        "left unchanged because they are not fully graded (--so-far exports the points so far): 1234570",
        "locked in Moodle: 1234569",
    )


def test_moodle_in_another_language_and_with_commas() -> None:
    worksheet = WORKSHEET.replace("Participant ", "Teilnehmer/in ").replace("100.00", '"100,00"')
    worksheet = worksheet.replace("\n", "\r\n")
    filled = moodle.fill(worksheet.encode("utf-8-sig"), (by_participant(1234567),), EXERCISE)
    assert filled.content.startswith(b"\xef\xbb\xbf")
    assert rows_of(filled.content)[1][4] == "92,00"
    assert b"\r\nTeilnehmer/in 1234568" in filled.content


def test_moodle_scale_is_the_maximum_of_the_worksheet() -> None:
    filled = moodle.fill(WORKSHEET.replace("100.00", "5.00").encode(), (by_participant(1234567),), EXERCISE)
    assert rows_of(filled.content)[1][4] == "4.60"
    assert "the exercise has 100 points, the assignment 5: grades are scaled" in filled.notes


def test_moodle_students_are_found_by_mail_or_name_where_there_is_no_number() -> None:
    carol = entry("y", passed(), Email="carol@example.edu")
    entries = (entry("alice@example.edu", passed()), entry("x", passed(), "明 李"), carol)
    filled = moodle.fill(WORKSHEET.replace(",No,", ",Yes,").encode(), entries, EXERCISE)
    assert [row[4] for row in rows_of(filled.content)[1:]] == ["92.00", "92.00", "92.00", ""]


def test_moodle_groups_get_their_groups_grade() -> None:
    """A group's number is no participant's, though it may be the same."""
    worksheet = "Identifier,Full name,Group,Grade,Maximum Grade,Last modified (grade)\n"
    for number, group in enumerate(["Group_A", "Group B", "Group A"]):
        worksheet += f"Participant {number},Student {number},{group},,100.00,-\n"
    group_a = entry("1", passed(), "Group A", Identifier="Participant 1")
    filled = moodle.fill(worksheet.encode(), (group_a,), EXERCISE)
    assert [row[3] for row in rows_of(filled.content)[1:]] == ["92.00", "", "92.00"]


def test_moodle_comments_are_no_markup() -> None:
    submitted = msgspec.structs.replace(LATE.submitted, student="dave@example.edu")
    heidi = msgspec.structs.replace(LATE, submitted=submitted)
    filled = moodle.fill(WORKSHEET.encode(), (heidi,), EXERCISE)
    assert rows_of(filled.content)[4][10].endswith("from your instructor 7.5. well explained; 5 &lt; 6 &amp; more")


@pytest.mark.parametrize(
    ("worksheet", "says"),
    [
        (WORKSHEET.replace(",Grade,", ",Bewertung,"), "no column 'Grade': set Moodle to English"),
        (WORKSHEET.replace("Identifier", "ID"), "no line that starts with Identifier: is it the right export"),
        ('Identifier,"Grade', "is no CSV file|no column"),
    ],
)
def test_moodle_worksheets_that_do_not_fit(worksheet: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        moodle.fill(worksheet.encode(), (PASSED,), EXERCISE)


def test_a_file_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "MAX_BYTES", 10)
    with pytest.raises(UsageError, match="the worksheet is larger than"):
        moodle.fill(WORKSHEET.encode(), (PASSED,), EXERCISE)


def test_a_long_online_text_is_kept() -> None:
    worksheet = WORKSHEET.replace("and more", "x" * 200_000)
    assert moodle.fill(worksheet.encode(), (), EXERCISE).content.decode() == worksheet
