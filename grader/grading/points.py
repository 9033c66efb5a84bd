"""Points by rubric.

correctness: equal shares, one for each required case that is right, one for all the other cases being right.
performance: equal shares, one for each case that decides and is fast enough; null where speed was not judged: on a
             CPU also that of wrong cases, for numbers are a GPU's to judge.
             Who does what the exercise forbids has solved another one: no points for correctness and performance.
quality:     what the machine's rules give, once a required case is right: an untouched starter earns none.
             The rest of the rubric's quality is `manual`, null until an instructor gives it.

Where the verdict is error there are none: a part of them would be taken for a grade.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from grader.model.exercise import Exercise
from grader.model.result import Check, Points, Status, Verdict, verdict_of

UNKNOWN = (Status.NOT_JUDGED, Status.ERROR)
BEFORE_SPEED = ("compile", "launch", "memory[", "correct[")


def of(exercise: Exercise, checks: Sequence[Check]) -> Points:
    """`total` adds up what is known; null where nothing is."""
    most = float(sum(exercise.points.values()))
    if verdict_of(tuple(checks)) is Verdict.ERROR:
        return Points(correctness=None, performance=None, quality=None, manual=None, total=None, max=most)
    correct = [check for check in checks if check.id.startswith("correct[")]
    speed = [check for check in checks if check.id.startswith("speed[") and check.required]
    # An error before it says nothing about the submission.
    lost = any(check.status is Status.ERROR for check in checks if check.id.startswith(BEFORE_SPEED))
    correctness = None if lost else _correctness(exercise, correct)
    performance = _performance(exercise, speed, lost=lost)
    if any(check.id == "rules" and check.status is Status.FAILED for check in checks):
        correctness, performance = 0.0, 0.0
    quality = _quality(checks, earned=correctness is None or _any_right(exercise, correct))
    known = [part for part in (correctness, performance, quality) if part is not None]
    return Points(
        correctness=correctness,
        performance=performance,
        quality=quality,
        manual=None,
        total=round(sum(known), 2) if known else None,
        max=most,
    )


def _correctness(exercise: Exercise, correct: Sequence[Check]) -> float | None:
    if any(check.status in UNKNOWN for check in correct):
        return None
    right = [check.status is Status.PASSED for check in correct if check.case in exercise.cases]
    others = [check.status is Status.PASSED for check in correct if check.case not in exercise.cases]
    shares = [*right, all(others)] if others else right
    return _share(exercise.points["correctness"], shares)


def _performance(exercise: Exercise, speed: Sequence[Check], *, lost: bool) -> float | None:
    if any(check.status in UNKNOWN for check in speed) or not any(check.device == "cuda" for check in speed):
        return None
    if lost and any(check.status is Status.SKIPPED for check in speed):
        return None
    return _share(exercise.points["performance"], [check.status is Status.PASSED for check in speed])


def _quality(checks: Sequence[Check], *, earned: bool) -> float | None:
    quality = next((check for check in checks if check.id == "quality"), None)
    if quality is None or quality.status in UNKNOWN:
        return None
    return float(quality.measurements.get("points", 0)) if earned else 0.0


def _any_right(exercise: Exercise, correct: Sequence[Check]) -> bool:
    return any(check.status is Status.PASSED for check in correct if check.case in exercise.cases)


def _share(points: float, shares: Iterable[bool]) -> float:
    flags = list(shares)
    return round(points * sum(flags) / len(flags), 2) if flags else 0.0
