"""Run by autograder.py on Classroom 50's runner: grades the working folder, and writes result.json there.

release-body.md next to it says the same to people. If the grader fails, neither is written and the exit status is 1,
which Classroom 50 shows as an error and not as a zero.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from grader import files
from grader.batch.exports import unattended
from grader.ci import classroom50, git, summary
from grader.ci.graded import GradedFile
from grader.model.result import Verdict

GIT_SECONDS = 30


def main(packed: Path, checkout: Path) -> int:
    made = unattended.grade(packed, checkout)
    if isinstance(made, unattended.Broken):
        return _failed(made.why)
    at = _committed(checkout)
    try:
        if isinstance(made, unattended.NothingToGrade):
            result = classroom50.nothing_to_grade(made.exercise, os.environ, at)
            body = GradedFile("starter.cu", Verdict.FAILED, problem=made.problem)
        elif made.result.verdict is Verdict.ERROR:
            return _failed(made.said)
        else:
            result = classroom50.graded(made.result, made.exercise, os.environ, at)
            path = os.path.relpath(made.result.submission.path, checkout)
            body = GradedFile(path, made.result.verdict, made.result, made.exercise, text=made.said)
    except KeyError as error:
        return _failed(f"{error.args[0]} is not set; Classroom 50's runner sets it")
    files.publish(checkout / "release-body.md", summary.markdown([body], made.exercise.title).encode())
    files.publish(checkout / "result.json", result)
    return 0


def _committed(checkout: Path) -> str:
    """When the graded commit was made, in UTC; the time now, outside of a repository."""
    shown = git.attempt(git.command(checkout, "show", "--no-patch", "--format=%ct", "HEAD"), GIT_SECONDS)
    at = datetime.fromtimestamp(int(shown), UTC) if shown else datetime.now(UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _failed(why: str) -> int:
    sys.stderr.write(f"{why}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path.cwd()))
