from __future__ import annotations

from pathlib import Path

import pytest

from grader.authoring import verify
from grader.exercise import catalog
from grader.grading.hints import PITFALLS, sections
from grader.model.problem_text import questions
from tests.cli.conftest import Grade
from tests.kept_children import KeptChildren


def test_the_new_exercise_keeps_every_promise(grade: Grade, kept_children: KeptChildren) -> None:
    assert grade("new", "vector_sum", "--exercises", "mine") == 0
    assert "grade verify 01_vector_sum --exercises mine" in grade.out
    exercise = catalog.read(Path("mine/01_vector_sum"))
    promises = verify.promises(exercise)
    # Real children: `grade` in this process would get a fake one.
    kept = verify.verify(exercise, promises, seed=3, open_executor=kept_children.open, jobs=2)
    assert [done.problem for done in kept] == [""] * 4


def test_takes_the_next_number_in_the_nearest_exercises(grade: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    (grade.folder / "deep" / "down").mkdir(parents=True)
    monkeypatch.chdir("deep/down")
    assert grade("new", "vector_sum") == 0
    assert (grade.folder / "exercises" / "02_vector_sum" / "exercise.toml").is_file()


def test_takes_the_number_that_is_given(grade: Grade) -> None:
    assert grade("new", "7_vector_sum") == 0
    assert catalog.find("7", Path("exercises")).name == "07_vector_sum"


def test_makes_a_folder_for_exercises_where_there_is_none(grade: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    (grade.folder / "exercises").rename(grade.folder / "elsewhere")
    assert grade("new", "vector_sum") == 0
    assert Path("exercises/01_vector_sum/oracle.py").is_file()


def test_names_stand_where_they_belong_and_no_blank_is_left(grade: Grade) -> None:
    grade("new", "vector_sum")
    exercise = catalog.find("2", Path("exercises"))
    assert exercise.title == "Vector sum"
    for file in exercise.folder.rglob("*"):
        assert file.is_dir() or "{{" not in file.read_text()
    assert "grade watch 2" in exercise.starter.read_text()


def test_its_problem_has_hints_and_a_section_for_every_finding(grade: Grade) -> None:
    grade("new", "vector_sum")
    exercise = catalog.find("2", Path("exercises"))
    known = sections(exercise)
    unexplained = [kind for kind, anchors in PITFALLS.items() if not known & set(anchors)]
    assert unexplained == ["forbidden-instruction"]  # it forbids none
    assert len(questions((exercise.folder / "problem.md").read_text())) == 3


@pytest.mark.parametrize("name", ["Vector", "vector-sum", "../vector", "1", "", "_a", "a__b"])
def test_no_name_for_an_exercise(grade: Grade, name: str) -> None:
    assert grade("new", name) == 2
    assert sorted(path.name for path in Path("exercises").iterdir()) == ["01_double"]


def test_a_number_that_is_taken(grade: Grade) -> None:
    assert grade("new", "01_vector_sum") == 2
    assert "with that number" in grade.err


def test_a_disk_that_is_full_leaves_no_folder(grade: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", full)
    assert grade("new", "vector_sum", "--exercises", "course/exercises") == 4
    assert "No space left on device" in grade.err
    assert not Path("course").exists()


def test_a_folder_that_cannot_be_written(grade: Grade) -> None:
    Path("file").write_text("")
    assert grade("new", "vector_sum", "--exercises", "file") == 4
    assert "cannot write" in grade.err
