"""Which of an exercise's kernels wrong values come from, and which kernels are right already."""

from __future__ import annotations

from collections.abc import Iterable

from grader.model.exercise import Exercise
from grader.model.families import MEMORY
from grader.model.result import Finding, Result, Status


def named(findings: Iterable[Finding]) -> tuple[str, ...]:
    """The kernels whose outputs these wrong values are, as far as the findings say."""
    found = (finding.kernel for finding in findings if finding.kind == "wrong-values")
    return tuple(dict.fromkeys(filter(None, found)))


def right(result: Result, exercise: Exercise) -> tuple[str, ...]:
    """The kernels whose outputs are right in all cases, where others' are not.

    () where not every case was judged, or where a finding names no kernel, as a secret case's.
    """
    if any(check.family == MEMORY.name and check.status is Status.FAILED for check in result.checks):
        return ()
    judged = [check for check in result.checks if check.rubric == "correctness"]
    findings = [finding for check in judged for finding in check.findings]
    complete = all(check.status in (Status.PASSED, Status.FAILED) for check in judged)
    if not complete or not findings or not all(named([finding]) for finding in findings):
        return ()
    wrong = named(findings)
    return tuple(name for name in exercise.makers if name not in wrong)
