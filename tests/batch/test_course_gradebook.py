"""One gradebook of several exercises: whose points go together, and what is no number."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from grader.batch import course_gradebook
from grader.batch.course_gradebook import Graded, make
from grader.batch.entry import Entry, Lateness, Submitted
from grader.cli.command import invoke
from grader.errors import UsageError
from tests.batch.class_of import EXERCISE, MISSING, entry, not_timed, passed, rows_of
from tests.batch.classroom import School

SECOND = msgspec.structs.replace(EXERCISE, name="02_fp8", points={"correctness": 30, "performance": 0, "quality": 20})


def table_of(first: tuple[Entry, ...], second: tuple[Entry, ...]) -> list[list[str]]:
    made = make([Graded(EXERCISE, first), Graded(SECOND, second)])
    header, *rows = rows_of(made.content)
    assert header == ["student", "name", "email", "01_simple_grouped_gemm", "02_fp8", "total", "max", "not final"]
    assert made.students == len(rows)
    return rows


def moodles(number: int, name: str, **identifiers: str) -> Entry:
    made = entry(str(number), passed(), name, Identifier=f"Participant {number}", **identifiers)
    return msgspec.structs.replace(made, submitted=msgspec.structs.replace(made.submitted, platform="moodle"))


def test_a_large_course_is_matched_by_looking_students_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is compared with those who have something in common with it, and not with all."""
    compared: list[object] = []
    contradicts = course_gradebook._contradicts

    def counted(person: course_gradebook._Person, one: Submitted) -> bool:
        compared.append(person)
        return contradicts(person, one)

    monkeypatch.setattr(course_gradebook, "_contradicts", counted)
    first = tuple(entry(f"s{number}", passed(), f"Ada {number}") for number in range(300))
    second = tuple(entry(f"t{number}", passed(), f"{number}, Ada") for number in range(300))
    assert len(table_of(first, second)) == 300
    assert len(compared) == 300


def test_a_line_per_student_and_a_column_per_exercise() -> None:
    late = msgspec.structs.replace(entry("bob", passed()), lateness=Lateness(1, 10))
    rows = table_of((entry("ada", passed()), late, MISSING), (entry("ada", not_timed()), entry("cyd", passed(3.0))))
    assert rows == [
        ["ada", "", "", "92", "52", "144", "150", "02_fp8"],
        ["bob", "", "", "82.8", "", "82.8", "150", "02_fp8"],
        ["cyd", "", "", "", "95", "95", "150", "01_simple_grouped_gemm"],
        ["dave", "Dave Low", "", "", "", "", "150", "01_simple_grouped_gemm; 02_fp8"],
    ]


def test_platforms_may_differ_where_an_identifier_is_the_same() -> None:
    canvas = entry("101", passed(), "Doe, Jane", ID="101", **{"SIS Login ID": "jdoe"})
    moodle = moodles(7, "Jane Doe", Username="JDoe", **{"Email address": "jane@example.edu"})
    gradescope = entry("0012", passed(), "J. Doe", Email="Jane@example.edu")
    third = msgspec.structs.replace(EXERCISE, name="03_x")
    made = make([Graded(EXERCISE, [canvas]), Graded(SECOND, [moodle]), Graded(third, [gradescope])])
    (row,) = rows_of(made.content)[1:]
    assert row[:3] == ["101", "Doe, Jane", "jane@example.edu"]
    assert row[6] == "276"
    assert made.partial == ()


def test_moodles_number_is_of_one_assignment() -> None:
    """Another student has the same number in the other one."""
    rows = table_of((moodles(7, "Jane Doe"), moodles(8, "Bo Roe")), (moodles(7, "Bo Roe"), moodles(9, "Doe, Jane")))
    assert [(row[1], row[5]) for row in rows] == [("Bo Roe", "184"), ("Jane Doe", "184")]


def test_namesakes_are_not_joined() -> None:
    rows = table_of((moodles(7, "Jane Doe"), moodles(8, "Jane Doe")), (moodles(9, "Jane Doe"),))
    assert [row[5] for row in rows] == ["92"] * 3
    one = moodles(7, "Jane Doe", **{"Email address": "jane@example.edu"})
    other = moodles(9, "Jane Doe", **{"Email address": "jane.doe@example.edu"})
    assert len(table_of((one,), (other,))) == 2


def test_two_batches_of_one_exercise_are_refused() -> None:
    with pytest.raises(UsageError, match="2 of the folders are batches of 01_simple"):
        make([Graded(EXERCISE, []), Graded(EXERCISE, [])])


def test_the_command(school: School, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    school.hand_in("ada")
    exercises = ("--exercises", str(school.folder / "exercises"))
    where = (str(school.submissions), "--exercise", "1", "--out", str(school.out), "--device", "cpu")
    assert invoke(["batch", *where, *exercises]) == 0
    out = tmp_path / "course.csv"
    assert invoke(["gradebook", str(school.out), "--out", str(out)]) == 0
    assert rows_of(out.read_bytes())[1] == ["ada", "", "", "52", "52", "100", "01_double"]
    assert f"{out}: 1 student, 1 exercise" in capsys.readouterr().out
    assert invoke(["gradebook", str(school.out), str(school.out), "--out", str(out)]) == 2
    assert invoke(["gradebook", str(tmp_path), "--out", str(out)]) == 2
    assert invoke(["gradebook", str(school.out), "--out", str(tmp_path)]) == 2
    assert invoke(["gradebook", "--out", str(out)]) == 2
    assert invoke(["gradebook", str(school.out), "--out", str(school.out / "class.html")]) == 2
    assert "belong to its batch" in capsys.readouterr().err
    assert invoke(["gradebook", str(school.out), "--out", "-"]) == 0
    said = capsys.readouterr()
    assert said.out.encode() == out.read_bytes()
    assert said.err == "-: 1 student, 1 exercise\n"
    kept = tmp_path / "kept.csv"
    kept.touch()
    link = tmp_path / "link.csv"
    link.symlink_to(kept)
    assert invoke(["gradebook", str(school.out), "--out", str(link)]) == 0
    assert link.is_symlink()
    assert kept.read_bytes() == out.read_bytes()
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(pipe.read_bytes)
        assert invoke(["gradebook", str(school.out), "--out", str(pipe)]) == 0
        assert read.result() == out.read_bytes()
