"""memory[CASE]: every access is in bounds and of written memory, no races, no stuck barrier, and it ends."""

from __future__ import annotations

from grader.model.execution import Outcome
from grader.model.exercise import Case
from grader.model.families import MEMORY
from grader.model.measurements import Measurements
from grader.model.result import Check, Status


def judge(case: Case, outcome: Outcome) -> Check:
    """Everything that the executor found; what the numbers are worth, `correct` says."""
    status, message, reason = Status.PASSED, "every access was checked", None
    if outcome.findings:
        status, message = Status.FAILED, outcome.findings[0].message
    elif outcome.unsupported:
        status, message = Status.NOT_JUDGED, ""
        reason = outcome.unsupported.placed
    return Check(
        id=MEMORY.id(case.name),
        status=status,
        message=message,
        reason=reason,
        case=case.name,
        device="cpu",
        findings=outcome.findings,
        measurements=_measurements(outcome),
    )


def _measurements(outcome: Outcome) -> Measurements:
    return Measurements(
        seconds=outcome.jit_seconds + outcome.run_seconds,
        jit_seconds=outcome.jit_seconds,
        run_seconds=outcome.run_seconds,
        printed=outcome.printed or None,
    )
