"""speed[CASE]: at least the exercise's share of cuBLAS's speed. Judged where there is an NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from grader.model.execution import CompiledKernel, Gpu
from grader.model.exercise import Case, Exercise
from grader.model.result import Check, Finding, Status, to_number
from grader.timing import gate, roofline
from grader.timing.gate import Verdict
from grader.timing.statistics import Interval, combined

if TYPE_CHECKING:
    from grader.timing.inputs import Sets
    from grader.timing.session import Timing

NAME = "speed"

NO_GPU = "no NVIDIA GPU"
MATH_MODE = "CUBLAS_DEFAULT_MATH (FP32, no TF32)"
COPY = "copy"  # the baseline of what is bound by memory: a device copy of the same bytes


def identity(case: Case) -> str:
    return of(case.name)


def of(case_name: str) -> str:
    return f"{NAME}[{case_name}]"


def not_judged(exercise: Exercise, case_name: str, reason: str = NO_GPU, *, required: bool = True) -> Check:
    """Times on a CPU say nothing about the kernel's speed on a GPU."""
    against = "a device copy" if exercise.baseline == COPY else "cuBLAS"
    return Check(
        id=of(case_name),
        status=Status.NOT_JUDGED,
        reason=reason,
        message=f"needs an NVIDIA GPU; at least {exercise.threshold:.0%} of {against}'s speed is required",
        case=case_name,
        required=required,
    )


def not_finished(case: Case, filename: str, message: str) -> Check:
    """Right when it was run alone, but it does not finish when it is run many times."""
    finding = Finding("did-not-finish", filename, 0, f"while it was timed on the GPU, it {message}")
    return Check(identity(case), Status.FAILED, finding.message, case=case.name, device="cuda", findings=(finding,))


def faulted(case: Case, finding: Finding) -> Check:
    """Right when it was run alone, but it breaks on other values of the same problem."""
    return Check(identity(case), Status.FAILED, finding.message, case=case.name, device="cuda", findings=(finding,))


def judge(
    exercise: Exercise,
    case: Case,
    timings: Sequence[Timing],
    sets: Sets,
    gpu: Gpu,
    kernels: Sequence[CompiledKernel],
    filename: str,
) -> Check:
    """`timings`: of one process, or of three fresh ones where the first left it open."""
    found = combined([timing.interval for timing in timings])
    shown = min(timings, key=lambda timing: abs(timing.interval.ratio - found.ratio))
    verdict = gate.final(found, exercise.threshold)
    measurements = _measurements(exercise, case, timings, shown, found, verdict, sets, gpu, kernels)
    problem = _problem(timings, sets, gpu)
    if problem:
        return _check(case, Status.ERROR, problem, measurements)
    wrong = tuple(_wrong(exercise, case, timings, kernels, filename))
    if wrong:
        return _check(case, Status.FAILED, wrong[0].message, measurements, wrong)
    message = f"{_achieved(measurements)}; {exercise.threshold:.2f} is required"
    return _check(case, Status.PASSED if verdict.passed else Status.FAILED, message, measurements)


def shown_only(exercise: Exercise, check: Check) -> Check:
    """The ratio of a case that does not decide is information, whichever it is. A wrong output of it is not."""
    if check.findings:
        return msgspec.structs.replace(check, required=True)
    if check.status is Status.ERROR:
        return msgspec.structs.replace(check, required=False)
    decide = "decides" if len(exercise.speed_cases) == 1 else "decide"
    reason = f"for information: {' and '.join(exercise.speed_cases)} {decide}"
    message = _achieved(check.measurements) if "ratio" in check.measurements else ""
    return msgspec.structs.replace(check, status=Status.NOT_JUDGED, reason=reason, message=message, required=False)


def _wrong(
    exercise: Exercise, case: Case, timings: Sequence[Timing], kernels: Sequence[CompiledKernel], filename: str
) -> Iterator[Finding]:
    """What of the timed outputs is wrong: by kernel where judges looked."""
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


def profiled(check: Check, counters: list[dict[str, float]]) -> Check:
    """With what ncu counted, a launch each: information."""
    return msgspec.structs.replace(check, measurements=check.measurements | {"counters": counters})


def _check(
    case: Case,
    status: Status,
    message: str,
    measurements: dict[str, Any],
    findings: tuple[Finding, ...] = (),
) -> Check:
    return Check(
        id=identity(case),
        status=status,
        message=message,
        case=case.name,
        device="cuda",
        findings=findings,
        measurements=measurements,
    )


def _problem(timings: Sequence[Timing], sets: Sets, gpu: Gpu) -> str:
    """Why the measurement cannot be believed; "" where it can."""
    for timing in timings:
        disagree = [route for route, wrong in timing.verified.routes.items() if wrong]
        if disagree:
            return f"cuBLAS's {disagree[0]} disagrees with the FP64 reference, so its time means nothing"
        least = 1e6 * roofline.least_seconds(gpu, sets.work, read_bytes=sets.read_bytes)
        for what, us in (("the submission", timing.time_us), ("the baseline", timing.baseline_us)):
            if us < least:
                return f"{what} took {us:.3g} us, but no {gpu.name} can do it in less than {least:.3g} us"
    return ""


def _achieved(measured: Mapping[str, Any]) -> str:
    """The submission's time beside the baseline's, without what is required of it."""
    route = measured["route"]
    baseline = "a device copy of the same bytes" if route == COPY else f"cuBLAS ({route})"
    text = (
        f"{measured['time_us']:.1f} us, {baseline} {measured['baseline_us']:.1f} us: "
        f"{measured['ratio']:.2f} of its speed"
    )
    return f"borderline, decided by the median: {text}" if measured["borderline"] else text


def _measurements(
    exercise: Exercise,
    case: Case,
    timings: Sequence[Timing],
    shown: Timing,
    found: Interval,
    verdict: Verdict,
    sets: Sets,
    gpu: Gpu,
    kernels: Sequence[CompiledKernel],
) -> dict[str, Any]:
    """Times and what explains them. The names up to tflops are the Result's contract."""
    seconds = shown.time_us / 1e6
    return {
        "time_us": shown.time_us,
        "baseline": COPY if shown.route == COPY else f"cublas {shown.route}",
        "baseline_us": shown.baseline_us,
        "ratio": found.ratio,
        "ratio_low": found.low,
        "ratio_high": found.high,
        **({"tflops": sets.work.flops / seconds / 1e12} if sets.work.flops else {}),
        "gb_per_second": sets.work.bytes / seconds / 1e9,
        "threshold": exercise.threshold,
        "borderline": verdict.borderline,
        "bonus": max(0.0, found.ratio / exercise.threshold - 1),
        "route": shown.route,
        "routes_us": shown.routes,
        **_single_matrix(shown),
        **({"kernels_us": shown.alone_us} if shown.alone_us else {}),
        **_best_known(exercise, case, gpu),
        "empty_launch_us": shown.empty_us,
        "processes": [[t.interval.ratio, t.interval.low, t.interval.high] for t in timings],
        "rounds": sum(t.rounds for t in timings),
        "rounds_us": [round(us, 3) for us in shown.rounds_us],
        "rounds_dropped": sum(t.dropped for t in timings),
        "slowdowns": sorted({reason for t in timings for reason in t.slowdowns}),
        "looks": shown.looks,
        "sets": len(sets.cases),
        "verified_elements": sum(t.verified.elements for t in timings),
        **_largest_error(timings),
        "sm_mhz": list(shown.sm_mhz) if shown.sm_mhz else None,
        "memory_mhz": shown.memory_mhz,
        "seconds": sum(t.seconds for t in timings),
        "gpu_busy_seconds": sum(t.busy_seconds for t in timings),
        "intensity": sets.work.intensity,
        "roof": roofline.binding(gpu, sets.work),
        "roof_share": roofline.share_of_roof(gpu, sets.work, seconds),
        "launches": [_kernel(o.kernel, o.blocks, o.share, o.grid_blocks, kernels) for o in shown.occupancy],
        **({"cublas": shown.cublas, "math_mode": MATH_MODE} if shown.cublas else {}),
    }


def _best_known(exercise: Exercise, case: Case, gpu: Gpu) -> dict[str, float]:
    """What the project's own fast kernel took on a GPU of this name."""
    known = exercise.best_known_us.get(gpu.name, {})
    return {"best_known_us": known[case.name]} if case.name in known else {}


def _single_matrix(shown: Timing) -> dict[str, float]:
    if shown.single_matrix_us is None:
        return {}
    return {
        "single_matrix_us": shown.single_matrix_us,
        "single_matrix_ratio": shown.single_matrix_us / shown.time_us,
    }


def _largest_error(timings: Sequence[Timing]) -> dict[str, Any]:
    """Of outputs that were compared with references."""
    errors = [t.verified.max_abs_error for t in timings if t.verified.max_abs_error is not None]
    return {"max_abs_error": to_number(float(np.max(errors)))} if errors else {}


def _kernel(
    name: str, blocks: int, share: float, grid_blocks: int, kernels: Sequence[CompiledKernel]
) -> dict[str, Any]:
    taken = next((k.resources for k in kernels if k.name == name and k.resources), None)
    resources = (
        {"registers": taken.registers, "shared_bytes": taken.shared_bytes, "spill_bytes": taken.spill_bytes}
        if taken
        else {}
    )
    return {"name": name, "blocks_per_sm": blocks, "occupancy": share, "grid_blocks": grid_blocks, **resources}
