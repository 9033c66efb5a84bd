"""A class list of each platform, and whose submission is whose in it."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from pathlib import Path

import pytest

from grader.batch import class_list, worker
from grader.batch.class_list import NOT_SUBMITTED
from grader.batch.ledger import Enrolled
from grader.cli.command import invoke
from grader.errors import UsageError
from tests.batch.class_of import submitted
from tests.batch.classroom import School

EXPORTED = Path(__file__).parent / "exported"
GRADESCOPE = (
    "First Name,Last Name,SID,Email,Role,Sections\n"
    "Alonzo,Church,,church@example.edu,Instructor,\n"
    "Ada,Lovelace,0012,ada@example.edu,Student,A\n"
)


def test_canvas_numbers_become_people() -> None:
    listed = class_list.read(EXPORTED / "canvas_gradebook.csv")
    download = [
        submitted("101", "doealice", identifiers={"ID": "101"}),
        submitted("999", "x", identifiers={"ID": "999"}),
    ]
    found = {one.student: one for one in class_list.apply(listed, download)}
    assert list(found) == ["101", "999", "102", "103", "104"]
    assert found["101"].name == "Doe, Alice"
    assert found["101"].identifiers == {"ID": "101", "SIS User ID": "S101", "SIS Login ID": "alice"}
    assert found["999"].name == "x"
    assert {found[student].problem for student in ("102", "103", "104")} == {NOT_SUBMITTED}


def test_moodle_says_when_it_was_submitted() -> None:
    listed = class_list.read(EXPORTED / "moodle_worksheet.csv")
    one = submitted("1234567", "Alice Doe", identifiers={"Identifier": "Teilnehmer/in 1234567"})
    alice, *nothing = class_list.apply(listed, [one])
    assert alice.at == datetime(2026, 9, 21, 23, 58)
    assert alice.identifiers["Email address"] == "alice@example.edu"
    assert [person.student for person in nothing] == ["1234568", "1234569", "1234570"]
    assert nothing[-1].at is None


@pytest.mark.parametrize("student", ["0012", "ada@example.edu", "ada", "Ada Lovelace", "Lovelace, Ada"])
def test_folders_are_found_by_whatever_they_are_called(tmp_path: Path, student: str) -> None:
    (tmp_path / "roster.csv").write_text(GRADESCOPE)
    (found,) = class_list.apply(class_list.read(tmp_path / "roster.csv"), [submitted(student)])
    assert (found.student, found.name) == (student, "Ada Lovelace")


def test_one_number_is_not_taken_for_another_kind() -> None:
    """Who has left the course is nobody else, though somebody's login is the same number."""
    listed = [class_list.Listed("Roe, Bob", {"ID": "102", "SIS Login ID": "999"})]
    left, bob = class_list.apply(listed, [submitted("999", "doejane", identifiers={"ID": "999"})])
    assert (left.name, left.identifiers) == ("doejane", {"ID": "999"})
    assert (bob.student, bob.problem) == ("102", NOT_SUBMITTED)


def test_when_a_file_was_submitted_is_known_of_that_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.cu"
    file.write_text("// first\n")
    listed = class_list.read(EXPORTED / "moodle_worksheet.csv")
    one = submitted("1234567", path=file, identifiers={"Identifier": "Participant 1234567"})
    (alice, *_) = class_list.apply(listed, [one])
    before = Enrolled(alice, worker.source(file).sha256, "key")
    (again, *_) = class_list.kept([one], [before])
    assert (again.at, again.name, again.note) == (alice.at, "Alice Doe", "")
    file.write_text("// second\n")
    (changed, *_) = class_list.kept([one], [before])
    assert (changed.at, changed.name, changed.note) == (None, "Alice Doe", class_list.NEW_FILE)


def test_two_who_are_called_alike_are_nobody(tmp_path: Path) -> None:
    (tmp_path / "roster.csv").write_text(GRADESCOPE + "Ada,Lovelace,0013,other@example.edu,Student,B\n")
    found = class_list.apply(class_list.read(tmp_path / "roster.csv"), [submitted("Ada Lovelace")])
    assert [one.student for one in found] == ["Ada Lovelace", "0012", "0013"]
    assert found[0].identifiers == {}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a,b\n1,2\n", "roster.csv has no line that starts with Student or Identifier or First Name"),
        (b"Student,Section\nAda,A\n", "roster.csv:1: no column tells students apart"),
        (b"Student,ID\n", "roster.csv lists no student"),
        (b"Student,ID\nJos\xe9,1\n", "roster.csv is not UTF-8"),
    ],
)
def test_what_is_no_class_list(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "roster.csv").write_bytes(content)
    with pytest.raises(UsageError, match=says):
        class_list.read(tmp_path / "roster.csv")
    with pytest.raises(UsageError, match=r"nowhere.csv: No such file"):
        class_list.read(tmp_path / "nowhere.csv")


def test_a_batch_remembers_the_list(school: School, capsys: pytest.CaptureFixture[str]) -> None:
    school.hand_in_all(["ada", "bob"])
    roster = school.folder / "roster.csv"
    more = "Bob,Babbage,0014,bob@example.edu,Student,B\nCyd,Charisse,0015,cyd@example.edu,Student,B\n"
    roster.write_text(GRADESCOPE + more)
    where = (str(school.submissions), "--exercise", "1", "--out", str(school.out), "--device", "cpu")
    exercises = ("--exercises", str(school.folder / "exercises"))

    def rows() -> dict[str, dict[str, str]]:
        text = (school.out / "gradebook.csv").read_text()
        return {row["student"]: row for row in csv.DictReader(io.StringIO(text))}

    assert invoke(["batch", *where, *exercises, "--roster", str(roster)]) == 0
    assert {student: row["name"] for student, row in rows().items()} == {
        "0015": "Cyd Charisse",
        "ada": "Ada Lovelace",
        "bob": "Bob Babbage",
    }
    assert rows()["0015"]["problem"] == NOT_SUBMITTED
    assert invoke(["batch", *where, *exercises]) == 0  # without the list, which is remembered
    assert set(rows()) == {"0015", "ada", "bob"}
    school.hand_in("cyd")
    assert invoke(["batch", *where, *exercises]) == 0
    assert {row["name"] for row in rows().values()} == {"Ada Lovelace", "Bob Babbage", "Cyd Charisse"}
    assert set(rows()) == {"ada", "bob", "cyd"}
    assert invoke(["points", str(school.out), "ada@example.edu", "--points", "3", *exercises]) == 0
    assert invoke(["batch", *where, *exercises, "--roster", str(roster)]) == 0
    assert rows()["cyd"]["name"] == "Cyd Charisse"
    assert "0015" not in rows()
    assert rows()["ada"]["manual"] == "3"
