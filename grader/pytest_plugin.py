"""`pytest exercises/NN_name` grades a submission; each of its checks is a test.

pytest finds it through the entry point `pytest11`. A folder with an exercise.toml is collected at its test.py, or at
the exercise.toml if it has none; test.py itself is not imported. If pytest-benchmark is installed and speed was
measured, `speed[CASE]` passes it the time of every round, measured by the GPU's own clock.
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
    group.addoption("--grade-seed", metavar="N", type=_seed, help="repeat a grading with the seed that it showed")
    group.addoption(
        "--grade-device", choices=("auto", "cpu", "cuda"), default="auto", help="where to grade; default: auto"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> ExerciseFile | None:
    """If test.py counts as a test file (python_files): collects the checks instead of the module."""
    if _is_handle(module_path):
        return ExerciseFile.from_parent(parent, path=module_path)
    return None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ExerciseFile | None:
    """If it does not count as one, or the exercise has none."""
    if not _is_handle(file_path) or _is_python_test(file_path, parent):
        return None
    return ExerciseFile.from_parent(parent, path=file_path)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    exercises = {item.path.parent for item in items if isinstance(item, CheckItem | SpeedItem)}
    if config.getoption("submission") and len(exercises) > 1:
        names = ", ".join(sorted(folder.name for folder in exercises))
        raise pytest.UsageError(f"--submission is one file, but there are several exercises: {names}. Name one.")


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """With -v, the check's message after the outcome."""
    said = dict(report.user_properties).get("message") if hasattr(report, "user_properties") else None
    if said and report.when == "call" and report.passed:
        return "passed", ".", f"PASSED {said}"
    return None


class ExerciseFile(pytest.File):
    """An exercise's folder. Grades during collection; with --collect-only, lists the checks known beforehand."""

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
        """The checks that exist for every seed and on every machine."""
        from grader.exercise import catalog
        from grader.exercise.oracle import Oracle
        from grader.model import families
        from grader.model.families import SPEED

        exercise = catalog.read(self.path.parent)
        names = [family.id() for family in families.before_cases()]
        for case in Oracle(exercise).cases(0):
            names += [family.id(case.name) for family in families.of_case(required=case.required)]
        elsewhere = (SPEED.id(name) for name in exercise.speed_cases)  # for cases that run only on a GPU
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
    """One check as a test: an error of the grader is an error; a check that could not be judged is skipped."""

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
        """pytest counts exceptions raised here as errors, not failures."""
        if self._is_error:
            pytest.fail(_wrapped(self._text), pytrace=False)

    def runtest(self) -> None:
        if self._check is not None:
            _raise_if_failed(self._check, self._seed)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.name


class SpeedItem(pytest.Function):
    """A measured speed[CASE]: passes or fails like any check, and passes its rounds to pytest-benchmark."""

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
    """A clock for pytest-benchmark that replays the times of the GPU's events during grading, round by round.

    Playing a round advances the clock by the time of that round; nothing is measured again.
    """

    def __init__(self, seconds: Sequence[float]) -> None:
        self._rounds: Iterator[float] = iter(seconds)
        self._now = 0.0

    def next_round(self) -> None:
        self._now += next(self._rounds, 0.0)

    def cuda_events(self) -> float:
        return self._now


def _seed(text: str) -> int:
    """For argparse, which turns exceptions into pytest's usage errors."""
    if not text.isdecimal() or int(text) >= SEEDS:
        raise argparse.ArgumentTypeError(f"a seed must be a number from 0 to {SEEDS - 1}, not {text!r}")
    return int(text)


def _is_handle(file: Path) -> bool:
    """Whether the exercise in this folder is collected at this file."""
    if file.name == HANDLE:
        return file.with_name(EXERCISE).is_file()
    return file.name == EXERCISE and not file.with_name(HANDLE).is_file()


def _is_python_test(file: Path, parent: pytest.Collector) -> bool:
    """Decides as pytest does whether the file is a module; if so, pytest calls pytest_pycollect_makemodule."""
    if file.suffix != ".py":
        return False
    patterns: list[str] = parent.config.getini("python_files")
    return parent.session.isinitpath(file) or any(file.match(pattern) for pattern in patterns)


def _round_times(check: Check) -> tuple[float, ...]:
    """Seconds per launch, by round; only the median if the Result has no more; nothing if nothing ran."""
    if check.rubric != "performance" or check.status not in ("passed", "failed"):
        return ()
    measured = check.measurements
    rounds = measured.rounds_us or ([measured.time_us] if measured.time_us is not None else [])
    return tuple(us / 1e6 for us in rounds)


def _extra_info(check: Check, result: Result) -> dict[str, Any]:
    """What a saved benchmark records about its kernel and machine."""
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
    """pytest does not wrap lines, however long."""
    lines = []
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip())] + "  "
        lines.append(
            textwrap.fill(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        )
    return "\n".join(lines)
