"""Grades one submission: the checks in dependency order, each skipped where the one before it failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from grader import hints, invocations, machine, points
from grader import secret as secrets
from grader.checks import compile as compile_check
from grader.checks import correct, launch, memory, quality, rules, speed
from grader.checks.launch import Plan
from grader.diagnosis import Search
from grader.errors import GraderError, at_fault
from grader.model.execution import Compilation, Outcome
from grader.model.exercise import Case, Exercise
from grader.model.result import SCHEMA_VERSION, Check, Finding, Result, Status, Submission, verdict_of
from grader.oracle import Oracle
from grader.runner import OpenExecutor, Runner, RunnerError
from grader.secret import Secret
from grader.submission import Source

# A kernel that hangs does so on most cases, and each costs its whole deadline.
MAX_UNFINISHED = 2


class Progress(msgspec.Struct, frozen=True):
    """What begins now: a check's id, and how many of the cases are done."""

    doing: str
    done: int = 0
    of: int = 0


OnProgress = Callable[[Progress], None]
Expected = dict[str, np.ndarray]
T = TypeVar("T")


def grade(
    exercise: Exercise,
    source: Source,
    *,
    seed: int,
    open_executor: OpenExecutor,
    secret: Secret | None = None,
    only: str | None = None,
    on_progress: OnProgress = lambda _: None,
) -> Result:
    """With `only`, that case alone. Raises GraderError where the exercise itself is broken. The child is closed in every case."""
    with Runner(open_executor, source.content, source.name) as runner, _Beside() as beside:
        if source.problem is None:
            runner.start()
        oracle = beside.submit(Oracle, exercise)
        cases = beside.submit(lambda: _cases(oracle.result(), seed, secret, only))
        facts = beside.submit(machine.describe)
        search = Search(lambda case, right: oracle.result().mistakes(case, right))
        grading = _Grading(exercise, source, runner, on_progress, search)
        found = grading.checks(cases, lambda case: beside.submit(oracle.result().expected, case))
        known = hints.sections(exercise)
        checks = tuple(hints.give(check, known) for check in found)
        return Result(
            schema=SCHEMA_VERSION,
            exercise=exercise.name,
            submission=Submission(_printable(source.path), source.sha256),
            verdict=verdict_of(checks),
            points=points.of(exercise, checks),
            seed=seed,
            machine=facts.result(),
            checks=checks,
        )


class _Beside(ThreadPoolExecutor):
    """One thread that makes cases and expected outputs while the child compiles and runs."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=True, cancel_futures=True)


class _Grading:
    """One way through the checks; here alone stands which of them depends on which."""

    def __init__(
        self, exercise: Exercise, source: Source, runner: Runner, on_progress: OnProgress, search: Search
    ) -> None:
        self._exercise = exercise
        self._source = source
        self._runner = runner
        self._on_progress = on_progress
        self._search = search
        self._unfinished: list[Check] = []

    def checks(self, cases: Future[list[Case]], expect: Callable[[Case], Future[Expected]]) -> list[Check]:
        """In grading order: compile, launch, then memory, correct and speed case by case, rules, quality."""
        self._on_progress(Progress(compile_check.ID))
        compiled, compilation = self._compile()
        todo = cases.result()
        launched, plans = self._launch(compiled, compilation, todo)
        expected = [expect(case) for case in todo] if launched.status is Status.PASSED else []
        checks = [compiled, launched]
        for index, case in enumerate(todo):
            if launched.status is Status.PASSED:
                self._on_progress(Progress(memory.identity(case), index, len(todo)))
                checks += self._case(case, plans[case.name], expected.pop(0))
            else:
                checks += self._not_run(case, launched)
        checks.append(_after(compiled, rules.ID) or rules.judge())
        checks.append(self._quality(compiled, compilation))
        return checks

    def _compile(self) -> tuple[Check, Compilation]:
        nothing = Compilation(ok=False)
        if self._source.problem is not None:
            return compile_check.unreadable(self._source.problem), nothing
        compilation = _attempt(self._runner.compile)
        if isinstance(compilation, Failure):
            return _error(compile_check.ID, compilation), nothing
        return compile_check.judge(self._exercise, self._source.name, compilation), compilation

    def _launch(
        self, compiled: Check, compilation: Compilation, cases: Sequence[Case]
    ) -> tuple[Check, dict[str, tuple[Plan, ...]]]:
        """The check; and by case, how to launch each kernel of the exercise."""
        skipped = _after(compiled, launch.ID)
        if skipped:
            return skipped, {}
        plans: dict[str, tuple[Plan, ...]] = {}
        for case in cases:
            self._on_progress(Progress(launch.ID, len(plans), len(cases)))
            found = _attempt(partial(self._plans, compilation, case))
            if isinstance(found, Failure):
                return _error(launch.ID, found), {}
            plans[case.name] = found
            if any(_did_not_finish(plan.findings) for plan in found):
                break
        judged = [(case, plan) for case in cases for plan in plans.get(case.name, ())]
        return launch.judge(judged), plans

    def _plans(self, compilation: Compilation, case: Case) -> tuple[Plan, ...]:
        text, name = self._source.text, self._source.name
        plans = []
        for kernel in self._exercise.kernels:
            outcome = self._runner.run(*launch.request(kernel, case))
            plans.append(launch.plan(kernel, compilation, text, name, outcome))
        return tuple(plans)

    def _case(self, case: Case, plans: tuple[Plan, ...], expected: Future[Expected]) -> list[Check]:
        """memory, then correct, then speed of one case."""
        memory_check, outcome = self._memory(case, plans)
        correct_check = _after(memory_check, correct.identity(case), case)
        if correct_check is None:
            judge = partial(self._correct, case, plans, outcome, expected)
            correct_check = _guarded(judge, correct.identity(case), case)
        return [_shown(case, check) for check in (memory_check, correct_check, *self._speed(case, correct_check))]

    def _memory(self, case: Case, plans: tuple[Plan, ...]) -> tuple[Check, Outcome]:
        """Runs the kernels; their outcome goes on to `correct`."""
        identity, kernels = memory.identity(case), self._exercise.kernels
        if len(self._unfinished) == MAX_UNFINISHED:
            reason = f"{self._unfinished[0].id} did not finish"
            return Check(identity, Status.SKIPPED, reason=reason, case=case.name), Outcome()
        outcome = _attempt(
            lambda: self._runner.run(invocations.of(kernels, case, plans), invocations.arrays(kernels, case, plans))
        )
        if isinstance(outcome, Failure):
            return _error(identity, outcome, case), Outcome()
        check = memory.judge(case, outcome)
        if _did_not_finish(check.findings):
            self._unfinished.append(check)
        return check, outcome

    def _correct(self, case: Case, plans: tuple[Plan, ...], outcome: Outcome, expected: Future[Expected]) -> Check:
        return correct.judge(
            case,
            outcome.outputs,
            expected.result(),
            tolerance=self._exercise.tolerance,
            filename=self._source.name,
            line=plans[-1].line,
            search=self._search,
        )

    def _speed(self, case: Case, correct_check: Check) -> list[Check]:
        if not case.required:
            return []
        return [_after(correct_check, speed.identity(case), case) or speed.not_judged(self._exercise, case)]

    def _not_run(self, case: Case, launched: Check) -> list[Check]:
        names = (
            memory.identity(case),
            correct.identity(case),
            *([speed.identity(case)] if case.required else []),
        )
        checks = (_after(launched, name, case) for name in names)
        return [_shown(case, check) for check in checks if check]

    def _quality(self, compiled: Check, compilation: Compilation) -> Check:
        judge = partial(quality.judge, self._exercise, compilation, self._source.text, self._source.name)
        return _after(compiled, quality.ID, required=False) or _guarded(judge, quality.ID, required=False)


class Failure(msgspec.Struct, frozen=True):
    """The grader, the exercise or the machine failed; the submission did not."""

    message: str


def _attempt(call: Callable[[], T]) -> T | Failure:
    """A crash of the grader costs one check, which says where; never the results of the others."""
    try:
        return call()
    except (RunnerError, GraderError) as error:
        return Failure(str(error))
    except Exception as error:
        return Failure(f"internal error at {at_fault(error)}")


def _guarded(judge: Callable[[], Check], identity: str, case: Case | None = None, *, required: bool = True) -> Check:
    check = _attempt(judge)
    return _error(identity, check, case, required=required) if isinstance(check, Failure) else check


def _error(identity: str, failure: Failure, case: Case | None = None, *, required: bool = True) -> Check:
    return Check(identity, Status.ERROR, failure.message, case=case.name if case else None, required=required)


def _after(parent: Check, identity: str, case: Case | None = None, *, required: bool = True) -> Check | None:
    """What the parent's outcome leaves of a check; None where it is to be judged. Names the first cause."""
    status, reason = Status.SKIPPED, parent.reason
    if parent.status is Status.PASSED:
        return None
    if parent.status is Status.NOT_JUDGED:
        status = Status.NOT_JUDGED
    elif parent.status is Status.FAILED:
        reason = f"{parent.id} failed"
    elif parent.status is Status.ERROR:
        reason = f"{parent.id} ended in error"
    return Check(identity, status, reason=reason, case=case.name if case else None, required=required)


def _shown(case: Case, check: Check) -> Check:
    """As the student may see it: a secret case redacted, any other with its sizes."""
    if case.secret:
        return secrets.redact(check)
    return msgspec.structs.replace(check, measurements=check.measurements | {"summary": case.summary})


def _did_not_finish(findings: Sequence[Finding]) -> bool:
    return any(finding.kind == "did-not-finish" for finding in findings)


def _cases(oracle: Oracle, seed: int, secret: Secret | None, only: str | None) -> list[Case]:
    if only is not None:
        return [next(case for case in oracle.cases(seed) if case.name == only)]
    cases = list(oracle.cases(seed))
    if secret is not None:
        own = seed if secret.seed is None else secret.seed
        cases += [oracle.secret(spec, own, name) for name, spec in secrets.specs(secret)]
    return cases


def _printable(path: Path) -> str:
    """File names may hold bytes that no JSON text can."""
    return str(path).encode(errors="replace").decode()
