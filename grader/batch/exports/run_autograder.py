"""Run by run_autograder in Gradescope's container: runs `grade run` on the submission and writes results.json.

There is always a results.json; if nothing could be graded, it says why.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from grader import files
from grader.batch.exports import gradescope, unattended


def main(home: Path) -> None:
    results = grade(home)
    files.publish(home / "results" / "results.json", gradescope.encode(results), mode=0o644)


def grade(home: Path) -> dict[str, Any]:
    """`home` is /autograder: source/ is the unpacked zip, submission/ the student's upload."""
    made = unattended.grade(home / "source", home / "submission")
    if isinstance(made, unattended.Graded):
        return gradescope.results(made.result, made.exercise)
    if isinstance(made, unattended.NothingToGrade):
        return gradescope.nothing_to_grade(made.problem)
    return gradescope.grader_failed(made.why)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
