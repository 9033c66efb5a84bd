"""Why a student's grade changed: the inputs of the grading, and the outcome of each check."""

from __future__ import annotations

import msgspec

from grader.batch.entry import Submitted
from grader.batch.ledger import Grading, Ledger, LedgerEvent
from grader.model import families
from grader.model.result import Check

ABSENT = "absent"


class CheckChange(msgspec.Struct, frozen=True):
    """Checks of one kind that changed in the same way. Statuses as in the Result; ABSENT if a grading lacks them.

    `why` is the message of the first of them now.
    """

    ids: tuple[str, ...]
    before: str
    after: str
    why: str = ""


class GradingChanges(msgspec.Struct, frozen=True):
    """`causes`: what differs between the two gradings, in words; () if nothing that the ledger records."""

    causes: tuple[str, ...]
    checks: tuple[CheckChange, ...]
    points: tuple[float | None, float | None]


class Regraded(msgspec.Struct, frozen=True):
    """A student's last two gradings."""

    submitted: Submitted
    before: LedgerEvent
    after: LedgerEvent

    @property
    def changed(self) -> bool:
        """Whether the grade or the verdict is another."""
        old, new = self.before.grading, self.after.grading
        return (old.verdict, _total(old)) != (new.verdict, _total(new))

    @property
    def points(self) -> tuple[float | None, float | None]:
        return _total(self.before.grading), _total(self.after.grading)


def regraded(ledger: Ledger, since: str = "", after: int = 0) -> list[Regraded]:
    """Students of the batch who were graded more than once, in the batch's order.

    The last time at `since` or later, a time of the ledger's, UTC ("2026-03-01 09:30:00", or the beginning of one),
    and after the event with the number `after`.
    """
    found = []
    for one in ledger.enrolled():
        events = ledger.history(one.submitted.student)
        if len(events) > 1 and events[-1].at >= since and events[-1].number > after:
            found.append(Regraded(one.submitted, events[-2], events[-1]))
    return found


def between(before: Grading, after: Grading) -> GradingChanges:
    return GradingChanges(
        tuple(_causes(before, after)), tuple(_checks(before, after)), (_total(before), _total(after))
    )


def _causes(before: Grading, after: Grading) -> list[str]:
    one, two = before.conditions, after.conditions
    causes = []
    if before.sha256 != after.sha256:
        causes.append(f"a different submission: {after.sha256[:12]} instead of {before.sha256[:12]}")
    if (one.exercise, one.exercise_hash) != (two.exercise, two.exercise_hash):
        causes.append("the exercise's files changed (exercise.toml, oracle.py or another file that affects grades)")
    if one.grader != two.grader:
        causes.append(f"grader {two.grader} instead of {one.grader}")
    if one.seed != two.seed:
        causes.append(f"seed {two.seed} instead of {one.seed}")
    if one.device != two.device:
        causes.append(f"on {two.device} instead of {one.device}")
    if one.secret_hash != two.secret_hash:
        causes.append("different secret cases")
    return causes


def _checks(before: Grading, after: Grading) -> list[CheckChange]:
    old, new = _by_id(before), _by_id(after)
    alike: dict[tuple[str, str, str], list[str]] = {}
    for identity in dict.fromkeys([*old, *new]):
        was, now = _status(old.get(identity)), _status(new.get(identity))
        if was != now:
            alike.setdefault((families.name_of(identity), was, now), []).append(identity)
    return [CheckChange(tuple(ids), was, now, _why(new.get(ids[0]))) for (_, was, now), ids in alike.items()]


def _status(check: Check | None) -> str:
    return check.status.value if check else ABSENT


def _why(check: Check | None) -> str:
    return (check.reason or check.message) if check else ""


def _by_id(grading: Grading) -> dict[str, Check]:
    return {check.id: check for check in grading.result.checks} if grading.result else {}


def _total(grading: Grading) -> float | None:
    return grading.result.points.total if grading.result else None
