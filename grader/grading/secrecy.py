"""What an instructor's secret cases tell: for all of them together one outcome, and nothing else.

A kernel sees a secret case's sizes and could signal them by what it does: with a kind of finding for each bit, a case
for each, a variant that it launches, a line. So all secret cases are shown alike, as the worst of them came out:

- `launch`: refused, not judged or in error, and nothing of how, where every other case is launched rightly;
- `memory`: passed, failed, not judged, in error;
- `correct`: the same where `memory` passed or was not judged; skipped where it failed.

That is one of thirteen outcomes, less than four bits for each submission that is graded, however many cases there
are. How long a grading takes is not hidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from grader.checks import correct, launch, memory
from grader.exercise import secret as secrets
from grader.launching.plan import Plan
from grader.model.execution import Compilation
from grader.model.exercise import Case
from grader.model.result import Check, Status

_WORST_FIRST = (Status.FAILED, Status.ERROR, Status.NOT_JUDGED, Status.SKIPPED, Status.PASSED)
_STOPS = (Status.FAILED, Status.ERROR)
_NAMED = re.compile(r"\[secret-\d+\]")


def launched(plans: Sequence[tuple[Case, Plan]], compilation: Compilation) -> Check:
    """The check of the others, in full; of the secret ones that something is wrong, where nothing is with those."""
    others = [planned for planned in plans if not planned[0].secret]
    hidden = [planned for planned in plans if planned[0].secret]
    check = launch.judge(others, compilation)
    if check.status is not Status.PASSED or not hidden:
        return check
    of_hidden = launch.judge(hidden, compilation)
    return check if of_hidden.status is Status.PASSED else secrets.redact(of_hidden)


def together(checks: Iterable[Check], cases: Iterable[Case]) -> list[Check]:
    """The same checks in the same order, those of secret cases alike."""
    found = list(checks)
    names = [case.name for case in cases if case.secret]
    if not names:
        return found
    accesses = _worst([check for check in found if check.case in names and check.id.startswith(f"{memory.NAME}[")])
    numbers = _worst([check for check in found if check.case in names and check.id.startswith(f"{correct.NAME}[")])
    return [_alike(check, accesses, numbers) if check.case in names else _without_number(check) for check in found]


def _alike(check: Check, accesses: Check | None, numbers: Check | None) -> Check:
    shown = accesses if check.id.startswith(f"{memory.NAME}[") else numbers
    if shown is None:
        return check
    stopped = shown is numbers and accesses is not None and accesses.status in _STOPS
    if stopped and accesses is not None:
        how = "failed" if accesses.status is Status.FAILED else "ended in error"
        because = f"{memory.NAME}[{check.case}] {how}"
        return Check(check.id, Status.SKIPPED, reason=because, case=check.case, required=shown.required)
    reason = shown.reason and _NAMED.sub(f"[{check.case}]", shown.reason)
    return msgspec.structs.replace(shown, id=check.id, case=check.case, reason=reason)


def _without_number(check: Check) -> Check:
    """What is skipped because of a secret case does not say of which."""
    if not check.reason or not _NAMED.search(check.reason):
        return check
    return msgspec.structs.replace(check, reason=_NAMED.sub("[secret-1]", check.reason))


def _worst(checks: Sequence[Check]) -> Check | None:
    order = {status: rank for rank, status in enumerate(_WORST_FIRST)}
    return min(checks, key=lambda check: order[check.status], default=None)
