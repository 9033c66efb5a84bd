"""Exit statuses of `grade`."""

from __future__ import annotations

from grader.model.result import Verdict

PASSED = 0
FAILED = 1
USAGE = 2
INCOMPLETE = 3  # with --strict; without, nothing was found wrong
ERROR = 4


def of(verdict: Verdict, *, strict: bool) -> int:
    if verdict is Verdict.INCOMPLETE:
        return INCOMPLETE if strict else PASSED
    return {Verdict.PASSED: PASSED, Verdict.FAILED: FAILED, Verdict.ERROR: ERROR}[verdict]
