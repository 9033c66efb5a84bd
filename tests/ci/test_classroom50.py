"""Classroom 50: the documented fields, whole points that add up, and a folder that grades a student's checkout."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from grader.batch.exports import wheel
from grader.ci import classroom50, run_classroom50
from grader.cli.command import invoke
from grader.exercise import catalog
from grader.model.result import Result
from tests.batch.class_of import EXERCISE, does_not_compile, not_timed, passed, slow, wrong

ROOT = Path(__file__).parents[2]
WRONG = (ROOT / "exercises/01_simple_grouped_gemm/wrong/syntax_error.cu").read_text()

# https://github.com/foundation50/classroom50/wiki/Advanced-Autograding
RUNNER = {
    "CLASSROOM": "cuda",
    "ASSIGNMENT": "gemm",
    "SUBMISSION_TAG": "submit/2026-06-01T14-32-05Z-a1b2c3d",
    "COMMIT_URL": "https://example.org/commit/1",
    "RELEASE_URL": "https://example.org/releases/1",
    "REVIEW_URL": "https://example.org/compare/0...1",
}
FIELDS = {"schema", "classroom", "assignment", "submission", "commit", "release", "review", "datetime"}
AT = "2026-06-01T14:32:01Z"


def checked(content: bytes) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(content)
    assert set(read) == {*FIELDS, "score", "max-score", "tests"}
    assert read["schema"] == "classroom50/result/v1"
    for key in ("score", "max-score"):
        assert [type(test[key]) for test in read["tests"]] == [int] * len(read["tests"])
        assert read[key] == sum(test[key] for test in read["tests"])
    for test in read["tests"]:
        assert 0 <= test["score"] <= test["max-score"]
        assert test["passed"] == (test["score"] == test["max-score"])
    return read


@pytest.mark.parametrize(
    ("result", "score", "most"),
    [(passed(), 92, 92), (not_timed(), 52, 52), (slow(), 72, 92), (wrong(), 28, 52), (does_not_compile(), 0, 92)],
)
def test_points_are_whole_and_out_of_what_could_be_judged(result: Result, score: int, most: int) -> None:
    read = checked(classroom50.graded(result, EXERCISE, RUNNER, AT))
    assert (read["score"], read["max-score"]) == (score, most)


def test_tests_are_the_rubrics_and_name_what_failed() -> None:
    tests = {test["test-name"]: test for test in checked(classroom50.graded(slow(), EXERCISE, RUNNER, AT))["tests"]}
    assert list(tests) == ["correctness", "performance", "quality"]
    assert tests["correctness"]["failed"] == []
    assert all(name.startswith("speed[") for name in tests["performance"]["failed"])
    assert tests["performance"]["failed"]


@pytest.fixture(scope="module")
def assignment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cuda") / "autograders" / "gemm"
    made = classroom50.folder(catalog.find("1", ROOT / "exercises"), seed=5)
    for name, content in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A student's repository, as the runner checks it out, and the runner's variables."""
    for name, value in RUNNER.items():
        monkeypatch.setenv(name, value)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    return tmp_path


def commit(checkout: Path, **files: str) -> None:
    for name, content in files.items():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text(content)
    variables = {"GIT_COMMITTER_DATE": "2026-06-01T16:32:01+02:00", "PATH": "/usr/bin:/bin", "HOME": str(checkout)}
    git = ["git", "-C", str(checkout), "-c", "user.name=ada", "-c", "user.email=ada@example.org"]
    subprocess.run([*git, "add", "--all"], check=True, env=variables)
    subprocess.run([*git, "commit", "--quiet", "--message", "mine"], check=True, env=variables)


def test_a_push_is_graded(assignment: Path, checkout: Path) -> None:
    commit(checkout, **{"exercises/01_simple_grouped_gemm/starter.cu": WRONG, "numpy.py": "raise SystemExit(3)"})
    assert run_classroom50.main(assignment, checkout) == 0
    read = checked((checkout / "result.json").read_bytes())
    assert (read["score"], read["max-score"], read["datetime"]) == (0, 52, AT)
    assert read["tests"][0]["failed"][0] == "compile"
    body = (checkout / "release-body.md").read_text()
    assert "Does not compile" in body
    assert "seed 5" in body.lower()


def test_a_push_without_a_submission_says_so(assignment: Path, checkout: Path) -> None:
    commit(checkout, **{"notes.txt": "soon"})
    assert run_classroom50.main(assignment, checkout) == 0
    assert checked((checkout / "result.json").read_bytes())["score"] == 0
    assert "only notes&#46;txt" in (checkout / "release-body.md").read_text().replace("notes.txt", "notes&#46;txt")


def test_a_fault_of_the_grader_is_no_zero(
    assignment: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(checkout, **{"starter.cu": WRONG})
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert run_classroom50.main(assignment, checkout) == 1
    assert "grade run ended with status 1" in capsys.readouterr().err
    assert not (checkout / "result.json").exists()


def test_outside_of_classroom_50_the_missing_variable_is_named(
    assignment: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(checkout, **{"starter.cu": WRONG})
    monkeypatch.delenv("SUBMISSION_TAG")
    assert run_classroom50.main(assignment, checkout) == 1
    assert "SUBMISSION_TAG is not set" in capsys.readouterr().err


def test_the_folder_installs_the_grader_beside_it_and_no_solution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    folder = tmp_path / "gemm"
    assert invoke(["classroom50", "1", str(folder)]) == 0
    names = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert {"autograder.py", wheel.NAME, "constraints.txt", "exercises/01_simple_grouped_gemm/starter.cu"} <= names
    assert not [name for name in names if "solution" in name or "/wrong/" in name]
    script = (folder / "autograder.py").read_text()
    compile(script, "autograder.py", "exec")
    assert f'HERE / "{wheel.NAME}"' in script
    assert invoke(["classroom50", "1", str(folder)]) == 2
    assert "not an empty folder" in capsys.readouterr().err
