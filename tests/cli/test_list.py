from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Grade
from tests.fakes import TOML, write_exercise

TRIPLE = TOML.replace("Double every", "Triple each").replace('["Learn to double"]', '["Learn to double", "Count"]')


@pytest.fixture(autouse=True)
def _nothing_tried_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_lists_name_and_title(grade: Grade) -> None:
    write_exercise(Path("exercises/02_triple"), toml=TRIPLE)
    assert grade("list") == 0
    assert grade.out.splitlines()[:2] == [
        "01_double  not tried  Double every row",
        "02_triple  not tried  Triple each row",
    ]


def test_shows_the_objectives_and_which_exercises_practise_them(grade: Grade) -> None:
    write_exercise(Path("exercises/02_triple"), toml=TRIPLE)
    grade("list")
    assert grade.out.splitlines()[2:] == [
        "",
        "Learning objectives: 0 of 2 reached",
        "  [ ] Learn to double (1, 2)",
        "  [ ] Count (2)",
    ]


COURSE = """
[[objectives]]
text = "Read a page"
sections = ["../examples/README.md#page", "../examples/README.md#other"]

[[objectives]]
text = "Learn to double"
"""


def test_the_course_says_their_order_and_what_is_to_be_read(grade: Grade) -> None:
    write_exercise(Path("exercises/02_triple"), toml=TRIPLE)
    Path("exercises/objectives.toml").write_text(COURSE)
    assert grade("list") == 0
    assert grade.out.splitlines()[2:] == [
        "",
        "Learning objectives: 0 of 3 reached",
        "  [-] Read a page (examples/README.md)",
        "  [ ] Learn to double (1, 2)",
        "  [ ] Count (2)",
        "  [ ] not yet; [-] to read; no exercise here practises it",
    ]


def test_objectives_that_cannot_be_read_are_named(grade: Grade) -> None:
    Path("exercises/objectives.toml").write_text("[[objectives]]\ntext = 3\n")
    assert grade("list") == 0
    assert "objectives.toml:2: Expected `str`, got `int` (objectives[0].text)" in grade.err
    assert "  [ ] Learn to double (1)" in grade.out


def test_objectives_fit_into_half_a_terminal(grade: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    long = "Learn to double every row of a matrix that has many of them"
    write_exercise(Path("exercises/02_long"), toml=TOML.replace("Learn to double", long))
    grade("list")
    objectives = grade.out.split("Learning objectives")[1].splitlines()
    assert all(len(line) <= 40 for line in objectives)
    assert long in " ".join(grade.out.split())


def test_a_run_shows_in_the_list(grade: Grade) -> None:
    grade("run", "1")
    grade("list")
    assert grade.out.startswith("01_double  right, 52 of 100  Double every row")
    assert "  [~] Learn to double (1)\n  [~] all correct; only speed is open, which needs a GPU" in grade.out


def test_the_attempts_at_one_exercise(grade: Grade) -> None:
    grade("list", "1")
    assert grade.out == "01_double: not tried yet\n"
    grade("run", "1")
    grade("run", "1")
    grade("list", "1")
    first, *attempts = grade.out.splitlines()
    assert first == "01_double: right, 52 of 100; 2 runs"
    assert len(attempts) == 2
    assert all(line.endswith("UTC  right   52 of 100") for line in attempts)


def test_an_objective_is_as_far_as_its_last_exercise(grade: Grade) -> None:
    write_exercise(Path("exercises/02_triple"), toml=TRIPLE)
    grade("run", "1")
    grade("list")
    assert "  [ ] Learn to double (1, 2)" in grade.out


@pytest.mark.parametrize("file", ["solution.cu", "wrong/race.cu"])
def test_the_exercise_s_own_kernels_are_nobody_s_attempt(grade: Grade, file: str) -> None:
    folder = Path("exercises/01_double")
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_bytes((folder / "starter.cu").read_bytes())
    grade("run", "1", str(folder / file))
    grade("list")
    assert grade.out.startswith("01_double  not tried")


def test_an_instructor_s_run_is_no_attempt(grade: Grade) -> None:
    Path("secret.toml").write_text("[[cases]]\nname = 'trap'\nM_sizes = [3, 4]\n")
    grade("run", "1", "--secret", "secret.toml")
    grade("list")
    assert grade.out.startswith("01_double  not tried")


def test_damaged_progress_is_said_and_the_rest_is_shown(grade: Grade, tmp_path: Path) -> None:
    grade("run", "1")
    (file,) = (tmp_path / "state").rglob("*.json")
    file.write_text("{")
    assert grade("list") == 0
    assert grade.out.startswith("01_double  not tried")
    assert "damaged" in grade.err


def test_a_verdict_stands_where_progress_cannot_be_kept(grade: Grade, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    assert grade("run", "1") == 0
    assert grade.out.startswith("INCOMPLETE")
    assert "your progress is not saved" in grade.err


def test_of_another_folder(grade: Grade) -> None:
    write_exercise(Path("elsewhere/05_five"))
    assert grade("list", "--exercises", "elsewhere") == 0
    assert grade.out.startswith("05_five")


def test_no_such_folder_exits_2(grade: Grade) -> None:
    assert grade("list", "--exercises", "nowhere") == 2
    assert "nowhere" in grade.err


def test_a_broken_exercise_is_named_with_its_line_and_the_others_are_listed(grade: Grade) -> None:
    broken = write_exercise(Path("exercises/02_broken"), toml=TOML.replace("tolerance = 1e-3", "tolerance = 'small'"))
    write_exercise(Path("exercises/03_triple"), toml=TRIPLE)
    assert grade("list") == 4
    assert [line.split()[0] for line in grade.out.splitlines()[:2]] == ["01_double", "03_triple"]
    line = TOML.splitlines().index("tolerance = 1e-3") + 1
    assert f"{broken.absolute() / 'exercise.toml'}:{line}: Expected `float`, got `str` (tolerance)" in grade.err


def test_where_all_are_broken_all_are_named(grade: Grade) -> None:
    Path("exercises/01_double/exercise.toml").write_text("title = 3")
    assert grade("list") == 4
    assert "exercise.toml:1: " in grade.err
    assert grade.out == ""


def test_a_broken_exercise_is_in_nobody_else_s_way(grade: Grade) -> None:
    write_exercise(Path("exercises/02_broken"), toml="[[")
    assert grade("run", "1") == 0
    assert grade("run", "2") == 4
    assert "02_broken/exercise.toml:1: " in grade.err
