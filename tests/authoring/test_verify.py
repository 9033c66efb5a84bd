"""grade verify: every file of every exercise is what it says of itself; and what is not, is told."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from grader import executors, machine
from grader.authoring import verify
from grader.authoring.verify import Promise
from grader.cli.command import invoke
from grader.errors import GraderError
from grader.exercise import catalog
from grader.model.details import Role
from grader.model.exercise import Exercise
from grader.model.result import Check, Finding, Related, Status

pytestmark = pytest.mark.usefixtures("children_stay_up")

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
    with pytest.raises(GraderError, match=r"wrong\.cu: line 1 states nothing; .* caught by: CHECK KIND"):
        promise(tmp_path / "wrong.cu", "// a race\n")


RACE = Promise(Path("wrong.cu"), "memory[uniform]", "race", (7,), "uniform", "memory[uniform] race")


def race_with(other: Related) -> Finding:
    note = f"from line {other.line}"
    return Finding("race", "w.cu", 5, "both", notes=(note,), related=(other,))


def failed(check: str, *findings: Finding) -> Check:
    return Check(check, Status.FAILED, findings=findings)


@pytest.mark.parametrize(
    ("check", "says"),
    [
        (None, "nothing was found"),
        (failed("correct[uniform]", Finding("wrong-values", "w.cu", 3, "off")), "correct[uniform] wrong-values"),
        (failed("memory[uniform]", Finding("out-of-bounds", "w.cu", 7, "far")), "out-of-bounds on line 7: far"),
        (failed("memory[uniform]", Finding("race", "w.cu", 5, "both")), "race on line 5, not on line 7"),
        (failed("memory[uniform]", Finding("race", "w.cu", 7, "both")), ""),
        (failed("memory[uniform]", race_with(Related(Role.OTHER_ACCESS, 7))), ""),
        (failed("memory[uniform]", race_with(Related(Role.CALL, 7))), "race on line 5, not on line 7"),
        (failed("memory[uniform]", race_with(Related(Role.OTHER_ACCESS, 7, "tile.cuh"))), "not on line 7"),
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
    for name in ("exercise.toml", "oracle.py", "problem.md", "starter.cu", "solution.cu", "test.py"):
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
    assert "states: memory[uniform] out-of-bounds; found: memory[uniform] race on line" in " ".join(out.split())
    assert "3 of 4 promises kept" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("name", ["problem.md", "solution.cu", "starter.cu", "test.py"])
@pytest.mark.parametrize("content", [None, " \n"])
def test_what_is_not_there_or_empty_is_a_gap(copied: Path, name: str, content: str | None) -> None:
    folder = copied / EXERCISES[0].name
    assert list(verify.gaps(catalog.read(folder))) == []
    (folder / name).unlink() if content is None else (folder / name).write_text(content)
    (gap,) = verify.gaps(catalog.read(folder))
    assert gap.name == name
    assert gap.problem.startswith("is missing; " if content is None else "is empty; ")


def test_a_starter_that_changed_needs_its_new_digest(copied: Path) -> None:
    exercise = catalog.read(copied / EXERCISES[0].name)
    exercise.starter.write_text(exercise.starter.read_text() + "// one more step\n")
    (gap,) = verify.gaps(exercise)
    assert gap.name == "exercise.toml"
    digest = hashlib.sha256(exercise.starter.read_bytes()).hexdigest()
    assert gap.problem.endswith(f'set starter_sha256 = "{digest}"')


def test_an_exercise_without_wrong_kernels_proves_nothing(copied: Path) -> None:
    exercise = catalog.read(copied / EXERCISES[0].name)
    for file in (exercise.folder / "wrong").iterdir():
        file.unlink()
    for _ in ("an empty folder", "none"):
        (gap,) = verify.gaps(exercise)
        assert gap.name == "wrong/*.cu"
        assert "// caught by: CHECK KIND" in gap.problem
        if (exercise.folder / "wrong").is_dir():
            (exercise.folder / "wrong").rmdir()


def test_a_file_that_promises_nothing_is_a_gap_and_the_others_are_verified(copied: Path) -> None:
    exercise = catalog.read(copied / EXERCISES[0].name)
    (exercise.folder / "wrong" / "good.cu").write_text("// a race\n")
    assert [gap.name for gap in verify.gaps(exercise)] == ["wrong/good.cu"]
    assert [one.file.name for one in verify.promises(exercise)] == ["starter.cu", "solution.cu", "lies.cu"]


@pytest.fixture
def small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The exercise that grade new makes, with nothing but its starter to verify."""
    assert invoke(["new", "small", "--exercises", str(tmp_path / "exercises")]) == 0
    capsys.readouterr()
    folder = tmp_path / "exercises" / "01_small"
    for name in ("problem.md", "solution.cu", "wrong/first_factor.cu", "wrong/no_column_bound.cu"):
        (folder / name).unlink()
    return folder


def test_the_command_names_the_gaps_and_exits_1(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["verify", "--exercises", str(small.parent)]) == 1
    out = capsys.readouterr().out
    assert [line.split()[1] for line in out.splitlines() if line.startswith("  NO")] == [
        "problem.md",
        "solution.cu",
        "wrong/*.cu",
    ]
    assert "ok  starter.cu" in out
    assert "1 of 4 promises kept" in out


def test_a_promise_about_a_case_that_is_not_there_is_broken(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (small / "starter.cu").read_text()
    (small / "wrong" / "lost.cu").write_text(f"// caught by: memory[nowhere] race\n{text}")
    assert invoke(["verify", "1", "--exercises", str(small.parent)]) == 1
    assert "found: the exercise has no case 'nowhere'" in capsys.readouterr().out


def test_a_solution_keeps_the_rules_of_quality_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["new", "small", "--exercises", str(tmp_path / "exercises")]) == 0
    solution = tmp_path / "exercises" / "01_small" / "solution.cu"
    solution.write_text(solution.read_text() + "__device__ void idle() { int unused = 1; }\n")
    capsys.readouterr()
    assert invoke(["verify", "--exercises", str(tmp_path / "exercises")]) == 1
    assert "quality no-warnings on line" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("exercise.toml", "title = 3", "exercise.toml:1: Expected `str`, got `int` (title)"),
        ("oracle.py", "def required(:", "oracle.py:1: invalid syntax"),
        ("oracle.py", "required = extra = from_spec = expected = lambda *_: 1 / 0", "oracle.py:1: ZeroDivisionError"),
    ],
)
def test_a_broken_exercise_is_named_and_the_others_are_verified(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, file: str, text: str, says: str
) -> None:
    broken = small.parent / "00_broken"
    shutil.copytree(small, broken)
    (broken / file).write_text(text)
    monkeypatch.chdir(small.parent.parent)
    assert invoke(["verify"]) == 1
    first, others = capsys.readouterr().out.split("01_small")
    assert first.startswith("00_broken\n")
    assert f"found: exercises/00_broken/{says}" in " ".join(first.split())
    assert "ok  starter.cu" in others
    assert invoke(["verify", "00_broken"]) == 1
    assert f"exercises/00_broken/{says}" in " ".join(capsys.readouterr().out.split())


def test_mistakes_want_a_kernel_to_be_made_in(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["verify", "1", "--exercises", str(small.parent), "--mutants", "1"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "solution.cu does not exist; name a correct kernel with --of" in said
