"""A class of twelve on each platform: graded, points given, late work, and everything that goes back."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import pytest

from grader.batch.class_list import NOT_SUBMITTED
from grader.cli.command import invoke
from tests.batch.class_of_twelve import CLASS, GRADED, LATE, PLATFORMS, POINTS, Student
from tests.batch.classroom import School
from tests.fakes import SOURCE

DOES = {
    "right-too": "right",
    "right-three": "right",
    "race": "races",
    "out-of-bounds": "wrong",
    "no-compile": "wrong",
}
KERNELS = {
    kind: f"// {DOES.get(kind, kind)} {kind}\n".encode() + SOURCE
    for kind in ("right", "right-too", "right-three", "race", "wrong", "out-of-bounds", "no-compile", "untouched")
}


def rows_of(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8-sig"))))


def graded(school: School, platform: str) -> dict[str, dict[str, str]]:
    """The gradebook's rows by name, in any order of words."""
    zip_file = PLATFORMS[platform](school.folder, KERNELS)
    for name, text in (("late.toml", LATE), ("points.csv", POINTS)):
        (school.folder / name).write_text(text)
    where = (zip_file, "--exercise", "1", "--out", school.out, "--device", "cpu", "--seed", "7")
    more = ("--roster", zip_file.with_suffix(".csv"), "--late", school.folder / "late.toml")
    exercises = ("--exercises", school.folder / "exercises")
    assert invoke(["batch", *map(str, (*where, *more, *exercises))]) == 0
    assert invoke(["points", str(school.out), "--from", str(school.folder / "points.csv")]) == 0
    return {row["name"]: row for row in rows_of(school.out / "gradebook.csv")}


def name_of(one: Student, platform: str) -> str:
    return one.sortable if platform == "canvas" else f"{one.first} {one.last}"


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_upload_finds_its_student_and_its_kernel(school: School, platform: str) -> None:
    rows = graded(school, platform)
    assert set(rows) == {name_of(one, platform) for one in CLASS}
    for one in CLASS:
        row = rows[name_of(one, platform)]
        if one.kernel and not (platform == "gradescope" and one.form == "pasted"):
            right = DOES.get(one.kernel, one.kernel) in ("right", "untouched")
            assert row["verdict"] == ("incomplete" if right else "failed"), one
            assert bool(row["note"]) == (one.form not in ("starter.cu", "latin-1")), one
    assert rows[name_of(CLASS[9], platform)]["problem"] == "no .cu file, only notes.pdf"
    assert rows[name_of(CLASS[11], platform)]["problem"] == NOT_SUBMITTED
    assert rows[name_of(CLASS[0], platform)]["comment"] == "comments 4, naming 4. Clear, and well named."


@pytest.mark.parametrize(("platform", "lost"), [("canvas", "10"), ("moodle", "20"), ("gradescope", "20")])
def test_late_work_as_far_as_the_platform_tells(school: School, platform: str, lost: str) -> None:
    """Canvas only says that it is late; Charles has a day more than the others."""
    rows = graded(school, platform)
    zoe, charles = (rows[name_of(CLASS[at], platform)] for at in (8, 1))
    assert (zoe["total"], zoe["percent lost"], zoe["final"]) == ("52", lost, f"{52 * (1 - int(lost) / 100):g}")
    assert charles["percent lost"] == ("0" if platform == "canvas" else "10")
    assert {row["percent lost"] for row in rows.values()} == {"0", lost} | ({"10"} if platform != "canvas" else set())


def test_canvas_there_and_back(school: School) -> None:
    rows = graded(school, "canvas")
    template, out = school.folder / "canvas.csv", school.folder / "import.csv"
    column = ("--template", template, "--column", "Simple grouped GEMM", "--so-far", "--out", out)
    assert invoke(["export", str(school.out), "--to", "canvas", *map(str, column)]) == 0
    back = {row["Student"]: row["Simple grouped GEMM (4711)"] for row in rows_of(out)}
    assert {name: back[name] for name in rows} == {name: row["final"] for name, row in rows.items()}
    assert invoke(["export", str(school.out), "--to", "feedback"]) == 0
    with (
        zipfile.ZipFile(school.folder / "canvas.zip") as download,
        zipfile.ZipFile(school.out / "feedback.zip") as made,
    ):
        assert set(made.namelist()) <= set(download.namelist())
        assert len(made.namelist()) == len(GRADED) - 1  # pasted text is no upload


def test_moodle_there_and_back(school: School) -> None:
    rows = graded(school, "moodle")
    template, out = school.folder / "moodle.csv", school.folder / "import.csv"
    more = ("--template", template, "--so-far", "--out", out)
    assert invoke(["export", str(school.out), "--to", "moodle", *map(str, more)]) == 0
    for row in rows_of(out):
        final = rows[row["Full name"]]["final"]
        assert row["Grade"] == (f"{float(final):.2f}" if final else "")
        assert bool(row["Feedback comments"]) == bool(final)
    assert invoke(["export", str(school.out), "--to", "feedback"]) == 0
    with (
        zipfile.ZipFile(school.folder / "moodle.zip") as download,
        zipfile.ZipFile(school.out / "feedback.zip") as made,
    ):
        folders = {name.split("/")[0] for name in download.namelist()}
        assert {name.split("/")[0] for name in made.namelist()} < folders
        assert len(made.namelist()) == len(GRADED)


def test_gradescope_there_and_back(school: School) -> None:
    rows = graded(school, "gradescope")
    assert invoke(["export", str(school.out), "--to", "gradescope"]) == 0
    for file in (school.out / "gradescope").glob("*/results.json"):
        results = json.loads(file.read_text())
        row = next(row for row in rows.values() if row["student"] == file.parent.name)
        assert results["score"] == float(row["final"])
        assert sum(test.get("score", 0) for test in results["tests"]) == pytest.approx(results["score"])
