"""Which common mistake a submission made: a mistake that fitted one case is tried first in the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from grader.model.exercise import Case
from grader.reference_kernels.mistakes import Cause, Mistake, numbers
from grader.reference_kernels.mistakes.search import Look, explain, find

Expected = Mapping[str, np.ndarray]
Mistakes = Iterable[Mistake[np.ndarray]]
Looks = Sequence[Look[np.ndarray]]


class Search:
    """Diagnoses the cases of one submission.

    A search through every mistake costs up to half a second on the largest case, so there are only a few.
    """

    FULL_SEARCHES = 3

    def __init__(self, mistakes: Callable[[Case, Expected], Mistakes]) -> None:
        self._mistakes = mistakes
        self._fitted: set[str] = set()
        self._left = self.FULL_SEARCHES

    def explain(
        self, case: Case, name: str, output: numbers.Matrix, expected: Expected, looks: Looks = ()
    ) -> Cause | None:
        """What is wrong with this output of the case. None if that fails: the verdict does not depend on it."""
        try:
            return self._explain(case, name, output, expected, looks)
        except Exception:
            return None

    def _explain(
        self, case: Case, name: str, output: numbers.Matrix, expected: Expected, looks: Looks
    ) -> Cause | None:
        def mistakes() -> Mistakes:
            return (m for m in self._mistakes(case, expected) if m.output in ("", name))

        found = find(output, (m for m in mistakes() if m.name in self._fitted)) if self._fitted else None
        if found is not None:
            return found
        if numbers.says_nothing(output):
            return explain(output, (), looks)  # in a small case, many mistakes leave out everything
        if self._left:  # what fitted a small case may have done so by chance
            self._left -= 1
            found = explain(output, mistakes(), looks)
        elif self._fitted:
            found = explain(output, (), looks)
        if found is not None:
            self._fitted.add(found.name)
        return found
