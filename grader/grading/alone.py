"""Which kernels of several are right without those that are not: each earns its points by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from grader.exercise.oracle import Expected
from grader.grading.judging import Judging
from grader.grading.runs import Plans, Runs
from grader.grading.steps import Failure, attempt, did_not_finish
from grader.grading.written import Written
from grader.model.execution import Outcome
from grader.model.exercise import Case, Exercise
from grader.model.result import Check, Finding


class Alone:
    """Of one submission. Named are the kernels that are last to write an output, as in Exercise.makers."""

    def __init__(self, exercise: Exercise, runs: Runs, judging: Judging, written: Written) -> None:
        self._makers = exercise.makers
        self._kernels = exercise.kernels
        self._runs, self._judging, self._written = runs, judging, written
        self._endless = False  # what never ends is waited for once

    def beside_faulty(
        self, check: Check, case: Case, plans: Plans, expected: Future[Expected], failed: Check
    ) -> Check:
        """`check`: of the case's results, skipped because of what `failed` found in some kernels."""
        return self._measured(check, lambda: self._not_faulty(failed), case, plans, expected)

    def beside_refused(self, check: Check, case: Case, plans: Plans, expected: Future[Expected]) -> Check:
        """`check`: of the case's results, skipped because some kernels cannot be launched."""
        return self._measured(check, lambda: self._launchable(plans), case, plans, expected)

    def _measured(
        self,
        check: Check,
        names: Callable[[], Sequence[str]],
        case: Case,
        plans: Plans,
        expected: Future[Expected],
    ) -> Check:
        right = attempt(lambda: self._right(names(), case, plans, expected))
        return check.measured(right_kernels=None if isinstance(right, Failure) else right or None)

    def _not_faulty(self, failed: Check) -> Sequence[str]:
        found: Sequence[Finding] = self._written.placed(failed).findings
        names = {kernel: name for name, kernels in self._makers.items() for kernel in kernels}
        faulty = {names[finding.kernel] for finding in found if finding.kernel in names}
        if len(self._makers) < 2 or (did_not_finish(found) and not all(finding.kernel for finding in found)):
            return ()
        return [name for name in self._makers if name not in faulty]

    def _launchable(self, plans: Plans) -> Sequence[str]:
        refused = {kernel.name for kernel, plan in zip(self._kernels, plans, strict=True) if plan.refused}
        return [name for name, kernels in self._makers.items() if refused.isdisjoint(kernels)]

    def _right(self, names: Sequence[str], case: Case, plans: Plans, expected: Future[Expected]) -> tuple[str, ...]:
        outcome = self._ran(names, case, plans)
        if outcome.findings and not self._endless:  # in which of them: they may call one function
            names = [name for name in names if not self._ran([name], case, plans).findings]
            outcome = self._ran(names, case, plans)
        if not names or outcome.findings or outcome.unsupported or self._endless:
            return ()
        right = self._judging.right_kernels(case, outcome.outputs, expected.result())
        return tuple(name for name in right if name in names)

    def _ran(self, names: Sequence[str], case: Case, plans: Plans) -> Outcome:
        if not names or self._endless:
            return Outcome()
        outcome = self._runs.outcome(case, plans, {kernel for name in names for kernel in self._makers[name]})
        self._endless = did_not_finish(outcome.findings)
        return outcome
