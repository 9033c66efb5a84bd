from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from grader.exercise import catalog
from tests.cli.conftest import Grade
from tests.fakes import SOURCE

SHIPPED = Path(__file__).parents[2] / "exercises"


@pytest.fixture
def course(grade: Grade) -> Grade:
    """The exercise with all that an author has."""
    folder = grade.folder / "exercises" / "01_double"
    for name in ("problem.md", "test.py", "solution.cu", "wrong/race.cu", "wrong/notes.txt", "__pycache__/x.pyc"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("author's")
    return grade


def files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_copies_what_a_student_needs_and_no_solution(course: Grade) -> None:
    assert course("start", "mine") == 0
    assert files(Path("mine")) == [
        ".clang-format",
        ".clangd",
        ".gitignore",
        ".grade/include/cuda.h",
        ".grade/include/editor.h",
        ".grade/include/grader.cuh",
        ".grade/originals/01_double/starter.cu",
        "README.md",
        "compile_flags.txt",
        "exercises/01_double/exercise.toml",
        "exercises/01_double/oracle.py",
        "exercises/01_double/problem.md",
        "exercises/01_double/starter.cu",
        "exercises/01_double/test.py",
    ]
    assert "grade watch 1" in course.out


def test_from_within_a_student_s_folder_the_starters_come_as_they_were(course: Grade) -> None:
    assert course("start", "mine") == 0
    starter = Path("mine/exercises/01_double/starter.cu")
    was = starter.read_text()
    starter.write_text("// edited\n")
    assert course("start", "again", "--exercises", "mine/exercises") == 0
    assert Path("again/exercises/01_double/starter.cu").read_text() == was
    assert Path("again/.grade/originals/01_double/starter.cu").read_text() == was


def test_editors_find_the_header_and_the_format(course: Grade) -> None:
    assert course("start", "mine") == 0
    flags = Path("mine/compile_flags.txt").read_text().splitlines()
    assert {"-I.grade/include", "-include.grade/include/editor.h"} < set(flags)
    root = Path(__file__).parents[2]
    assert Path("mine/.clang-format").read_text() == (root / ".clang-format").read_text()
    assert (
        Path("mine/.grade/include/grader.cuh").read_text()
        == (root / "grader" / "compile" / "include" / "grader.cuh").read_text()
    )
    readme = Path("mine/README.md").read_text()
    assert "COMMAND-FOR-A-SHELL" not in readme
    assert sys.prefix in readme or sys.executable in readme


def test_copies_the_course_s_objectives(course: Grade) -> None:
    Path("exercises/objectives.toml").write_text("objectives = []")
    assert course("start", "mine") == 0
    assert Path("mine/exercises/objectives.toml").read_text() == "objectives = []"


def test_the_workflows_of_a_named_grader_run_that_commit_of_it(course: Grade) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert course("start", "mine", "--grader", f"course/grader.x@{commit.upper()}") == 0
    workflows = Path("mine/.github/workflows")
    assert files(workflows) == ["grade-gpu.yml", "grade.yml"]
    for workflow in workflows.iterdir():
        text = workflow.read_text()
        assert f"uses: course/grader.x/.github/actions/grade@{commit}\n" in text
        assert not re.search("GRADER_[RC]", text)


@pytest.mark.parametrize(
    "grader", ["course/grader", "course/grader@main", "grader@" + "0" * 40, f"a/b/c@{'0' * 40}", f"a/b@{'0' * 40}\nx"]
)
def test_a_grader_is_named_by_its_commit(course: Grade, grader: str) -> None:
    """Whoever owns the name that a workflow uses, or may move a branch of it, runs code in every course."""
    assert course("start", "mine", "--grader", grader) == 2
    assert "40 digits of a commit" in course.err
    assert not Path("mine").exists()


def test_what_was_copied_grades(course: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    course("start", "mine")
    monkeypatch.chdir("mine")
    assert course("run", "1") == 0
    assert files(Path(".grade/progress")) == ["01_double.json"]


def test_into_a_repository_that_was_just_made(course: Grade) -> None:
    Path("mine/.git").mkdir(parents=True)
    Path("mine/README.md").write_text("My own words")
    assert course("start", "mine") == 0
    assert Path("mine/README.md").read_text() == "My own words"
    assert "Not changed: mine/README.md" in course.out
    assert Path("mine/exercises/01_double/starter.cu").read_bytes() == SOURCE


@pytest.mark.parametrize(
    ("name", "ignored"),
    [
        (".grade/progress/01_double.json", True),
        ("grade-out/results/01_double.json", True),
        ("report.html", True),
        ("exercises/01_double/starter.cu.1.bak", True),
        ("exercises/01_double/__pycache__/oracle.pyc", True),
        (".pytest_cache/README.md", True),
        (".grade/originals/01_double/starter.cu", False),
        ("exercises/01_double/starter.cu", False),
        (".github/workflows/grade.yml", False),
    ],
)
def test_what_grade_writes_there_stays_out_of_git(course: Grade, name: str, ignored: bool) -> None:
    course("start", "mine")
    subprocess.run(["git", "init", "--quiet", "mine"], check=True)
    asked = subprocess.run(["git", "-C", "mine", "check-ignore", "--quiet", name], check=False)
    assert (asked.returncode == 0) == ignored


def test_never_over_exercises_that_are_there(course: Grade) -> None:
    course("start", "mine")
    starter = Path("mine/exercises/01_double/starter.cu")
    starter.write_text("an evening's work")
    assert course("start", "mine") == 2
    assert starter.read_text() == "an evening's work"
    assert "already exists" in course.err


def test_never_into_a_folder_of_exercises(course: Grade) -> None:
    before = files(Path("exercises"))
    assert course("start", "exercises") == 2
    assert "exercises already contains exercises" in course.err
    assert files(Path("exercises")) == before


def test_the_way_on_can_be_copied_into_a_shell(course: Grade) -> None:
    course("start", "my kernels")
    assert "  cd 'my kernels'\n" in course.out


def test_a_file_in_its_place_is_said(course: Grade) -> None:
    Path("mine").write_text("no folder")
    assert course("start", "mine") == 4
    assert "cannot set up mine" in course.err
    assert "Traceback" not in course.err


def test_a_disk_that_fills_up_leaves_nothing_behind(course: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.copyfile

    def full(source: Path, to: Path) -> None:
        if to.name == "oracle.py":
            raise OSError(28, "No space left on device")
        real(source, to)

    monkeypatch.setattr("shutil.copyfile", full)
    assert course("start", "new/mine") == 4
    assert "No space left on device" in course.err
    assert not Path("new").exists()
    Path("mine").mkdir()
    assert course("start", "mine") == 4
    assert list(Path("mine").iterdir()) == []


def test_the_shipped_exercises_give_nothing_away(grade: Grade) -> None:
    assert grade("start", "mine", "--exercises", SHIPPED) == 0
    assert not list(Path("mine").rglob("solution*"))
    assert not list(Path("mine").rglob("wrong"))
    copied = catalog.every(Path("mine/exercises"))
    assert [exercise.name for exercise in copied] == [exercise.name for exercise in catalog.every(SHIPPED)]
    for exercise in copied:
        assert (exercise.folder / "oracle.py").is_file() and exercise.starter.is_file()
