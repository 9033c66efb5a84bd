"""The outcome of each case of a Result, in a few words for a row."""

from __future__ import annotations

import math
from collections.abc import Iterable

from grader.batch.entry import Entry
from grader.model import families
from grader.model.exercise import Exercise
from grader.model.result import Check, Points, Result, Status, Verdict
from grader.reports.classroom_rows import CaseOutcome

# A case has the first status in this order that one of its checks has.
_WORST_FIRST = (Status.FAILED, Status.ERROR, Status.NOT_JUDGED, Status.SKIPPED, Status.PASSED)

# What does not compile or launch, no machine would time.
NEVER_TIMED = {family.name for family in families.before_cases()}


def of_case(result: Result, case: str) -> CaseOutcome:
    """Right means clean and correct: a race is wrong even if the numbers are right."""
    checks = [check for check in result.checks if check.case == case]
    timed = [check for check in checks if check.rubric == "performance"]
    return CaseOutcome(
        right=_worst(check.status for check in checks if check.required and check.rubric != "performance"),
        speed=_worst(check.status for check in timed),
        ratio=next((number for check in timed if (number := ratio(check)) is not None), None),
    )


def cases(exercise: Exercise) -> tuple[str, ...]:
    """The required cases, then those that are only timed."""
    return (*exercise.cases, *(case for case in exercise.speed_cases if case not in exercise.cases))


def further(result: Result, exercise: Exercise) -> tuple[int, int]:
    """How many extra and secret cases are right, and how many there are."""
    correct = [check.case for check in result.checks if check.rubric == "correctness" and check.case is not None]
    right = [of_case(result, case).right for case in dict.fromkeys(correct) if case not in exercise.cases]
    return right.count(Status.PASSED), len(right)


def ratio(check: Check) -> float | None:
    """NaN and infinities are not ratios."""
    value = check.measurements.ratio
    return value if value is not None and math.isfinite(value) else None


def problem(entry: Entry) -> str:
    """Why there is no result for this student."""
    return entry.submitted.problem or entry.problem


def points(entry: Entry) -> Points | None:
    """None without a Result, or if the grader failed: its incomplete result is not part of a grade."""
    failed = entry.result is None or entry.result.verdict is Verdict.ERROR
    return None if failed or entry.result is None else entry.result.points


def total(entry: Entry) -> float | None:
    """The points so far; if the grader gave none, the instructor's points."""
    known = points(entry)
    return known.total if known else entry.manual.points


def final(entry: Entry) -> float | None:
    """`total` without what late work lost: the grade."""
    points = total(entry)
    return None if points is None else round(points - entry.lateness.lost(points), 2)


def complete(entry: Entry) -> bool:
    """Whether `total` is final: every part of the rubric was judged, or the instructor gave points without a Result.

    The instructor's share of quality does not keep a total from being final. Nor does the speed of a submission
    that does not compile or launch: no machine would time it.
    """
    known = points(entry)
    if entry.result is None or known is None:
        return entry.manual.points is not None
    checks = entry.result.checks
    never_timed = any(check.family in NEVER_TIMED and check.status is Status.FAILED for check in checks)
    return None not in (known.correctness, known.quality, 0.0 if never_timed else known.performance)


def _worst(statuses: Iterable[Status]) -> Status | None:
    found = set(statuses)
    return next((status for status in _WORST_FIRST if status in found), None)
