"""A student's mistakes, keyed by what the same mistake of others has in common, so that they can be counted."""

from __future__ import annotations

from collections.abc import Iterator

from grader.model.details import Detail
from grader.model.families import COMPILE
from grader.model.result import Check, Finding, Result, Status
from grader.reports.classroom import ClassMistake

TOO_SLOW = "too-slow"
NOT_WRITTEN, UNTOUCHED = "not-written", "the unchanged starter"
UNEXPLAINED = "not one of the exercise's known mistakes"


def of(result: Result) -> tuple[ClassMistake, ...]:
    """Each mistake once, however many cases show it, in grading order. Only those that caused the failure."""
    failed = [check for check in result.checks if check.status is Status.FAILED and check.required]
    return tuple(dict.fromkeys(mistake for check in failed for mistake in _of_check(check)))


def _of_check(check: Check) -> Iterator[ClassMistake]:
    if check.rubric == "performance" and not check.findings:
        yield ClassMistake(TOO_SLOW)
    elif not check.findings:
        yield ClassMistake(check.family)
    elif check.family == COMPILE.name:
        yield _mistake(check.findings[0])  # later errors often follow from the first
    else:
        yield from (_mistake(finding) for finding in check.findings)


def _mistake(finding: Finding) -> ClassMistake:
    if finding.kind == "compile-error":
        return ClassMistake(finding.kind, finding.detail or finding.message)
    if finding.unwritten:
        return ClassMistake(NOT_WRITTEN, UNTOUCHED if finding.detail == Detail.UNTOUCHED else "")
    if finding.kind == "wrong-values":
        return ClassMistake(finding.kind, finding.cause or UNEXPLAINED, finding.hint, finding.mistake)
    return ClassMistake(finding.kind, "", finding.hint)
