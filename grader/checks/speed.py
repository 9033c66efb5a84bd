"""speed[CASE]: at least the exercise's share of cuBLAS's speed. Judged where there is an NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from grader.baselines import registry
from grader.baselines.baseline import SINGLE_MATRIX
from grader.model.execution import CompiledKernel, Gpu
from grader.model.exercise import Case, Exercise
from grader.model.families import SPEED
from grader.model.measurements import NOTHING, Balance, FloorMeasured, LaunchedKernel, Measurements
from grader.model.result import Check, Finding, Status
from grader.timing import gate, roofline
from grader.timing.gate import GateVerdict
from grader.timing.statistics import Interval, combined

if TYPE_CHECKING:
    from grader.sandbox.messages import Occupancy
    from grader.timing.inputs import Sets
    from grader.timing.session import Timing

NO_GPU = "no NVIDIA GPU"


def not_judged(exercise: Exercise, case_name: str, reason: str = NO_GPU, *, required: bool = True) -> Check:
    """Times on a CPU say nothing about the kernel's speed on a GPU."""
    against = registry.find(exercise.baseline).baseline.label
    return Check(
        id=SPEED.id(case_name),
        status=Status.NOT_JUDGED,
        reason=reason,
        message=f"needs an NVIDIA GPU; at least {exercise.threshold:.0%} of {against}'s speed is required",
        case=case_name,
        required=required,
    )


def not_finished(case: Case, filename: str, message: str) -> Check:
    """Correct when run alone, but it does not finish when run many times."""
    finding = Finding("did-not-finish", filename, 0, f"while it was timed on the GPU, it {message}")
    return _check(case, Status.FAILED, finding.message, findings=(finding,))


def faulted(case: Case, finding: Finding) -> Check:
    """Correct when run alone, but it breaks on other values of the same problem."""
    return _check(case, Status.FAILED, finding.message, findings=(finding,))


def judge(
    exercise: Exercise,
    case: Case,
    timings: Sequence[Timing],
    sets: Sets,
    gpu: Gpu,
    kernels: Sequence[CompiledKernel],
    filename: str,
    balance: Balance | None = None,
) -> Check:
    """`timings`: of one process, or of three fresh ones where the first left it open."""
    found = combined([timing.interval for timing in timings])
    shown = min(timings, key=lambda timing: abs(timing.interval.ratio - found.ratio))
    verdict = gate.final(found, exercise.threshold)
    measurements = msgspec.structs.replace(
        _measurements(exercise, case, timings, shown, found, verdict, sets, gpu, kernels), balance=balance
    )
    problem = _problem(exercise, timings, sets, gpu)
    if problem:
        return _check(case, Status.ERROR, problem, measurements)
    wrong = tuple(_wrong(exercise, case, timings, kernels, filename))
    if wrong:
        return _check(case, Status.FAILED, wrong[0].message, measurements, wrong)
    floors = measurements.floors or ()
    also = "".join(f"; {floor.ratio:.2f} of {floor.label}, {floor.required:.2f} is required" for floor in floors)
    message = f"{_achieved(measurements)}; {exercise.threshold:.2f} is required{also}"
    passed = verdict.passed and all(floor.passed for floor in floors)
    return _check(case, Status.PASSED if passed else Status.FAILED, message, measurements)


def shown_only(exercise: Exercise, check: Check) -> Check:
    """In a case that does not decide, any ratio is only information; a wrong output still fails."""
    if check.findings:
        return msgspec.structs.replace(check, required=True)
    if check.status is Status.ERROR:
        return msgspec.structs.replace(check, required=False)
    decide = "decides" if len(exercise.speed_cases) == 1 else "decide"
    reason = f"for information: {' and '.join(exercise.speed_cases)} {decide}"
    return msgspec.structs.replace(
        check,
        status=Status.NOT_JUDGED,
        reason=reason,
        message=_achieved(check.measurements),
        required=False,
    )


def _wrong(
    exercise: Exercise, case: Case, timings: Sequence[Timing], kernels: Sequence[CompiledKernel], filename: str
) -> Iterator[Finding]:
    """What is wrong in the timed outputs: by kernel if device judges checked them."""
    alone = "" if case.gpu_only else ", although it is right when it runs alone"
    total = sum(timing.verified.mismatches for timing in timings)
    judged = False
    for kernel in exercise.kernels:
        verdicts = [t.verified.verdicts[kernel.judge] for t in timings if kernel.judge in t.verified.verdicts]
        wrong = [verdict for verdict in verdicts if verdict.wrong]
        if wrong:
            judged = True
            line = next((k.line for k in kernels if k.name == kernel.name), 0)
            count = sum(verdict.wrong for verdict in wrong)
            message = (
                f"{kernel.name}: {count} elements are wrong in the timed launches, "
                f"the first of them element {min(v.first for v in wrong)} of its output{alone}"
            )
            yield Finding("wrong-values", filename, line, message, count=count, kernel=kernel.name)
    if total and not judged:
        message = f"{total} elements are wrong in the outputs of the timed launches{alone}"
        yield Finding("wrong-values", filename, 0, message, count=total)


def _check(
    case: Case,
    status: Status,
    message: str,
    measurements: Measurements = NOTHING,
    findings: tuple[Finding, ...] = (),
) -> Check:
    return Check(
        id=SPEED.id(case.name),
        status=status,
        message=message,
        case=case.name,
        device="cuda",
        findings=findings,
        measurements=measurements,
    )


def _problem(exercise: Exercise, timings: Sequence[Timing], sets: Sets, gpu: Gpu) -> str:
    """Why the measurement cannot be trusted; "" if it can."""
    for timing in timings:
        disagree = [route for route, wrong in timing.verified.routes.items() if wrong]
        if disagree:
            label = registry.find(exercise.baseline).baseline.label
            return f"{label}'s {disagree[0]} disagrees with the FP64 reference, so its time is meaningless"
        least = 1e6 * roofline.least_seconds(gpu, sets.work, read_bytes=sets.read_bytes)
        for what, us in (("the submission", timing.time_us), ("the baseline", timing.baseline_us)):
            if us < least:
                return f"{what} took {us:.3g} us, but no {gpu.name} can do it in less than {least:.3g} us"
    return ""


def _achieved(measured: Measurements) -> str:
    """The submission's time next to the baseline's, without what is required; "" if nothing was measured."""
    if measured.time_us is None or measured.baseline_us is None or measured.ratio is None:
        return ""
    _, _, route = (measured.baseline or "").partition(" ")
    baseline = f"{measured.against} ({route})" if route else measured.against
    text = f"{measured.time_us:.1f} us, {baseline} {measured.baseline_us:.1f} us: {measured.ratio:.2f} of its speed"
    return f"borderline, decided by the median: {text}" if measured.borderline else text


def _measurements(
    exercise: Exercise,
    case: Case,
    timings: Sequence[Timing],
    shown: Timing,
    found: Interval,
    verdict: GateVerdict,
    sets: Sets,
    gpu: Gpu,
    kernels: Sequence[CompiledKernel],
) -> Measurements:
    """Times and what explains them."""
    seconds, baseline = shown.time_us / 1e6, registry.find(exercise.baseline).baseline
    single_matrix_us = shown.shown.get(SINGLE_MATRIX)
    return Measurements(
        time_us=shown.time_us,
        baseline=baseline.called(shown.route),
        against=baseline.label,
        baseline_us=shown.baseline_us,
        ratio=found.ratio,
        ratio_low=found.low,
        ratio_high=found.high,
        tflops=sets.work.flops / seconds / 1e12 if sets.work.flops else None,
        gb_per_second=sets.work.bytes / seconds / 1e9,
        threshold=exercise.threshold,
        borderline=verdict.borderline,
        bonus=max(0.0, found.ratio / exercise.threshold - 1),
        route=shown.route,
        floors=tuple(_floors(exercise, case, timings)) or None,
        routes_us=shown.routes,
        route_labels={name: route.label for name, route in baseline.routes.items()},
        shown_us={name: us for name, us in shown.shown.items() if name != SINGLE_MATRIX} or None,
        single_matrix_us=single_matrix_us,
        single_matrix_ratio=None if single_matrix_us is None else single_matrix_us / shown.time_us,
        kernels_us=shown.kernels_us or None,
        best_known_us=exercise.best_known_us.get(gpu.name, {}).get(case.name),
        empty_launch_us=shown.empty_us,
        processes=tuple((t.interval.ratio, t.interval.low, t.interval.high) for t in timings),
        rounds=sum(t.rounds for t in timings),
        rounds_us=tuple(round(us, 3) for us in shown.rounds_us),
        rounds_dropped=sum(t.dropped for t in timings),
        slowdowns=tuple(sorted({reason for t in timings for reason in t.slowdowns})),
        looks=shown.looks,
        sets=len(sets.cases),
        verified_elements=sum(t.verified.elements for t in timings),
        max_abs_error=_largest_error(timings),
        sm_mhz=shown.sm_mhz,
        memory_mhz=shown.memory_mhz,
        seconds=sum(t.seconds for t in timings),
        gpu_busy_seconds=sum(t.busy_seconds for t in timings),
        intensity=sets.work.intensity,
        units=baseline.peak.label if baseline.peak else None,
        roof=roofline.binding(gpu, sets.work, baseline.peak),
        roof_share=roofline.share_of_roof(gpu, sets.work, baseline.peak, seconds),
        launches=tuple(_launched(one, kernels) for one in shown.occupancy),
        cublas=shown.version or None,
        math_mode=baseline.math_mode or None,
    )


def _floors(exercise: Exercise, case: Case, timings: Sequence[Timing]) -> Iterator[FloorMeasured]:
    routes = registry.find(exercise.baseline).baseline.routes
    for route, required in exercise.floors_of(case.name).items():
        found = combined([timing.floors[route] for timing in timings])
        verdict = gate.final(found, required)
        interval = (found.ratio, found.low, found.high)
        yield FloorMeasured(route, routes[route].label, *interval, required, verdict.passed, verdict.borderline)


def _largest_error(timings: Sequence[Timing]) -> float | None:
    """Of outputs that were compared with references; a NaN stays."""
    errors = [t.verified.max_abs_error for t in timings if t.verified.max_abs_error is not None]
    return float(np.max(errors)) if errors else None


def _launched(one: Occupancy, kernels: Sequence[CompiledKernel]) -> LaunchedKernel:
    taken = next((k.resources for k in kernels if k.name == one.kernel and k.resources), None)
    return LaunchedKernel(
        name=one.kernel,
        grid_blocks=one.grid_blocks,
        blocks_per_sm=one.blocks,
        occupancy=one.share,
        registers=taken.registers if taken else None,
        shared_bytes=taken.shared_bytes if taken else None,
        spill_bytes=taken.spill_bytes if taken else None,
    )
