from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Grade
from tests.fakes import SOURCE, write_exercise

MINE = b"an evening's work"


@pytest.fixture
def course(grade: Grade, monkeypatch: pytest.MonkeyPatch) -> Grade:
    """In a student's own repository, with something written."""
    grade("start", "mine")
    monkeypatch.chdir("mine")
    starter().write_bytes(MINE)
    return grade


def starter() -> Path:
    return Path("exercises/01_double/starter.cu")


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """As if typed at a terminal."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: text)


def test_asks_and_keeps_what_was_written(course: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "y")
    starter().chmod(0o640)
    assert course("reset", "1") == 0
    assert starter().read_bytes() == SOURCE
    assert starter().with_name("starter.cu.1.bak").read_bytes() == MINE
    assert max(map(len, course.out.splitlines())) <= 80
    assert "kept as exercises/01_double/starter.cu.1.bak" in course.out
    assert starter().stat().st_mode & 0o777 == 0o640


def test_no_leaves_all_as_it_was(course: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "n")
    assert course("reset", "1") == 0
    assert "Nothing was changed" in course.out
    assert starter().read_bytes() == MINE
    assert not list(Path().rglob("*.bak"))


def test_where_nobody_can_be_asked_it_refuses(course: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    assert course("reset", "1") == 2
    assert "--yes" in course.err
    assert starter().read_bytes() == MINE


def test_no_backup_is_ever_replaced(course: Grade) -> None:
    for text in (MINE, b"the second evening"):
        starter().write_bytes(text)
        assert course("reset", "1", "--yes") == 0
    assert starter().with_name("starter.cu.1.bak").read_bytes() == MINE
    assert starter().with_name("starter.cu.2.bak").read_bytes() == b"the second evening"


def test_a_starter_that_was_not_touched_needs_no_backup(course: Grade) -> None:
    course("reset", "1", "--yes")
    assert course("reset", "1") == 0
    assert "as it was at the start" in course.out
    assert not starter().with_name("starter.cu.2.bak").exists()


def test_a_starter_that_was_deleted_comes_back_unasked(course: Grade) -> None:
    starter().unlink()
    assert course("reset", "1") == 0
    assert starter().read_bytes() == SOURCE


def test_what_was_reached_stays_in_the_list(course: Grade) -> None:
    starter().write_bytes(SOURCE + b"// right\n")
    course("run", "1")
    course("reset", "1", "--yes")
    course("list")
    assert course.out.startswith("01_double  right")


def test_from_the_exercises_that_the_grader_came_with(
    grade: Grade, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_exercise(tmp_path / "installed" / "01_double", starter=b"as shipped")
    monkeypatch.setattr("grader.exercise.catalog.INSTALLED", tmp_path / "installed")
    assert grade("reset", "1", "--yes") == 0
    assert starter().read_bytes() == b"as shipped"
    assert starter().with_name("starter.cu.1.bak").read_bytes() == SOURCE


def test_without_an_original_it_says_what_git_can_do(grade: Grade) -> None:
    assert grade("reset", "1", "--yes") == 2
    assert "git restore exercises/01_double/starter.cu" in grade.err
    assert starter().read_bytes() == SOURCE


def test_a_folder_that_takes_no_backup_changes_nothing(course: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("grader.cli.reset._back_up", full)
    assert course("reset", "1", "--yes") == 4
    assert "was not changed" in course.err
    assert starter().read_bytes() == MINE
