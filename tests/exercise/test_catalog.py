from __future__ import annotations

from pathlib import Path

import pytest

from grader.errors import GraderError, UsageError
from grader.exercise import catalog
from tests.fakes import TOML, write_exercise


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("01_double", "02_triple", "12_dozen"):
        write_exercise(tmp_path / "exercises" / name)
    (tmp_path / "exercises" / "03_no_toml").mkdir()
    return tmp_path / "exercises"


@pytest.mark.parametrize("wanted", ["1", "01", "001", "01_double"])
def test_number_and_name_find_the_same_exercise(folder: Path, wanted: str) -> None:
    assert catalog.find(wanted, folder).name == "01_double"


def test_a_number_is_no_prefix(folder: Path) -> None:
    assert catalog.find("12", folder).name == "12_dozen"
    assert catalog.find("2", folder).name == "02_triple"


@pytest.mark.parametrize("wanted", ["9", "03", "", "double", "01_", "0", "²", "../exercises/01_double", "9" * 5000])
def test_no_such_exercise_names_those_that_exist(folder: Path, wanted: str) -> None:
    with pytest.raises(UsageError, match=r"available: 01_double, 02_triple, 12_dozen"):
        catalog.find(wanted, folder)


@pytest.mark.parametrize("wanted", ["exercises/01_double", "starter.cu"])
def test_a_path_in_place_of_an_exercise_is_told_the_order(folder: Path, wanted: str) -> None:
    with pytest.raises(UsageError, match="Name the exercise first, as 1 or 01, then the file"):
        catalog.find(wanted, folder)


def test_an_ambiguous_number_names_the_matches(folder: Path) -> None:
    write_exercise(folder / "1_other")
    with pytest.raises(UsageError, match=r"more than one exercise .* 01_double, 1_other"):
        catalog.find("1", folder)


def test_the_nearest_exercises_folder_upwards_is_taken(folder: Path) -> None:
    below = folder / "01_double" / "wrong" / "deeper"
    below.mkdir(parents=True)
    assert catalog.exercises_folder(start=below) == folder
    nearer = write_exercise(below.parent / "exercises" / "07_near").parent
    assert catalog.exercises_folder(start=below) == nearer


def test_a_folder_called_exercises_without_any_is_passed_over(folder: Path) -> None:
    below = folder / "01_double"
    (below / "exercises").mkdir()
    assert catalog.exercises_folder(start=below) == folder


def test_elsewhere_the_grader_brings_its_own(tmp_path: Path) -> None:
    names = [e.name for e in catalog.every(catalog.exercises_folder(start=tmp_path))]
    assert "01_simple_grouped_gemm" in names


def test_a_given_folder_must_hold_exercises(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        catalog.exercises_folder(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"exercise\.toml"):
        catalog.exercises_folder(tmp_path)


def test_everything_of_the_toml_is_read(folder: Path) -> None:
    exercise = catalog.read(folder / "01_double")
    kernel = exercise.kernels[0]
    assert exercise.cases == ("even", "ragged")
    assert exercise.points == {"correctness": 40, "performance": 40, "quality": 20}
    assert [rule.points for rule in exercise.quality] == [4, 8]
    assert kernel.launch_name == "launch_double"
    assert [p.bytes for p in kernel.parameters] == [8, 8, 8, 4]


FLOOR = '[[floors]]\nroute = "{}"\nratio = 1.3\ncases = ["{}"]\n\n[points]'


@pytest.mark.parametrize(
    ("old", "new", "guilty", "says"),
    [
        ('title = "Double every row"', "", "", "title"),
        ('title = "Double every row"', 'title = "x"\nspeed = 1', "speed = 1", "speed"),
        ("tolerance = 1e-3", 'tolerance = "small"', 'tolerance = "small"', "tolerance"),
        ('cases = ["even", "ragged"]', "cases = []", "cases = []", "no required cases"),
        ('cases = ["even", "ragged"]', 'cases = ["even", 3]', 'cases = ["even", 3]', r"cases\[1\]"),
        ('baseline = "fastest"', 'baseline = "fast"', 'baseline = "fast"', "must be one of fastest, grouped"),
        ('name = "double_kernel"', 'name = "double"', 'name = "double"', "must end in _kernel"),
        ('name = "double_kernel"', "", "[[kernels]]", "name"),
        ('ctype = "float*"', "ctype = 3", '  { name = "y", ctype = 3 },', "ctype"),
        ('ctype = "float*"', 'type = ""', '  { name = "y", type = "" },', "type"),
        ("quality = 20", "quality = 'all'", "quality = 'all'", r"points\.quality"),
        ("points = 8", "points = 80", "quality = 20", "84 points"),
        ('rule = "commented"', 'rule = "pretty"', 'rule = "pretty"', "pretty"),
        ("[points]", "[points", "[points", "column 8"),
        ("[points]", FLOOR.format("pad", "even"), 'route = "pad"', "must be one of grouped, sequential"),
        ("[points]", FLOOR.format("padded", "odd"), 'cases = ["odd"]', "speed of 'odd' is not judged"),
    ],
)
def test_a_broken_toml_names_the_file_the_line_and_what_is_wrong(
    tmp_path: Path, old: str, new: str, guilty: str, says: str
) -> None:
    text = TOML.replace(old, new)
    assert text != TOML
    broken = write_exercise(tmp_path / "01_double", toml=text)
    with pytest.raises(GraderError, match=says) as caught:
        catalog.read(broken)
    line = f":{text.splitlines().index(guilty) + 1}" if guilty else ""
    assert str(caught.value).startswith(f"{broken / 'exercise.toml'}{line}: ")


def test_a_toml_that_is_no_text_is_named(folder: Path) -> None:
    (folder / "01_double" / "exercise.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(GraderError, match=r"exercise\.toml is not UTF-8 text"):
        catalog.read(folder / "01_double")


def test_the_sound_ones_are_read_and_the_others_told(folder: Path) -> None:
    (folder / "02_triple" / "exercise.toml").write_text("title = 3")
    told: list[str] = []
    assert [exercise.name for exercise in catalog.sound(folder, told.append)] == ["01_double", "12_dozen"]
    assert [said.split(": ")[0] for said in told] == [f"{folder / '02_triple' / 'exercise.toml'}:1"]
