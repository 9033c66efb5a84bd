"""Which of an exercise's outputs are correct: by its oracle's own rule, if it has one, or by its tolerance."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from grader.checks import correct
from grader.checks.correct import Origin
from grader.diagnosis import picture, tolerance
from grader.diagnosis.search import Search
from grader.errors import GraderError
from grader.exercise.oracle import Oracle
from grader.grading.written import Written
from grader.launching.plan import Plan
from grader.model.exercise import Array, Case, Exercise
from grader.model.judged import Judged
from grader.model.result import Check


class Judging:
    """Judges the cases of one submission, in any thread. `oracle` is called when needed."""

    def __init__(
        self,
        exercise: Exercise,
        filename: str,
        oracle: Callable[[], Oracle],
        *,
        explain: bool = True,
        written: Written | None = None,
    ) -> None:
        """Without `explain`, does not look for the mistake; without `written`, takes every kernel as written."""
        self._exercise, self._filename, self._oracle = exercise, filename, oracle
        self._written = written or Written(exercise, "")
        self._search = Search(lambda case, right: oracle().mistakes(case, right)) if explain else None

    def correct(
        self,
        case: Case,
        plans: Sequence[Plan],
        outputs: Mapping[str, np.ndarray],
        expected: Mapping[str, np.ndarray],
        unset: Collection[int] = (),
    ) -> Check:
        """`unset`: as in Outcome."""
        judged: Iterable[Judged] | None = self._oracle().judge(case, outputs, expected)
        if judged is None:
            judged = tolerance.judge(case, outputs, expected, tolerance=self._exercise.tolerance, search=self._search)
        known = tuple(judged)
        forgotten = sorted(set(expected) - {one.output for one in known})
        if forgotten:
            raise GraderError(f"judge in oracle.py does not judge the output {forgotten[0]}")
        if any(one.wrong.any() for one in known):  # what the student has written comes first
            known = tuple(sorted(known, key=lambda one: self._written.order(one.output)))
        check = correct.judge(
            case, known, outputs, filename=self._filename, origins=origins(self._exercise, case, plans), unset=unset
        )
        check = self._written.told(check)
        return check if case.secret else _pictured(check, case, known, outputs, expected)

    def right_kernels(
        self, case: Case, outputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
    ) -> tuple[str, ...]:
        """Those of whose outputs every element is right."""
        judged: Iterable[Judged] | None = self._oracle().judge(case, outputs, expected)
        if judged is None:
            judged = tolerance.judge(case, outputs, expected, tolerance=self._exercise.tolerance)
        wrong = {one.output for one in judged if one.wrong.any()}
        outputs_of = {
            kernel.name: {p.key for p in kernel.parameters if p.is_output} for kernel in self._exercise.kernels
        }
        return tuple(name for name in self._exercise.makers if not wrong & outputs_of[name])


def _pictured(
    check: Check,
    case: Case,
    judged: Sequence[Judged],
    outputs: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
) -> Check:
    """Adds a picture of the first wrong output that is a matrix. A failure to draw it does not affect the verdict."""
    for one in judged:
        if one.wrong.ndim > 1 and one.wrong.any():
            with contextlib.suppress(Exception):
                drawn = picture.of_output(case, one, outputs[one.output], expected[one.output])
                return check.measured(picture=drawn)
    return check


def origins(exercise: Exercise, case: Case, plans: Sequence[Plan]) -> dict[str, Origin]:
    """By output: the kernel that writes it; if there are several, the last one."""
    found = {}
    for kernel, plan in zip(exercise.kernels, plans, strict=True):
        for parameter in kernel.parameters:
            value = case.arguments[parameter.key]
            if isinstance(value, Array) and value.access != "in":
                alone = parameter.key == parameter.name
                called = parameter.name if alone else f"{parameter.name} of {kernel.name}"
                found[parameter.key] = Origin(called, plan.line, kernel.name, plan.dynamic_arrays)
    return found
