from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from grader import progress
from grader.exercise import catalog
from grader.model.exercise import Exercise
from grader.model.result import Check, Points, Result, Status, Submission, verdict_of
from grader.progress import Record, Stage
from tests.fakes import write_exercise

NOBODY_TIMED = Check("speed[even]", Status.NOT_JUDGED, case="even")
TOO_SLOW = Check("speed[even]", Status.FAILED, case="even")
FAST = Check("speed[even]", Status.PASSED, case="even")
RIGHT = Check("correct[even]", Status.PASSED, case="even")
WRONG = Check("correct[even]", Status.FAILED, case="even")


def result(*checks: Check, total: float | None = 40) -> Result:
    points = Points(total, None, None, None, total, 100)
    return Result(1, "01_double", Submission("a.cu", ""), verdict_of(checks), points, 1, {}, checks)


@pytest.fixture
def exercise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Exercise:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return catalog.read(write_exercise(tmp_path / "course" / "exercises" / "01_double"))


@pytest.fixture
def said() -> list[str]:
    return []


def files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    ("checks", "stage"),
    [
        ((RIGHT, FAST), Stage.PASSED),
        ((RIGHT, NOBODY_TIMED), Stage.RIGHT),
        ((RIGHT, TOO_SLOW), Stage.RIGHT),
        ((WRONG, NOBODY_TIMED), Stage.TRIED),
        ((Check("correct[even]", Status.ERROR), NOBODY_TIMED), Stage.TRIED),
        ((Check("memory[even]", Status.NOT_JUDGED), NOBODY_TIMED), Stage.TRIED),
    ],
)
def test_the_stage_is_what_was_judged(checks: tuple[Check, ...], stage: Stage) -> None:
    assert progress.stage_of(result(*checks)) is stage


def test_what_is_remembered_is_read_again(exercise: Exercise, said: list[str]) -> None:
    assert progress.read(exercise, said.append) is None
    record = progress.remember(exercise, result(RIGHT, NOBODY_TIMED), said.append)
    assert progress.read(exercise, said.append) == record
    assert (record.runs, record.best.stage, record.best.points, record.best.of) == (1, Stage.RIGHT, 40, 100)
    assert said == []


def test_the_best_stays_and_the_last_is_the_last(exercise: Exercise, said: list[str]) -> None:
    for checks, points in (((WRONG,), 10), ((RIGHT, TOO_SLOW), 52), ((RIGHT, TOO_SLOW), 48), ((WRONG,), 60)):
        record = progress.remember(exercise, result(*checks, total=points), said.append)
    assert (record.runs, record.best.stage, record.best.points) == (4, Stage.RIGHT, 52)
    assert (record.last.stage, record.last.points) == (Stage.TRIED, 60)


def test_points_that_nobody_knows_are_remembered_as_such(exercise: Exercise, said: list[str]) -> None:
    record = progress.remember(exercise, result(WRONG, total=None), said.append)
    assert progress.read(exercise, said.append) == record
    assert record.best.points is None


def test_two_folders_with_exercises_of_one_name_are_two(exercise: Exercise, said: list[str], tmp_path: Path) -> None:
    other = catalog.read(write_exercise(tmp_path / "other" / "exercises" / "01_double"))
    progress.remember(exercise, result(RIGHT, FAST), said.append)
    assert progress.read(other, said.append) is None


def test_in_a_repository_of_the_student_s_own_it_lies_there_and_moves_with_it(
    exercise: Exercise, said: list[str], tmp_path: Path
) -> None:
    (tmp_path / "course" / ".grade").mkdir()
    progress.remember(exercise, result(RIGHT, FAST), said.append)
    assert files(tmp_path / "course" / ".grade") == [tmp_path / "course/.grade/progress/01_double.json"]
    assert not (tmp_path / "state").exists()
    (tmp_path / "course").rename(tmp_path / "moved")
    moved = catalog.read(tmp_path / "moved" / "exercises" / "01_double")
    record = progress.read(moved, said.append)
    assert record is not None
    assert record.best.stage is Stage.PASSED


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"exercise": "01_double", "runs": "many"}', b"[]"])
def test_a_damaged_file_is_set_aside_and_said(
    exercise: Exercise, said: list[str], tmp_path: Path, content: bytes
) -> None:
    progress.remember(exercise, result(RIGHT, FAST), said.append)
    (file,) = files(tmp_path / "state")
    file.write_bytes(content)
    record = progress.remember(exercise, result(WRONG), said.append)
    assert record.runs == 1
    assert len(said) == 1
    kept = file.with_suffix(".broken")
    assert str(kept) in said[0]
    assert kept.read_bytes() == content
    assert progress.read(exercise, said.append) == record


def test_a_field_of_a_later_grader_does_no_harm(exercise: Exercise, said: list[str], tmp_path: Path) -> None:
    record = progress.remember(exercise, result(RIGHT, FAST), said.append)
    (file,) = files(tmp_path / "state")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"mood": "good"}))
    assert progress.read(exercise, said.append) == record


def test_where_nothing_can_be_written_it_is_said_and_the_record_is_there(
    exercise: Exercise, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    record = progress.remember(exercise, result(RIGHT, FAST), said.append)
    assert record.best.stage is Stage.PASSED
    assert said
    assert all("your progress" in text for text in said)


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    exercise: Exercise, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = progress.remember(exercise, result(RIGHT, FAST), said.append)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    progress.remember(exercise, result(WRONG), said.append)
    assert progress.read(exercise, said.append) == before
    assert len(files(tmp_path / "state")) == 1
    assert len(said) == 1
    assert "No space left" in said[0]


def test_without_a_home_folder_it_is_said(
    exercise: Exercise, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(_: Path) -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "expanduser", nobody)
    record = progress.remember(exercise, result(RIGHT, FAST), said.append)
    assert isinstance(record, Record)
    assert "XDG_STATE_HOME" in said[0]


def test_the_file_is_one_json_object(exercise: Exercise, said: list[str], tmp_path: Path) -> None:
    record = progress.remember(exercise, result(RIGHT, FAST), said.append)
    (file,) = files(tmp_path / "state")
    assert json.loads(file.read_text()) == json.loads(msgspec.json.encode(record))
    assert file.stat().st_mode & 0o077 == 0
