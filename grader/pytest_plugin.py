"""`pytest exercises/NN_name`: a submission is graded, and each of its checks is a test.

Found by pytest through the entry point `pytest11`. A folder with an exercise.toml is collected at its test.py, or at
the exercise.toml where it has none; test.py itself is not imported. Where pytest-benchmark is installed and speed was
measured, `speed[CASE]` hands it the time of every round, as the GPU's own clock took it.
"""

from __future__ import annotations

import argparse
import secrets
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from grader.seeds import SEEDS

if TYPE_CHECKING:
    from grader.model.exercise import Exercise
    from grader.model.result import Check, Result

HANDLE = "test.py"
EXERCISE = "exercise.toml"
WIDTH = 80


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("grade", "CUDA kernel exercises")
    group.addoption("--submission", metavar="FILE", help="grade FILE; default: the exercise's starter.cu")
    group.addoption("--grade-seed", metavar="N", type=_seed, help="repeat a grading: the seed that it showed")
    group.addoption(
        "--grade-device", choices=("auto", "cpu", "cuda"), default="auto", help="what to grade on; default: auto"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> ExerciseFile | None:
    """Where test.py counts as a test file (python_files): the checks, in place of the module."""
    if _is_handle(module_path):
        return ExerciseFile.from_parent(parent, path=module_path)
    return None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ExerciseFile | None:
    """Where it does not count as one; and an exercise without one."""
    if not _is_handle(file_path) or _is_python_test(file_path, parent):
        return None
    return ExerciseFile.from_parent(parent, path=file_path)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    exercises = {item.path.parent for item in items if isinstance(item, CheckItem | SpeedItem)}
    if config.getoption("submission") and len(exercises) > 1:
        names = ", ".join(sorted(folder.name for folder in exercises))
        raise pytest.UsageError(f"--submission is one file, and these are several exercises: {names}. Name one.")


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """With -v, behind the outcome: what the check says."""
    said = dict(report.user_properties).get("message") if hasattr(report, "user_properties") else None
    if said and report.when == "call" and report.passed:
        return "passed", ".", f"PASSED {said}"
    return None


class ExerciseFile(pytest.File):
    """An exercise's folder. Grades when it is collected; with --collect-only, it lists what is known before."""

    def collect(self) -> Iterator[pytest.Item]:
        from grader.errors import GraderError, UsageError

        try:
            if self.config.getoption("collectonly"):
                yield from (CheckItem.from_parent(self, name=name) for name in self._known())
            else:
                yield from self._graded()
        except (GraderError, UsageError) as error:
            raise self.CollectError(str(error)) from None

    def _known(self) -> list[str]:
        """The checks that every seed and every machine has."""
        from grader.exercise import catalog
        from grader.exercise.oracle import Oracle
        from grader.model import families
        from grader.model.families import SPEED

        exercise = catalog.read(self.path.parent)
        names = [family.id() for family in families.before_cases()]
        for case in Oracle(exercise).cases(0):
            names += [family.id(case.name) for family in families.of_case(required=case.required)]
        elsewhere = (SPEED.id(name) for name in exercise.speed_cases)  # of cases that only a GPU runs
        after = [family.id() for family in families.after_cases()]
        return [*names, *(name for name in elsewhere if name not in names), *after]

    def _graded(self) -> Iterator[pytest.Item]:
        from grader.exercise import catalog

        result = self._grade(catalog.read(self.path.parent))
        for check in result.checks:
            times = _round_times(check)
            if times and self.config.pluginmanager.hasplugin("benchmark"):
                yield SpeedItem.of(self, check, result, times)
            else:
                yield CheckItem.from_parent(self, name=check.id, check=check, seed=result.seed)

    def _grade(self, exercise: Exercise) -> Result:
        from grader import executors
        from grader.exercise import submission
        from grader.grading import gpu_lane, pipeline

        option = self.config.getoption
        named = option("submission")
        file = self.config.invocation_params.dir / named if named else exercise.starter
        device = option("grade_device")
        seed = option("grade_seed")
        return pipeline.grade(
            exercise,
            submission.read(file),
            seed=secrets.randbelow(SEEDS) if seed is None else seed,
            open_executor=executors.open_cpu,
            gpu=None if device == "cpu" else gpu_lane.choose(required=device == "cuda"),
        )


class CheckItem(pytest.Item):
    """One check as a test: an error of the grader's is an error, and what nobody could judge is skipped."""

    def __init__(self, *, check: Check | None = None, seed: int = 0, **rest: Any) -> None:
        super().__init__(**rest)
        self._check, self._seed, self._is_error = check, seed, False
        if check is None:
            return
        from grader.ci import junit

        self.user_properties += junit.properties(check)
        kind, self._text = junit.outcome(check)
        self._is_error = kind == "error"
        if kind == "skipped":
            self.add_marker(pytest.mark.skip(reason=self._text))

    def setup(self) -> None:
        """What is raised here is an error to pytest, and not a failure."""
        if self._is_error:
            pytest.fail(_wrapped(self._text), pytrace=False)

    def runtest(self) -> None:
        if self._check is not None:
            _raise_if_failed(self._check, self._seed)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.name


class SpeedItem(pytest.Function):
    """speed[CASE], measured: passes or fails as any check, and its rounds go to pytest-benchmark."""

    @classmethod
    def of(cls, parent: ExerciseFile, check: Check, result: Result, times: Sequence[float]) -> SpeedItem:
        from grader.ci import junit

        clock = CudaClock(times)

        def test(benchmark: Any) -> None:
            benchmark.extra_info.update(_extra_info(check, result))
            benchmark.pedantic(clock.next_round, rounds=len(times))
            _raise_if_failed(check, result.seed)

        item: SpeedItem = cls.from_parent(parent, name=check.id, callobj=test)
        item.add_marker(pytest.mark.benchmark(timer=clock.cuda_events, group=check.id))
        item.user_properties += junit.properties(check)
        return item

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.name


class CudaClock:
    """Time as the GPU's events took it while the submission was graded, round by round, for pytest-benchmark.

    To play a round moves the clock on by what that round took; nothing is measured a second time.
    """

    def __init__(self, seconds: Sequence[float]) -> None:
        self._rounds: Iterator[float] = iter(seconds)
        self._now = 0.0

    def next_round(self) -> None:
        self._now += next(self._rounds, 0.0)

    def cuda_events(self) -> float:
        return self._now


def _seed(text: str) -> int:
    """As argparse wants it: what is raised becomes pytest's usage error."""
    if not text.isdecimal() or int(text) >= SEEDS:
        raise argparse.ArgumentTypeError(f"a seed is a number from 0 to {SEEDS - 1}, not {text!r}")
    return int(text)


def _is_handle(file: Path) -> bool:
    """Whether the exercise in this folder is collected at this file."""
    if file.name == HANDLE:
        return file.with_name(EXERCISE).is_file()
    return file.name == EXERCISE and not file.with_name(HANDLE).is_file()


def _is_python_test(file: Path, parent: pytest.Collector) -> bool:
    """As pytest decides whether to make a module of it; then pytest_pycollect_makemodule is asked."""
    if file.suffix != ".py":
        return False
    patterns: list[str] = parent.config.getini("python_files")
    return parent.session.isinitpath(file) or any(file.match(pattern) for pattern in patterns)


def _round_times(check: Check) -> tuple[float, ...]:
    """Seconds of a launch, by round; the median alone where the Result has no more; nothing where nothing ran."""
    if check.rubric != "performance" or check.status not in ("passed", "failed"):
        return ()
    measured = check.measurements
    rounds = measured.rounds_us or ([measured.time_us] if measured.time_us is not None else [])
    return tuple(us / 1e6 for us in rounds)


def _extra_info(check: Check, result: Result) -> dict[str, Any]:
    """What a saved benchmark says about its kernel and its machine."""
    from grader.ci import junit

    gpu = result.machine.get("gpu") or {}
    return {
        "exercise": result.exercise,
        "submission": result.submission.path,
        "sha256": result.submission.sha256,
        "seed": result.seed,
        "gpu": gpu.get("name"),
        **dict(junit.figures(check)),
    }


def _raise_if_failed(check: Check, seed: int) -> None:
    from grader.ci import junit

    kind, text = junit.outcome(check)
    if kind == "failure":
        pytest.fail(f"{_wrapped(text)}\nrepeat with --grade-seed {seed}", pytrace=False)


def _wrapped(text: str) -> str:
    """Pytest shows a line in one piece, however long."""
    lines = []
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip())] + "  "
        lines.append(
            textwrap.fill(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        )
    return "\n".join(lines)
