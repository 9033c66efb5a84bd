"""Points by rubric.

correctness: equal shares, one for each correct required case, and one if all other cases are correct. Where an
            exercise has several kernels, each earns its part of a share by itself, by their weights.
performance: equal shares, one for each deciding case that is fast enough; null if speed was not judged, which on a
            CPU includes wrong cases, because the GPU has the last word on numbers.
            A submission that uses what the exercise forbids gets no points for correctness and performance.
quality:     the points of the automatic rules, once a required case is correct, so an untouched starter gets none.
            The rest of quality is `manual`, null until an instructor gives it.

If the verdict is error there are no points at all: some of them would be mistaken for a grade.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from grader.model import families
from grader.model.exercise import Exercise
from grader.model.families import SPEED, Rubric
from grader.model.result import Check, Points, Status, Verdict, verdict_of

UNKNOWN = (Status.NOT_JUDGED, Status.ERROR)
BEFORE_SPEED = {family.name for family in families.before(SPEED)}


class Share(msgspec.Struct, frozen=True):
    """Points given if all of these checks pass, or the `part` of them that was earned all the same. `further`: for
    cases that are not required."""

    checks: tuple[Check, ...]
    points: float
    further: bool = False
    part: float = 0.0

    @property
    def earned(self) -> float:
        passed = all(check.status is Status.PASSED for check in self.checks)
        return self.points if passed else self.points * self.part


def of(exercise: Exercise, checks: Sequence[Check]) -> Points:
    """`total` adds up the known points; null if there are none."""
    most = float(sum(exercise.points.values()))
    if verdict_of(tuple(checks)) is Verdict.ERROR:
        return Points(correctness=None, performance=None, quality=None, manual=None, total=None, max=most)
    # An error in an earlier check says nothing about the submission.
    lost = any(check.status is Status.ERROR for check in checks if check.family in BEFORE_SPEED)
    correctness = None if lost else _correctness(exercise, checks)
    performance = _performance(exercise, checks, lost=lost)
    if any(families.of(check.family).voids and check.status is Status.FAILED for check in checks):
        correctness, performance = 0.0, 0.0
    failed = verdict_of(tuple(checks)) is Verdict.FAILED
    quality = _quality(checks, earned=_any_right(exercise, checks) or (correctness is None and not failed))
    known = [part for part in (correctness, performance, quality) if part is not None]
    return Points(
        correctness=correctness,
        performance=performance,
        quality=quality,
        manual=None,
        total=round(sum(known), 2) if known else None,
        max=most,
    )


def correctness_shares(exercise: Exercise, checks: Sequence[Check]) -> list[Share]:
    judged = _sharing("correctness", checks)
    groups = [(check,) for check in judged if check.case in exercise.cases]
    others = tuple(check for check in judged if check.case not in exercise.cases)
    points = exercise.points["correctness"] / (len(groups) + bool(others) or 1)
    shares = [Share(group, points, part=_part(exercise, group)) for group in groups]
    if not others:
        return shares
    return [*shares, Share(others, points, further=True, part=_part(exercise, others))]


def _part(exercise: Exercise, checks: Sequence[Check]) -> float:
    """The weights of the kernels that are right in all of these cases."""
    right = set(exercise.weights)
    for check in checks:
        right &= right_kernels(exercise, check)
    return sum(exercise.weights[name] for name in right)


def right_kernels(exercise: Exercise, check: Check) -> set[str]:
    """Of a check of results: the kernels whose outputs are right, as far as findings tell them apart."""
    if check.status is Status.PASSED:
        return set(exercise.makers)
    wrong = {finding.kernel for finding in check.findings}
    if check.status is Status.FAILED and wrong and wrong <= set(exercise.makers):
        return set(exercise.makers) - wrong
    return set(check.measurements.right_kernels or ())


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
    """Without speed that is shown only for information."""
    return [check for check in checks if check.rubric == rubric and (check.required or rubric != "performance")]


def _any_right(exercise: Exercise, checks: Sequence[Check]) -> bool:
    """A required case, or a kernel in one."""
    judged = (check for check in _sharing("correctness", checks) if check.case in exercise.cases)
    return any(right_kernels(exercise, check) for check in judged)


def _earned(shares: Sequence[Share]) -> float:
    return round(sum(share.earned for share in shares), 2)
