"""The tests of a results.json: one for each case and rubric, whose scores add up to the points that were given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from grader.batch import feedback
from grader.grading import points
from grader.grading.points import Share
from grader.model.exercise import Exercise
from grader.model.families import Rubric
from grader.model.result import Check, Result, Status

# A test's colour. Without a status, Gradescope shows any test below its maximum as failed.
_STATUS = {Status.PASSED: "passed", Status.FAILED: "failed"}
_SAYS = {
    Status.PASSED: "passed",
    Status.FAILED: "failed",
    Status.SKIPPED: "skipped",
    Status.NOT_JUDGED: "not judged",
    Status.ERROR: "the grader failed",
}
_WORST_FIRST = (Status.FAILED, Status.ERROR, Status.NOT_JUDGED, Status.SKIPPED, Status.PASSED)

NOT_TIMED = "not timed: the result must be correct first"
WITHHELD = "These points count once the result of a required case is correct."

EXTRA = "extra cases"
SHOWN_FINDINGS = 20
ROUNDING = 0.01  # points: shares of a rubric are rounded to hundredths


def of(result: Result, exercise: Exercise, comment: str, *, scored: bool) -> Iterator[dict[str, Any]]:
    said = _Said(result)
    for check in result.checks:
        said_elsewhere = check.status in (Status.PASSED, Status.SKIPPED) and not check.findings
        if check.case is None and check.rubric == "" and not said_elsewhere:
            yield _test(check.family, [check], said)
    yield from _of_rubric("correctness", _correctness(result, exercise), result, exercise, said, scored=scored)
    yield from _of_rubric("performance", _performance(result), result, exercise, said, scored=scored)
    quality = [("quality", [check]) for check in result.checks if check.rubric == "quality"]
    yield from _of_rubric("quality", quality, result, exercise, said, scored=scored)
    if scored and result.points.manual is not None:
        score = {"score": result.points.manual, "max_score": result.points.manual}
        yield {"name": "from your instructor", **score, "output": comment, "visibility": "visible"}


_Group = tuple[str, Sequence[Check]]


def _correctness(result: Result, exercise: Exercise) -> list[_Group]:
    """A test for each required case, and one for all others, as they share the points."""
    checks = [check for check in result.checks if check.case is not None and check.rubric != "performance"]
    own = [(case, [check for check in checks if check.case == case]) for case in exercise.cases]
    others = [check for check in checks if check.case not in exercise.cases]
    return [(name, group) for name, group in (*own, (EXTRA, others)) if group]


def _performance(result: Result) -> list[_Group]:
    timed = [check for check in result.checks if check.rubric == "performance" and check.required]
    return [(f"{check.case or check.id}, speed", [check]) for check in timed]


def _of_rubric(
    rubric: Rubric, groups: Sequence[_Group], result: Result, exercise: Exercise, said: _Said, *, scored: bool
) -> Iterator[dict[str, Any]]:
    """The groups' tests with their shares; where those are not what was given, one more test has the points."""
    given = getattr(result.points, rubric) if scored else None
    scores = _scores(rubric, groups, given, result, exercise)
    for name, checks in groups:
        test = {**_test(name, checks, said), **scores.get(name, {})}
        if rubric == "quality" and test.get("score") == 0 and any(check.measurements.points for check in checks):
            test = {key: value for key, value in test.items() if key != "status"} | {"output": WITHHELD}
        yield test
    if given is not None and groups and not scores:
        most = float(exercise.points.get(rubric, given))
        yield {"name": rubric, "score": given, "max_score": max(most, given), "visibility": "visible"}


def _scores(
    rubric: Rubric, groups: Sequence[_Group], given: float | None, result: Result, exercise: Exercise
) -> dict[str, dict[str, float]]:
    """By test: `score` and `max_score`, if they add up to the points that were given."""
    if given is None:
        return {}
    if rubric == "quality":
        most = float(sum(rule.points for rule in exercise.quality))
        return {name: {"score": given, "max_score": max(most, given)} for name, _ in groups[:1]}
    find = points.correctness_shares if rubric == "correctness" else points.performance_shares
    shares = find(exercise, result.checks)
    names = [_name_of(share, groups) for share in shares]
    if len(set(names)) < len(shares) or "" in names:
        return {}
    earned = [share.earned if given else 0.0 for share in shares]  # what the rules forbid earns nothing
    found = {
        name: {"score": round(score, 2), "max_score": round(share.points, 2)}
        for name, score, share in zip(names, earned, shares, strict=True)
    }
    last = next((name for name, score in zip(reversed(names), reversed(earned), strict=True) if score), "")
    rest = round(given - sum(one["score"] for one in found.values()), 2)
    if abs(rest) > ROUNDING * len(found) or (rest and not last):
        return {}
    if rest:
        found[last] = {key: round(value + rest, 2) for key, value in found[last].items()}
    return found


def _name_of(share: Share, groups: Sequence[_Group]) -> str:
    """The only test that shows all of the share's checks."""
    ids = {check.id for check in share.checks}
    names = [name for name, checks in groups if ids <= {check.id for check in checks}]
    return names[0] if len(names) == 1 else ""


def _test(name: str, checks: Sequence[Check], said: _Said) -> dict[str, Any]:
    status = _status(checks)
    colour = {"status": _STATUS[status]} if status in _STATUS else {}
    lines = [_how_many(checks)] if name == EXTRA else []
    shown = [check for check in checks if check.status is not Status.SKIPPED] or checks
    lines += [line for check in shown for line in said.of(check)]
    return {
        "name": name,
        **colour,
        "output": "\n".join(dict.fromkeys(lines)) or _SAYS[status],
        "tags": list(dict.fromkeys(check.family for check in checks)),
        "visibility": "visible",
    }


def _how_many(checks: Sequence[Check]) -> str:
    """ "7 of 9 right"."""
    by_case = [[check for check in checks if check.case == case] for case in {check.case for check in checks}]
    right = sum(_status(of_case) is Status.PASSED for of_case in by_case)
    return f"{right} of {len(by_case)} right"


def _status(checks: Sequence[Check]) -> Status:
    """What is worst; a check that was skipped behind a failed one adds nothing."""
    found = {check.status for check in checks}
    return next(one for one in _WORST_FIRST if one in found)


class _Said:
    """Tells each mistake once, with its next step; afterwards, refers to it."""

    def __init__(self, result: Result) -> None:
        self._advice = feedback.of(result)
        self._told: dict[int, str] = {}

    def of(self, check: Check) -> Iterator[str]:
        place = check.case or check.family
        about = [
            (number, advice)
            for number, advice in enumerate(self._advice, start=1)
            if check.status is Status.FAILED and advice.shows(check)
        ]
        for number, advice in about:
            if number in self._told and self._told[number] != place:
                yield f"{advice.heading}: as in {self._told[number]}"
                continue
            self._told[number] = place
            yield from feedback.paragraph(advice)
        if check.rubric == "performance" and check.status is Status.SKIPPED:
            yield NOT_TIMED
        elif not about and check.status is not Status.PASSED:
            yield ": ".join(filter(None, (_SAYS[check.status], check.reason or check.message)))
        if not about and check.status is not Status.FAILED:
            yield from (finding.placed for finding in check.findings[:SHOWN_FINDINGS])
