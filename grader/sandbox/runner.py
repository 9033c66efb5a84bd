"""A submission in its child process, which is restarted after it dies, so that a bad case affects only itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from grader.model.counted import KernelCounts
from grader.model.execution import OUT_OF_TIME, Compilation, Counting, Executor, Invocation, Outcome
from grader.model.exercise import Array
from grader.model.result import Finding
from grader.sandbox import ChildCrashed, ChildDied, ChildFailed, ChildMemory, ChildTimeout

OpenExecutor = Callable[[], Executor]
E = TypeVar("E", bound=Executor)

# Each start takes a second; a submission that kills every child gets no more than this.
MAX_STARTS = 4

# Time limit of a run: far more than an honest kernel needs on one core with every access checked. An endless loop is
# stopped much earlier by the engine's instruction budget. Larger arrays get more time. After a run
# that took too long, the others get only the minimum.
LEAST_SECONDS = 10.0
SECONDS_PER_MIB = 12.0
ENDLESS_SECONDS = 2.0  # after a run that was found endless: the other cases most likely are, too


class Patience(NamedTuple):
    """Limits: how often a child is started, and how long a run may take."""

    starts: int = MAX_STARTS
    least_seconds: float = LEAST_SECONDS
    seconds_per_mib: float = SECONDS_PER_MIB


ON_CPU = Patience()
# An exercise's kernel takes milliseconds; most of the time is for transferring the arrays. Fresh children are
# also started for borderline cases.
ON_GPU = Patience(starts=16, least_seconds=4.0, seconds_per_mib=0.05)


class RunnerError(Exception):
    """The child died, and there is no sign that the submission caused it."""


class Runner(Generic[E]):
    """`run` raises RunnerError; faults of the submission are returned as an Outcome with a finding."""

    def __init__(
        self,
        open_executor: Callable[[], E],
        source: bytes,
        filename: str,
        patience: Patience = ON_CPU,
        *,
        counts_later: bool = False,
    ) -> None:
        self._counts_later = counts_later
        self._patience = patience
        self._open_executor = open_executor
        self._source = source
        self._filename = filename
        self._starts = 0
        self._hung = self._endless = False
        self._executor: E | None = None
        self._unconfined: tuple[str, ...] = ()

    def __enter__(self) -> Runner[E]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> E:
        """Starts the child while the caller does something else."""
        if self._executor is None:
            if self._starts == self._patience.starts:
                raise RunnerError(f"the child process died {self._patience.starts} times and was not started again")
            self._starts += 1
            self._executor = self._open_executor()
            executor: object = self._executor
            if isinstance(executor, Counting):
                executor.counts_later = self._counts_later
        return self._executor

    def compile(self) -> Compilation:
        """If the compiler never finishes, exhausts memory or crashes twice, the submission is the cause."""
        try:
            return self._compile()
        except ChildCrashed as error:
            message = f"the compiler crashes on this file ({error}); remove anything unusual, especially assembly"
            return self._failed_compilation("compile-error", message)
        except ChildTimeout as error:
            return self._failed_compilation("did-not-finish", f"compiling did not finish: {error}")
        except ChildMemory as error:
            return self._failed_compilation("compile-error", f"compiling took too much memory: {error}")
        except ChildDied as error:
            raise self._lost(error) from None

    def _compile(self) -> Compilation:
        with contextlib.suppress(ChildCrashed):
            return self.start().compile(self._source, self._filename)
        self.close()
        return self.start().compile(self._source, self._filename)

    def ready(self) -> E:
        """The child with the submission; a fresh child compiles it again."""
        if self._executor is None and not self.compile().ok:
            raise RunnerError("the submission compiled once but not again in a fresh child process")
        return self.start()

    def run(self, invocations: tuple[Invocation, ...], arrays: tuple[Array, ...]) -> Outcome:
        executor, seconds = self.ready(), self._seconds(arrays)
        try:
            outcome = executor.run(invocations, arrays, deadline=seconds)
        except ChildTimeout:
            outcome = self._failed_run("did-not-finish", f"did not finish within {seconds:.0f} s")
        except ChildMemory as error:
            outcome = self._failed_run("out-of-memory", f"took too much memory: {error}")
        except ChildDied as error:
            raise self._lost(error) from None
        self._hung = self._hung or _took_too_long(outcome)
        self._endless = self._endless or _is_endless(outcome)
        return outcome

    def count(self, invocations: tuple[Invocation, ...], arrays: tuple[Array, ...]) -> tuple[KernelCounts, ...]:
        """What the hardware would count, of a submission whose checks passed; () if that cannot be said."""
        try:
            executor: object = self.ready()
            if not isinstance(executor, Counting):
                return ()
            return executor.count(invocations, arrays, deadline=self._seconds(arrays))
        except (ChildDied, ChildTimeout, RunnerError):
            self.close()
            return ()

    def _seconds(self, arrays: tuple[Array, ...]) -> float:
        least = self._patience.least_seconds
        if self._hung:
            return min(least, ENDLESS_SECONDS) if self._endless else least
        return least + self._patience.seconds_per_mib * sum(array.data.nbytes for array in arrays) / (1 << 20)

    def _lost(self, error: ChildDied) -> RunnerError:
        """With the last line that a crashed child wrote, which usually says why."""
        self.close()
        last = [] if isinstance(error, ChildFailed) else error.stderr.strip().splitlines()[-1:]
        return RunnerError(": ".join([str(error), *last]))

    def _failed_compilation(self, kind: str, message: str) -> Compilation:
        self.close()
        return Compilation(ok=False, findings=(Finding(kind, self._filename, 0, message),))

    def _failed_run(self, kind: str, message: str) -> Outcome:
        self.close()
        return Outcome(findings=(Finding(kind, self._filename, 0, message),))

    @property
    def unconfined(self) -> tuple[str, ...]:
        """What a child could do but should not be able to, and why."""
        return self._unconfined if self._executor is None else self._executor.unconfined

    def close(self) -> None:
        """The next run starts a fresh child."""
        self._unconfined = self.unconfined
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.close()


def _took_too_long(outcome: Outcome) -> bool:
    lacking = outcome.unsupported
    return _is_endless(outcome) or (lacking is not None and lacking.kind == OUT_OF_TIME)


def _is_endless(outcome: Outcome) -> bool:
    return any(finding.kind == "did-not-finish" for finding in outcome.findings)
