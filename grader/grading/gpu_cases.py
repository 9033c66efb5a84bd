"""The cases of one submission on a GPU: how to launch them, what they compute, the sweep over every input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial

import msgspec
import numpy as np

from grader.checks import correct, launch, memory
from grader.errors import GraderError
from grader.executors.cuda_child import CudaChild
from grader.exercise.submission import Source
from grader.grading import secrecy
from grader.grading.judging import Judging
from grader.grading.steps import Failure, after, attempt, error, guarded, shown
from grader.launching import invocations, sweeping
from grader.launching.plan import Limits, Plan, plan_launch, request_launch
from grader.model.execution import Compilation, Gpu, Outcome
from grader.model.exercise import Case, Exercise
from grader.model.result import Check, Finding, Status
from grader.sandbox import ChildFaulted, ChildTimeout
from grader.sandbox.runner import Runner

# After a fault or a hang the child is lost, and the next costs a second.
MAX_LOST = 2

Expected = dict[str, np.ndarray]


class GpuCases:
    """`endless`: by case, the checks of what the CPU did not finish; it is not started here."""

    def __init__(
        self,
        gpu: Gpu,
        exercise: Exercise,
        source: Source,
        runner: Runner[CudaChild],
        compilation: Compilation,
        judging: Judging,
        endless: Mapping[str | None, Check],
    ) -> None:
        self._limits = Limits(gpu.sm_count, gpu.max_shared_bytes)
        self._exercise, self._source, self._runner = exercise, source, runner
        self._compilation, self._judging, self._endless = compilation, judging, endless
        self._lost: list[str] = []

    def launch(self, cases: Sequence[Case]) -> tuple[Check, dict[str, tuple[Plan, ...]]]:
        """The check; and by case, how to launch each kernel of the exercise."""
        plans: dict[str, tuple[Plan, ...]] = {}
        for case in cases:
            found = attempt(partial(self._plans, case))
            if isinstance(found, Failure):
                return shown(case, error(launch.ID, found)) if case.secret else error(launch.ID, found), {}
            plans[case.name] = found
            if any(plan.findings for plan in found):
                break
        judged = [(case, plan) for case in cases for plan in plans.get(case.name, ())]
        return msgspec.structs.replace(secrecy.launched(judged, self._compilation), device="cuda"), plans

    def run(
        self, case: Case, plans: tuple[Plan, ...], expect: Callable[[Case], Future[Expected]]
    ) -> tuple[Check, ...]:
        """memory where the GPU found something; and correct, which is the last."""
        identity = correct.identity(case)
        if case.name in self._endless:
            return (_skipped(self._endless[case.name], case),)
        if len(self._lost) >= MAX_LOST:
            reason = f"on the GPU, {self._lost[0]} ended the process"
            return (Check(identity, Status.SKIPPED, reason=reason, case=case.name, device="cuda"),)
        outcome = attempt(partial(self._outcome, case, plans))
        if isinstance(outcome, Failure):
            return (error(identity, outcome, case),)
        if outcome.findings:
            self._lost.append(memory.identity(case))
            found = tuple(at_line(finding, plans[-1].line) for finding in outcome.findings)
            failed = memory.judge(case, msgspec.structs.replace(outcome, findings=found))
            failed = msgspec.structs.replace(failed, device="cuda")
            return (failed, _skipped(failed, case))
        return (guarded(lambda: self._correct(case, plans, outcome, expect(case).result()), identity, case),)

    def sweep(self, case: Case, plans: tuple[Plan, ...], expected: Callable[[Case], Expected]) -> Check:
        """correct[CASE] of every input there is. The first wrong one is run once more alone, to say what is wrong
        with it. Raises GraderError where it does not end."""
        try:
            swept = self._runner.ready().sweep(sweeping.request(self._exercise, case, plans))
        except ChildFaulted as fault:
            self._runner.close()
            found = (at_line(fault.finding, plans[-1].line),)
            return Check(
                correct.identity(case), Status.FAILED, found[0].message, case=case.name, device="cuda", findings=found
            )
        except ChildTimeout as failed:
            self._runner.close()
            raise GraderError(f"the sweep over every input did not end: {failed}") from None
        findings = []
        for kernel, plan in zip(self._exercise.kernels, plans, strict=True):
            verdict = swept.verdicts.get(kernel.judge)
            if verdict and verdict.wrong:
                first = self._explained(sweeping.alone(case, kernel, verdict.first), plan.line, expected)
                message = f"{kernel.name}: {verdict.wrong} inputs of all there are come out wrong; the first: {first}"
                findings.append(Finding("wrong-values", self._source.name, plan.line, message, count=verdict.wrong))
        return Check(
            correct.identity(case),
            Status.FAILED if findings else Status.PASSED,
            findings[0].message if findings else f"all {swept.inputs} inputs right, {swept.seconds:.1f} s",
            case=case.name,
            device="cuda",
            findings=tuple(findings),
            measurements={
                "elements": swept.inputs,
                "mismatches": sum(finding.count for finding in findings),
                "seconds": swept.seconds,
            },
        )

    def _explained(self, case: Case, line: int, expected: Callable[[Case], Expected]) -> str:
        """What `correct` says of a case of one element."""
        plans = self._plans(case)
        check = self._judging.correct(case, plans, self._outcome(case, plans).outputs, expected(case))
        found = next((finding for finding in check.findings if finding.line == line), None)
        return found.message if found else "alone it comes out right, so it depends on its neighbours"

    def _plans(self, case: Case) -> tuple[Plan, ...]:
        """With the multiprocessors and the shared memory that this GPU has."""
        text, name = self._source.text, self._source.name
        plans = []
        for kernel in self._exercise.kernels:
            outcome = self._held(self._runner.run(*request_launch(kernel, case, self._limits)))
            plans.append(plan_launch(kernel, self._compilation, text, name, outcome, self._limits))
        return tuple(plans)

    def _outcome(self, case: Case, plans: tuple[Plan, ...]) -> Outcome:
        kernels = self._exercise.kernels
        launches, arrays = invocations.of(kernels, case, plans), invocations.arrays(kernels, case, plans)
        return self._held(self._runner.run(launches, arrays))

    def _held(self, outcome: Outcome) -> Outcome:
        """A child that found something may have lost its GPU context: the next run gets a fresh one."""
        if outcome.findings:
            self._runner.close()
        return outcome

    def _correct(self, case: Case, plans: tuple[Plan, ...], outcome: Outcome, expected: Expected) -> Check:
        """Right over both kinds of rubbish that the outputs held before."""
        check = self._judging.correct(case, plans, outcome.outputs, expected)
        if check.status is Status.PASSED:
            check = self._judging.correct(case, plans, outcome.outputs | outcome.again, expected)
        return msgspec.structs.replace(check, device="cuda")


def at_line(finding: Finding, line: int) -> Finding:
    """A GPU names no line: the kernel's stands in for it."""
    return finding if finding.line else msgspec.structs.replace(finding, line=line)


def _skipped(parent: Check, case: Case) -> Check:
    skipped = after(parent, correct.identity(case), case)
    assert skipped is not None
    return skipped
