"""What secret cases reveal: one outcome for all of them together, and nothing else.

A kernel sees the sizes of a secret case and could signal them with whatever is shown of it: with a kind of finding
for each bit, a different outcome for each case, the variant it launches, a line. So all secret cases are shown alike,
with the worst outcome among them:

- `launch`: failed, not judged or in error, without saying how, if every other case launches correctly;
- `memory`: passed, failed, not judged or in error;
- `correct`: the same if `memory` passed or was not judged; otherwise skipped.

That makes thirteen outcomes, less than four bits for each submission graded, however many cases there are. The time
that grading takes is not hidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from grader.checks import launch
from grader.exercise import secret as secrets
from grader.launching.plan import Plan
from grader.model.execution import Compilation
from grader.model.exercise import Case
from grader.model.families import CORRECT, MEMORY
from grader.model.result import Check, Status

_WORST_FIRST = (Status.FAILED, Status.ERROR, Status.NOT_JUDGED, Status.SKIPPED, Status.PASSED)
_STOPS = {Status.FAILED: "failed", Status.ERROR: "ended in error"}
_NAMED = re.compile(r"\[secret-\d+\]")


def redacted(case: Case, check: Check) -> Check:
    return secrets.redact(check) if case.secret else check


def launched(plans: Sequence[tuple[Case, Plan]], compilation: Compilation) -> Check:
    """The check of the other cases, in full; if that passes, only whether the secret ones pass."""
    check = launch.judge([planned for planned in plans if not planned[0].secret], compilation)
    hidden = [planned for planned in plans if planned[0].secret]
    if check.status is not Status.PASSED or not hidden:
        return check
    of_hidden = launch.judge(hidden, compilation)
    return check if of_hidden.status is Status.PASSED else secrets.redact(of_hidden)


def together(checks: Iterable[Check], cases: Iterable[Case]) -> list[Check]:
    """The same checks in the same order, those of secret cases alike."""
    found = list(checks)
    names = {case.name for case in cases if case.secret}
    hidden = [check for check in found if check.case in names]
    if not hidden:
        return found
    worst = {name: _worst(check for check in hidden if check.family == name) for name in (MEMORY.name, CORRECT.name)}
    return [_alike(check, worst) if check.case in names else _without_number(check) for check in found]


def _alike(check: Check, worst: dict[str, Check | None]) -> Check:
    accesses, shown = worst[MEMORY.name], worst.get(check.family)
    if shown is None:
        return check
    if check.family == CORRECT.name and accesses is not None and accesses.status in _STOPS:
        because = f"{MEMORY.id(check.case)} {_STOPS[accesses.status]}"
        return Check(check.id, Status.SKIPPED, reason=because, case=check.case, required=shown.required)
    reason = shown.reason and _NAMED.sub(f"[{check.case}]", shown.reason)
    return msgspec.structs.replace(shown, id=check.id, case=check.case, reason=reason)


def _without_number(check: Check) -> Check:
    """A check skipped because of a secret case does not say which one."""
    if not check.reason or not _NAMED.search(check.reason):
        return check
    return msgspec.structs.replace(check, reason=_NAMED.sub("[secret-1]", check.reason))


def _worst(checks: Iterable[Check]) -> Check | None:
    return min(checks, key=lambda check: _WORST_FIRST.index(check.status), default=None)
