"""`pytest exercises/NN_name`: the checks of grade run as tests.

An exercise's test.py holds no more than

    from grader.pytest_support import check_tests

    test_check = check_tests(__file__)
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import pytest

from grader import catalog, gpu_lane, pipeline, submission
from grader.checks import compile as compile_check
from grader.checks import correct, launch, memory, quality, rules, speed
from grader.errors import GraderError, UsageError
from grader.executors import open_cpu
from grader.model.exercise import Case
from grader.model.result import Check, Finding, Result, Status
from grader.oracle import Oracle

# Another file than starter.cu to grade; a seed to repeat.
SUBMISSION_VARIABLE = "GRADER_SUBMISSION"
SEED_VARIABLE = "GRADER_SEED"


def check_tests(test_file: str) -> Callable[[str], None]:
    """A test function with one test for each check of the exercise in `test_file`'s folder.

    The submission is graded once, when the first test runs. A check that was skipped or not judged skips
    its test, with the reason; quality is shown the same way, since it costs no verdict.
    """
    graded = _Graded(Path(test_file).parent)

    @pytest.mark.parametrize("check_id", graded.check_ids())
    def test_check(check_id: str) -> None:
        graded.report(check_id)

    return test_check


class _Graded:
    def __init__(self, folder: Path) -> None:
        self._exercise = catalog.read(folder)
        self._seed = int(os.environ.get(SEED_VARIABLE) or secrets.randbits(32))

    def check_ids(self) -> list[str]:
        """In grading order. Known without grading: a case's name is the same for every seed."""
        cases = Oracle(self._exercise).cases(self._seed)
        of_cases = [identity for case in cases for identity in _case_ids(case)]
        return [compile_check.ID, launch.ID, *of_cases, rules.ID, quality.ID]

    @cached_property
    def _result(self) -> Result:
        path = Path(os.environ.get(SUBMISSION_VARIABLE) or self._exercise.starter)
        try:
            source = submission.read(path)
            return pipeline.grade(
                self._exercise, source, seed=self._seed, open_executor=open_cpu, gpu=gpu_lane.choose()
            )
        except (UsageError, GraderError) as error:
            pytest.fail(str(error), pytrace=False)

    def report(self, check_id: str) -> None:
        """Pass, skip or fail the running test, as the check went."""
        check = next(c for c in self._result.checks if c.id == check_id)
        if check.status in (Status.SKIPPED, Status.NOT_JUDGED):
            pytest.skip(check.reason or check.status)
        if check.status is Status.PASSED:
            return
        text = _failure(check, self._seed)
        if check.status is Status.FAILED and not check.required:
            pytest.skip(text)
        pytest.fail(text, pytrace=False)


def _case_ids(case: Case) -> list[str]:
    timed = [speed.identity(case)] if case.required else []
    return [memory.identity(case), correct.identity(case), *timed]


def _failure(check: Check, seed: int) -> str:
    if check.status is Status.ERROR:
        return f"the grader failed, not the submission: {check.message}"
    lines = [line for finding in check.findings for line in _lines(finding)]
    return "\n".join([*(lines or [check.message]), f"seed {seed}"])


def _lines(finding: Finding) -> list[str]:
    place = finding.file + (f":{finding.line}" if finding.line else "")
    return [f"{place}: {finding.kind}: {finding.message}", *(f"  {note}" for note in finding.notes)]
