"""Grades one submission as it is in a commit."""

from __future__ import annotations

from pathlib import Path

import msgspec

from grader import executors
from grader.ci.changes import Touched
from grader.ci.graded import GradedFile
from grader.ci.repository import SUBMODULE, SYMLINK, Repository
from grader.errors import GraderError, UsageError
from grader.exercise import catalog, submission
from grader.exercise.submission import Source
from grader.grading import pipeline
from grader.grading.gpu_lane import GpuChoice
from grader.model.result import Finding, Verdict


class How(msgspec.Struct, frozen=True):
    """The same for every submission of a run. `exercises` are the trusted ones."""

    exercises: Path
    seed: int
    gpu: GpuChoice | None = None


def grade(touched: Touched, repository: Repository, commit: str, how: How) -> GradedFile:
    """A submission that cannot be graded does not affect the others."""
    if touched.how == "deleted":
        return GradedFile(
            touched.path, Verdict.INCOMPLETE, problem="The change deletes it: there is nothing to grade."
        )
    try:
        exercise = catalog.find(touched.exercise, how.exercises)
    except UsageError:
        problem = f"The base has no exercise {touched.exercise}: there is nothing trusted to grade it with."
        return GradedFile(touched.path, Verdict.INCOMPLETE, problem=problem)
    except GraderError as error:
        return GradedFile(touched.path, Verdict.ERROR, problem=str(error))
    try:
        source = read(touched.path, repository, commit)
        result = pipeline.grade(exercise, source, seed=how.seed, open_executor=executors.open_cpu, gpu=how.gpu)
    except GraderError as error:
        return GradedFile(touched.path, Verdict.ERROR, exercise=exercise, problem=str(error))
    return GradedFile(touched.path, result.verdict, result, exercise, source.text)


def read(path: str, repository: Repository, commit: str) -> Source:
    """As committed, under its path in the repository. A link is not followed: it could point anywhere."""
    mode = repository.files(commit, path)[path].mode
    content = b"" if mode == SUBMODULE else repository.read(commit, path, submission.MAX_BYTES)
    source = submission.of(Path(path), content)
    if mode not in (SYMLINK, SUBMODULE):
        return source
    what = "is a symbolic link" if mode == SYMLINK else "is a submodule"
    problem = Finding("compile-error", source.name, 0, f"{source.name} {what}; a submission is one CUDA source file")
    return msgspec.structs.replace(source, content=b"", problem=problem)
