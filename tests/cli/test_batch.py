"""grade batch, points and ledger from the command line, with children that behave as a test says."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import zipfile
from pathlib import Path

import pytest

from grader.remote.queue import Queue
from tests.batch.classroom import School
from tests.cli.conftest import Grade


@pytest.fixture
def school(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> School:
    made = School(tmp_path)
    monkeypatch.setattr("grader.executors.open_cpu", made.open)
    monkeypatch.setattr("grader.machine.gpus", lambda: 0)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def grade(school: School, capsys: pytest.CaptureFixture[str]) -> Grade:
    return Grade(capsys, school.folder)


def batch(grade: Grade, *more: str) -> int:
    return grade("batch", "submissions", "--exercise", "1", "--out", "out", *more)


def test_done_is_0_whatever_the_grades(grade: Grade, school: School) -> None:
    school.hand_in("ada")
    school.hand_in("bob", "wrong")
    assert batch(grade) == 0
    assert "2 students: 1 incomplete, 1 failed" in grade.out
    assert "Gradebook: out/gradebook.csv" in grade.out
    assert "1/2  " in grade.err
    assert "2/2  " in grade.err
    assert max(map(len, (grade.out + grade.err).splitlines())) <= 80


def test_what_could_not_be_graded_is_4_and_named(grade: Grade, school: School) -> None:
    school.hand_in("ada", "dies")
    school.hand_in("bob")
    assert batch(grade) == 4
    assert "1 error" in grade.out
    assert Path("out/gradebook.csv").exists()


def test_a_student_without_a_file_is_named_and_no_error(grade: Grade, school: School) -> None:
    school.hand_in("ada")
    Path("submissions/bob").mkdir()
    assert batch(grade) == 0
    assert "1 without a grade" in grade.out
    assert "bob: " in grade.out


def test_ctrl_c_is_130_and_says_how_to_go_on(grade: Grade, school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    from grader.cli.batch_progress import BatchProgress

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    school.hand_in_all(["ada", "bob", "cyd"])
    with monkeypatch.context() as patched:
        patched.setattr(BatchProgress, "graded", interrupt)
        assert batch(grade, "--jobs", "1") == 130
    assert "2 not graded yet" in grade.out
    assert "Run the same command again" in grade.out
    assert len(Path("out/gradebook.csv").read_text().splitlines()) == 4
    assert batch(grade) == 0
    assert "1 already graded; 2 to grade" in grade.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["batch", "submissions", "--exercise", "1"], "--out"),
        (["batch", "submissions", "--out", "out"], "--exercise"),
        (["batch", "nowhere", "--exercise", "1", "--out", "out"], "nowhere"),
        (["batch", "submissions", "--exercise", "7", "--out", "out"], "there is no exercise '7'"),
        (["batch", "submissions", "--exercise", "1", "--out", "out", "--secret", "no.toml"], "no.toml"),
        (["batch", "submissions", "--exercise", "1", "--out", "out", "--jobs", "0"], "0"),
        (["batch", "submissions", "--exercise", "1", "--out", "out", "--gpu", "0", "--device", "cpu"], "--gpu"),
        (["points", "nowhere", "ada"], "no ledger in nowhere"),
        (["ledger", "nowhere", "list"], "no ledger in nowhere"),
    ],
)
def test_wrong_usage_is_2(grade: Grade, school: School, arguments: list[str], says: str) -> None:
    school.hand_in("ada")
    assert grade(*arguments) == 2
    assert says in grade.err


def test_a_folder_that_lacks_students_of_the_batch_is_2(grade: Grade, school: School) -> None:
    school.hand_in_all(["ada", "bob", "cyd"])
    assert batch(grade) == 0
    school.submissions.rename("away")
    school.submissions.mkdir()
    school.hand_in("eve")
    assert batch(grade) == 2
    assert "3 students are in the batch in out but not in submissions: ada, bob, cyd." in grade.err
    assert "--replace" in grade.err
    assert "eve," not in Path("out/gradebook.csv").read_text()
    assert batch(grade, "--replace") == 0
    assert [line.split(",")[0] for line in Path("out/gradebook.csv").read_text().splitlines()][1:] == ["eve"]


def test_a_gpu_that_is_missing_is_4(grade: Grade, school: School) -> None:
    school.hand_in("ada")
    assert batch(grade, "--device", "cuda") == 4
    assert "no NVIDIA GPU" in grade.err


@pytest.mark.parametrize("out", ["class.csv", "class.csv/out"])
def test_an_out_that_is_a_file_is_2(grade: Grade, school: School, out: str) -> None:
    school.hand_in("ada")
    Path("class.csv").write_text("a file")
    assert grade("batch", "submissions", "--exercise", "1", "--out", out) == 2
    assert f"--out {out}: a file is in the way; name a folder" in grade.err


def test_an_out_that_cannot_be_made_is_4(grade: Grade, school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    school.hand_in("ada")
    monkeypatch.setattr(Path, "mkdir", full)
    assert batch(grade) == 4
    assert "cannot create out: No space left on device" in grade.err


def test_points_are_given_shown_and_taken_back(grade: Grade, school: School) -> None:
    school.hand_in("ada")
    batch(grade)
    assert grade("points", "out", "ada", "--points", "6", "--comment", "=good") == 0
    assert "58 of 100" in grade.out
    assert "'=good" in Path("out/gradebook.csv").read_text()
    assert grade("points", "out", "ada", "--points", "7") == 0
    assert "=good" in grade.out
    assert grade("points", "out", "ada", "--clear") == 0
    assert "52 of 100" in grade.out
    assert grade("points", "out", "ad") == 2
    assert "similar: ada" in grade.err
    assert grade("points", "out", "ada", "--points", "nan") == 2


@pytest.mark.parametrize(
    ("points", "status"), [("0", 0), ("8", 0), ("8.5", 2), ("80", 2), ("-1", 2), ("nan", 2), ("inf", 2)]
)
def test_points_beyond_the_instructors_share_are_refused(
    grade: Grade, school: School, points: str, status: int
) -> None:
    school.hand_in("ada")
    batch(grade)
    assert grade("points", "out", "ada", "--points", points) == status
    assert (f"--points {points}: you can give 0 to 8 points by hand" in grade.err) == (status == 2)
    grade("points", "out", "ada")
    assert f"from you     {points if status == 0 else '-':>6}, at most 8\n" in grade.out


def test_what_was_given_before_there_was_a_grade_is_kept_and_noted(grade: Grade, school: School) -> None:
    (school.submissions / "ada").mkdir()
    batch(grade)
    assert grade("points", "out", "ada", "--points", "60") == 0
    school.hand_in("ada")
    batch(grade)
    assert grade("points", "out", "ada") == 0
    assert "note: only 0 to 8 points can be given by hand; the 60 given earlier are kept" in grade.err
    assert "more than the exercise's 100" in grade.err


def test_who_the_grader_failed_may_get_all_points_by_hand(grade: Grade, school: School) -> None:
    """What the machine came to before it failed is no part of a grade."""
    school.hand_in("ada", "dies")
    batch(grade)
    assert grade("points", "out", "ada", "--points", "100") == 0
    assert "100 of 100" in grade.out
    assert grade("points", "out", "ada", "--points", "101") == 2


def test_points_by_item_of_a_rubric(grade: Grade, school: School) -> None:
    school.hand_in("ada")
    batch(grade)
    assert grade("points", "out", "ada", "--item", "comments=4", "--item", "names=2.5", "--comment", "Neat.") == 0
    assert "from you        6.5, at most 8" in grade.out
    assert "comments 4, names 2.5. Neat." in grade.out
    assert "comments 4, names 2.5. Neat." in Path("out/reports/ada.html").read_text()
    assert grade("points", "out", "ada", "--points", "7") == 0
    assert "comments" not in grade.out
    for wrong in ("names", "=3", "names=x", "names=nan"):
        assert grade("points", "out", "ada", "--item", wrong) == 2
        assert "expected NAME=N" in grade.err
    assert grade("points", "out", "ada", "--item", "a=8", "--item", "b=1") == 2
    assert grade("points", "out", "ada", "--points", "1", "--item", "b=1") == 2


LISTED = """student,name,file,SIS Login ID,Email
101,"Lovelace, Ada",submissions/ada/ada.cu,ada1815,ada@example.edu
102,"Babbage, Charles",submissions/bob/bob.cu,cb,charles@example.edu
103,"Lovelace, Byron",,bl,byron@example.edu
"""


@pytest.fixture
def listed(grade: Grade, school: School) -> Grade:
    school.hand_in_all(["ada", "bob"])
    Path("list.csv").write_text(LISTED)
    assert grade("batch", "list.csv", "--exercise", "1", "--out", "out") == 0
    return grade


@pytest.mark.parametrize("who", ["101", "ADA1815", "ada@example.edu", "Ada Lovelace", "lovelace, ada", "ada"])
def test_a_student_is_found_by_any_identifier(listed: Grade, who: str) -> None:
    assert listed("points", "out", who, "--points", "3") == 0
    assert listed.out.startswith("101 (Lovelace, Ada)\n")
    assert listed("ledger", "out", "history", who) == 0
    assert listed("ledger", "out", "show", who) == 0


@pytest.mark.parametrize(
    ("who", "says"), [("lovelace", "no student 'lovelace'"), ("adda", "similar: 101"), ("", "''")]
)
def test_a_student_who_is_not_clear_is_refused(listed: Grade, who: str, says: str) -> None:
    assert listed("points", "out", who, "--points", "3") == 2
    assert says in listed.err


def test_points_for_many_from_a_list(listed: Grade) -> None:
    Path("points.csv").write_text(
        "Login;Naming;Comments;Comment\nada1815;2;3,5;Clear.\ncharles@example.edu;;1;\nbl;;;see me\n\n"
    )
    assert listed("points", "out", "--from", "points.csv") == 0
    assert listed.out.splitlines() == [
        "101 (Lovelace, Ada): 5.5 points; Naming 2, Comments 3.5. Clear.",
        "102 (Babbage, Charles): 1 point; Comments 1.",
        "103 (Lovelace, Byron): see me",
        "points for 3 students",
    ]
    book = Path("out/gradebook.csv").read_text()
    assert '"Naming 2, Comments 3.5. Clear."' in book
    assert listed("points", "out", "--from", "points.csv") == 0
    assert listed.out == "points for 0 students; 3 had them already\n"
    Path("points.csv").write_text("student,comment\n101,Very clear.\n")
    assert listed("points", "out", "--from", "points.csv") == 0
    assert "5.5 points; Naming 2, Comments 3.5. Very clear." in listed.out


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("student,points\n101,3\n999,4\n", "points.csv:3: there is no student '999'"),
        ("student,points\n101,3\n\nada1815,4\n", "points.csv:4: a second line for 101; the first is line 2"),
        ("student,points\n101,9\n", "points.csv:2: 9 points for 101: you can give 0 to 8"),
        ("student,points\n101,-1\n", "points.csv:2: -1 points"),
        ("student,points\n101,lots\n", "points.csv:2: column 'points': 'lots' is not a number"),
        ("student,section\n101,B\n", "points.csv:2: column 'section': 'B' is not a number"),
        ("student,points,a,b\n101,5,2,2\n", "points.csv:2: 5 points, but the items add up to 4"),
        ("student,login,points\n101,cb,2\n", "points.csv:2: student '101' and login 'cb' are different students"),
        ("student,points\n,2\n", "points.csv:2: this line names no student"),
        ("who,points\n101,2\n", "points.csv:1: no column names the student; the first line has who, points"),
        ("student,name\n101,Ada\n", "points.csv:1: no column gives anything"),
        ("student,points,Points\n101,1,2\n", "points.csv:1: there are two columns 'points'"),
        ("", "points.csv:1: no column names the student; the first line has nothing"),
        ('student,comment\n101,"a\nb"\n999,c\n', "points.csv:4: there is no student '999'"),
    ],
)
def test_a_list_of_points_with_a_mistake_changes_nothing(listed: Grade, lines: str, says: str) -> None:
    Path("points.csv").write_text(lines)
    before = Path("out/gradebook.csv").read_bytes()
    assert listed("points", "out", "--from", "points.csv") == 2
    assert says in " ".join(listed.err.split())
    assert Path("out/gradebook.csv").read_bytes() == before


def test_a_list_of_points_that_is_none(listed: Grade) -> None:
    assert listed("points", "out", "--from", "nowhere.csv") == 2
    assert "nowhere.csv: No such file" in listed.err
    Path("points.csv").write_bytes("student,comment\n101,José\n".encode("latin-1"))
    assert listed("points", "out", "--from", "points.csv") == 2
    assert "is not UTF-8" in listed.err
    assert listed("points", "out", "101", "--from", "points.csv") == 2
    assert listed("points", "out") == 2


def test_who_handed_in_nothing_may_get_all_points_by_hand(grade: Grade, school: School) -> None:
    school.hand_in("ada")
    Path("submissions/bob").mkdir()
    batch(grade)
    assert grade("points", "out", "bob", "--points", "30") == 0
    assert "30 of 100" in grade.out
    assert "note" not in grade.err


def test_the_ledger_lists_and_filters(grade: Grade, school: School) -> None:
    school.hand_in("ada")
    school.hand_in("bob", "wrong")
    Path("submissions/cyd").mkdir()
    batch(grade)
    assert grade("ledger", "out") == 0
    assert [line.split()[0] for line in grade.out.splitlines()] == ["ada", "bob", "cyd"]
    assert grade("ledger", "out", "list", "--verdict", "failed", "--verdict", "none") == 0
    assert [line.split()[0] for line in grade.out.splitlines()] == ["bob", "cyd"]


def test_a_reason_is_cut_to_the_line_and_whole_in_show(grade: Grade, school: School) -> None:
    for name in ("a_first_try.cu", "a_second_try.cu", "a_third_try.cu"):
        (school.submissions / "ada").mkdir(exist_ok=True)
        (school.submissions / "ada" / name).write_text("//")
    batch(grade)
    assert max(map(len, (grade.out + grade.err).splitlines())) <= 80
    assert grade("ledger", "out") == 0
    assert len(grade.out.rstrip("\n")) == 80
    assert grade.out.endswith("…\n")
    grade("ledger", "out", "show", "ada")
    assert "keep one, or name one of them starter.cu" in grade.out


def test_the_ledger_says_why_a_grade_changed(grade: Grade, school: School) -> None:
    school.hand_in("ada")
    batch(grade, "--seed", "7")
    assert grade("ledger", "out", "why", "ada") == 0
    assert "nothing to compare" in grade.out
    school.hand_in("ada", "wrong")
    oracle = school.exercise.folder / "oracle.py"
    oracle.write_text(oracle.read_text() + "\n")
    batch(grade, "--seed", "8")
    assert grade("ledger", "out", "why", "ada") == 0
    for words in ("a different submission", "exercise's files changed", "seed 8 instead of 7", "passed -> failed"):
        assert words in grade.out
    assert grade("ledger", "out", "history", "ada") == 0
    assert len(grade.out.splitlines()) == 3
    assert grade("ledger", "out", "show", "ada") == 0
    assert "FAILED" in grade.out
    assert grade("ledger", "out", "why", "nobody") == 2


def test_after_a_regrade_the_class_is_told_whose_grade_changed(grade: Grade, school: School) -> None:
    school.hand_in_all(["ada", "bob"])
    school.hand_in("cyd", "wrong")
    batch(grade, "--seed", "7")
    assert "changed" not in grade.out
    school.hand_in("bob", "wrong")
    assert batch(grade, "--seed", "8") == 0
    assert "1 grade changed: grade ledger out changed\n" in grade.out
    assert grade("ledger", "out", "changed") == 0
    first, *rest = grade.out.splitlines()
    assert first.startswith("bob     52 -> 0      incomplete -> failed; a different submission: ")
    assert first.endswith("; seed 8 instead of 7")
    assert rest == ["1 grade changed; 2 graded again with the same outcome"]
    assert grade("ledger", "out", "changed", "--since", "2999-01-01") == 0
    assert grade.out == "0 grades changed; 0 graded again with the same outcome\n"
    assert batch(grade) == 0
    assert "changed" not in grade.out


def test_only_some_students_are_graded(grade: Grade, school: School) -> None:
    school.hand_in_all(["ada", "bob", "cyd"])
    assert batch(grade, "--student", "bob", "--student", "ADA") == 0
    assert school.gradings() == 2
    assert "3 students; 2 to grade" in grade.err
    assert "1 not graded yet" in grade.out
    assert batch(grade, "--student", "nobody") == 2
    assert "there is no student 'nobody'" in grade.err
    assert batch(grade) == 0
    assert school.gradings() == 3


def test_a_dry_run_says_what_would_be_graded_and_writes_nothing(grade: Grade, school: School) -> None:
    school.hand_in_all(["ada", "bob"])
    (school.submissions / "bob" / "helper.cuh").write_text("//")
    (school.submissions / "cyd").mkdir()
    assert batch(grade, "--dry-run") == 0
    assert not Path("out").exists()
    assert grade.out.splitlines() == [
        "ada: to grade; ada/ada.cu",
        "bob: to grade; bob/bob.cu; only bob/bob.cu is graded, not bob/helper.cuh",
        "cyd: the submission folder is empty",
        "3 students; 2 submissions to grade on the CPU. Nothing was written.",
    ]
    batch(grade, "--student", "ada")
    before = {file: file.read_bytes() for file in Path("out").rglob("*") if file.is_file()}
    assert batch(grade, "--dry-run", "--student", "bob") == 0
    assert "ada: already graded; ada/ada.cu" in grade.out
    assert {file: file.read_bytes() for file in Path("out").rglob("*") if file.is_file()} == before
    school.hand_in("dan")
    assert batch(grade, "--dry-run", "--student", "bob") == 0
    assert "dan: left for later" in grade.out
    Path("submissions/ada/ada.cu").unlink()
    Path("submissions/ada").rmdir()
    assert batch(grade, "--dry-run") == 2
    assert batch(grade, "--dry-run", "--replace") == 0
    assert "ada: leaves the batch" in grade.out
    assert school.gradings() == 1


def test_the_ledger_shows_a_grade_with_its_lines_and_how_to_repeat_it(grade: Grade, school: School) -> None:
    file = school.hand_in("ada", "races")
    batch(grade, "--seed", "7")
    assert grade("ledger", "out", "show", "ada") == 0
    assert grade.out.splitlines()[1] == "submissions/ada/ada.cu"
    assert "y[threadIdx.x] = 2 * x[threadIdx.x];" in grade.out
    assert "to repeat: grade run 1 submissions/ada/ada.cu --seed 7\n" in grade.out
    file.write_text("// another\n")
    assert grade("ledger", "out", "show", "ada") == 0
    assert "submissions/ada/ada.cu (since it was graded, changed or removed)" in grade.out
    assert "2 * x" not in grade.out


def test_a_source_from_a_zip_is_shown_by_its_name_there_and_can_be_had(grade: Grade, school: School) -> None:
    """Where it was unpacked to is nobody's to remember."""
    file = school.hand_in("ada", "races")
    with zipfile.ZipFile("class.zip", "w") as archive:
        archive.write(file, "doeada_101_9001_starter.cu")
    assert grade("batch", "class.zip", "--exercise", "1", "--out", "out", "--seed", "7") == 0
    assert grade("ledger", "out", "show", "101") == 0
    assert ".unpacked" not in grade.out
    assert grade.out.splitlines()[1:3] == [
        "doeada_101_9001_starter.cu",
        "Source: grade ledger out source 101 > starter.cu",
    ]
    assert "to repeat: grade run 1 starter.cu --seed 7\n" in grade.out
    assert grade("ledger", "out", "source", "doeada") == 0
    assert grade.out.encode() == file.read_bytes()
    assert grade("ledger", "out", "list") == 0
    assert grade.out.startswith("101 doeada")


def test_no_folder_is_called_as_stdout_is(grade: Grade, school: School) -> None:
    school.hand_in("ada")
    assert grade("batch", "submissions", "--exercise", "1", "--out", "-") == 2
    assert "name a folder" in grade.err
    assert grade("ci", "--out", "-") == 2
    assert not Path("-").exists()


def test_purge_asks_first(grade: Grade, school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    school.hand_in_all(["ada", "bob"])
    batch(grade)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    assert grade("ledger", "out", "purge", "ada") == 2
    assert "--yes" in grade.err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)
    assert grade("ledger", "out", "purge", "ada") == 0
    assert Path("out/results/ada.json").exists()
    assert grade("ledger", "out", "purge", "ada", "--yes") == 0
    assert "  out/results/ada.json\n" in grade.out
    assert max(map(len, grade.out.splitlines())) <= 80
    assert not Path("out/results/ada.json").exists()
    assert "ada" not in Path("out/gradebook.csv").read_text()
    assert grade("ledger", "out", "purge", "ada", "--yes") == 2


def test_purge_of_what_is_no_batch_has_no_gradebook_to_write(grade: Grade, school: School) -> None:
    """As in the ledger of grade serve, which has no exercise of its own."""
    school.hand_in("ada")
    batch(grade)
    Path("out/gradebook.csv").unlink()
    with contextlib.closing(sqlite3.connect("out/ledger.sqlite")) as database, database:
        database.execute("DELETE FROM setting WHERE name = 'exercise'")
    for student in ("ada", "bob"):
        with Queue(Path("out")).turn(student, threading.Event(), lambda before: None):
            pass
    assert grade("ledger", "out", "purge", "ada", "--yes") == 0
    assert not Path("out/gradebook.csv").exists()
    assert list(json.loads(Path("out/.starts.json").read_text())) == ["bob"]


def test_what_a_message_quotes_does_not_steer_the_terminal(grade: Grade, school: School) -> None:
    school.hand_in("ada\x1b[31m")
    batch(grade)
    assert grade("points", "out", "adda") == 2
    assert "ada␛[31m" in grade.err.replace("\n", " ")
    assert "\x1b" not in grade.err


def test_points_for_a_student_whose_id_the_gradebook_made_safe(grade: Grade, school: School) -> None:
    school.hand_in("@ada")
    batch(grade)
    Path("points.csv").write_text("student,points,comment\n'@ada,2,'=neat\n")
    assert grade("points", "out", "--from", "points.csv") == 0
    assert "@ada: 2 points; =neat" in grade.out


def test_purge_reaches_what_was_exported(grade: Grade, school: School) -> None:
    school.hand_in_all(["ada", "bob"])
    batch(grade)
    for to in (["gradescope"], ["canvas", "--so-far"]):
        assert grade("export", "out", "--to", *to) == 0
    assert grade("ledger", "out", "purge", "ada", "--yes") == 0
    assert [file.name for file in Path("out/gradescope").iterdir()] == ["bob"]
    assert "note: out/canvas.csv was exported earlier and may still contain ada" in grade.err
    assert "moodle.csv" not in grade.err


def test_without_confinement_strangers_are_graded_only_where_they_are_trusted(
    grade: Grade, school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    school.hand_in("ada")
    monkeypatch.setattr("grader.sandbox.confine.missing", lambda: ("a submission could read your files",))
    command = ("batch", "submissions", "--exercise", "1", "--out", "out", "--device", "cpu")
    assert grade(*command) == 4
    assert "a submission could read your files" in grade.err.replace("\n", " ")
    assert "--trust" in grade.err
    assert not Path("out").exists()
    assert grade(*command, "--trust") == 0
