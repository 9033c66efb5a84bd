"""Gradescope: the documented fields, no score for the grader's faults, and an autograder that installs and grades."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from grader.batch.exports import autograder, gradescope, run_autograder, wheel
from grader.cli.command import invoke
from grader.exercise import catalog
from grader.model.result import Check, Result, Status, Verdict
from tests.batch.class_of import (
    CASES,
    EXERCISE,
    FURTHER,
    RACE,
    checks_of,
    does_not_compile,
    grader_error,
    not_timed,
    passed,
    slow,
    wrong,
)

ROOT = Path(__file__).parents[2]

# https://gradescope-autograders.readthedocs.io/en/latest/specs/
VISIBILITY = {"hidden", "after_due_date", "after_published", "visible"}
FORMATS = {"text", "html", "simple_format", "md", "ansi"}
TOP = {
    "score": float,
    "execution_time": float,
    "output": str,
    "output_format": FORMATS,
    "test_output_format": FORMATS,
    "test_name_format": FORMATS,
    "visibility": VISIBILITY,
    "stdout_visibility": VISIBILITY,
    "extra_data": dict,
    "tests": list,
    "leaderboard": list,
}
TEST = {
    "score": float,
    "max_score": float,
    "status": {"passed", "failed"},
    "name": str,
    "name_format": FORMATS,
    "number": str,
    "output": str,
    "output_format": FORMATS,
    "tags": list,
    "visibility": VISIBILITY,
    "extra_data": dict,
}
LEADERBOARD = {"name": str, "value": float, "order": {"asc", "desc"}}


def conforms(value: dict[str, Any], fields: dict[str, Any]) -> None:
    for key, content in value.items():
        allowed = fields[key]
        assert content in allowed if isinstance(allowed, set) else isinstance(content, allowed), key


def checked(results: dict[str, Any]) -> dict[str, Any]:
    """As Gradescope reads it."""
    read: dict[str, Any] = json.loads(gradescope.encode(results))
    conforms(read, TOP)
    for test in read["tests"]:
        conforms(test, TEST)
        assert ("score" in test) == ("max_score" in test)
        assert 0 <= test.get("score", 0) <= test.get("max_score", 0) or "score" not in test
    for entry in read.get("leaderboard", []):
        conforms(entry, LEADERBOARD)
    return read


def results(result: Result) -> dict[str, Any]:
    return checked(gradescope.results(result, EXERCISE))


def forbidden() -> Result:
    """Everything is right, but it uses what the exercise forbids."""
    result = passed()
    checks = (*result.checks, Check("rules", Status.FAILED, "uses wmma"))
    points = msgspec.structs.replace(result.points, correctness=0.0, performance=0.0, total=12.0)
    return msgspec.structs.replace(result, checks=checks, points=points, verdict=Verdict.FAILED)


def nothing_right() -> Result:
    """The rules of quality are followed, and give nothing as long as no required case is right."""
    result = wrong()
    points = msgspec.structs.replace(result.points, correctness=0.0, quality=0.0, total=0.0)
    race = dict.fromkeys((*CASES, *FURTHER), RACE)
    return msgspec.structs.replace(result, checks=tuple(checks_of(race, gpu=False)), points=points)


def shared_otherwise() -> Result:
    """As under another rule for sharing points than today's."""
    result = wrong()
    points = msgspec.structs.replace(result.points, correctness=21.5, total=33.5)
    return msgspec.structs.replace(result, points=points)


def thirds() -> Result:
    """Shares that hundredths do not hold."""
    result = passed()
    checks = tuple(check for check in result.checks if check.case not in ("small", *FURTHER))
    return msgspec.structs.replace(result, checks=checks)


@pytest.mark.parametrize(
    "result",
    [
        *(passed(), slow(), not_timed(), wrong(), wrong(RACE), does_not_compile(), passed(manual=7.5)),
        *(forbidden(), nothing_right(), shared_otherwise(), thirds()),
    ],
)
def test_the_tests_add_up_to_the_score(result: Result) -> None:
    read = results(result)
    assert read["score"] == result.points.total
    assert sum(test.get("score", 0) for test in read["tests"]) == pytest.approx(read["score"], abs=1e-9)


def test_a_score_that_is_withheld_is_not_shown_as_earned() -> None:
    tests = {test["name"]: test for test in results(nothing_right())["tests"]}
    assert (tests["quality"]["score"], tests["quality"]["max_score"]) == (0.0, 12.0)
    assert "status" not in tests["quality"]
    assert tests["quality"]["output"].startswith("These points count once")
    assert {results(forbidden())["tests"][n].get("score", 0.0) for n in range(6)} == {0.0}


def test_what_a_passed_submission_shows() -> None:
    read = results(passed())
    tests = {test["name"]: test for test in read["tests"]}
    assert (tests["uniform"]["score"], tests["uniform"]["max_score"]) == (8.0, 8.0)
    assert (tests["small, speed"]["score"], tests["small, speed"]["max_score"]) == (10.0, 10.0)
    assert (tests["quality"]["score"], tests["quality"]["max_score"]) == (12.0, 12.0)
    assert (tests["extra cases"]["score"], tests["extra cases"]["output"]) == (8.0, "2 of 2 right")
    assert (tests["uniform"]["status"], tests["uniform"]["output"]) == ("passed", "passed")
    assert len(tests) == 10
    assert read["leaderboard"][0] == {"name": "lowest ratio", "value": 0.71}
    assert {entry["name"] for entry in read["leaderboard"][1:]} == {f"{case} ratio" for case in EXERCISE.cases}


def test_what_is_not_judged_has_neither_points_nor_a_colour() -> None:
    read = results(not_timed())
    speed = next(test for test in read["tests"] if test["name"] == "uniform, speed")
    assert {"score", "max_score", "status"}.isdisjoint(speed)
    assert speed["output"].startswith("not judged: needs an NVIDIA GPU")
    assert "performance: not judged here" in read["output"]
    assert read["leaderboard"] == []


def test_findings_say_where() -> None:
    read = results(wrong(RACE))
    tests = {test["name"]: test for test in read["tests"]}
    assert tests["variable"]["status"] == "failed"
    assert tests["variable"]["output"].splitlines()[:2] == [
        "Race between threads on line 33",
        "thread (3,0,0) overwrites As[0][3] while thread (9,0,0) may still read it.",
    ]
    assert tests["variable"]["output"].splitlines()[2].startswith("Next: Put a __syncthreads()")
    assert tests["imbalanced"]["output"] == "Race between threads on line 33: as in variable"
    assert tests["extra cases"]["output"].splitlines() == [
        "1 of 2 right",
        "Race between threads on line 33: as in variable",
    ]


def test_a_wrong_result_has_its_next_step_once() -> None:
    text = json.dumps(results(wrong())["tests"])
    assert text.count("rows of the last tile are never stored. First wrong element") == 1
    assert text.count("Next: That mistake would produce exactly these numbers") == 1
    assert "problem.md#ragged-tiles" in text


def test_an_error_of_the_grader_scores_nowhere() -> None:
    for read in (results(grader_error()), checked(gradescope.grader_failed("no compiler"))):
        assert "score" not in read
        assert not any("score" in test for test in read["tests"])
        assert "The grader failed; this is not your fault" in read["output"]


def test_output_is_no_markup() -> None:
    assert {results(wrong())[key] for key in ("output_format", "test_output_format", "test_name_format")} == {"text"}


# The autograder's zip


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Gradescope makes of the zip: source/, and places for the submission and its results."""
    home = tmp_path_factory.mktemp("autograder")
    secret = home / "mine.JSON"
    secret.write_text('{"cases": [{"M_sizes": [3, 0, 17], "K": 48, "N": 80}]}')
    exercise = catalog.find("1", ROOT / "exercises")
    content = autograder.build(exercise, seed=5, secret=secret)
    assert content == autograder.build(exercise, seed=5, secret=secret)
    for folder in ("source", "submission", "results"):
        (home / folder).mkdir()
    zipfile.ZipFile(io.BytesIO(content)).extractall(home / "source")
    (home / "autograder.zip").write_bytes(content)
    return home


def test_the_zip_has_what_gradescope_wants_at_its_root(unpacked: Path) -> None:
    members = {member.filename: member for member in zipfile.ZipFile(unpacked / "autograder.zip").infolist()}
    for script in ("setup.sh", "run_autograder"):
        assert members[script].external_attr >> 16 & 0o111
        assert (unpacked / "source" / script).read_text().startswith("#!/usr/bin/env bash\n")
        subprocess.run(["bash", "-n", unpacked / "source" / script], check=True)
    assert f"/{wheel.NAME}" in (unpacked / "source" / "setup.sh").read_text()
    assert "numpy==" in (unpacked / "source" / "constraints.txt").read_text()


def test_the_zip_holds_no_solution(unpacked: Path) -> None:
    names = zipfile.ZipFile(unpacked / "autograder.zip").namelist()
    inside = zipfile.ZipFile(unpacked / "source" / wheel.NAME).namelist()
    assert "exercises/01_simple_grouped_gemm/starter.cu" in names
    assert not [name for name in names if "solution" in name or "/wrong/" in name]
    assert not [name for name in (*names, *inside) if "_exercises/" in name or "__pycache__" in name]


@pytest.fixture(scope="module")
def installed(unpacked: Path) -> Path:
    target = unpacked / "installed"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index"]
    command = [*pip, "--no-deps", "--no-compile", "--target", target, unpacked / "source" / wheel.NAME]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return target


def test_the_wheel_installs_and_finds_the_exercise(unpacked: Path, installed: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", installed / "bin" / "grade", "list", "--exercises", unpacked / "source" / "exercises"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(installed), "HOME": str(unpacked)},
        cwd=unpacked,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "01_simple_grouped_gemm" in done.stdout
    (metadata,) = installed.glob("*.dist-info/METADATA")
    assert metadata.read_text().count("Requires-Dist: numpy") == 1


def test_an_installed_grader_makes_the_same_wheel(unpacked: Path, installed: Path) -> None:
    """It has no pyproject.toml and no constraints.txt beside it."""
    build = (
        "import sys; from grader.batch.exports import wheel; "
        "sys.stdout.buffer.write(wheel.build()); sys.stderr.write(wheel.constraints())"
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(installed), "HOME": str(unpacked)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", build], env=environment, cwd=unpacked, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (unpacked / "source" / wheel.NAME).read_bytes()
    assert b"numpy==" in done.stderr


def hand_in(home: Path, **files: str) -> dict[str, Any]:
    for old in (home / "submission").iterdir():
        old.unlink()
    for name, content in files.items():
        (home / "submission" / name).write_text(content)
    run_autograder.main(home)
    return checked(json.loads((home / "results" / "results.json").read_text()))


def test_a_submission_is_graded(unpacked: Path) -> None:
    source = (ROOT / "exercises/01_simple_grouped_gemm/wrong/syntax_error.cu").read_text()
    read = hand_in(unpacked, **{"mine.cu": source, "notes.txt": "see mine.cu"})
    compiled = next(test for test in read["tests"] if test["name"] == "compile")
    assert compiled["status"] == "failed"
    assert compiled["output"].startswith("Does not compile on line ")
    assert read["score"] == 0.0
    assert read["extra_data"]["seed"] == 5
    assert "0 of " in next(test["output"] for test in read["tests"] if test["name"] == "extra cases")


def test_nothing_to_grade_says_what_to_do(unpacked: Path) -> None:
    read = hand_in(unpacked, **{"report.pdf": "%PDF"})
    assert read["score"] == 0.0
    assert read["tests"][0]["output"] == "no .cu file, only report.pdf. Submit your starter.cu."


def test_a_grader_that_cannot_start_costs_no_points(unpacked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    read = hand_in(unpacked, **{"mine.cu": "// nothing\n"})
    assert "score" not in read
    assert "grade run ended with status 1" in read["tests"][0]["output"]


def test_grade_gradescope(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    out = tmp_path / "autograder.zip"
    assert invoke(["gradescope", "1", str(out)]) == 0
    assert zipfile.ZipFile(out).testzip() is None
    said = " ".join(capsys.readouterr().err.split())
    assert "enter 52 as autograder points: 40 for correctness, 12 for quality. The 40 for speed need a GPU." in said
    assert "The other 8 for quality are yours" in said
    assert invoke(["gradescope", "1", str(out), "--secret", str(tmp_path / "nowhere.toml")]) == 2
    assert invoke(["gradescope", "77", str(out)]) == 2
    (tmp_path / "file").write_text("")
    for nowhere in ("file", "nonexist"):
        assert invoke(["gradescope", "1", str(tmp_path / nowhere / "x.zip")]) == 2
        assert "cannot write" in capsys.readouterr().err
    assert not (tmp_path / "nonexist").exists()
