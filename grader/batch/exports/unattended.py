"""Grades a submission unattended, on a learning platform's own machine, with the files that `autograder` packed."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from grader.batch import choice
from grader.batch.exports import autograder
from grader.errors import GraderError, UsageError
from grader.exercise import catalog
from grader.model import codec
from grader.model.exercise import Exercise
from grader.model.result import Result

SHOWN_OUTPUT = 2_000  # the end of the grader's output, if it failed


class Graded(NamedTuple):
    exercise: Exercise
    result: Result
    said: str  # by `grade run`


class NothingToGrade(NamedTuple):
    """What was handed in contains no submission."""

    exercise: Exercise
    problem: str


class Broken(NamedTuple):
    """Not the student's fault, so it must not cost points."""

    why: str


def grade(packed: Path, handed_in: Path) -> Graded | NothingToGrade | Broken:
    """`packed` is the unpacked folder of `autograder.files`, `handed_in` the folder with the student's files.

    What `grade run` says goes to stdout.
    """
    with tempfile.TemporaryDirectory(prefix="grade-") as work:
        try:
            name, *options = shlex.split((packed / autograder.OPTIONS).read_text(encoding="utf-8"))
            exercise = catalog.find(name, packed / autograder.EXERCISES)
            submitted = choice.within(handed_in, exercise.name, Path(work) / "unpacked")
        except (OSError, ValueError, UsageError, GraderError) as error:
            return Broken(str(error))
        if submitted.path is None:
            return NothingToGrade(exercise, submitted.problem)
        written = Path(work) / "result.json"
        grader = [sys.executable, "-I", "-m", "grader", "run", name, str(submitted.path.absolute())]
        options += ["--json", str(written), "--exercises", str(packed.absolute() / autograder.EXERCISES)]
        done = subprocess.run([*grader, *options], cwd=packed, capture_output=True, text=True, errors="replace")
        said = done.stdout + done.stderr
        sys.stdout.write(said)
        try:
            return Graded(exercise, codec.decode(written.read_bytes()), said)
        except (OSError, codec.ResultError):
            return Broken(f"grade run ended with status {done.returncode}\n{said[-SHOWN_OUTPUT:]}")
