"""The picture of a wrong output says which tiles are wrong, how badly, and stays small."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from grader.diagnosis import picture
from grader.diagnosis.mismatch import Region
from grader.exercise import catalog, submission
from grader.exercise.secret import Secret
from grader.grading import pipeline
from grader.model.execution import Outcome
from grader.model.exercise import Case
from grader.model.judged import Judged
from grader.model.measurements import NOTHING
from grader.model.picture import Picture
from grader.model.result import Check, Status
from tests.fakes import FakeExecutor, write_exercise

TOLERANCE = 1e-3
GROUPS = (Region("group 0", 0, 20), Region("group 1", 20, 20), Region("group 2", 20, 36))
COLUMNS = 48


def right() -> np.ndarray:
    return np.arange(36 * COLUMNS, dtype=np.float64).reshape(36, COLUMNS)


def drawn(actual: np.ndarray, regions: tuple[Region, ...] = GROUPS, tolerance: float | None = TOLERANCE) -> Picture:
    reference = right() if actual.dtype.kind == "f" else np.zeros_like(actual)
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(actual - reference) < (tolerance or 1))
    return picture.of("C_concat", actual, reference, wrong, regions, tolerance=tolerance)


@pytest.mark.parametrize(
    ("error", "mark"), [(0.005, "1"), (0.05, "2"), (0.5, "3"), (5.0, "4"), (np.nan, "!"), (-np.inf, "!")]
)
def test_a_tile_is_marked_by_its_worst_element(error: float, mark: str) -> None:
    actual = right()
    actual[17, 40] += 0.002
    actual[18, 41] += error
    found = drawn(actual)
    assert [(r.name, r.rows, r.marks) for r in found.regions] == [
        ("group 0", 20, ("...", f"..{mark}")),
        ("group 2", 16, ("...",)),
    ]


def test_what_was_never_written_is_not_just_a_nan() -> None:
    actual = right().astype(np.float32)
    actual[3:5].view(np.uint32)[:] = 0xFFFFFFFF
    actual[30, 0] = np.nan
    found = drawn(actual)
    assert [r.marks for r in found.regions] == [("???", "..."), ("!..",)]
    assert found.first.got[1] == " ".join(["unset"] * 6)


def test_the_first_wrong_tile_is_seen_from_near() -> None:
    actual = right()
    actual[20 + 9 :, 37] = 0.0
    first = drawn(actual).first
    assert (first.region, first.row, first.column) == ("group 2", 0, 32)
    assert first.marks == ("." * 16,) * 9 + (".....4..........",) * 7
    assert (first.values_row, first.values_column) == (8, 36)
    assert first.expected[1] == "1.43e+03 1.43e+03 1.43e+03 1.43e+03 1.43e+03 1.43e+03"
    assert first.got[0].split()[1] != "0"
    assert [row.split()[1] for row in first.got[1:]] == ["0"] * 7
    assert all(len(row.split()) == 6 for row in first.expected + first.got)


def test_the_last_tile_of_a_group_is_no_larger_than_the_group() -> None:
    actual = right()
    actual[19, 47] += 1
    first = drawn(actual).first
    assert (first.row, len(first.marks), len(first.got)) == (16, 4, 4)
    assert first.got[-1].split()[-1] == "960"


def test_bytes_are_wrong_by_no_size() -> None:
    actual = np.zeros((36, COLUMNS), np.uint8)
    actual[0, 0] = 0x39
    found = drawn(actual, tolerance=None)
    assert found.regions[0].marks == ("x..", "...")
    assert (found.first.expected[0].split()[0], found.first.got[0].split()[0]) == ("0x00", "0x39")


@pytest.mark.parametrize("groups", [1, 64, 1000])
def test_it_stays_small(groups: int) -> None:
    actual, reference = np.zeros((8000, 2048), np.float32), np.ones((8000, 2048))
    rows = 8000 // groups
    regions = [Region(f"group {g}", g * rows, (g + 1) * rows) for g in range(groups)]
    wrong = np.ones(actual.shape, bool)
    wrong[: 8000 // 2] = False
    found = picture.of("C_concat", actual, reference, wrong, regions, tolerance=TOLERANCE)
    assert len(msgspec.json.encode(found)) < 20_000
    assert found.omitted == max(0, groups - 64)
    assert any("4" in marks for region in found.regions for marks in region.marks)


def test_it_survives_the_result() -> None:
    actual = right()
    actual[0] = np.nan
    found = drawn(actual)
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(found)), Picture) == found


def graded(tmp_path: Path) -> dict[str, Check]:
    """With a result that is all 0, and a secret case."""
    exercise = catalog.read(write_exercise(tmp_path / "01_double"))
    executor = FakeExecutor(compute=lambda arrays: Outcome(outputs={"y": np.zeros_like(arrays["x"])}))
    result = pipeline.grade(
        exercise,
        submission.read(exercise.starter),
        seed=7,
        open_executor=executor.open,
        secret=Secret(({"M_sizes": [3]},)),
    )
    return {check.id: check for check in result.checks}


def test_a_wrong_result_carries_its_picture(tmp_path: Path) -> None:
    checks = graded(tmp_path)
    found = checks["correct[ragged]"].measurements.picture
    assert found is not None
    assert [(r.name, r.marks) for r in found.regions] == [("group 0", ("4",)), ("group 2", ("4",))]
    assert found.output == "y"
    assert checks["memory[ragged]"].measurements.picture is None


def test_a_secret_case_has_none(tmp_path: Path) -> None:
    assert graded(tmp_path)["correct[secret-1]"].status is Status.FAILED
    assert graded(tmp_path / "again")["correct[secret-1]"].measurements == NOTHING


def test_what_cannot_be_drawn_is_refused() -> None:
    codes = np.zeros((8, 16), np.uint16)
    judged = Judged("C", np.ones((8, 16), bool))
    with pytest.raises(ValueError, match="uint16 is not drawn next to float64"):
        picture.of_output(Case("odd", True, {}, ""), judged, codes, np.zeros((8, 16)))
