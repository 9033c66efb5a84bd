"""Records a graded attempt in the student's progress."""

from __future__ import annotations

from collections.abc import Callable

from grader import files
from grader.cli.streams import say
from grader.exercise.submission import Source
from grader.model.exercise import Exercise
from grader.model.result import Result
from grader.reports.problems import problems


def remember(exercise: Exercise, result: Result, source: Source, tell: Callable[[str], None] = say) -> None:
    """The exercise's own solution and wrong kernels are not attempts."""
    from grader import progress

    folder, resolved = exercise.folder.resolve(), files.real(source.path)
    if resolved == folder / "starter.cu" or not resolved.is_relative_to(folder):
        found = problems(result)
        progress.remember(exercise, result, tell, source.text, found[0].hint if found else "")
