"""Grades one submission: the checks in dependency order, each skipped where the one before it failed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from grader import machine
from grader.checks import compile as compile_check
from grader.checks import correct, launch, memory, quality, rules, speed
from grader.errors import GraderError
from grader.exercise import secret as secrets
from grader.exercise.oracle import Oracle
from grader.exercise.secret import Secret
from grader.exercise.submission import Source
from grader.grading import hints, merge, points, secrecy
from grader.grading.judging import Judging
from grader.grading.steps import Failure, after, attempt, did_not_finish, error, guarded, shown
from grader.launching import invocations
from grader.launching.plan import Plan, blame_grid, plan_launch, request_launch
from grader.model.execution import Compilation, Executor, Outcome
from grader.model.exercise import Array, Case, Exercise
from grader.model.result import SCHEMA_VERSION, Check, Result, Status, Submission, geometric_mean, verdict_of
from grader.sandbox.runner import OpenExecutor, Runner

if TYPE_CHECKING:
    from grader.grading.gpu_lane import GpuChoice, GpuLane, Measured

# A kernel that hangs does so on most cases, and each costs its whole deadline.
MAX_UNFINISHED = 2

MOST_BESIDE = 4  # threads that make cases and expected outputs


class Progress(msgspec.Struct, frozen=True):
    """What begins now: a check's id, how many of the cases are done, and the CPU's checks that are finished."""

    doing: str
    done: int = 0
    of: int = 0
    checks: tuple[Check, ...] = ()


OnProgress = Callable[[Progress], None]
Expected = dict[str, np.ndarray]


def grade(
    exercise: Exercise,
    source: Source,
    *,
    seed: int,
    open_executor: OpenExecutor,
    secret: Secret | None = None,
    only: str | None = None,
    gpu: GpuChoice | None = None,
    quickest_first: bool = False,
    on_progress: OnProgress = lambda _: None,
    open_oracle: Callable[[Exercise], Oracle] = Oracle,
) -> Result:
    """With `only`, that case alone; with `gpu`, on that GPU too, side by side. With `quickest_first`, the small cases
    go before the large ones; else they keep the exercise's order.

    Raises GraderError where the exercise itself is broken, or a GPU that is required cannot be used. Every child is
    closed in every case.
    """
    with Runner(open_executor, source.content, source.name) as runner, _Beside() as beside:
        if source.problem is None:
            runner.start()
        oracle = beside.submit(open_oracle, exercise)
        cases = beside.submit(lambda: _ordered(_cases(oracle.result(), seed, secret, only), quickest_first))
        facts = beside.submit(machine.describe)
        judging = Judging(exercise, source.name, oracle.result)
        expect = _Expectations(lambda case: beside.submit(oracle.result().expected, case))
        lane = _lane(gpu, exercise, source, (oracle, cases, expect, seed), judging) if gpu else None
        grading = _Grading(exercise, source, runner, on_progress, judging)
        with _alongside(lane if gpu and not gpu.after_cpu else None) as measured:
            found = grading.checks(cases, expect)
            if lane is not None:
                on_progress(Progress("the GPU's checks"))
                theirs = measured.result() if measured else lane.measured(found)
                if lane.sanitize or merge.wants_sanitizer(found):
                    on_progress(Progress("compute-sanitizer"))
                    theirs = msgspec.structs.replace(theirs, checks=lane.sanitized() + theirs.checks)
                found = merge.both(found, theirs, cases.result())
            found = secrecy.together(found, cases.result())
        known = hints.sections(exercise)
        checks = tuple(hints.give(check, known) for check in found)
        return Result(
            schema=SCHEMA_VERSION,
            exercise=exercise.name,
            submission=Submission(_printable(source.path), source.sha256),
            verdict=verdict_of(checks),
            points=points.of(exercise, checks),
            seed=seed,
            machine=_machine(facts.result(), runner, lane),
            checks=checks,
            geometric_mean=geometric_mean(checks),
        )


def _machine(facts: dict[str, Any], runner: Runner[Executor], lane: GpuLane | None) -> dict[str, Any]:
    """`unconfined`: what a submission could do there though it should not, and why; empty where nothing."""
    lacking = [*runner.unconfined, *(lane.unconfined if lane else ())]
    return facts | ({"gpu": lane.facts} if lane else {}) | {"unconfined": list(dict.fromkeys(lacking))}


class _Expectations:
    """Expected outputs, made once for each case, whoever asks first."""

    def __init__(self, make: Callable[[Case], Future[Expected]]) -> None:
        self._make = make
        self._futures: dict[str, Future[Expected]] = {}
        self._asking = threading.Lock()

    def __call__(self, case: Case) -> Future[Expected]:
        with self._asking:
            if case.name not in self._futures:
                self._futures[case.name] = self._make(case)
            return self._futures[case.name]


def _lane(
    gpu: GpuChoice,
    exercise: Exercise,
    source: Source,
    inputs: tuple[Future[Oracle], Future[list[Case]], _Expectations, int],
    judging: Judging,
) -> GpuLane:
    """Loaded only where there is a GPU: a laptop's grading need not wait for it."""
    from grader.grading.gpu_lane import GpuLane, Inputs

    return GpuLane(gpu, exercise, source, Inputs(*inputs), judging)


@contextmanager
def _alongside(lane: GpuLane | None) -> Iterator[Future[Measured] | None]:
    """The GPU's grading in a thread of its own. However the other ends, this one is ended too."""
    if lane is None:
        yield None
        return
    with ThreadPoolExecutor(max_workers=1) as thread:
        future = thread.submit(lane.measured)
        try:
            yield future
        except BaseException:
            lane.close()
            raise


class _Beside(ThreadPoolExecutor):
    """Makes cases and expected outputs while the child compiles and runs; leaves it most of the cores."""

    def __init__(self) -> None:
        super().__init__(max_workers=max(1, min(MOST_BESIDE, machine.cores() // 4)))

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=True, cancel_futures=True)


class _Grading:
    """One way through the checks; here alone stands which of them depends on which."""

    def __init__(
        self, exercise: Exercise, source: Source, runner: Runner[Executor], on_progress: OnProgress, judging: Judging
    ) -> None:
        self._exercise = exercise
        self._source = source
        self._runner = runner
        self._on_progress = on_progress
        self._judging = judging
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
                self._on_progress(Progress(memory.identity(case), index, len(todo), tuple(checks)))
                checks += self._case(case, plans[case.name], expected.pop(0))
            else:
                checks += self._not_run(case, launched)
        checks += self._speed_elsewhere(todo, checks)
        checks.append(after(compiled, rules.ID) or rules.judge(self._exercise, compilation, self._source.name))
        checks.append(self._quality(compiled, compilation))
        return checks

    def _compile(self) -> tuple[Check, Compilation]:
        nothing = Compilation(ok=False)
        if self._source.problem is not None:
            return compile_check.unreadable(self._source.problem), nothing
        compilation = attempt(self._runner.compile)
        if isinstance(compilation, Failure):
            return error(compile_check.ID, compilation), nothing
        return compile_check.judge(self._exercise, self._source.name, compilation), compilation

    def _launch(
        self, compiled: Check, compilation: Compilation, cases: Sequence[Case]
    ) -> tuple[Check, dict[str, tuple[Plan, ...]]]:
        """The check; and by case, how to launch each kernel of the exercise."""
        skipped = after(compiled, launch.ID)
        if skipped:
            return skipped, {}
        plans: dict[str, tuple[Plan, ...]] = {}
        for case in cases:
            self._on_progress(Progress(launch.ID, len(plans), len(cases), (compiled,)))
            found = attempt(partial(self._plans, compilation, case))
            if isinstance(found, Failure):
                return shown(case, error(launch.ID, found)) if case.secret else error(launch.ID, found), {}
            plans[case.name] = found
            if any(did_not_finish(plan.findings) for plan in found):
                break
        judged = [(case, plan) for case in cases for plan in plans.get(case.name, ())]
        return secrecy.launched(judged, compilation), plans

    def _plans(self, compilation: Compilation, case: Case) -> tuple[Plan, ...]:
        text, name = self._source.text, self._source.name
        plans = []
        for kernel in self._exercise.kernels:
            outcome = self._runner.run(*request_launch(kernel, case))
            plans.append(plan_launch(kernel, compilation, text, name, outcome))
        return tuple(plans)

    def _case(self, case: Case, plans: tuple[Plan, ...], expected: Future[Expected]) -> list[Check]:
        """memory, then correct, then speed of one case."""
        memory_check, outcome = self._memory(case, plans)
        correct_check = after(memory_check, correct.identity(case), case)
        if correct_check is None:
            judge = partial(self._correct, case, plans, outcome, expected)
            correct_check = guarded(judge, correct.identity(case), case)
        return [shown(case, check) for check in (memory_check, correct_check, *self._speed(case, correct_check))]

    def _memory(self, case: Case, plans: tuple[Plan, ...]) -> tuple[Check, Outcome]:
        """Runs the kernels; their outcome goes on to `correct`."""
        identity, kernels = memory.identity(case), self._exercise.kernels
        if len(self._unfinished) == MAX_UNFINISHED:
            reason = f"{self._unfinished[0].id} did not finish"
            return Check(identity, Status.SKIPPED, reason=reason, case=case.name), Outcome()
        outcome = attempt(
            lambda: self._runner.run(invocations.of(kernels, case, plans), invocations.arrays(kernels, case, plans))
        )
        if isinstance(outcome, Failure):
            return error(identity, outcome, case), Outcome()
        outcome = blame_grid(outcome, plans)
        check = memory.judge(case, outcome)
        if did_not_finish(check.findings):
            self._unfinished.append(check)
        return check, outcome

    def _correct(self, case: Case, plans: tuple[Plan, ...], outcome: Outcome, expected: Future[Expected]) -> Check:
        return self._judging.correct(case, plans, outcome.outputs, expected.result(), outcome.unset)

    def _speed(self, case: Case, correct_check: Check) -> list[Check]:
        if not case.required:
            return []
        decides = case.name in self._exercise.speed_cases
        skipped = after(correct_check, speed.identity(case), case, required=decides)
        return [skipped or speed.not_judged(self._exercise, case.name, required=decides)]

    def _speed_elsewhere(self, cases: Sequence[Case], found: Sequence[Check]) -> list[Check]:
        """Of the cases that are too large for a CPU; measured only where all others are right."""
        here = {case.name for case in cases if case.required}
        bad = (c for c in found if c.status is not Status.PASSED and not c.id.startswith(f"{speed.NAME}["))
        parent = next(bad, found[0])
        names = [name for name in self._exercise.speed_cases if name not in here]
        skipped = {name: after(parent, speed.of(name)) for name in names}
        return [
            msgspec.structs.replace(check, case=name) if check else speed.not_judged(self._exercise, name)
            for name, check in skipped.items()
        ]

    def _not_run(self, case: Case, launched: Check) -> list[Check]:
        checks = [after(launched, name, case) for name in (memory.identity(case), correct.identity(case))]
        if case.required:
            decides = case.name in self._exercise.speed_cases
            checks.append(after(launched, speed.identity(case), case, required=decides))
        return [shown(case, check) for check in checks if check]

    def _quality(self, compiled: Check, compilation: Compilation) -> Check:
        judge = partial(quality.judge, self._exercise, compilation, self._source.text, self._source.name)
        return after(compiled, quality.ID, required=False) or guarded(judge, quality.ID, required=False)


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


def _printable(path: Path) -> str:
    """File names may hold bytes that no JSON text can."""
    return str(path).encode(errors="replace").decode()
