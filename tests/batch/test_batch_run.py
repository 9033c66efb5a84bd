"""A whole batch with children that behave as a test says: what is graded, what is not, and what is left behind."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import msgspec
import pytest

from grader.batch import instructor, outcomes, run, worker, workplace
from grader.batch.entry import Entry, ManualPoints
from grader.batch.intake import Batch
from grader.batch.ledger import Ledger
from grader.errors import GraderError, UsageError
from grader.exercise import submission
from grader.exercise.secret import Secret
from grader.model import codec
from tests.batch.classroom import School, Watching
from tests.fakes import ORACLE


def grade(school: School, watch: Watching | None = None, **changes: object) -> dict[str, Entry]:
    batch = msgspec.structs.replace(Batch(school.submissions, school.exercise, school.out, "cpu"), **changes)
    return {entry.submitted.student: entry for entry in run.run(batch, watch or Watching())}


DATE = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d UTC")  # of the grading, to the minute


def outputs(out: Path) -> dict[str, bytes]:
    """What people read of a student; the ledger itself holds times, and pseudonyms are each folder's own."""
    files = [out / "gradebook.csv", *out.glob("results/*"), *out.glob("reports/*")]
    return {str(file.relative_to(out)): DATE.sub(b"", file.read_bytes()) for file in files}


def verdict(entry: Entry) -> str:
    assert entry.result is not None
    return entry.result.verdict.value


def test_everybody_is_graded_and_written_down(school: School) -> None:
    school.hand_in("ada")
    school.hand_in("bob", "wrong")
    (school.submissions / "cyd").mkdir()
    made = grade(school)
    assert verdict(made["ada"]) == "incomplete"  # right; nobody judged its speed
    assert verdict(made["bob"]) == "failed"
    assert made["cyd"].result is None
    assert made["cyd"].submitted.problem
    rows = {row["student"]: row for row in csv.DictReader(io.StringIO((school.out / "gradebook.csv").read_text()))}
    assert rows["ada"]["total"] == "52"
    assert rows["cyd"]["total"] == ""
    assert codec.decode((school.out / "results" / "ada.json").read_bytes()) == made["ada"].result
    assert "ada.cu" in (school.out / made["ada"].report).read_text()
    assert not (school.out / "results" / "cyd.json").exists()


def test_every_child_is_closed(school: School) -> None:
    school.hand_in_all(["ada", "bob", "cyd"])
    grade(school)
    assert set(school.opened) == school.closed


def test_the_same_bytes_are_graded_once_and_each_gets_them_under_their_own_name(school: School) -> None:
    school.hand_in("ada", "wrong")
    school.hand_in("bob", "wrong", twin_of="ada")
    watch = Watching()
    made = grade(school, watch)
    assert school.gradings() == 1
    assert watch.heard[0][0] == ("ada", "bob")
    ada, bob = (made[name].result for name in ("ada", "bob"))
    assert ada is not None
    assert bob is not None
    assert (ada.submission.path, bob.submission.path) == ("ada.cu", "bob.cu")
    assert {f.file for check in bob.checks for f in check.findings} == {"bob.cu"}
    assert b"ada" not in (school.out / "results" / "bob.json").read_bytes()


def test_again_nothing_is_graded_and_nothing_changes(school: School) -> None:
    school.hand_in_all(["ada", "bob"])
    grade(school)
    before, seen = outputs(school.out), school.gradings()
    grade(school)
    assert school.gradings() == seen
    assert outputs(school.out) == before


def test_a_new_submission_is_graded_alone(school: School) -> None:
    school.hand_in_all(["ada", "bob"])
    grade(school)
    school.hand_in("bob", "wrong")
    school.hand_in("cyd")
    watch = Watching()
    made = grade(school, watch)
    assert sorted(who for students, _ in watch.heard for who in students) == ["bob", "cyd"]
    assert verdict(made["bob"]) == "failed"


@pytest.mark.parametrize(
    ("file", "graded"), [("oracle.py", 2), ("exercise.toml", 2), ("problem.md", 0), ("wrong/mine.cu", 0)]
)
def test_a_changed_exercise_is_graded_again_where_it_matters(school: School, file: str, graded: int) -> None:
    school.hand_in_all(["ada", "bob"])
    grade(school)
    changed = school.exercise.folder / file
    changed.parent.mkdir(exist_ok=True)
    changed.write_text((changed.read_text() if changed.exists() else "") + "\n# better\n")
    watch = Watching()
    grade(school, watch)
    assert len(watch.heard) == graded


def test_the_seed_is_kept_and_another_grades_everything_again(school: School) -> None:
    school.hand_in("ada")
    first = grade(school)["ada"].result
    school.hand_in("bob")
    second = grade(school)["bob"].result
    assert first is not None
    assert second is not None
    assert first.seed == second.seed
    watch = Watching()
    third = grade(school, watch, seed=first.seed + 1)["ada"].result
    assert third is not None
    assert third.seed == first.seed + 1
    assert len(watch.heard) == 2
    assert "every submission is graded" in watch.said[0]


def test_other_secret_cases_are_another_grading(school: School) -> None:
    school.hand_in("ada")
    grade(school)
    watch = Watching()
    made = grade(school, watch, secret=Secret(cases=({"M_sizes": [3]},)))
    assert len(watch.heard) == 1
    assert made["ada"].result is not None
    assert any(check.id == "correct[secret-1]" for check in made["ada"].result.checks)


def test_manual_points_survive_whatever_is_graded_again(school: School) -> None:
    school.hand_in("ada")
    grade(school)
    with Ledger(school.out) as ledger:
        instructor.give(ledger, school.exercise, school.out, "ada", ManualPoints(6, "well said"))
    assert "well said" in (school.out / "gradebook.csv").read_text()
    school.hand_in("ada", "wrong")
    made = grade(school)["ada"]
    assert made.result is not None
    assert made.result.points.manual == 6
    assert made.result.points.total == 6
    assert made.manual.comment == "well said"


def test_what_an_instructor_gives_and_says_stands_in_the_students_report(school: School) -> None:
    school.hand_in("ada")
    page = school.out / grade(school)["ada"].report
    assert "From your instructor" not in page.read_text()
    with Ledger(school.out) as ledger:
        for comment in ("an <b>earlier</b> remark", "Clear & short.\nNames < 5?"):
            given = instructor.give(ledger, school.exercise, school.out, "ada", ManualPoints(7.5, comment))
    assert given.result is not None
    said = page.read_text()
    assert "Clear &amp; short.\nNames &lt; 5?" in said
    assert "remark" not in said
    assert "Points from your instructor: <b>7.5</b>" in said
    assert "<strong>59.5</strong>" in said
    row = next(csv.DictReader(io.StringIO((school.out / "gradebook.csv").read_text())))
    assert (row["manual"], row["total"]) == ("7.5", "59.5")
    with Ledger(school.out) as ledger:
        instructor.give(ledger, school.exercise, school.out, "ada", ManualPoints())
    assert "From your instructor" not in page.read_text()


def test_a_comment_without_points_is_shown_alone(school: School) -> None:
    school.hand_in("ada")
    page = school.out / grade(school)["ada"].report
    with Ledger(school.out) as ledger:
        instructor.give(ledger, school.exercise, school.out, "ada", ManualPoints(comment="see me"))
    assert "see me" in page.read_text()
    assert "Points by hand" not in page.read_text()


def test_an_error_of_the_graders_is_tried_once_more_at_the_end(school: School) -> None:
    school.hand_in("ada", "dies-once")
    school.hand_in("bob")
    watch = Watching()
    made = grade(school, watch)
    assert [students for students, _ in watch.heard].count(("ada",)) == 2
    assert verdict(made["ada"]) == "incomplete"


def test_an_error_that_stays_is_no_zero_and_is_tried_again_next_time(school: School) -> None:
    school.hand_in("ada", "dies")
    made = grade(school)
    assert verdict(made["ada"]) == "error"
    assert made["ada"].result is not None
    assert made["ada"].result.points.correctness is None
    watch = Watching()
    grade(school, watch)
    assert len(watch.heard) == 2


def test_a_crash_before_there_is_a_result_costs_one_student(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    from grader.grading import pipeline

    real = pipeline.grade

    def crash(exercise: object, source: object, **options: object) -> object:
        if b"// right ada" in source.content:  # type: ignore[attr-defined]
            raise ZeroDivisionError("by zero")
        return real(exercise, source, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "grade", crash)
    school.hand_in_all(["ada", "bob"])
    made = grade(school)
    assert verdict(made["bob"]) == "incomplete"
    assert made["ada"].result is None
    assert "ZeroDivisionError" in made["ada"].problem


def test_ctrl_c_leaves_what_is_known_and_the_rest_is_graded_later(school: School) -> None:
    students = [f"s{number}" for number in range(8)]
    school.hand_in_all(students, "slow")
    watch = Watching(stop_after=3)
    with pytest.raises(KeyboardInterrupt):
        grade(school, watch, jobs=2)
    assert watch.finished
    assert set(school.opened) == school.closed
    rows = list(csv.DictReader(io.StringIO((school.out / "gradebook.csv").read_text())))
    assert len(rows) == 8
    assert [row["problem"] for row in rows].count("not graded yet") == 5
    again = Watching()
    made = grade(school, again)
    assert len(again.heard) == 5
    assert {verdict(entry) for entry in made.values()} == {"incomplete"}


def test_ctrl_c_does_not_wait_for_what_hangs(school: School) -> None:
    school.hand_in("ada", "forever")
    school.hand_in("bob")
    with pytest.raises(KeyboardInterrupt):
        grade(school, Watching(stop_after=1), jobs=2)
    assert set(school.opened) == school.closed


def test_a_broken_exercise_stops_the_batch_before_any_submission(school: School) -> None:
    (school.exercise.folder / "oracle.py").write_text(ORACLE.replace("def expected", "def no_expected"))
    school.hand_in("ada")
    with pytest.raises(GraderError, match="expected"):
        grade(school)
    assert not school.compiled
    assert not school.out.exists()


def test_wrong_secret_cases_are_said_once(school: School) -> None:
    school.hand_in("ada")
    with pytest.raises(UsageError, match="M_sizes is missing"):
        grade(school, secret=Secret(cases=({"K": 3},)))
    assert not school.compiled


def test_a_folder_is_of_one_exercise_and_of_one_batch_at_a_time(school: School) -> None:
    school.hand_in("ada")
    grade(school)
    other = msgspec.structs.replace(school.exercise, name="02_triple")
    with pytest.raises(UsageError, match="01_double"):
        grade(school, exercise=other)
    with workplace.alone(school.out), pytest.raises(UsageError, match="another grade batch"):
        grade(school)


def test_a_submission_that_cannot_be_read_stops_nobody_else(school: School) -> None:
    school.hand_in("ada").unlink()
    (school.submissions / "ada" / "ada.cu").symlink_to("nowhere.cu")
    school.hand_in("bob")
    made = grade(school)
    assert made["ada"].result is None
    assert verdict(made["bob"]) == "incomplete"


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "is empty"), (b"\0\1\2", "is binary"), (b"/" * (submission.MAX_BYTES + 1), "is larger than 1 MiB")],
)
def test_what_is_no_source_fails_to_compile_and_is_a_final_grade(school: School, content: bytes, says: str) -> None:
    school.hand_in("ada").write_bytes(content)
    made = grade(school)["ada"]
    assert made.result is not None
    assert (verdict(made), made.result.points.total) == ("failed", 0)
    assert made.result.checks[0].message.startswith(f"ada.cu {says}")
    assert outcomes.complete(made)
    assert (school.out / made.report).is_file()


def test_another_classes_folder_does_not_take_the_place_of_this_one(school: School) -> None:
    school.hand_in_all(["ada", "bob"])
    grade(school)
    before = outputs(school.out)
    other = school.folder / "other"
    (school.submissions / "bob").rename(school.folder / "bob")
    school.submissions.rename(other)
    (other / "ada").rename(other / "eve")
    (school.folder / "bob").rename(other / "bob")
    with pytest.raises(UsageError, match=r"1 student is in the batch in \S+ but not in \S+/other: ada\.") as refused:
        grade(school, submissions=other)
    assert "--replace" in str(refused.value)
    assert outputs(school.out) == before
    with Ledger(school.out) as ledger:
        assert [one.submitted.student for one in ledger.enrolled()] == ["ada", "bob"]
    assert list(grade(school, submissions=other, replace=True)) == ["bob", "eve"]


def test_an_id_that_is_a_path_stays_within_the_folder(school: School) -> None:
    file = school.hand_in("ada")
    (school.folder / "list.csv").write_text(f"student,file\n../../evil,{file}\n")
    made = grade(school, submissions=school.folder / "list.csv")
    assert verdict(made["../../evil"]) == "incomplete"
    assert len(list((school.out / "results").iterdir())) == 1
    assert not list(school.folder.rglob("evil.json"))


def test_purged_is_gone_from_rows_files_and_gradebook_and_a_twin_keeps_its_grade(school: School) -> None:
    school.hand_in("bob")
    school.hand_in("zacharias", twin_of="bob")
    grade(school)
    with Ledger(school.out) as ledger:
        instructor.give(ledger, school.exercise, school.out, "zacharias", ManualPoints(3, "secretly"))
        instructor.purge(ledger, school.exercise, school.out, "zacharias")
        assert not ledger.knows("zacharias")
        assert len(ledger.history("bob")) == 1
    for file in school.out.rglob("*"):
        assert "zacharias" not in file.name
        assert file.is_dir() or b"zacharias" not in file.read_bytes()
    assert (school.out / "results" / "bob.json").exists()


def test_a_report_that_cannot_be_made_keeps_nothing_else_back(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> str:
        raise KeyError("template")

    school.hand_in_all(["ada", "bob"])
    with monkeypatch.context() as patched:
        patched.setattr("grader.reports.render", broken)
        with pytest.raises(GraderError, match=r"the report of ada .* \(2 pages in all\)"):
            grade(school)
    assert (school.out / "gradebook.csv").exists()
    assert (school.out / "results" / "bob.json").exists()
    assert not (school.out / "reports" / "bob.html").exists()
    grade(school)
    assert (school.out / "reports" / "bob.html").exists()


def test_each_expected_output_is_made_once(school: School) -> None:
    counting = ORACLE.replace("def expected(case):", "made = []\n\ndef expected(case):\n    made.append(case.name)")
    (school.exercise.folder / "oracle.py").write_text(counting)
    school.hand_in_all(["ada", "bob", "cyd"])
    grade(school, jobs=3)
    (oracle,) = worker._oracles.values()
    assert sorted(oracle._module.made) == ["even", "one-row", "ragged"]
