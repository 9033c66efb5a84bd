"""The cases of one grading and what is expected of them, made in other threads while the submission compiles."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future

from grader.errors import GraderError
from grader.exercise import secret as secrets
from grader.exercise.oracle import Expected, Oracle
from grader.exercise.secret import Secret
from grader.model.exercise import Array, Case, Exercise


class Inputs:
    """`threads` make them. The CPU and the GPU ask for the same, and each is made once."""

    def __init__(
        self,
        exercise: Exercise,
        seed: int,
        threads: Executor,
        *,
        open_oracle: Callable[[Exercise], Oracle] = Oracle,
        secret: Secret | None = None,
        only: str | None = None,
        quickest_first: bool = False,
    ) -> None:
        """With `only`, that case alone."""
        self.seed = seed
        self._threads = threads
        self.oracle: Future[Oracle] = threads.submit(open_oracle, exercise)
        self.cases: Future[list[Case]] = threads.submit(
            lambda: _ordered(_cases(self.oracle.result(), seed, secret, only), quickest_first)
        )
        self._expected: dict[str, Future[Expected]] = {}
        self._asking = threading.Lock()

    def expect(self, case: Case) -> Future[Expected]:
        with self._asking:
            if case.name not in self._expected:
                self._expected[case.name] = self._threads.submit(self.oracle.result().expected, case)
            return self._expected[case.name]


def _cases(oracle: Oracle, seed: int, secret: Secret | None, only: str | None) -> list[Case]:
    if only is not None:
        case = next((case for case in oracle.cases(seed) if case.name == only), None)
        if case is None:
            raise GraderError(f"the exercise has no case {only!r}")
        return [case]
    cases = list(oracle.cases(seed))
    if secret is not None:
        own = seed if secret.seed is None else secret.seed
        cases += [oracle.secret(spec, own, name) for name, spec in secrets.specs(secret)]
    return cases


def _ordered(cases: list[Case], quickest_first: bool) -> list[Case]:
    """A kernel takes the longer, the more its arrays hold."""
    if not quickest_first:
        return cases
    return sorted(cases, key=lambda case: sum(a.data.nbytes for a in case.arguments.values() if isinstance(a, Array)))
