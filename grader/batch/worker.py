"""The unit of work: one submission in, one Result out. Its input and output can be sent to other machines."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from grader import executors
from grader.errors import GraderError, UsageError, at_fault
from grader.exercise import submission
from grader.exercise.secret import Secret
from grader.exercise.shared_oracle import SharedOracle
from grader.exercise.submission import Source
from grader.grading import pipeline
from grader.grading.gpu_lane import GpuChoice
from grader.grading.pipeline import OnProgress
from grader.model.execution import Executor
from grader.model.exercise import Exercise
from grader.model.result import Check, Result, Status
from grader.sandbox.children import Children
from grader.sandbox.runner import OpenExecutor, RunnerError

# Every file is graded under this name: one grading serves all students who submitted the same bytes, and the name of
# one student's file must not appear in another's report.
NAME = "submission.cu"


class Task(msgspec.Struct, frozen=True):
    """`gpu` None: on the CPU only. `threads` and `memory_bytes` are its child's limits; 0: as in grade run."""

    key: str
    source: Source
    exercise: Exercise
    exercise_hash: str
    seed: int
    secret: Secret | None = None
    gpu: int | None = None
    threads: int = 1
    memory_bytes: int = 0
    trust: bool = False  # grade also where a submission cannot be confined


class Graded(msgspec.Struct, frozen=True):
    """Without a result, `problem` says what failed in the grader or the machine, never in the submission."""

    result: Result | None
    problem: str = ""
    seconds: float = 0.0

    @property
    def settled(self) -> bool:
        """The grader did not fail, so there is no need to try again."""
        return self.result is not None and all(c.status is not Status.ERROR for c in self.result.checks)


def source(path: Path) -> Source:
    """The student's file under the common name. Raises UsageError if it cannot be read."""
    return unnamed(submission.read(path))


def unnamed(read: Source) -> Source:
    """The same file under the common name."""
    problem = read.problem
    if problem is not None:
        message = problem.message.replace(read.name, NAME, 1)
        problem = msgspec.structs.replace(problem, file=NAME, message=message)
    return msgspec.structs.replace(read, path=Path(NAME), problem=problem)


def named(check: Check, name: str) -> Check:
    """The check of an unnamed file, under the student's own name for it."""

    def plain(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(NAME, name)
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value

    return check if name == NAME else msgspec.convert(plain(msgspec.to_builtins(check)), Check)


def graded_text(path: Path | None, result: Result) -> str | None:
    """The source that was graded, if the file still is that."""
    try:
        read = source(path) if path else None
    except UsageError:
        return None
    return read.text if read and read.sha256 == result.submission.sha256 else None


def grade(
    task: Task,
    children: Children | None = None,
    open_cpu: OpenExecutor | None = None,
    on_progress: OnProgress = lambda _: None,
) -> Graded:
    """Never raises an error that a submission can cause. `open_cpu`: otherwise as the task says."""
    began = time.monotonic()
    children = children or Children()
    try:
        open_cpu = open_cpu or children.opener(partial(_open_cpu, task))
        result, problem = _grade(task, children, open_cpu, on_progress), ""
    except (GraderError, UsageError, RunnerError) as error:
        result, problem = None, str(error)
    except Exception as error:
        result, problem = None, f"internal error at {at_fault(error)}"
    return Graded(result, problem, time.monotonic() - began)


def _open_cpu(task: Task) -> Executor:
    return executors.open_cpu(workers=task.threads or None, memory_bytes=task.memory_bytes or None)


def _grade(task: Task, children: Children, open_cpu: OpenExecutor, on_progress: OnProgress) -> Result:
    gpu = None
    if task.gpu is not None:
        open_cuda = children.opener(partial(executors.open_cuda, task.gpu))
        gpu = GpuChoice(open_cuda, required=True, number=task.gpu, after_cpu=True)
    return pipeline.grade(
        task.exercise,
        task.source,
        seed=task.seed,
        open_executor=open_cpu,
        secret=task.secret,
        gpu=gpu,
        on_progress=on_progress,
        open_oracle=lambda exercise: oracle(exercise, task.exercise_hash),
    )


def oracle(exercise: Exercise, exercise_hash: str) -> SharedOracle:
    """Cached per process while the exercise's files stay the same."""
    with _loading:
        key = (str(exercise.folder), exercise_hash)
        if key not in _oracles:
            _oracles.clear()  # of another exercise or an older version: its arrays are large
            _oracles[key] = SharedOracle(exercise)
        return _oracles[key]


_oracles: dict[tuple[str, str], SharedOracle] = {}
_loading = threading.Lock()
