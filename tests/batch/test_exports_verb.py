"""grade export: from a batch that is there to a file that a platform takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grader.batch import instructor, run
from grader.batch.entry import ManualPoints
from grader.batch.intake import Batch
from grader.batch.ledger import Ledger
from grader.cli.command import invoke
from tests.batch.class_of import rows_of
from tests.batch.classroom import School, Watching


@pytest.fixture
def batch(school: School) -> School:
    """Ada is right, Bob is not, Cyd handed in nothing; nobody was timed."""
    school.hand_in("ada")
    school.hand_in("bob", "wrong")
    (school.submissions / "cyd").mkdir()
    run.run(Batch(school.submissions, school.exercise, school.out, "cpu"), Watching())
    return school


def export(school: School, *arguments: str | Path) -> int:
    return invoke(["export", str(school.out), "--exercises", str(school.folder / "exercises"), *map(str, arguments)])


def test_canvas(batch: School, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(batch, "--to", "canvas", "--so-far") == 0
    rows = rows_of((batch.out / "canvas.csv").read_bytes())
    assert [[row[0], row[-1]] for row in rows[2:]] == [["ada", "52"], ["bob", "0"]]
    said = capsys.readouterr()
    assert "canvas.csv: 2 of 3 students have a grade in it" in said.out
    assert "cyd" in said.err


def test_to_stdout_where_it_is_one_file(batch: School, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(batch, "--to", "canvas", "--so-far") == 0
    capsys.readouterr()
    assert export(batch, "--to", "canvas", "--so-far", "--out", "-") == 0
    said = capsys.readouterr()
    assert said.out.encode() == (batch.out / "canvas.csv").read_bytes()
    assert "-: 2 of 3 students have a grade in it" in said.err
    for platform in ("gradescope", "class"):
        assert export(batch, "--to", platform, "--out", "-") == 2
        assert f"--out -: name a folder; {platform} is more than one file" in capsys.readouterr().err


def test_what_is_not_judged_in_full_is_no_grade(batch: School, capsys: pytest.CaptureFixture[str]) -> None:
    with Ledger(batch.out) as ledger:
        instructor.give(ledger, batch.exercise, batch.out, "cyd", ManualPoints(30.0, "shown in the lab"))
    assert export(batch, "--to", "canvas") == 0
    assert "1 of 3 students have a grade in it" in (said := capsys.readouterr()).out
    assert "(--so-far exports the points so far): ada, bob" in said.err


@pytest.mark.parametrize("platform", ["canvas", "moodle"])
def test_a_file_without_any_grade_is_not_written(
    batch: School, capsys: pytest.CaptureFixture[str], platform: str
) -> None:
    worksheet = batch.folder / "worksheet.csv"
    worksheet.write_text("Identifier,Username,Grade,Last modified (grade)\nParticipant 1,ada,,-\n")
    template = ("--template", worksheet) if platform == "moodle" else ()
    assert export(batch, "--to", platform, *template) == 2
    assert "no submission is fully graded" in (said := capsys.readouterr().err)
    assert "--so-far" in said
    assert not (batch.out / f"{platform}.csv").exists()


def test_where_nobody_has_points_so_far_is_no_way_out(school: School, capsys: pytest.CaptureFixture[str]) -> None:
    (school.submissions / "cyd").mkdir()
    run.run(Batch(school.submissions, school.exercise, school.out, "cpu"), Watching())
    for more in ((), ("--so-far",)):
        assert export(school, "--to", "canvas", *more) == 2
        assert "no submission has points yet" in capsys.readouterr().err


def test_a_filled_gradebook_of_canvas(batch: School) -> None:
    template, filled = batch.folder / "export.csv", batch.folder / "import.csv"
    template.write_text("Student,ID,SIS Login ID,Section,HW 1 (7)\n    Points Possible,,,,100\nLovelace,1,ada,S,\n")
    arguments = ("--to", "canvas", "--template", template, "--column", "HW 1", "--so-far", "--out", filled)
    assert export(batch, *arguments) == 0
    assert rows_of(filled.read_bytes())[2] == ["Lovelace", "1", "ada", "S", "52"]


def test_moodle_wants_its_worksheet(batch: School, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(batch, "--to", "moodle") == 2
    assert "--template FILE is required: download the grading worksheet" in capsys.readouterr().err
    worksheet = batch.folder / "worksheet.csv"
    worksheet.write_text("Identifier,Username,Grade,Last modified (grade)\nParticipant 1,ada,,-\n")
    assert export(batch, "--to", "moodle", "--template", worksheet, "--so-far") == 0
    assert rows_of((batch.out / "moodle.csv").read_bytes())[1] == ["Participant 1", "ada", "52.00", "-"]


def test_gradescope_writes_one_for_each_result(batch: School) -> None:
    assert export(batch, "--to", "gradescope") == 0
    files = sorted(file.relative_to(batch.out / "gradescope") for file in (batch.out / "gradescope").rglob("*.json"))
    assert list(map(str, files)) == ["ada/results.json", "bob/results.json"]
    assert json.loads((batch.out / "gradescope" / files[0]).read_text())["score"] == 52.0


def test_the_pages_of_the_class_link_reports_that_are_there(batch: School) -> None:
    assert export(batch, "--to", "class") == 0
    page = (batch.out / "class.html").read_text()
    assert 'href="reports/ada.html"' in page
    assert (batch.out / "reports" / "ada.html").is_file()
    assert "the submission folder is empty" in page


def test_points_given_by_hand_are_exported(batch: School) -> None:
    with Ledger(batch.out) as ledger:
        instructor.give(ledger, batch.exercise, batch.out, "ada", ManualPoints(7.0, "neat"))
        instructor.give(ledger, batch.exercise, batch.out, "cyd", ManualPoints(30.0, "shown in the lab"))
    assert export(batch, "--to", "canvas", "--so-far") == 0
    rows = rows_of((batch.out / "canvas.csv").read_bytes())
    assert {row[0]: row[-1] for row in rows[2:]} == {"ada": "59", "bob": "0", "cyd": "30"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--to", "canvas", "--template", "nowhere.csv"), "nowhere.csv: No such file"),
        (("--to", "blackboard"), "blackboard"),
        (("--to", "class", "--template", "x.csv"), "--template needs --to canvas or moodle"),
        (("--to", "gradescope", "--template", "x.csv"), "--template needs --to canvas or moodle"),
        ((), "--to"),
    ],
)
def test_wrong_usage_exits_2(
    batch: School, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    assert export(batch, *arguments) == 2
    assert says in capsys.readouterr().err


def test_a_folder_without_a_batch_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["export", str(tmp_path), "--to", "canvas"]) == 2
    assert "grade batch" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_exits_4(batch: School, capsys: pytest.CaptureFixture[str]) -> None:
    (batch.folder / "file").write_text("")
    assert export(batch, "--to", "canvas", "--so-far", "--out", batch.folder / "file" / "x.csv") == 4
    assert "cannot write" in capsys.readouterr().err
