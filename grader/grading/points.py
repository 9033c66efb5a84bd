"""Points by rubric.

correctness: equal shares, one for each required case that is right, one for all the other cases being right.
performance: equal shares, one for each case that decides and is fast enough; null where speed was not judged: on a
             CPU also that of wrong cases, for numbers are a GPU's to judge.
             Who does what the exercise forbids has solved another one: no points for correctness and performance.
quality:     what the machine's rules give, once a required case is right: an untouched starter earns none.
             The rest of the rubric's quality is `manual`, null until an instructor gives it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from grader.model import families
from grader.model.exercise import Exercise
from grader.model.families import SPEED, Rubric
from grader.model.result import Check, Points, Status

UNKNOWN = (Status.NOT_JUDGED, Status.ERROR)
BEFORE_SPEED = {family.name for family in families.before(SPEED)}


class Share(msgspec.Struct, frozen=True):
    """Points that go together: for all of these checks passed, or not at all. `further`: of cases not named."""

    checks: tuple[Check, ...]
    points: float
    further: bool = False

    @property
    def earned(self) -> float:
        return self.points if all(check.status is Status.PASSED for check in self.checks) else 0.0


def of(exercise: Exercise, checks: Sequence[Check]) -> Points:
    """`total` adds up what is known; null where nothing is."""
    # An error before it says nothing about the submission.
    lost = any(check.status is Status.ERROR for check in checks if check.family in BEFORE_SPEED)
    correctness = None if lost else _correctness(exercise, checks)
    performance = _performance(exercise, checks, lost=lost)
    if any(families.of(check.family).voids and check.status is Status.FAILED for check in checks):
        correctness, performance = 0.0, 0.0
    quality = _quality(checks, earned=correctness is None or _any_right(exercise, checks))
    known = [part for part in (correctness, performance, quality) if part is not None]
    return Points(
        correctness=correctness,
        performance=performance,
        quality=quality,
        manual=None,
        total=round(sum(known), 2) if known else None,
        max=float(sum(exercise.points.values())),
    )


def correctness_shares(exercise: Exercise, checks: Sequence[Check]) -> list[Share]:
    judged = _sharing("correctness", checks)
    groups = [(check,) for check in judged if check.case in exercise.cases]
    others = tuple(check for check in judged if check.case not in exercise.cases)
    points = exercise.points["correctness"] / (len(groups) + bool(others) or 1)
    shares = [Share(group, points) for group in groups]
    return [*shares, Share(others, points, further=True)] if others else shares


def performance_shares(exercise: Exercise, checks: Sequence[Check]) -> list[Share]:
    judged = _sharing("performance", checks)
    return [Share((check,), exercise.points["performance"] / len(judged)) for check in judged]


def _correctness(exercise: Exercise, checks: Sequence[Check]) -> float | None:
    if any(check.status in UNKNOWN for check in _sharing("correctness", checks)):
        return None
    return _earned(correctness_shares(exercise, checks))


def _performance(exercise: Exercise, checks: Sequence[Check], *, lost: bool) -> float | None:
    speed = _sharing("performance", checks)
    if any(check.status in UNKNOWN for check in speed) or not any(check.device == "cuda" for check in speed):
        return None
    if lost and any(check.status is Status.SKIPPED for check in speed):
        return None
    return _earned(performance_shares(exercise, checks))


def _quality(checks: Sequence[Check], *, earned: bool) -> float | None:
    quality = next((check for check in checks if check.rubric == "quality"), None)
    if quality is None or quality.status in UNKNOWN:
        return None
    return (quality.measurements.points or 0.0) if earned else 0.0


def _sharing(rubric: Rubric, checks: Sequence[Check]) -> list[Check]:
    """Without the speed that is only shown."""
    return [check for check in checks if check.rubric == rubric and (check.required or rubric != "performance")]


def _any_right(exercise: Exercise, checks: Sequence[Check]) -> bool:
    shares = correctness_shares(exercise, checks)
    return any(share.earned for share in shares if not share.further)


def _earned(shares: Sequence[Share]) -> float:
    return round(sum(share.earned for share in shares), 2)
