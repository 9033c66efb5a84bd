"""grade verify: every file of every exercise is what it says of itself; and what is not, is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader import catalog, executors, machine, verify
from grader.cli.command import invoke
from grader.errors import GraderError
from grader.model.exercise import Exercise
from grader.model.result import Check, Finding, Status
from grader.verify import Promise

EXERCISES = catalog.every(Path(__file__).parents[2] / "exercises")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)
def test_every_file_keeps_its_promise(exercise: Exercise) -> None:
    found = verify.verify(
        exercise,
        verify.promises(exercise),
        seed=2,
        open_executor=lambda: executors.open_cpu(workers=1),
        jobs=machine.cores(),
    )
    assert [(done.promise.file.name, done.problem) for done in found if done.problem] == []
    assert len(found) >= 2


def promise(file: Path, text: str) -> Promise:
    file.write_text(text)
    return verify.promise_of(file)


def test_a_promise_is_the_first_line_and_the_marks(tmp_path: Path) -> None:
    text = "// caught by: memory[uniform] race\na;\nb;  // <-- here\n"
    made = promise(tmp_path / "wrong.cu", text)
    assert (made.check, made.kind, made.case, made.lines) == ("memory[uniform]", "race", "uniform", (3,))


def test_a_wrong_number_has_no_line_to_name(tmp_path: Path) -> None:
    text = "// caught by: correct[small] wrong-values\na;  // <-- here\n"
    assert promise(tmp_path / "wrong.cu", text).lines == ()


def test_a_file_without_a_promise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GraderError, match="caught by: CHECK KIND"):
        promise(tmp_path / "wrong.cu", "// a race\n")


RACE = Promise(Path("wrong.cu"), "memory[uniform]", "race", (7,), "uniform", "memory[uniform] race")


def failed(check: str, *findings: Finding) -> Check:
    return Check(check, Status.FAILED, findings=findings)


@pytest.mark.parametrize(
    ("check", "says"),
    [
        (None, "nothing was found"),
        (failed("correct[uniform]", Finding("wrong-values", "w.cu", 3, "off")), "correct[uniform] wrong-values"),
        (failed("memory[uniform]", Finding("out-of-bounds", "w.cu", 7, "far")), "out-of-bounds in line 7: far"),
        (failed("memory[uniform]", Finding("race", "w.cu", 5, "both")), "race in line 5, not in line 7"),
        (failed("memory[uniform]", Finding("race", "w.cu", 7, "both")), ""),
        (failed("memory[uniform]", Finding("race", "w.cu", 5, "both", notes=("it wrote at line 7",))), ""),
    ],
)
def test_what_was_found_in_place_of_the_promise(check: Check | None, says: str) -> None:
    problem = verify.problem_of(RACE, check)
    assert says in problem if says else problem == ""


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Exercise 01 with two wrong kernels, one of which lies about its kind."""
    source = EXERCISES[0].folder
    folder = tmp_path / "exercises" / source.name
    (folder / "wrong").mkdir(parents=True)
    for name in ("exercise.toml", "oracle.py", "problem.md", "starter.cu", "solution.cu"):
        (folder / name).write_bytes((source / name).read_bytes())
    good = (source / "wrong" / "no_barrier_after_load.cu").read_text()
    (folder / "wrong" / "good.cu").write_text(good)
    (folder / "wrong" / "lies.cu").write_text(good.replace("race", "out-of-bounds", 1))
    return folder.parent


def test_the_command_names_the_file_that_lies_and_exits_1(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["verify", "1", "--exercises", str(copied)]) == 1
    out = capsys.readouterr().out
    assert "ok  wrong/good.cu" in out
    assert "NO  wrong/lies.cu" in out
    assert "found: memory[uniform] race in line" in out
    assert "3 of 4 as they state" in out
