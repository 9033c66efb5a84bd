"""Run by run_autograder in Gradescope's container: runs `grade run` on the submission and writes results.json.

There is always a results.json; if nothing could be graded, it says why.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from grader import files
from grader.batch import choice
from grader.batch.exports import autograder, gradescope
from grader.errors import GraderError, UsageError
from grader.exercise import catalog
from grader.model import codec

SHOWN_OUTPUT = 2_000  # the end of the grader's output, if it failed


def main(home: Path) -> None:
    results = grade(home)
    files.publish(home / "results" / "results.json", gradescope.encode(results), mode=0o644)


def grade(home: Path) -> dict[str, Any]:
    """`home` is /autograder: source/ is the unpacked zip, submission/ the student's upload."""
    source = home / "source"
    with tempfile.TemporaryDirectory(prefix="grade-") as work:
        try:
            name, *options = shlex.split((source / autograder.OPTIONS).read_text(encoding="utf-8"))
            exercise = catalog.find(name, source / autograder.EXERCISES)
            submitted = choice.within(home / "submission", exercise.name, Path(work) / "unpacked")
        except (OSError, ValueError, UsageError, GraderError) as error:
            return gradescope.grader_failed(str(error))
        if submitted.path is None:
            return gradescope.nothing_to_grade(submitted.problem)
        result = Path(work) / "result.json"
        command = [sys.executable, "-I", "-m", "grader", "run", name, str(submitted.path), "--json", str(result)]
        command += [*options, "--exercises", str(source / autograder.EXERCISES)]
        done = subprocess.run(command, cwd=source, capture_output=True, text=True, errors="replace")
        said = done.stdout + done.stderr
        sys.stdout.write(said)  # visible to instructors
        try:
            return gradescope.results(codec.decode(result.read_bytes()), exercise)
        except (OSError, codec.ResultError):
            return gradescope.grader_failed(f"grade run ended with status {done.returncode}\n{said[-SHOWN_OUTPUT:]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
