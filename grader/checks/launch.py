"""launch: for every case the launch function fills in a launch that the device accepts."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import msgspec

from grader.exercise.secret import redact_finding
from grader.launching.plan import Plan
from grader.model.execution import Compilation
from grader.model.exercise import Case
from grader.model.families import LAUNCH
from grader.model.measurements import LaunchedKernel, Measurements
from grader.model.result import Check, Finding, Status


def judge(plans: Sequence[tuple[Case, Plan]], compilation: Compilation) -> Check:
    """One check for all cases: the first bad case's findings, and how many other cases fail."""
    bad = sorted((p for p in plans if p[1].findings), key=lambda p: p[0].secret)
    lacking = [plan.unsupported for _, plan in plans if plan.unsupported]
    measured = Measurements(launches=_launches(plans, compilation), printed=_printed(plans) or None)
    if bad:
        findings = _in_case(*bad[0], others=len(bad) - 1)
        return Check(
            LAUNCH.id(), Status.FAILED, findings[0].message, device="cpu", findings=findings, measurements=measured
        )
    if lacking:
        return Check(LAUNCH.id(), Status.NOT_JUDGED, reason=lacking[0].placed, device="cpu")
    return Check(LAUNCH.id(), Status.PASSED, _summary(plans), device="cpu", measurements=measured)


def _launches(plans: Sequence[tuple[Case, Plan]], compilation: Compilation) -> dict[str, tuple[LaunchedKernel, ...]]:
    """By required case, how large each kernel is launched: what its occupancy follows from."""
    resources = {kernel.name: kernel.resources for kernel in compilation.kernels if kernel.resources}
    found: dict[str, tuple[LaunchedKernel, ...]] = {}
    for case, plan in plans:
        if case.required and plan.kernel in resources and not plan.findings:
            taken, config = resources[plan.kernel], plan.config
            launched = LaunchedKernel(
                name=plan.kernel,
                grid_blocks=prod(config.grid),
                block_threads=prod(config.block),
                registers=taken.registers,
                shared_bytes=taken.shared_bytes + config.shared_bytes,
            )
            found[case.name] = (*found.get(case.name, ()), launched)
    return found


def _in_case(case: Case, plan: Plan, *, others: int) -> tuple[Finding, ...]:
    more = f" and {others} more" if others else ""
    if case.secret:
        return tuple(redact_finding(f) for f in plan.findings[:1])
    note = f"in case {case.name}{more}: {case.summary}"
    return tuple(msgspec.structs.replace(f, notes=(*f.notes, note)) for f in plan.findings)


def _printed(plans: Sequence[tuple[Case, Plan]]) -> str:
    """What the launch function printed for the first case that is no secret."""
    return next((plan.printed for case, plan in plans if plan.printed and not case.secret), "")


def _summary(plans: Sequence[tuple[Case, Plan]]) -> str:
    kernels = sorted({plan.kernel for _, plan in plans})
    cases = len({case.name for case, _ in plans})
    return f"{cases} cases launch {', '.join(kernels)}"
