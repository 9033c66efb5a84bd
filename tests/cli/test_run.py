from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from grader.model import codec
from grader.model.execution import Compilation, Outcome
from grader.model.result import Finding
from grader.sandbox import ChildDied
from tests.cli.conftest import Grade
from tests.fakes import ORACLE, SOURCE, Arrays, FakeExecutor, write_exercise

Use = Callable[[FakeExecutor], FakeExecutor]

WRONG = FakeExecutor(compute=lambda arrays: Outcome(outputs={"y": np.zeros_like(arrays["x"])}))


def died(arrays: Arrays) -> Outcome:
    raise ChildDied("the child died of signal 11")


def interrupted(arrays: Arrays) -> Outcome:
    raise KeyboardInterrupt


def test_right_but_not_timed_exits_0_and_3_when_strict(grade: Grade) -> None:
    assert grade("run", "1") == 0
    assert grade.out.startswith("INCOMPLETE: ")
    assert grade("run", "1", "--strict") == 3


def test_wrong_exits_1(grade: Grade, use: Use) -> None:
    use(WRONG)
    assert grade("run", "1") == 1
    assert grade.out.startswith("FAILED: ")


def test_an_error_exits_4(grade: Grade, use: Use) -> None:
    use(FakeExecutor(compute=died))
    assert grade("run", "1") == 4
    assert grade.out.startswith("ERROR: ")
    assert "signal 11" in grade.out


@pytest.mark.parametrize("name", ["1", "01", "01_double"])
def test_the_exercise_goes_by_number_or_name_and_the_file_defaults_to_its_starter(grade: Grade, name: str) -> None:
    assert grade("run", name) == 0
    assert "starter.cu" in grade.out


def test_a_starter_that_is_gone_can_be_put_back(grade: Grade) -> None:
    Path("exercises/01_double/starter.cu").unlink()
    assert grade("run", "1") == 2
    assert "starter.cu does not exist; grade reset 1 restores the original" in grade.err


def test_another_file(grade: Grade) -> None:
    Path("mine.cu").write_text("// mine\n")
    assert grade("run", "1", "mine.cu", "--json", "r.json") == 0
    assert json.loads(Path("r.json").read_text())["submission"]["path"] == "mine.cu"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run"], "Missing argument 'EXERCISE'"),
        (["run", "7"], "there is no exercise '7'"),
        (["run", "1", "nowhere.cu"], "nowhere.cu does not exist"),
        (["run", "1", "exercises"], "exercises is a folder"),
        (["run", "1", "--exercises", "nowhere"], "the folder nowhere does not exist"),
        (["run", "1", "--fast"], "--fast"),
        (["run", "1", "--device", "tpu"], "tpu"),
        (["run", "1", "--seed", "-1"], "--seed -1: expected a whole number from 0 to 4294967295"),
        (["run", "1", "--seed", "4294967296"], "--seed 4294967296: expected a whole number"),
        (["run", "1", "--seed", "abc"], "--seed abc: expected a whole number"),
        (["run", "1", "--gpu", "first"], "--gpu first: expected a whole number of at least 0"),
        (["run", "1", "--gpu", "0", "--device", "cpu"], "--gpu implies --device cuda"),
        (["run", "1", "--secret", "nowhere.toml"], "nowhere.toml"),
        (["run", "1", "a.cu", "b.cu"], "b.cu"),
        (["walk", "1"], "walk"),
    ],
)
def test_wrong_usage_exits_2_and_says_what_is_wrong(grade: Grade, arguments: list[str], says: str) -> None:
    assert grade(*arguments) == 2
    assert says in grade.err
    assert grade.out == ""
    assert "Traceback" not in grade.err


def test_no_such_exercise_names_those_that_exist(grade: Grade) -> None:
    grade("run", "7")
    assert "01_double" in grade.err


@pytest.mark.parametrize("content", [b"", b"\x7fELF\x00\x01", b"x" * (10 << 20)])
def test_what_is_no_source_is_a_failed_compile(grade: Grade, content: bytes) -> None:
    Path("bad.cu").write_bytes(content)
    assert grade("run", "1", "bad.cu", "--json", "r.json") == 1
    (compiled, *others) = json.loads(Path("r.json").read_text())["checks"]
    assert (compiled["id"], compiled["status"]) == ("compile", "failed")
    assert {check["status"] for check in others} == {"skipped"}


@pytest.mark.parametrize("option", [["--device", "cuda"], ["--gpu", "0"]])
def test_a_gpu_that_is_not_there_exits_4(grade: Grade, monkeypatch: pytest.MonkeyPatch, option: list[str]) -> None:
    monkeypatch.setattr("grader.machine.gpus", lambda: 0)
    assert grade("run", "1", *option) == 4
    assert "no NVIDIA GPU" in grade.err


def test_ctrl_c_exits_130_without_a_traceback(grade: Grade, use: Use) -> None:
    executor = use(FakeExecutor(compute=interrupted))
    assert grade("run", "1") == 130
    assert grade.err.strip() == "grade: interrupted"
    assert executor.opened == executor.closed == 1


def test_a_broken_exercise_exits_4_and_names_the_line(grade: Grade) -> None:
    write_exercise(Path("exercises/02_broken"), oracle=ORACLE.replace("yield", "1 / 0; yield"))
    assert grade("run", "2") == 4
    assert "oracle.py:" in grade.err


def test_a_fault_of_the_grader_itself_exits_4_without_a_traceback(
    grade: Grade, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("surprise")

    monkeypatch.setattr("grader.grading.pipeline.grade", broken)
    assert grade("run", "1") == 4
    assert "internal error" in grade.err
    assert "surprise" in grade.err
    assert "Traceback" not in grade.err


def test_the_seed_is_fresh_printed_and_repeatable(grade: Grade) -> None:
    seeds = []
    for _ in range(2):
        grade("run", "1", "--json", "r.json")
        seeds.append(json.loads(Path("r.json").read_text())["seed"])
        assert f"--seed {seeds[-1]}" in grade.out
    assert seeds[0] != seeds[1]
    assert 0 <= seeds[0] < 2**32
    grade("run", "1", "--seed", str(seeds[0]), "--json", "r.json")
    assert json.loads(Path("r.json").read_text())["seed"] == seeds[0]


def test_the_json_is_a_result_by_its_schema(grade: Grade, use: Use) -> None:
    use(FakeExecutor(compute=lambda arrays: Outcome(outputs={"y": arrays["x"] * np.float32("nan")})))
    assert grade("run", "1", "--json", "r.json") == 1
    result = json.loads(Path("r.json").read_text())
    jsonschema.validate(result, json.loads(codec.SCHEMA_FILE.read_text()))
    correct = next(c for c in result["checks"] if c["id"] == "correct[even]")
    assert correct["measurements"]["max_abs_error"] == "NaN"


def test_json_to_stdout_leaves_stdout_to_it(grade: Grade) -> None:
    grade("run", "1", "--json", "-")
    assert json.loads(grade.out)["exercise"] == "01_double"
    assert "INCOMPLETE" in grade.err


def test_the_report_to_stdout_leaves_stdout_to_it(grade: Grade) -> None:
    grade("run", "1", "--html", "-")
    assert grade.out.lstrip().lower().startswith("<!doctype html>")
    assert "INCOMPLETE" in grade.err


def test_the_report_is_written_and_named(grade: Grade) -> None:
    assert grade("run", "1", "--html", "r.html") == 0
    assert Path("r.html").read_text().lstrip().lower().startswith("<!doctype html>")
    assert "r.html" in grade.err


@pytest.mark.parametrize("option", ["--json", "--html"])
@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("nowhere/r", "the folder nowhere does not exist"),
        ("exercises", "is a folder"),
        ("exercises/01_double/starter.cu/r", "starter.cu is not a folder"),
        ("r" * 300, "File name too long"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_runs(
    grade: Grade, option: str, place: str, says: str
) -> None:
    assert grade("run", "1", option, place) == 2
    assert grade.err.startswith(f"grade: {option} {place}: ")
    assert says in grade.err
    assert grade.err.count("\n") == 1
    assert grade.out == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_one_may_not_write_to_is_said_before_anything_runs(grade: Grade) -> None:
    Path("locked").mkdir(mode=0o500)
    assert grade("run", "1", "--json", "locked/r.json") == 2
    assert "you may not write there" in grade.err
    assert grade.out == ""


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_a_disk_that_is_full_is_said_and_the_verdict_still_shown(grade: Grade, option: str) -> None:
    assert grade("run", "1", option, "/dev/full") == 4
    assert "cannot write /dev/full: No space left on device" in grade.err
    assert grade.out.startswith("INCOMPLETE: ")


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_what_cannot_be_written_whole_leaves_the_old_file(
    grade: Grade, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    Path("r").write_text("the old one")
    assert grade("run", "1", option, "r") == 4
    assert "cannot write r: No space left on device" in grade.err
    assert Path("r").read_text() == "the old one"


def test_open_shows_the_report_in_a_browser(grade: Grade, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: bool(opened.append(url)) or True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    grade("run", "1", "--open", "--html", "r.html")
    grade("run", "1", "--open")
    assert opened[0] == (tmp_path / "r.html").as_uri()
    assert Path(opened[1].removeprefix("file://")).is_file()


def test_secret_cases_are_graded_and_not_told(grade: Grade, use: Use) -> None:
    Path("secret.toml").write_text("[[cases]]\nname = 'trap'\nM_sizes = [3, 4]\n")
    use(WRONG)
    assert grade("run", "1", "--secret", "secret.toml", "--json", "r.json", "-v") == 1
    checks = {c["id"]: c for c in json.loads(Path("r.json").read_text())["checks"]}
    assert checks["correct[secret-1]"]["status"] == "failed"
    assert checks["correct[secret-1]"]["measurements"] == {}
    assert "M [3, 4]" not in grade.out
    assert "trap" not in grade.out


def test_a_hint_is_where_the_finding_says(grade: Grade, use: Use) -> None:
    race = Finding("race", "starter.cu", 6, "two threads", hint="races")
    use(FakeExecutor(compute=lambda _: Outcome(findings=(race,))))
    (grade.folder / "exercises" / "01_double" / "problem.md").write_text("### Races\n")
    grade("run", "1")
    assert "01_double/problem.md#races" in grade.out


def test_compile_errors_show_the_line(grade: Grade, use: Use) -> None:
    error = Finding("compile-error", "starter.cu", 6, "expected a ;")
    use(FakeExecutor(compilation=Compilation(ok=False, findings=(error,))))
    assert grade("run", "1") == 1
    assert "starter.cu:6: compile-error" in grade.out
    assert "> 6 |     y[threadIdx.x] = 2 * x[threadIdx.x];" in grade.out


@pytest.mark.parametrize("option", ["--html", "--json"])
def test_a_result_never_overwrites_a_kernel(grade: Grade, option: str, tmp_path: Path) -> None:
    kernel = tmp_path / "mine.cu"
    kernel.write_bytes(SOURCE)
    link = tmp_path / "page.html"
    link.symlink_to(kernel)
    for target in (kernel, link, tmp_path / "another.cu"):
        assert grade("run", "1", str(kernel), option, str(target)) == 2
        assert "would overwrite" in grade.err
    assert kernel.read_bytes() == SOURCE


@pytest.mark.parametrize("name", ["problem.md", "oracle.py", "exercise.toml"])
def test_a_report_never_overwrites_the_exercise(grade: Grade, name: str) -> None:
    file = grade.folder / "exercises" / "01_double" / name
    file.touch()
    before = file.read_bytes()
    assert grade("run", "1", "--html", f"exercises/01_double/{name}") == 2
    assert "would overwrite" in grade.err
    assert file.read_bytes() == before
    assert grade("run", "1", "--html", "exercises/01_double/report.html") == 0


def test_json_and_html_want_files_of_their_own(grade: Grade, tmp_path: Path) -> None:
    for place in (str(tmp_path / "out"), "-"):
        assert grade("run", "1", "--json", place, "--html", place) == 2
        assert "the same file" in grade.err
