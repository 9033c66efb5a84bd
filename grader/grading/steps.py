"""Between checks: how crashes, failed parents and secret cases change a check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from grader.errors import GraderError, at_fault
from grader.exercise import secret as secrets
from grader.model.exercise import Case
from grader.model.families import Family
from grader.model.result import Check, Finding, Status
from grader.sandbox.runner import RunnerError

T = TypeVar("T")


class Failure(msgspec.Struct, frozen=True):
    """The grader, the exercise or the machine failed, not the submission."""

    message: str


def attempt(call: Callable[[], T]) -> T | Failure:
    """A crash of the grader affects only one check, which says where it happened."""
    try:
        return call()
    except (RunnerError, GraderError) as error:
        return Failure(str(error))
    except Exception as error:
        return Failure(f"internal error at {at_fault(error)}")


def guarded(judge: Callable[[], Check], family: Family, case: str | None = None, *, required: bool = True) -> Check:
    check = attempt(judge)
    return error(family, check, case, required=required) if isinstance(check, Failure) else check


def error(family: Family, failure: Failure, case: str | None = None, *, required: bool = True) -> Check:
    """`case`: its name. `required`: whether it affects the verdict, if the family's checks can."""
    return Check(family.id(case), Status.ERROR, failure.message, case=case, required=required and family.required)


def after(parent: Check, family: Family, case: str | None = None, *, required: bool = True) -> Check | None:
    """The check if its parent's outcome prevents judging it, naming the first cause; otherwise None."""
    status, reason = Status.SKIPPED, parent.reason
    if parent.status is Status.PASSED:
        return None
    if parent.status is Status.NOT_JUDGED:
        status = Status.NOT_JUDGED
    elif parent.status is Status.FAILED:
        reason = f"{parent.id} failed"
    elif parent.status is Status.ERROR:
        reason = f"{parent.id} ended in an error"
    return Check(family.id(case), status, reason=reason, case=case, required=required and family.required)


def shown(case: Case, check: Check) -> Check:
    """The version for the student: a secret case redacted, any other with its sizes."""
    if case.secret:
        return secrets.redact(check)
    return check.measured(summary=case.summary, group_rows=case.group_rows or None)


def did_not_finish(findings: Sequence[Finding]) -> bool:
    return any(finding.kind == "did-not-finish" for finding in findings)
