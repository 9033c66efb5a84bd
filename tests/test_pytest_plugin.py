from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
import pytest

from grader.errors import GraderError
from grader.grading import gpu_lane, pipeline
from grader.model.execution import Outcome
from grader.model.measurements import read
from grader.model.result import Check, Finding, Points, Result, Status, Submission, Verdict
from tests import junit
from tests.fakes import FakeExecutor, write_exercise

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
EXERCISE = ROOT / "exercises" / "01_simple_grouped_gemm"

RACE = Finding("race", "starter.cu", 6, "two threads, no barrier", notes=("the other is line 5",))
TIMES = {
    "time_us": 10.0,
    "baseline": "cublas strided",
    "baseline_us": 15.0,
    "ratio": 1.5,
    "ratio_low": 1.48,
    "ratio_high": 1.52,
    "tflops": 8.0,
    "routes_us": {"strided": 15.0},
}

COMPILED = Check("compile", Status.PASSED, "compiled double_kernel", measurements=read({"seconds": 0.1}))
RACY = Check("memory[even]", Status.FAILED, RACE.message, case="even", device="cpu", findings=(RACE,))
UNTRIED = Check("correct[even]", Status.SKIPPED, reason="memory[even] failed", case="even")
BROKEN = Check("correct[odd]", Status.ERROR, "the child process died", case="odd")
FAST = Check("speed[odd]", Status.PASSED, "1.50 of its speed", case="odd", device="cuda", measurements=read(TIMES))
SLOW = Check("speed[one]", Status.FAILED, "0.30 of its speed", case="one", measurements=read(TIMES | {"ratio": 0.3}))
UNTIMED = Check("speed[even]", Status.NOT_JUDGED, "needs an NVIDIA GPU", reason="no NVIDIA GPU", case="even")
UNTIDY = Check("quality", Status.FAILED, "a tab on line 3", required=False)


def result_of(*checks: Check) -> Result:
    return Result(
        schema=1,
        exercise="01_double",
        submission=Submission("starter.cu", "0" * 64),
        verdict=Verdict.FAILED,
        points=Points(0.0, 0.0, 0.0, None, 0.0, 100.0),
        seed=7,
        machine={"gpu": {"name": "NVIDIA H200"}},
        checks=checks,
    )


@pytest.fixture(autouse=True)
def lean(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run inside a test does not import Hypothesis anew, nor take itself for a worker, which cannot benchmark."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)


@pytest.fixture
def exercise(pytester: pytest.Pytester) -> Path:
    return write_exercise(pytester.path / "exercises" / "01_double")


@pytest.fixture
def finds(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Grading finds these checks; returns what it was asked."""

    def finds(*checks: Check) -> dict[str, Any]:
        asked: dict[str, Any] = {}

        def grade(exercise: object, source: object, **options: Any) -> Result:
            asked.update(options, source=source)
            return result_of(*checks)

        monkeypatch.setattr(pipeline, "grade", grade)
        return asked

    return finds


def test_a_folder_is_graded_and_every_check_is_a_test(
    pytester: pytest.Pytester, exercise: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = FakeExecutor(compute=lambda _: Outcome(findings=(RACE,)))
    monkeypatch.setattr("grader.executors.open_cpu", executor.open)
    result = pytester.runpytest("exercises/01_double", "-v", "--grade-seed", "3", "--grade-device", "cpu")
    result.assert_outcomes(passed=4, failed=3, skipped=5)
    result.stdout.fnmatch_lines(
        [
            "*exercise.toml::compile PASSED compiled double_kernel, launch_double *",
            "*exercise.toml::memory?even? FAILED *",
            "*correct?even? SKIPPED (memory*",
            "starter.cu:6: race: two threads, no barrier",
            "  the other is line 5",
            "repeat with --grade-seed 3",
        ]
    )
    assert executor.opened == executor.closed == 1


def test_a_long_finding_is_wrapped(pytester: pytest.Pytester, exercise: Path, finds: Callable[..., object]) -> None:
    words = "thread (1,0,0) of block (0,0,0) writes y[3]; line 5 reads it too, and no barrier orders the two; " * 3
    race = Finding("race", "starter.cu", 6, words.strip(), notes=(words.strip(),))
    finds(Check("memory[even]", Status.FAILED, words, case="even", findings=(race,)))
    result = pytester.runpytest("exercises/01_double", "-rN")
    at = next(n for n, line in enumerate(result.outlines) if line.startswith("starter.cu:6: race: thread"))
    end = next(n for n, line in enumerate(result.outlines) if line.startswith("repeat with"))
    assert max(map(len, result.outlines[at:end])) <= 80
    assert " ".join(" ".join(result.outlines[at:end]).split()).count(words.strip()) == 2


@pytest.mark.parametrize("named", ["exercises/01_double", "exercises/01_double/test.py", "."])
@pytest.mark.parametrize("python_files", ["test_*.py", "test.py"])
def test_test_py_is_where_the_checks_are_collected_and_is_never_run(
    pytester: pytest.Pytester, exercise: Path, finds: Callable[..., object], named: str, python_files: str
) -> None:
    finds(COMPILED, UNTIMED)
    (exercise / "test.py").write_text("raise SystemExit('imported')\n")
    result = pytester.runpytest("-o", f"python_files={python_files}", "-v", named)
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["exercises/01_double/test.py::compile PASSED *"])


def test_no_other_test_py_is_touched(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test="def test_of_its_own(): pass")
    pytester.runpytest("-o", "python_files=test.py").assert_outcomes(passed=1)
    pytester.runpytest().assert_outcomes()


def test_junit_tells_wrong_from_broken_from_blocked(
    pytester: pytest.Pytester, exercise: Path, finds: Callable[..., object]
) -> None:
    finds(COMPILED, RACY, UNTRIED, BROKEN, FAST, SLOW, UNTIMED, UNTIDY)
    pytester.runpytest("exercises", "--junitxml=junit.xml").assert_outcomes(passed=2, failed=2, errors=1, skipped=3)
    root = junit.validated((pytester.path / "junit.xml").read_bytes())
    assert junit.counts(root) == {"passed": 2, "failure": 2, "error": 1, "skipped": 3}
    outcome = {
        case.get("name"): next((c.tag for c in case if c.tag != "properties"), "") for case in root.iter("testcase")
    }
    assert outcome["memory[even]"] == outcome["speed[one]"] == "failure"
    assert outcome["correct[odd]"] == "error"
    assert outcome["correct[even]"] == outcome["speed[even]"] == outcome["quality"] == "skipped"
    (fast,) = (case for case in root.iter("testcase") if case.get("name") == "speed[odd]")
    properties = {p.get("name"): p.get("value") for p in fast.iter("property")}
    assert properties == {
        "message": "1.50 of its speed",
        "ratio": "1.5",
        "ratio_low": "1.48",
        "ratio_high": "1.52",
        "time_us": "10.0",
        "baseline": "cublas strided",
        "baseline_us": "15.0",
        "tflops": "8.0",
    }


def test_the_rounds_on_the_gpu_are_the_benchmarks_rounds(
    pytester: pytest.Pytester, exercise: Path, finds: Callable[..., object]
) -> None:
    measured = TIMES | {"rounds_us": [9.0, 10.0, 10.5, 12.0]}
    finds(COMPILED, msgspec.structs.replace(FAST, measurements=read(measured)), SLOW)
    result = pytester.runpytest("exercises", "--benchmark-json=out.json")
    result.assert_outcomes(passed=2, failed=1)
    saved = {b["name"]: b for b in json.loads((pytester.path / "out.json").read_text())["benchmarks"]}
    assert saved["speed[odd]"]["stats"]["data"] == pytest.approx([9e-6, 10e-6, 10.5e-6, 12e-6])
    assert saved["speed[odd]"]["options"]["timer"] == "cuda_events"
    assert saved["speed[odd]"]["extra_info"]["gpu"] == "NVIDIA H200"
    assert saved["speed[odd]"]["extra_info"]["ratio"] == 1.5
    assert saved["speed[one]"]["stats"]["data"] == pytest.approx([10e-6])  # the median, where that is all there is


def test_two_kernels_are_compared_and_a_slower_one_can_fail_the_run(
    pytester: pytest.Pytester, exercise: Path, finds: Callable[..., object]
) -> None:
    finds(FAST)
    pytester.runpytest("exercises", "--benchmark-save=first").assert_outcomes(passed=1)
    finds(msgspec.structs.replace(FAST, measurements=read(TIMES | {"time_us": 12.5})))
    compared = pytester.runpytest("exercises", "--benchmark-compare=0001", "--benchmark-compare-fail=median:10%")
    compared.stdout.fnmatch_lines(["*speed?odd? (0001_first)*10.0*(1.0)*", "*speed?odd? (NOW)*12.5*(1.25)*"])
    assert compared.ret != 0


def test_only_benchmarks_are_those_with_times(
    pytester: pytest.Pytester, exercise: Path, finds: Callable[..., object]
) -> None:
    finds(COMPILED, FAST, UNTIMED)
    pytester.runpytest("exercises", "--benchmark-only").assert_outcomes(passed=1, skipped=2)
    pytester.runpytest("exercises", "--benchmark-skip").assert_outcomes(passed=1, skipped=2)


def test_without_pytest_benchmark_speed_is_a_test_as_any(
    pytester: pytest.Pytester, exercise: Path, finds: Callable[..., object]
) -> None:
    finds(FAST, SLOW)
    pytester.runpytest("-p", "no:benchmark", "exercises").assert_outcomes(passed=1, failed=1)


def test_another_file_seed_and_device(
    pytester: pytest.Pytester, exercise: Path, finds: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = finds(COMPILED)
    monkeypatch.setattr(gpu_lane, "choose", lambda *, required: f"required: {required}")
    (pytester.path / "mine.cu").write_text("// mine\n")
    arguments = ("exercises", "--submission", "mine.cu", "--grade-seed", "41")
    pytester.runpytest(*arguments).assert_outcomes(passed=1)
    assert (asked["source"].name, asked["seed"], asked["gpu"]) == ("mine.cu", 41, "required: False")
    pytester.runpytest(*arguments, "--grade-device", "cuda")
    assert asked["gpu"] == "required: True"
    pytester.runpytest(*arguments, "--grade-device", "cpu")
    assert asked["gpu"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--submission", "nowhere.cu"), "nowhere.cu does not exist"),
        (("--submission", "exercises"), "is a folder, not a .cu file"),
        (("--grade-seed", "-1"), "a seed must be a number from 0"),
        (("--grade-device", "cuda"), "no NVIDIA GPU found on this machine"),
    ],
)
def test_bad_usage_is_said_without_a_traceback(
    pytester: pytest.Pytester, exercise: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr("grader.machine.gpus", lambda: 0)
    result = pytester.runpytest("exercises", *arguments)
    assert result.ret not in (0, 1)
    shown = result.stdout.str() + result.stderr.str()
    assert said in shown
    assert "Traceback" not in shown
    assert "pytest_plugin.py:" not in shown


def test_one_submission_is_no_answer_to_several_exercises(
    pytester: pytest.Pytester, exercise: Path, finds: Callable[..., object]
) -> None:
    finds(COMPILED)
    write_exercise(pytester.path / "exercises" / "02_double")
    result = pytester.runpytest("exercises", "--submission", str(exercise / "starter.cu"))
    result.stderr.fnmatch_lines(["*several exercises: 01_double, 02_double. Name one."])
    pytester.runpytest("exercises").assert_outcomes(passed=2)


def test_an_exercise_that_cannot_be_graded_is_an_error_and_costs_the_others_nothing(
    pytester: pytest.Pytester, exercise: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Result:
        raise GraderError("oracle.py:3: ZeroDivisionError: division by zero")

    monkeypatch.setattr(pipeline, "grade", fail)
    pytester.makepyfile(test_other="def test_other(): pass")
    result = pytester.runpytest("--continue-on-collection-errors", "--junitxml=junit.xml")
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["oracle.py:3: ZeroDivisionError: division by zero"])
    assert junit.counts(junit.validated((pytester.path / "junit.xml").read_bytes()))["error"] == 1


def test_collect_only_lists_the_checks_and_grades_nothing(
    pytester: pytest.Pytester, exercise: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "grade", lambda *_, **__: pytest.fail("graded"))
    result = pytester.runpytest("exercises", "--collect-only", "-q")
    names = [line.partition("::")[2] for line in result.outlines if "::" in line]
    assert names == [
        *("compile", "launch"),
        *("memory[even]", "correct[even]", "speed[even]"),
        *("memory[ragged]", "correct[ragged]", "speed[ragged]"),
        *("memory[one-row]", "correct[one-row]", "rules", "quality"),
    ]


@pytest.mark.usefixtures("children_stay_up")
@pytest.mark.parametrize(
    ("submission", "counts"),
    [
        ("solution.cu", {"passed": 30, "skipped": 4}),
        ("starter.cu", {"passed": 17, "failure": 13, "skipped": 4}),
        ("wrong/syntax_error.cu", {"failure": 1, "skipped": 33}),
        ("wrong/no_barrier_after_load.cu", {"passed": 4, "failure": 13, "skipped": 17}),
        ("wrong/no_column_bound.cu", {"passed": 18, "failure": 6, "skipped": 10}),
    ],
)
def test_what_becomes_of_real_submissions(pytester: pytest.Pytester, submission: str, counts: dict[str, int]) -> None:
    file = EXERCISE / submission
    arguments = ("--submission", file, "--grade-seed", "5", "--grade-device", "cpu", "--junitxml=junit.xml")
    pytester.runpytest("-p", "no:cacheprovider", "--rootdir", ROOT, EXERCISE, *arguments)
    assert junit.counts(junit.validated((pytester.path / "junit.xml").read_bytes())) == counts


@pytest.mark.gpu
def test_on_a_gpu_two_kernels_are_compared_round_by_round(pytester: pytest.Pytester) -> None:
    """The kernel of a beginner after the solution: slower on `imbalanced`, by pytest-benchmark's own account."""
    common = ("-p", "no:cacheprovider", "--rootdir", ROOT, EXERCISE, "--grade-seed", "5", "--grade-device", "cuda")
    if not any(entry.value == "grader.pytest_plugin" for entry in entry_points(group="pytest11")):
        common = ("-p", "grader.pytest_plugin", *common)  # run from a checkout that is not installed
    beginner = ROOT / "tests" / "kernels" / "correct" / "tile16.cu"
    storage = f"--benchmark-storage={pytester.path}"
    first = ("--submission", EXERCISE / "solution.cu", "--benchmark-save=solution", storage)
    pytester.runpytest_subprocess(*common, *first).assert_outcomes(passed=34)
    second = ("--submission", beginner, "--benchmark-compare=0001", "--benchmark-json=out.json", storage)
    compared = pytester.runpytest_subprocess(*common, *second)
    compared.stdout.fnmatch_lines(["*speed?imbalanced? (0001_solutio*", "*speed?imbalanced? (NOW)*"])
    saved = json.loads((pytester.path / "out.json").read_text())["benchmarks"]
    (found,) = (b for b in saved if b["name"] == "speed[imbalanced]")
    assert found["stats"]["median"] == pytest.approx(found["extra_info"]["time_us"] / 1e6)
    assert found["options"]["timer"] == "cuda_events"
