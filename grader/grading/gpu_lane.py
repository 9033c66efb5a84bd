"""One submission on a GPU: compiles, launches and runs every case, and times the correct ones.

Runs alongside grading on the CPU, which finds races and names lines; grader.grading.merge combines both.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import msgspec

from grader import executors, machine
from grader.checks import rules, speed
from grader.compile import recipe, source
from grader.errors import GraderError
from grader.executors import profiler, sanitizer
from grader.executors.cuda_child import CudaChild
from grader.executors.tools import Staged
from grader.exercise.submission import Source
from grader.grading import runs
from grader.grading.gpu_cases import GpuCases
from grader.grading.gpu_timing import GpuTiming
from grader.grading.inputs import Inputs
from grader.grading.judging import Judging
from grader.grading.runs import Plans, Runs
from grader.grading.steps import after, did_not_finish, guarded, shown
from grader.launching import invocations
from grader.model import families
from grader.model.execution import Gpu
from grader.model.exercise import Case, Exercise
from grader.model.families import CORRECT, MEMORY, SPEED
from grader.model.measurements import NOTHING, Measurements
from grader.model.result import Check, Finding, Status
from grader.sandbox import ChildDied, ChildTimeout
from grader.sandbox.runner import ON_GPU, Runner, RunnerError
from grader.timing import lock
from grader.timing.clocks import driver_version

MAKERS = 8  # threads that generate inputs and references for timing

OpenCuda = Callable[[], CudaChild]


class GpuChoice(msgspec.Struct, frozen=True):
    """`required`: if it cannot be used, nothing is graded. `sanitize`, `profile`: also run NVIDIA's tools.

    `after_cpu`: start only after the CPU's checks, which takes longer but keeps what they reject off the GPU.
    """

    open: OpenCuda
    required: bool = False
    number: int = 0
    sanitize: bool = False
    profile: bool = False
    after_cpu: bool = False


def choose(
    number: int | None = None, *, required: bool = False, sanitize: bool = False, profile: bool = False
) -> GpuChoice | None:
    """The GPU with that number, as numbered for the caller; None if there is none and none is required.

    Raises GraderError if one is required but missing.
    """
    count = machine.gpus()
    if not count:
        if required:
            raise GraderError(
                "no NVIDIA GPU found on this machine; grade doctor shows what is missing.\n"
                "Without --device cuda, the CPU judges everything except speed."
            )
        return None
    if number is not None and number >= count:
        raise GraderError(f"there is no GPU {number}: this machine has {count}, numbered from 0")
    return GpuChoice(partial(executors.open_cuda, number or 0), required, number or 0, sanitize, profile)


class GpuChecks(msgspec.Struct, frozen=True):
    """The GPU's checks, or why there are none. `checks` contains memory[CASE] only if it failed.

    `differs`: the GPU in sentences, if it has other instructions than the one that the CPU stands for.
    """

    checks: tuple[Check, ...] = ()
    unusable: str = ""
    differs: str = ""


class GpuLane:
    """`measured` may be called once, in any thread; `close` from another thread ends it early."""

    def __init__(
        self, choice: GpuChoice, exercise: Exercise, source: Source, inputs: Inputs, judging: Judging
    ) -> None:
        self._choice, self._exercise, self._source = choice, exercise, source
        self._inputs, self._judging = inputs, judging
        self._gpu: Gpu | None = None
        self._cublas = ""
        self._endless: dict[str | None, Check] = {}  # by case: not finished by the CPU, or not started afterwards
        self._ended = False
        self._plans_by_case: dict[str, Plans] = {}
        self._runs: list[Case] = []  # those that finished
        self._runner = Runner(self._open, source.content, source.name, ON_GPU)
        if source.problem is None and not choice.after_cpu:
            with contextlib.suppress(OSError):
                self._runner.start()

    @property
    def unconfined(self) -> tuple[str, ...]:
        return self._runner.unconfined

    @property
    def facts(self) -> dict[str, Any] | None:
        """What a Result records about the GPU."""
        if self._gpu is None:
            return None
        gpu = self._gpu
        return {
            "name": gpu.name,
            "compute_capability": "{}.{}".format(*gpu.compute_capability),
            "multiprocessors": gpu.sm_count,
            "memory_gib": round(gpu.memory_bytes / 2**30, 1),
            "memory_gb_per_second": round(gpu.memory_bytes_per_second / 1e9),
            "l2_mib": round(gpu.l2_bytes / 2**20, 1),
            "max_sm_mhz": round(gpu.clock_hz / 1e6),
            "pci_bus_id": gpu.pci_bus_id,
            "driver": driver_version(),
            "driver_cuda": _cuda(gpu.driver_cuda),
            "runtime_cuda": _cuda(gpu.runtime_cuda),
            "cublas": self._cublas or None,
        }

    @property
    def sanitize(self) -> bool:
        return self._choice.sanitize

    def sanitized(self) -> tuple[Check, ...]:
        """memory[CASE] according to compute-sanitizer; none if it is not installed or nothing could be run."""
        if self._gpu is None or not self._runs:
            return ()
        runs = [self._staged(case) for case in self._runs]
        with lock.running(self._gpu.pci_bus_id):
            found = sanitizer.check(self._text, runs, executors.visible(self._choice.number))
        if found is None:
            return ()
        return tuple(shown(case, self._sanitized(case, found[case.name])) for case in self._runs)

    def _sanitized(self, case: Case, findings: tuple[Finding, ...]) -> Check:
        named = tuple(self._named(finding) for finding in findings)
        status = Status.FAILED if named else Status.PASSED
        message = named[0].message if named else "compute-sanitizer found nothing"
        return Check(MEMORY.id(case.name), status, message, case=case.name, device="cuda", findings=named)

    def _named(self, finding: Finding) -> Finding:
        return msgspec.structs.replace(finding, file=finding.file.replace(recipe.SOURCE_NAME, self._source.name))

    def _profiles(self) -> dict[str, list[dict[str, float]]]:
        """By required case; empty if not requested or ncu is missing."""
        runs = [self._staged(case) for case in self._runs if case.required]
        if not self._choice.profile or not runs:
            return {}
        return profiler.profile(self._text, runs, executors.visible(self._choice.number)) or {}

    @property
    def _text(self) -> str:
        """As passed to the child's compiler."""
        text = source.decode(self._source.content, self._source.name)
        return text if isinstance(text, str) else ""

    def _staged(self, case: Case) -> Staged:
        kernels, plans = self._exercise.kernels, self._plans_by_case[case.name]
        return Staged(case.name, invocations.of(kernels, case, plans), invocations.arrays(kernels, case, plans))

    def close(self) -> None:
        self._ended = True
        self._runner.close()

    def measured(self, known: Sequence[Check] = ()) -> GpuChecks:
        """`known`: what the CPU has found so far. What does not finish there is not started here.

        Raises GraderError if a required GPU cannot be used.
        """
        if self._source.problem is not None:
            return GpuChecks()
        accesses = {check.case: check for check in known if check.family == MEMORY.name}
        before = [family.name for family in families.before_cases()]
        none_ran = all(check.status is Status.SKIPPED for check in accesses.values())
        if none_ran and any(check.family in before and check.status is Status.FAILED for check in known):
            return GpuChecks()
        if any(did_not_finish(check.findings) for check in accesses.values()):
            self._endless = {case: c for case, c in accesses.items() if _unfinished(c)}
        try:
            try:
                self._gpu = self._runner.start().describe()
            except (ChildDied, ChildTimeout) as failed:
                if self._choice.required:
                    raise GraderError(str(failed)) from None
                return GpuChecks(unusable=str(failed))
            with ThreadPoolExecutor(min(MAKERS, os.cpu_count() or 1)) as makers:
                try:
                    return GpuChecks(tuple(self._checks(self._gpu, makers)), differs=_if_it_differs(self._gpu))
                finally:
                    makers.shutdown(wait=False, cancel_futures=True)
        finally:
            self._runner.close()

    def _checks(self, gpu: Gpu, makers: ThreadPoolExecutor) -> Iterator[Check]:
        compiled, compilation = runs.compiled(self._exercise, self._source, self._runner.compile)
        yield compiled
        if compiled.status is not Status.PASSED:
            return
        yield rules.judge(self._exercise, compilation, self._source.name)
        small, oracle = self._inputs.cases.result(), self._inputs.oracle.result()
        large = oracle.on_gpu(self._inputs.seed)
        timed = [case for case in (*small, *large) if self._is_timed(case)]
        cases = GpuCases(gpu, self._exercise, self._source, self._runner, compilation, self._judging, self._endless)
        timing = GpuTiming(gpu, self._exercise, self._source.name, self._runner, compilation.kernels)
        timing.make_inputs(timed, oracle, self._inputs.seed, makers)
        with lock.running(gpu.pci_bus_id):
            launched, plans = cases.launch([*small, *large])
            yield launched
            able = {case.name for case in Runs.can_run(launched, [*small, *large], plans)}
            small, large, timed = ([case for case in some if case.name in able] for some in (small, large, timed))
            found: dict[str, Check] = {}
            self._plans_by_case = plans
            for case in small:
                for check in cases.run(case, plans[case.name], self._inputs.expect):
                    found[case.name] = check
                    yield shown(case, check)
                if found[case.name].status in (Status.PASSED, Status.FAILED):
                    self._runs.append(case)
            profiles = self._profiles()
            first_wrong = next((c for c in (launched, *found.values()) if c.status is not Status.PASSED), None)
            for case in large:
                if case.sweep:
                    skipped = after(first_wrong, CORRECT, case.name) if first_wrong else None
                    sweep = partial(cases.sweep, case, plans[case.name], oracle.expected)
                    yield shown(case, skipped or guarded(sweep, CORRECT, case.name))
        for case in timed:
            parent = found.get(case.name) or first_wrong
            check = self._speed_check(case, parent, partial(timing.check, case, plans[case.name]))
            self._cublas = timing.version
            if case.name in profiles:
                check = check.measured(counters=tuple(profiles[case.name]))
            for one in _proven(case, check) if case.gpu_only else (check,):
                yield shown(case, one)

    def _is_timed(self, case: Case) -> bool:
        return case.required or case.name in self._exercise.speed_cases

    def _speed_check(self, case: Case, parent: Check | None, take: Callable[[], Check]) -> Check:
        """A case that does not affect the verdict is measured for information."""
        decides = case.name in self._exercise.speed_cases
        skipped = after(parent, SPEED, case.name, required=decides) if parent else None
        if skipped:
            return skipped
        check = guarded(take, SPEED, case.name, required=decides)
        return check if decides else speed.shown_only(self._exercise, check)

    def _open(self) -> CudaChild:
        if self._ended:
            raise RunnerError("grading was stopped")
        return self._choice.open()


def _proven(case: Case, speed_check: Check) -> tuple[Check, ...]:
    """`correct`, then `speed`, of a case whose outputs were judged during timing."""
    identity = CORRECT.id(case.name)
    wrong = [finding for finding in speed_check.findings if finding.kind == "wrong-values"]
    if wrong:
        failed = msgspec.structs.replace(speed_check, id=identity, measurements=NOTHING, required=True)
        skipped = after(failed, SPEED, case.name, required=speed_check.required)
        assert skipped is not None
        return failed, skipped
    elements = speed_check.measurements.verified_elements
    if elements is None:  # it was not reached
        status = Status.SKIPPED if speed_check.status is Status.SKIPPED else Status.NOT_JUDGED
        reason = speed_check.reason or f"{speed_check.id} {speed_check.status}"
        return Check(identity, status, reason=reason, case=case.name, device="cuda", required=False), speed_check
    message = f"all {elements} elements of the timed launches are correct"
    measured = Measurements(elements=elements, mismatches=0)
    passed = Check(identity, Status.PASSED, message, case=case.name, device="cuda", measurements=measured)
    return passed, speed_check


def _unfinished(check: Check) -> bool:
    return check.status is Status.SKIPPED or did_not_finish(check.findings)


def _if_it_differs(gpu: Gpu) -> str:
    if recipe.gpu_arch(gpu.compute_capability) == recipe.ARCH:
        return ""
    return "the {} (compute capability {}.{})".format(gpu.name, *gpu.compute_capability)


def _cuda(version: int) -> str:
    """13000: "13.0"."""
    return f"{version // 1000}.{version % 1000 // 10}"
