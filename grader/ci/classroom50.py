"""A Result in Classroom 50's format, and the folder from which it grades an assignment.

https://github.com/foundation50/classroom50/wiki/Advanced-Autograding: the folder belongs to an assignment, in the
classroom's configuration. Its autograder.py runs in a student's checkout and writes result.json there, and
release-body.md for people. Scores are whole numbers, and the maximum is the sum over the tests, so only what can be
judged there is a test.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from grader.batch.exports import autograder, wheel
from grader.model.exercise import Exercise
from grader.model.result import Result, Status

SCHEMA = "classroom50/result/v1"

ROUNDING = 1e-9  # of points that are a sum of shares


def folder(exercise: Exercise, seed: int | None = None) -> dict[str, bytes]:
    """Its files by name. It is published to students, so it never holds a secret."""
    return {"autograder.py": AUTOGRADER.replace("WHEEL", wheel.NAME).encode(), **autograder.packed(exercise, seed)}


def graded(result: Result, exercise: Exercise, environment: Mapping[str, str], handed_in: str) -> bytes:
    """result.json. `environment` is that of Classroom 50's runner, `handed_in` the time of the commit.

    Raises KeyError if one of the runner's variables is missing.
    """
    return _encode(list(_tests(result, exercise)), environment, handed_in)


def nothing_to_grade(exercise: Exercise, environment: Mapping[str, str], handed_in: str) -> bytes:
    tests = [_test(rubric, 0, _most(exercise, rubric), []) for rubric in exercise.points if rubric != "performance"]
    return _encode(tests, environment, handed_in)


def _tests(result: Result, exercise: Exercise) -> Iterator[dict[str, Any]]:
    for rubric in exercise.points:
        part = getattr(result.points, rubric)
        if part is not None:
            failed = [check for check in result.checks if check.status is Status.FAILED]
            own = [check.id for check in failed if (check.rubric or "correctness") == rubric]
            yield _test(rubric, part, _most(exercise, rubric), own)


def _most(exercise: Exercise, rubric: str) -> int:
    """Of quality, what the machine can give; the rest is the instructor's."""
    return int(sum(rule.points for rule in exercise.quality)) if rubric == "quality" else exercise.points[rubric]


def _test(name: str, points: float, most: int, failed: list[str]) -> dict[str, Any]:
    """Rounded down: a test is passed with all of its points only."""
    score = math.floor(points + ROUNDING)
    return {"test-name": name, "passed": score == most, "score": score, "max-score": most, "failed": failed}


def _encode(tests: list[dict[str, Any]], environment: Mapping[str, str], handed_in: str) -> bytes:
    commit = environment["COMMIT_URL"]
    value = {
        "schema": SCHEMA,
        "classroom": environment["CLASSROOM"],
        "assignment": environment["ASSIGNMENT"],
        "submission": environment["SUBMISSION_TAG"],
        "commit": commit,
        "release": environment["RELEASE_URL"],
        "review": environment.get("REVIEW_URL") or commit,
        "datetime": handed_in,
        "score": sum(test["score"] for test in tests),
        "max-score": sum(test["max-score"] for test in tests),
        "tests": tests,
    }
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


AUTOGRADER = r'''"""Installs the grader next to this file and grades the working folder, a student's checkout."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHON = Path(tempfile.mkdtemp(prefix="grader-")) / "bin" / "python"

if sys.version_info < (3, 11):
    sys.exit("The grader needs Python 3.11 or newer: set `python` in the assignment's runtime block.")
# With -I: without it, `-m` would look into the student's folder first.
subprocess.run([sys.executable, "-I", "-m", "venv", PYTHON.parents[1]], check=True)
install = [PYTHON, "-I", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
subprocess.run([*install, "--constraint", HERE / "constraints.txt", HERE / "WHEEL"], check=True)
os.execv(PYTHON, [PYTHON, "-I", "-m", "grader.ci.run_classroom50", HERE])
'''
