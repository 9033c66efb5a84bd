"""Grades one submission: the checks in dependency order, each skipped if the one before it failed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from grader import machine
from grader.checks import memory, quality, rules, speed
from grader.diagnosis import savings
from grader.exercise import original
from grader.exercise.oracle import Expected, Oracle
from grader.exercise.secret import Secret
from grader.exercise.submission import Source
from grader.grading import endless, flat, hints, merge, points, runs, secrecy
from grader.grading.alone import Alone
from grader.grading.inputs import Inputs, size
from grader.grading.judging import Judging
from grader.grading.runs import Plans, Runs
from grader.grading.steps import Failure, after, attempt, did_not_finish, error, guarded, shown
from grader.grading.written import Written
from grader.launching.plan import blame_grid
from grader.model import families
from grader.model.execution import OUT_OF_TIME, UNCOALESCED, Compilation, Executor, Outcome
from grader.model.exercise import Case, Exercise
from grader.model.families import COMPILE, CORRECT, LAUNCH, MEMORY, QUALITY, RULES, SPEED
from grader.model.result import SCHEMA_VERSION, Check, Result, Status, Submission, geometric_mean, verdict_of
from grader.sandbox.runner import OpenExecutor, Runner

if TYPE_CHECKING:
    from grader.grading.gpu_lane import GpuChecks, GpuChoice, GpuLane

# A kernel that hangs usually does so on most cases, and each takes its whole time limit. So the smallest case is run
# first, and if that hangs, the smallest required one decides whether the others are tried.
MAX_UNFINISHED = 2

LEAST_WIDTH = 8  # threads along x, of which a warp's transactions depend on what neighbours access

MOST_BESIDE = 4  # threads that generate cases and expected outputs


_CASE = re.compile(r"^\w+\[(.+?)\]")


class Progress(msgspec.Struct, frozen=True):
    """What starts now: a check's id, the number of finished cases, and the CPU's finished checks."""

    doing: str
    done: int = 0
    of: int = 0
    checks: tuple[Check, ...] = ()

    @property
    def said(self) -> str:
        """ "uniform, case 3 of 13": for a student, who knows no check by its id."""
        at = f", case {self.done + 1} of {self.of}" if self.done < self.of else ""
        return _CASE.sub(r"\1", self.doing) + at


OnProgress = Callable[[Progress], None]


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
    count: bool = False,
    on_progress: OnProgress = lambda _: None,
    open_oracle: Callable[[Exercise], Oracle] = Oracle,
    before: Callable[[], str | None] = lambda: None,
) -> Result:
    """With `only`, only that case; with `gpu`, also on that GPU, in parallel. With `quickest_first`, small cases
    come before large ones; otherwise the exercise's order is kept. `count`: of a submission without faults, also what
    the hardware would count of it. `before`: the source of the student's last run.

    Raises GraderError if the exercise itself is broken, or a required GPU cannot be used. Every child is
    always closed.
    """
    with Runner(open_executor, source.content, source.name, counts_later=count) as runner, _Beside() as beside:
        if source.problem is None:
            runner.start()
        inputs = Inputs(
            exercise, seed, beside, open_oracle=open_oracle, secret=secret, only=only, quickest_first=quickest_first
        )
        facts = beside.submit(machine.describe)
        written = Written(exercise, source.text, partial(original.text, exercise, source.path), before)
        judging = Judging(exercise, source.name, inputs.oracle.result, written=written)
        lane = _lane(gpu, exercise, source, inputs, judging) if gpu else None
        grading = _Grading(exercise, source, runner, on_progress, judging, written)
        with _alongside(lane if gpu and not gpu.after_cpu else None) as measured:
            found = grading.checks(inputs, count=count)
            if lane is not None:
                on_progress(Progress("the GPU's checks"))
                theirs = measured.result() if measured else lane.measured(found)
                if lane.sanitize or merge.wants_sanitizer(found):
                    on_progress(Progress("compute-sanitizer"))
                    theirs = msgspec.structs.replace(theirs, checks=lane.sanitized() + theirs.checks)
                found = merge.both(found, theirs, inputs.cases.result())
            found = secrecy.together(found, inputs.cases.result())
        found = [written.placed(check) if check.family == MEMORY.name else check for check in found]
        known = hints.sections(exercise) if any(check.findings for check in found) else frozenset()
        checks = tuple(hints.give(check, known) for check in found)
        return Result(
            schema=SCHEMA_VERSION,
            exercise=exercise.name,
            submission=Submission(source.printable_path, source.sha256),
            verdict=verdict_of(checks),
            points=points.of(exercise, checks),
            seed=seed,
            machine=_machine(facts.result(), runner, lane),
            checks=checks,
            geometric_mean=geometric_mean(checks),
        )


def _machine(facts: dict[str, Any], runner: Runner[Executor], lane: GpuLane | None) -> dict[str, Any]:
    """`unconfined`: what a submission could do there but should not be able to, and why."""
    lacking = [*runner.unconfined, *(lane.unconfined if lane else ())]
    return facts | ({"gpu": lane.facts} if lane else {}) | {"unconfined": list(dict.fromkeys(lacking))}


def _lane(
    gpu: GpuChoice,
    exercise: Exercise,
    source: Source,
    inputs: Inputs,
    judging: Judging,
) -> GpuLane:
    """Loaded only if there is a GPU, so that grading on a laptop does not wait for it."""
    from grader.grading.gpu_lane import GpuLane

    return GpuLane(gpu, exercise, source, inputs, judging)


@contextmanager
def _alongside(lane: GpuLane | None) -> Iterator[Future[GpuChecks] | None]:
    """The GPU's grading in its own thread. It ends when the CPU's grading ends, for whatever reason."""
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
    """Generates cases and expected outputs while the child compiles and runs, leaving it most of the cores."""

    def __init__(self) -> None:
        super().__init__(max_workers=max(1, min(MOST_BESIDE, machine.cores() // 4)))

    def __exit__(self, *_: object) -> None:
        """Nobody waits for what is not needed after all."""
        self.shutdown(wait=False, cancel_futures=True)


def _with_rows_of_threads(compiled: Check, plans: Mapping[str, Plans]) -> Check:
    """Without remarks on what neighbours along x access, where a kernel has few or none there."""
    wide = {plan.kernel for of_case in plans.values() for plan in of_case if plan.config.block[0] >= LEAST_WIDTH}
    kept = tuple(one for one in compiled.findings if one.kind != UNCOALESCED or one.kernel in wide)
    return msgspec.structs.replace(compiled, findings=kept)


class _Grading:
    """Runs the checks; only this class defines which check depends on which."""

    def __init__(
        self,
        exercise: Exercise,
        source: Source,
        runner: Runner[Executor],
        on_progress: OnProgress,
        judging: Judging,
        written: Written,
    ) -> None:
        self._exercise = exercise
        self._source = source
        self._runner = runner
        self._on_progress = on_progress
        self._judging = judging
        self._written = written
        self._unfinished: list[Check] = []
        self._most_unfinished = MAX_UNFINISHED
        self._finished = False  # whether any case has
        self._runs: Runs  # set after compilation
        self._alone: Alone

    def checks(self, inputs: Inputs, *, count: bool) -> list[Check]:
        """In grading order: compile, launch, then memory, correct and speed case by case, rules, quality."""
        self._on_progress(Progress(COMPILE.id()))
        compiled, compilation = runs.compiled(self._exercise, self._source, self._runner.compile)
        todo = inputs.cases.result()
        self._runs = Runs(self._exercise, self._source.text, self._source.name, compilation, self._runner.run)
        self._alone = Alone(self._exercise, self._runs, self._judging, self._written)
        if not after(compiled, LAUNCH):  # the launches take one core
            self._expect(inputs, todo)
        launched, plans = self._launch(compiled, todo)
        self._warnings = compilation.findings
        checks = [_with_rows_of_threads(compiled, plans), launched]
        checks += list(self._cases(inputs, checks, todo, plans))
        checks += self._speed_elsewhere(todo, checks)
        checks.append(after(compiled, RULES) or rules.judge(self._exercise, compilation, self._source.name))
        checks.append(self._quality(compiled, compilation))
        return self._counted(checks, todo, plans) if count else checks

    def _counted(self, checks: list[Check], todo: Sequence[Case], plans: dict[str, Plans]) -> list[Check]:
        """With what the hardware would count in each case that decides about speed; as they are if one failed."""
        if any(check.status in (Status.FAILED, Status.ERROR) for check in checks if check.rubric != QUALITY.rubric):
            return checks
        cases = {MEMORY.id(case.name): case for case in todo if case.required and not case.secret}
        for at, check in enumerate(checks):
            if check.status is Status.PASSED and check.id in cases:
                self._on_progress(Progress(SPEED.id(cases[check.id].name), checks=tuple(checks)))
                called = self._runs.called(cases[check.id], plans[cases[check.id].name])
                if counted := self._runner.count(*called):
                    saving = savings.of(counted)
                    checks[at] = check.measured(counted=counted, savings=saving)
        return checks

    def _cases(
        self, inputs: Inputs, before: Sequence[Check], todo: Sequence[Case], plans: dict[str, Plans]
    ) -> Iterator[Check]:
        """In the order of `todo`, whatever the order in which they are run. `before`: what has been judged."""
        launched = before[-1]
        left = Runs.can_run(launched, todo, plans)
        expected = self._expect(inputs, left)
        done: dict[str, list[Check]] = {}
        while left:
            case = self._next(left)
            left = [one for one in left if one is not case]
            told = (*before, *(check for checks in done.values() for check in checks))
            self._on_progress(Progress(MEMORY.id(case.name), len(done), len(todo), told))
            done[case.name] = self._case(case, plans[case.name], expected.pop(case.name))
        for case in todo:
            yield from done[case.name] if case.name in done else self._not_run(case, launched, plans, inputs)

    def _expect(self, inputs: Inputs, cases: Sequence[Case]) -> dict[str, Future[Expected]]:
        """By case, the first to be run first; each is made once."""
        return {
            case.name: inputs.expect(case) for case in sorted(cases, key=lambda one: one is not self._next(cases))
        }

    def _next(self, left: Sequence[Case]) -> Case:
        """As long as none has finished, the smallest: a kernel that hangs costs least there."""
        shown = [case for case in left if not case.secret]
        if self._finished or not shown:
            return left[0]
        return min(shown, key=lambda case: (bool(self._unfinished) and not case.required, size(case)))

    def _launch(self, compiled: Check, cases: Sequence[Case]) -> tuple[Check, dict[str, Plans]]:
        """A launch function that does not end on one case does not end on others either."""
        skipped = after(compiled, LAUNCH)
        if skipped:
            return skipped, {}
        return self._runs.launch(
            cases,
            stops=lambda plan: did_not_finish(plan.findings),
            on_case=lambda done: self._on_progress(Progress(LAUNCH.id(), done, len(cases), (compiled,))),
        )

    def _case(self, case: Case, plans: Plans, expected: Future[Expected]) -> list[Check]:
        """`memory`, then `correct`, then `speed` of one case."""
        memory_check, outcome = self._memory(case, plans)
        correct_check = after(memory_check, CORRECT, case.name)
        if correct_check is None:
            judge = partial(self._correct, case, plans, outcome, expected)
            correct_check = guarded(judge, CORRECT, case.name)
        elif memory_check.findings and not case.secret:
            correct_check = self._alone.beside_faulty(correct_check, case, plans, expected, memory_check)
        return [shown(case, check) for check in (memory_check, correct_check, *self._speed(case, correct_check))]

    def _memory(self, case: Case, plans: Plans) -> tuple[Check, Outcome]:
        """Runs the kernels; their outcome goes on to `correct`."""
        if len(self._unfinished) >= self._most_unfinished:
            reason = f"{self._unfinished[0].id} did not finish"
            return Check(MEMORY.id(case.name), Status.SKIPPED, reason=reason, case=case.name), Outcome()
        outcome = attempt(partial(self._runs.outcome, case, plans))
        if isinstance(outcome, Failure):
            return error(MEMORY, outcome, case.name), Outcome()
        outcome = blame_grid(outcome, plans)
        check = endless.explained(memory.judge(case, outcome), self._warnings)
        check = flat.explained(check, plans, self._source.text)
        too_slow = outcome.unsupported is not None and outcome.unsupported.kind == OUT_OF_TIME
        if did_not_finish(check.findings) or (too_slow and self._unfinished):
            self._unfinished.append(check)
            if endless.is_certain(check):
                self._most_unfinished = 1
        self._finished = self._finished or not (too_slow or did_not_finish(check.findings))
        return check, outcome

    def _correct(self, case: Case, plans: Plans, outcome: Outcome, expected: Future[Expected]) -> Check:
        check = self._judging.correct(case, plans, outcome.outputs, expected.result(), outcome.unset)
        return flat.explained(check, plans, self._source.text)

    def _speed(self, case: Case, correct_check: Check) -> list[Check]:
        if not case.required:
            return []
        decides = case.name in self._exercise.speed_cases
        skipped = after(correct_check, SPEED, case.name, required=decides)
        return [skipped or speed.not_judged(self._exercise, case.name, required=decides)]

    def _speed_elsewhere(self, cases: Sequence[Case], found: Sequence[Check]) -> list[Check]:
        """For cases too large for a CPU; measured only if all others are correct."""
        here = {case.name for case in cases if case.required}
        bad = (c for c in found if c.status is not Status.PASSED and c.family != SPEED.name)
        parent = next(bad, found[0])
        names = [name for name in self._exercise.speed_cases if name not in here]
        return [after(parent, SPEED, name) or speed.not_judged(self._exercise, name) for name in names]

    def _not_run(self, case: Case, launched: Check, plans: Mapping[str, Plans], inputs: Inputs) -> Iterator[Check]:
        """Kernels that can be launched earn their points all the same; none of a secret case, because which of them
        do would tell something of its sizes, and none if a launch function does not end."""
        ended = launched.status is Status.FAILED and not did_not_finish(launched.findings)
        tried = ended and case.name in plans and not case.secret and len(self._unfinished) < self._most_unfinished
        decides = case.name in self._exercise.speed_cases
        for family in families.of_case(required=case.required):
            check = after(launched, family, case.name, required=decides or family is not SPEED)
            if check and family is CORRECT and tried:
                self._on_progress(Progress(check.id))
                check = self._alone.beside_refused(check, case, plans[case.name], inputs.expect(case))
            if check:
                yield shown(case, check)

    def _quality(self, compiled: Check, compilation: Compilation) -> Check:
        judge = partial(quality.judge, self._exercise, compilation, self._source.text, self._source.name)
        return after(compiled, QUALITY) or guarded(judge, QUALITY)
