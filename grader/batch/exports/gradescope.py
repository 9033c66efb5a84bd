"""A Result in the format of Gradescope's results.json.

Its fields are those of https://gradescope-autograders.readthedocs.io/en/latest/specs/. `score` at the top counts; the
tests below it show where the points come from, and add up to it. If the grader failed, there is no score anywhere:
Gradescope then reports that the autograder failed, and no student gets a zero for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from grader.batch import feedback, filenames, outcomes
from grader.batch.entry import Entry, Lateness
from grader.batch.exports.format import Exported, Order
from grader.grading import points
from grader.grading.points import Share
from grader.model.exercise import Exercise
from grader.model.families import Rubric
from grader.model.result import Check, Result, Status, Verdict

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
_GRADER_FAILED = "The grader failed; this is not your fault. Submit again, or tell your instructor."

ON_TIME = Lateness()
EXTRA = "extra cases"
SHOWN_FINDINGS = 20
ROUNDING = 0.01  # points: shares of a rubric are rounded to hundredths


class Gradescope:
    about = "a results.json per student, in a folder"
    place = "gradescope"
    per_student = True
    takes_template = False

    def export(self, entries: Sequence[Entry], exercise: Exercise, _: Order, /) -> Exported:
        found = {
            f"{filenames.stem(entry.submitted.student)}/results.json": encode(
                results(entry.result, exercise, entry.manual.said, entry.lateness)
            )
            for entry in entries
            if entry.result is not None
        }
        return Exported(found, f"{len(found)} of {len(entries)} students have a results.json in it")


def encode(results: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n"


def results(result: Result, exercise: Exercise, comment: str = "", lateness: Lateness = ON_TIME) -> dict[str, Any]:
    """A test for each case and rubric. The scores of the tests add up to `score`, rubric by rubric."""
    failed = result.verdict is Verdict.ERROR
    total = None if failed else result.points.total
    score = None if total is None else round(total - lateness.lost(total), 2)
    tests = list(_tests(result, exercise, comment, scored=not failed))
    if total and lateness.percent:
        minus = {"name": lateness.said, "score": -lateness.lost(total), "max_score": 0.0, "visibility": "visible"}
        tests.append(minus)
    return {
        **({} if score is None else {"score": score}),
        **_common(_summary(result, exercise)),
        "tests": tests,
        "leaderboard": list(_leaderboard(result, exercise)),
        "extra_data": {
            "verdict": result.verdict.value,
            "seed": result.seed,
            "sha256": result.submission.sha256,
            **({} if failed else {"points": msgspec.to_builtins(result.points)}),
        },
    }


def nothing_to_grade(problem: str) -> dict[str, Any]:
    """If the uploaded files contain no submission: the student sees why at once and can submit again."""
    test = {"name": "submission", "status": "failed", "output": f"{problem}. Submit your starter.cu."}
    return {"score": 0.0, **_common(f"Nothing was graded: {problem}."), "tests": [{**test, "visibility": "visible"}]}


def grader_failed(why: str) -> dict[str, Any]:
    """No score: a fault of the machine costs no points."""
    test = {"name": "grader", "status": "failed", "output": why, "visibility": "visible"}
    return {**_common(_GRADER_FAILED), "tests": [test]}


def _common(output: str) -> dict[str, Any]:
    """Plain text: text that comes from a submission is never treated as markup."""
    return {
        "output": output,
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
    }


def _summary(result: Result, exercise: Exercise) -> str:
    given = result.points
    failed = result.verdict is Verdict.ERROR
    lines = [f"{exercise.title}: {_GRADER_FAILED if failed else feedback.headline(result)}"]
    rubrics = {} if failed else exercise.points
    for rubric, most in rubrics.items():
        part = getattr(given, rubric, None)
        lines.append(f"{rubric}: {'not judged here' if part is None else f'{part:g} of {most}'}")
    if given.manual is not None:
        lines.append(f"from your instructor: {given.manual:g}")
    lines.append(f"To repeat: grade run {exercise.name} starter.cu --seed {result.seed}")
    return "\n".join(lines)


def _tests(result: Result, exercise: Exercise, comment: str, *, scored: bool) -> Iterator[dict[str, Any]]:
    said = _Said(result)
    for check in result.checks:
        if check.case is None and check.rubric == "" and (check.status is not Status.PASSED or check.findings):
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
        yield {**_test(name, checks, said), **scores.get(name, {})}
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
        if not about and check.status is not Status.PASSED:
            yield ": ".join(filter(None, (_SAYS[check.status], check.reason or check.message)))
        if not about and check.status is not Status.FAILED:
            yield from (finding.placed for finding in check.findings[:SHOWN_FINDINGS])


def _leaderboard(result: Result, exercise: Exercise) -> Iterator[dict[str, Any]]:
    """Only correct submissions are ranked, and only if they were timed."""
    ratios = {case: outcomes.of_case(result, case).ratio for case in exercise.speed_cases or exercise.cases}
    measured: Sequence[float] = [ratio for ratio in ratios.values() if ratio is not None]
    if len(measured) == len(ratios) and measured:
        yield {"name": "lowest ratio", "value": round(min(measured), 3)}
    for case, ratio in ratios.items():
        if ratio is not None:
            yield {"name": f"{case} ratio", "value": round(ratio, 3)}
