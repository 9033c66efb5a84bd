from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Grade
from tests.fakes import TOML, write_exercise


def test_lists_number_name_and_title(grade: Grade) -> None:
    write_exercise(Path("exercises/02_triple"), toml=TOML.replace("Double every", "Triple each"))
    assert grade("list") == 0
    assert grade.out.splitlines() == ["01_double  Double every row", "02_triple  Triple each row"]


def test_of_another_folder(grade: Grade) -> None:
    write_exercise(Path("elsewhere/05_five"))
    assert grade("list", "--exercises", "elsewhere") == 0
    assert grade.out.startswith("05_five")


def test_no_such_folder_exits_2(grade: Grade) -> None:
    assert grade("list", "--exercises", "nowhere") == 2
    assert "nowhere" in grade.err


def test_a_broken_exercise_exits_4_and_is_named(grade: Grade) -> None:
    Path("exercises/01_double/exercise.toml").write_text("title = 3")
    assert grade("list") == 4
    assert "exercise.toml" in grade.err
