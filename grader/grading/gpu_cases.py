"""The cases of one submission on a GPU: launch plans, results, and the sweep over every input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial

import msgspec

from grader.checks import memory
from grader.errors import GraderError
from grader.executors.cuda_child import CudaChild
from grader.exercise.oracle import Expected
from grader.exercise.submission import Source
from grader.grading.judging import Judging
from grader.grading.runs import Plans, Runs
from grader.grading.steps import Failure, after, attempt, did_not_finish, error, guarded
from grader.launching import sweeping
from grader.launching.plan import DeviceLimits
from grader.model.execution import Compilation, Gpu, Invocation, Outcome
from grader.model.exercise import Array, Case, Exercise
from grader.model.families import CORRECT, MEMORY
from grader.model.measurements import Measurements
from grader.model.result import Check, Finding, Status
from grader.sandbox import ChildFaulted, ChildTimeout
from grader.sandbox.runner import Runner

# After a fault or a hang, the child is lost, and the next one takes a second to start.
MAX_LOST = 2


class GpuCases:
    """`endless`: by case, the checks that the CPU did not finish; these are not started here."""

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
        limits = DeviceLimits(gpu.sm_count, gpu.max_shared_bytes)
        self._runs = Runs(exercise, source.text, source.name, compilation, self._run, limits)
        self._exercise, self._source, self._runner = exercise, source, runner
        self._judging, self._endless = judging, endless
        self._lost: list[str] = []

    def launch(self, cases: Sequence[Case]) -> tuple[Check, dict[str, Plans]]:
        """The check and, by case, how to launch each kernel of the exercise."""
        check, plans = self._runs.launch(cases, stops=lambda plan: did_not_finish(plan.findings))
        return (check if check.status is Status.ERROR else msgspec.structs.replace(check, device="cuda")), plans

    def run(self, case: Case, plans: Plans, expect: Callable[[Case], Future[Expected]]) -> tuple[Check, ...]:
        """`memory` if the GPU found something, then `correct`."""
        if case.name in self._endless:
            return (_skipped(self._endless[case.name], case),)
        if len(self._lost) >= MAX_LOST:
            reason = f"on the GPU, {self._lost[0]} ended the process"
            return (Check(CORRECT.id(case.name), Status.SKIPPED, reason=reason, case=case.name, device="cuda"),)
        outcome = attempt(partial(self._runs.outcome, case, plans))
        if isinstance(outcome, Failure):
            return (error(CORRECT, outcome, case.name),)
        if outcome.findings:
            self._lost.append(MEMORY.id(case.name))
            found = tuple(at_line(finding, plans[-1].line) for finding in outcome.findings)
            failed = memory.judge(case, msgspec.structs.replace(outcome, findings=found))
            failed = msgspec.structs.replace(failed, device="cuda")
            return (failed, _skipped(failed, case))
        return (guarded(lambda: self._correct(case, plans, outcome, expect(case).result()), CORRECT, case.name),)

    def sweep(self, case: Case, plans: Plans, expected: Callable[[Case], Expected]) -> Check:
        """correct[CASE] for every possible input. The first wrong input is run again alone, to explain what is wrong
        with it. Raises GraderError if the sweep does not finish."""
        try:
            swept = self._runner.ready().sweep(sweeping.request(self._exercise, case, plans))
        except ChildFaulted as fault:
            self._runner.close()
            found = (at_line(fault.finding, plans[-1].line),)
            return Check(
                CORRECT.id(case.name), Status.FAILED, found[0].message, case=case.name, device="cuda", findings=found
            )
        except ChildTimeout as failed:
            self._runner.close()
            raise GraderError(f"the sweep over every input did not end: {failed}") from None
        findings = []
        for kernel, plan in zip(self._exercise.kernels, plans, strict=True):
            verdict = swept.verdicts.get(kernel.judge)
            if verdict and verdict.wrong:
                first = self._explained(sweeping.alone(case, kernel, verdict.first), plan.line, expected)
                findings.append(self._swept(kernel.name, verdict.wrong, plan.line, first))
        return Check(
            CORRECT.id(case.name),
            Status.FAILED if findings else Status.PASSED,
            findings[0].message if findings else f"all {swept.inputs} inputs correct, {swept.seconds:.1f} s",
            case=case.name,
            device="cuda",
            findings=tuple(findings),
            measurements=Measurements(
                elements=swept.inputs,
                mismatches=sum(finding.count for finding in findings),
                seconds=swept.seconds,
            ),
        )

    def _swept(self, kernel: str, wrong: int, line: int, first: Finding | None) -> Finding:
        """With details of the first wrong element, judged on its own."""
        said = first.message if first else "on its own it is correct, so it depends on its neighbours"
        message = f"{kernel}: wrong for {wrong} of all inputs; the first: {said}"
        known = first or Finding("wrong-values", self._source.name, line, "", kernel=kernel)
        return msgspec.structs.replace(known, message=message, count=wrong)

    def _explained(self, case: Case, line: int, expected: Callable[[Case], Expected]) -> Finding | None:
        """The findings of `correct` for a case with one element."""
        plans = self._runs.plans(case)
        check = self._judging.correct(case, plans, self._runs.outcome(case, plans).outputs, expected(case))
        return next((finding for finding in check.findings if finding.line == line), None)

    def _run(self, launches: tuple[Invocation, ...], arrays: tuple[Array, ...]) -> Outcome:
        """A child with findings may have lost its GPU context, so the next run gets a fresh one."""
        outcome = self._runner.run(launches, arrays)
        if outcome.findings:
            self._runner.close()
        return outcome

    def _correct(self, case: Case, plans: Plans, outcome: Outcome, expected: Expected) -> Check:
        """Correct with both kinds of garbage that the outputs contained before."""
        check = self._judging.correct(case, plans, outcome.outputs, expected)
        if check.status is Status.PASSED:
            check = self._judging.correct(case, plans, outcome.outputs | outcome.again, expected)
        return msgspec.structs.replace(check, device="cuda")


def at_line(finding: Finding, line: int) -> Finding:
    """A GPU reports no line, so the kernel's line is used instead."""
    return finding if finding.line else msgspec.structs.replace(finding, line=line)


def _skipped(parent: Check, case: Case) -> Check:
    skipped = after(parent, CORRECT, case.name)
    assert skipped is not None
    return skipped
