"""A submission's kernels in a child process, on a CPU or a GPU: compiles them, plans their launches, runs them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from grader.checks import compile as compile_check
from grader.exercise.submission import Source
from grader.grading import secrecy
from grader.grading.steps import Failure, attempt, did_not_finish, error
from grader.launching import invocations
from grader.launching.plan import H200, DeviceLimits, Plan, plan_launch, request_launch
from grader.model.execution import Compilation, Invocation, Outcome
from grader.model.exercise import Array, Case, Exercise, Kernel
from grader.model.families import COMPILE, LAUNCH
from grader.model.result import Check, Status

Plans = tuple[Plan, ...]  # one per kernel of the exercise
Run = Callable[[tuple[Invocation, ...], tuple[Array, ...]], Outcome]


def compiled(
    exercise: Exercise, source: Source, compile_source: Callable[[], Compilation]
) -> tuple[Check, Compilation]:
    """The check and the compilation; None if the file cannot be compiled at all."""
    if source.problem is not None:
        return compile_check.unreadable(source.problem), Compilation(ok=False)
    compilation = attempt(compile_source)
    if isinstance(compilation, Failure):
        return error(COMPILE, compilation), Compilation(ok=False)
    return compile_check.judge(exercise, source.name, compilation), compilation


class Runs:
    """For a submission that compiles. `run` asks the child; `limits` are those of its device."""

    def __init__(
        self,
        exercise: Exercise,
        text: str,
        filename: str,
        compilation: Compilation,
        run: Run,
        limits: DeviceLimits = H200,
    ) -> None:
        self._exercise, self._text, self._filename, self._compilation = exercise, text, filename, compilation
        self._run, self._limits = run, limits

    def launch(
        self,
        cases: Sequence[Case],
        *,
        stops: Callable[[Plan], bool],
        on_case: Callable[[int], None] = lambda _: None,
    ) -> tuple[Check, dict[str, Plans]]:
        """The check and, by case, how to launch each kernel. Stops planning after a plan that `stops`."""
        plans: dict[str, Plans] = {}
        for case in cases:
            on_case(len(plans))
            found = attempt(partial(self.plans, case))
            if isinstance(found, Failure):
                return secrecy.redacted(case, error(LAUNCH, found)), {}
            plans[case.name] = found
            if any(map(stops, found)):
                break
        judged = [(case, plan) for case in cases for plan in plans.get(case.name, ())]
        return secrecy.launched(judged, self._compilation), plans

    @staticmethod
    def can_run(launched: Check, cases: Sequence[Case], plans: Mapping[str, Plans]) -> list[Case]:
        """A launch that fails for some cases leaves the others; but it leaves no secret one, because which of them
        run would tell something of their sizes, and none if the launch function does not end."""
        if launched.status is Status.PASSED:
            return list(cases)
        shown = [case for case in cases if not case.secret and case.name in plans]
        bad = {case.name for case in shown if any(plan.refused for plan in plans[case.name])}
        if launched.status is not Status.FAILED or not bad or did_not_finish(launched.findings):
            return []
        return [case for case in shown if case.name not in bad]

    def plans(self, case: Case) -> Plans:
        return tuple(
            plan_launch(
                kernel,
                self._compilation,
                self._text,
                self._filename,
                self._run(*request_launch(kernel, case, self._limits)),
                self._limits,
            )
            for kernel in self._exercise.kernels
        )

    def outcome(self, case: Case, plans: Plans, only: Collection[str] | None = None) -> Outcome:
        """Of all kernels, in order; or of those that `only` names, on the same arrays."""
        return self._run(*self.called(case, plans, only))

    def called(
        self, case: Case, plans: Plans, only: Collection[str] | None = None
    ) -> tuple[tuple[Invocation, ...], tuple[Array, ...]]:
        """The same, as a child is asked for it."""
        kernels = self._exercise.kernels
        launched = [(kernel, plan) for kernel, plan in zip(kernels, plans, strict=True) if _wanted(kernel, only)]
        called = invocations.of([kernel for kernel, _ in launched], case, [plan for _, plan in launched])
        return called, invocations.arrays(kernels, case, [plan for plan in plans if not plan.refused])


def _wanted(kernel: Kernel, only: Collection[str] | None) -> bool:
    return only is None or kernel.name in only
