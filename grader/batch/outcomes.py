"""What a Result says of each case, in the few words that a row has room for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from grader.batch.entry import Entry
from grader.model.exercise import Exercise
from grader.model.result import Check, Points, Result, Status, Verdict

# The first that one of a case's checks has is the case's.
_WORST_FIRST = (Status.FAILED, Status.ERROR, Status.NOT_JUDGED, Status.SKIPPED, Status.PASSED)

BEFORE_SPEED = ("memory", "correct")


class Outcome(NamedTuple):
    """None: the Result has no such check. `ratio` is t_baseline / t_submission."""

    right: Status | None
    speed: Status | None
    ratio: float | None


def of_case(result: Result, case: str) -> Outcome:
    """Right is what is clean and correct: a race is wrong even where the numbers are right."""
    checks = [check for check in result.checks if check.case == case]
    timed = [check for check in checks if family(check) == "speed"]
    return Outcome(
        right=_worst(check.status for check in checks if check.required and family(check) in BEFORE_SPEED),
        speed=_worst(check.status for check in timed),
        ratio=next((number for check in timed if (number := ratio(check)) is not None), None),
    )


def cases(exercise: Exercise) -> tuple[str, ...]:
    """The required ones, then those that are only timed."""
    return (*exercise.cases, *(case for case in exercise.speed_cases if case not in exercise.cases))


def further(result: Result, exercise: Exercise) -> tuple[int, int]:
    """How many of the cases are right that were drawn from the seed or kept secret, and of how many."""
    correct = [check.case for check in result.checks if family(check) == "correct" and check.case is not None]
    right = [of_case(result, case).right for case in dict.fromkeys(correct) if case not in exercise.cases]
    return right.count(Status.PASSED), len(right)


def ratio(check: Check) -> float | None:
    """JSON carries NaN and infinities by name; they are no ratio."""
    value = check.measurements.get("ratio")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def family(check: Check) -> str:
    """ "memory" of "memory[uniform]"."""
    return check.id.split("[", 1)[0]


def problem(entry: Entry) -> str:
    """Why there is nothing to show for this student."""
    return entry.submitted.problem or entry.problem


def points(entry: Entry) -> Points | None:
    """None without a Result, and where the grader failed: what it came to by then is no part of a grade."""
    failed = entry.result is None or entry.result.verdict is Verdict.ERROR
    return None if failed or entry.result is None else entry.result.points


def total(entry: Entry) -> float | None:
    """What is known so far; where the machine has no points, what the instructor gave."""
    known = points(entry)
    return known.total if known else entry.manual.points


def complete(entry: Entry) -> bool:
    """Whether `total` is final: every part of the rubric was judged, or the instructor gave points without a Result.

    What the machine cannot judge of quality is the instructor's to add, and keeps nothing back. Nor does the speed of
    what does not compile or launch: no machine would time it.
    """
    known = points(entry)
    if entry.result is None or known is None:
        return entry.manual.points is not None
    checks = entry.result.checks
    never_timed = any(check.id in ("compile", "launch") and check.status is Status.FAILED for check in checks)
    return None not in (known.correctness, known.quality, 0.0 if never_timed else known.performance)


def _worst(statuses: Iterable[Status]) -> Status | None:
    found = set(statuses)
    return next((status for status in _WORST_FIRST if status in found), None)
