"""grade ci, in this process: a fake executor grades; git, files and what is printed are real."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from grader.model import codec
from grader.model.execution import Outcome
from grader.model.result import Finding
from tests import junit
from tests.ci.course import ORACLE, STARTER, Course
from tests.cli.conftest import Grade
from tests.fakes import SOURCE, Arrays, FakeExecutor, write_exercise

RACE = Finding("race", "starter.cu", 6, "two threads, no barrier")

Use = Callable[[FakeExecutor], FakeExecutor]


def wrong(arrays: Arrays) -> Outcome:
    return Outcome(outputs={"y": 3 * arrays["x"]})


def racy(arrays: Arrays) -> Outcome:
    return Outcome(findings=(RACE,))


@pytest.fixture
def course(grade: Grade, monkeypatch: pytest.MonkeyPatch) -> Course:
    """In the folder of `grade`, which holds the exercise 01_double; no build server."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE", "GITLAB_CI"):
        monkeypatch.delenv(name, raising=False)
    course = Course(grade.folder)
    course.commit("The exercise")
    return course


@pytest.fixture
def on_github(course: Course, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The step's summary."""
    summary = tmp_path_factory.mktemp("runner") / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_BASE_REF", "main")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(course.folder))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    course.git("update-ref", "refs/remotes/origin/main", "main")
    return summary


def commands(grade: Grade, level: str) -> list[str]:
    """As GitHub obeys them: not between stop-commands and its token."""
    obeyed, token = [], None
    for line in grade.out.splitlines():
        if token:
            token = None if line == f"::{token}::" else token
        elif line.startswith("::stop-commands::"):
            token = line.removeprefix("::stop-commands::")
        elif line.startswith(f"::{level} "):
            obeyed.append(line)
    return obeyed


def test_a_changed_submission_is_graded(grade: Grade, course: Course) -> None:
    course.branch("work", {STARTER: SOURCE + b"// mine\n"})
    assert grade("ci", "--seed", "3") == 0
    assert re.match(
        r"Commit \w{10} against main \(\w{10}\), whose exercises grade:\n1 submission, seed 3\.\n", grade.out
    )
    assert STARTER in grade.out
    assert "Not judged: speed" in grade.out
    assert f"grade run 1 {STARTER} --seed 3" in grade.out
    assert "::" not in grade.out


def test_what_is_not_committed_does_not_count(grade: Grade, course: Course, use: Use) -> None:
    course.branch("work", {STARTER: SOURCE + b"// mine\n"})
    (course.folder / STARTER).write_bytes(b"")
    assert grade("ci") == 0


@pytest.mark.parametrize(
    ("executor", "options", "status"),
    [
        (FakeExecutor(), (), 0),
        (FakeExecutor(), ("--strict",), 3),
        (FakeExecutor(compute=racy), ("--strict",), 1),
        (FakeExecutor(compute=lambda _: Outcome(outputs={"y": np.zeros(1)})), (), 4),
    ],
)
def test_the_exit_status_is_that_of_grade_run(
    grade: Grade, course: Course, use: Use, executor: FakeExecutor, options: tuple[str, ...], status: int
) -> None:
    use(executor)
    course.branch("work", {STARTER: SOURCE + b"// mine\n"})
    assert grade("ci", *options) == status
    assert executor.opened == executor.closed > 0


def test_an_oracle_that_lets_itself_pass_does_not(grade: Grade, course: Course, use: Use, on_github: Path) -> None:
    use(FakeExecutor(compute=wrong))
    cheated = course.text(ORACLE).replace("2.0 *", "3.0 *")
    course.branch("cheat", {STARTER: SOURCE + b"// mine\n", ORACLE: cheated})
    assert grade("run", "1", STARTER, "--device", "cpu") == 0  # so it would pass with its own
    assert grade("ci") == 1
    assert [line for line in commands(grade, "warning") if f"file={ORACLE}," in line]
    assert "oracle" in on_github.read_text()


def test_an_exercise_that_is_loosened_or_removed_changes_nothing(grade: Grade, course: Course, use: Use) -> None:
    use(FakeExecutor(compute=wrong))
    toml = (course.folder / "exercises/01_double/exercise.toml").read_text().replace("1e-3", "1e9")
    course.branch("loosen", {STARTER: SOURCE + b"// mine\n", "exercises/01_double/exercise.toml": toml})
    assert grade("ci") == 1
    course.change({"exercises/01_double/exercise.toml": None, ORACLE: None})
    assert grade("ci") == 1


def test_nothing_touched_is_said_and_passes(grade: Grade, course: Course, on_github: Path) -> None:
    course.branch("docs", {"README.md": "Hello\n"})
    assert grade("ci", "--strict") == 0
    assert (
        "No submission was touched (looked for exercises/{exercise}/starter.cu; only what is committed counts)"
        in grade.out.replace("\n", " ")
    )
    assert max(map(len, grade.out.splitlines())) <= 80
    assert "No submission was touched" in on_github.read_text()


def test_several_exercises_one_status(grade: Grade, course: Course) -> None:
    write_exercise(course.folder / "exercises" / "02_double")
    course.commit()
    course.branch("work", {STARTER: b"", "exercises/02_double/starter.cu": SOURCE + b"// mine\n"})
    assert grade("ci") == 1
    assert grade.out.rstrip().splitlines()[-2:] == [
        f"failed      {STARTER}",
        "incomplete  exercises/02_double/starter.cu",
    ]


def test_a_binary_file_is_a_failed_compile(grade: Grade, course: Course) -> None:
    course.branch("work", {STARTER: b"\x7fELF\0\0"})
    assert grade("ci") == 1
    assert "starter.cu is binary, not text" in grade.out


def test_a_link_is_not_followed(grade: Grade, course: Course, tmp_path: Path) -> None:
    course.branch("work", {STARTER: None})
    (course.folder / STARTER).symlink_to("/etc/passwd")
    course.commit()
    assert grade("ci") == 1
    assert "starter.cu is a symbolic link; a submission is one CUDA source file" in grade.out
    assert "root:" not in grade.out


def test_a_rename_is_where_it_went(grade: Grade, course: Course) -> None:
    course.change({"drafts/first.cu": SOURCE + b"// a draft\n" * 20, STARTER: None})
    course.git("switch", "--quiet", "--create", "work")
    course.git("mv", "drafts/first.cu", STARTER)
    course.commit()
    assert grade("ci") == 0
    assert "1 submission" in grade.out


def test_a_deleted_submission_is_not_passed_in_silence(grade: Grade, course: Course) -> None:
    course.branch("work", {STARTER: None})
    assert grade("ci") == 0
    assert "Not graded: The change deletes it" in grade.out
    assert grade("ci", "--strict") == 3
    course.change({"exercises/09_new/starter.cu": SOURCE})
    assert grade("ci") == 0
    assert grade.out.splitlines()[-2:] == [f"not graded  {STARTER}", "not graded  exercises/09_new/starter.cu"]


def test_a_new_exercise_has_nobody_to_trust(grade: Grade, course: Course) -> None:
    course.git("switch", "--quiet", "--create", "author")
    write_exercise(course.folder / "exercises" / "09_new")
    course.commit()
    assert grade("ci") == 0
    assert "The base has no exercise 09_new" in grade.out
    assert grade("ci", "--strict") == 3


def test_a_broken_exercise_costs_the_others_nothing(grade: Grade, course: Course) -> None:
    write_exercise(course.folder / "exercises" / "02_double", oracle="1 / 0\n")
    course.commit()
    course.branch("work", {STARTER: SOURCE + b"//\n", "exercises/02_double/starter.cu": SOURCE + b"//\n"})
    assert grade("ci") == 4
    assert "ZeroDivisionError" in grade.out
    assert f"incomplete  {STARTER}" in grade.out


def test_a_merge_commit_as_github_checks_it_out(grade: Grade, course: Course, on_github: Path) -> None:
    """HEAD is the merge of the branch into main; what main has gained meanwhile is not the student's."""
    write_exercise(course.folder / "exercises" / "02_double")
    course.commit()
    course.branch("work", {STARTER: SOURCE + b"// mine\n"})
    course.git("switch", "--quiet", "main")
    course.change({"exercises/02_double/starter.cu": SOURCE + b"// better\n"})
    course.git("update-ref", "refs/remotes/origin/main", "main")
    course.git("switch", "--quiet", "--detach", "main")
    course.git("merge", "--quiet", "--no-ff", "--message", "Merge", "work")
    assert grade("ci") == 0
    assert "1 submission" in grade.out
    assert STARTER in grade.out


def test_another_commit_than_the_one_checked_out(grade: Grade, course: Course) -> None:
    course.branch("work", {STARTER: b""})
    course.git("switch", "--quiet", "main")
    assert grade("ci", "--base", "main") == 0
    assert grade("ci", "--base", "main", "--head", "work") == 1


def test_everything_at_night(grade: Grade, course: Course) -> None:
    write_exercise(course.folder / "exercises" / "02_double")
    course.commit()
    assert grade("ci", "--all") == 0
    assert "graded with its own exercises:\n2 submissions" in grade.out


def test_submissions_of_another_layout(grade: Grade, course: Course) -> None:
    course.branch("work", {"students/ada/1.cu": SOURCE, "students/bo/1.cu": b"", "students/notes.txt": "x"})
    assert grade("ci", "--submissions", "students/*/{exercise}.cu") == 1
    assert "2 submissions" in grade.out
    assert "grade run 1 students/ada/1.cu" in grade.out


def test_exercises_in_another_folder_and_outside(
    grade: Grade, course: Course, tmp_path_factory: pytest.TempPathFactory
) -> None:
    course.git("mv", "exercises", "course")
    course.commit()
    course.branch("work", {"course/01_double/starter.cu": SOURCE + b"//\n", "hw/01.cu": b""})
    assert grade("ci") == 2
    assert "no exercises in exercises/ of the base" in grade.err
    assert grade("ci", "--exercises", "course") == 0
    outside = tmp_path_factory.mktemp("trusted")
    write_exercise(outside / "01_double")
    assert grade("ci", "--exercises", outside, "--submissions", "hw/{exercise}.cu") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--base", "nowhere"), "there is no commit nowhere in"),
        (("--submissions", "mine.cu"), "it must contain {exercise} once"),
        (("--exercises", "nothing"), "no exercises in nothing/ of the base"),
        (("--seed", "-1"), "--seed -1: expected a whole number"),
        (("file.cu",), "unexpected extra argument"),
    ],
)
def test_wrong_usage(grade: Grade, course: Course, arguments: tuple[str, ...], said: str) -> None:
    course.branch("work", {STARTER: SOURCE + b"// mine\n"})
    assert grade("ci", *arguments) == 2
    assert said in grade.err


def test_outside_of_a_repository(grade: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(grade.folder.parent))
    assert grade("ci") == 2
    assert "not a git repository" in grade.err


def test_a_gpu_that_is_not_there(grade: Grade, course: Course, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grader.machine.gpus", lambda: 0)
    course.branch("work", {STARTER: SOURCE + b"// mine\n"})
    assert grade("ci", "--device", "cuda") == 4


def test_on_github_findings_stand_at_their_lines(grade: Grade, course: Course, use: Use, on_github: Path) -> None:
    use(FakeExecutor(compute=racy))
    course.branch("work", {STARTER: SOURCE + b"// mine\n"})
    assert grade("ci") == 1
    (error,) = commands(grade, "error")
    assert error.startswith(
        f"::error file={STARTER},line=6,title=Race between threads::two threads, no barrier (even,"
    )
    text = on_github.read_text()
    assert "| ❌ |" in text
    assert "<pre>\nFAILED: " in text


def test_paths_where_the_repository_is_a_folder_of_the_workspace(
    grade: Grade, course: Course, use: Use, on_github: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(FakeExecutor(compute=racy))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(course.folder.parent))
    course.branch("work", {STARTER: SOURCE + b"// mine\n"})
    grade("ci")
    assert f"file={course.folder.name}/{STARTER}," in commands(grade, "error")[0]


def test_what_a_kernel_prints_is_obeyed_by_nobody(grade: Grade, course: Course, use: Use, on_github: Path) -> None:
    said = "x\n::error::mine\n##[error]mine\n::add-mask::e\n"
    use(FakeExecutor(compute=lambda a: Outcome(outputs={"y": 2 * a["x"]}, printed=said)))
    course.branch("work", {STARTER: SOURCE + b"// mine\n"})
    assert grade("ci", "-v") == 0
    assert "::error::mine" in grade.out
    assert commands(grade, "error") == []
    assert not [line for line in commands(grade, "notice") if "mine" in line]


def test_files_for_the_build_server(grade: Grade, course: Course, use: Use, tmp_path: Path) -> None:
    use(FakeExecutor(compute=racy))
    course.branch("work", {STARTER: SOURCE + b"// mine\n", "exercises/09_new/starter.cu": SOURCE})
    out = tmp_path / "new" / "out"
    assert grade("ci", "--out", out) == 1
    assert {file.name for file in out.iterdir()} == {
        "junit.xml",
        "codequality.json",
        "summary.md",
        "01-exercises-01_double-starter.json",
        "01-exercises-01_double-starter.html",
    }
    root = junit.validated((out / "junit.xml").read_bytes())
    assert junit.counts(root) == {"passed": 4, "failure": 3, "skipped": 6}
    assert json.loads((out / "codequality.json").read_text())[0]["location"]["path"] == STARTER
    result = codec.decode((out / "01-exercises-01_double-starter.json").read_bytes())
    assert result.submission.path == STARTER


def test_what_cannot_be_written_is_said_and_the_verdict_still_shown(
    grade: Grade, course: Course, on_github: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    course.branch("work", {STARTER: SOURCE + b"// mine\n"})
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    (tmp_path / "file").touch()
    assert grade("ci", "--out", tmp_path / "file" / "out") == 4
    assert "cannot write the step's summary" in grade.err
    assert "cannot write" in grade.err.splitlines()[-1]
    assert "Not judged: speed" in grade.out


def test_without_confinement_a_change_is_graded_only_where_it_is_trusted(
    grade: Grade, course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    course.branch("work", {STARTER: SOURCE + b"// mine\n"})
    monkeypatch.setattr("grader.sandbox.confine.missing", lambda: ("a submission could use the network",))
    assert grade("ci") == 4
    assert "a submission could use the network" in grade.err
    assert "--trust" in grade.err
    assert grade("ci", "--trust") == 0
