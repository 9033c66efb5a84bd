"""A Result in the format of Gradescope's results.json.

Its fields are those of https://gradescope-autograders.readthedocs.io/en/latest/specs/. `score` at the top counts; the
tests below it show where the points come from. If the grader failed, there is no score anywhere: Gradescope then
reports that the autograder failed, and no student gets a zero for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from grader.batch import filenames, outcomes
from grader.batch.entry import Entry
from grader.batch.exports.format import Exported, Order
from grader.grading import points
from grader.grading.points import Share
from grader.model.exercise import Exercise
from grader.model.result import Check, Finding, Result, Status, Verdict

# A test's colour. Without a status, Gradescope shows any test below its maximum as failed.
_STATUS = {Status.PASSED: "passed", Status.FAILED: "failed"}
_SAYS = {
    Status.PASSED: "passed",
    Status.FAILED: "failed",
    Status.SKIPPED: "skipped",
    Status.NOT_JUDGED: "not judged",
    Status.ERROR: "the grader failed",
}
_HEADLINES = {
    Verdict.PASSED: "Passed.",
    Verdict.FAILED: "Not passed yet.",
    Verdict.INCOMPLETE: "Nothing wrong was found, but not everything could be judged here.",
    Verdict.ERROR: "The grader failed; this is not your fault. Submit again, or tell your instructor.",
}

SHOWN_FINDINGS = 20


class Gradescope:
    about = "a results.json per student, in a folder"
    place = "gradescope"
    per_student = True
    takes_template = False

    def export(self, entries: Sequence[Entry], exercise: Exercise, _: Order, /) -> Exported:
        found = {
            f"{filenames.stem(entry.submitted.student)}/results.json": encode(results(entry.result, exercise))
            for entry in entries
            if entry.result is not None
        }
        return Exported(found, f"{len(found)} of {len(entries)} students have a results.json in it")


def encode(results: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n"


def results(result: Result, exercise: Exercise) -> dict[str, Any]:
    """One test per check, with its share of the points (see grader/grading/points.py)."""
    failed = result.verdict is Verdict.ERROR
    shares = {} if failed else _shares(result, exercise)
    score = None if failed else result.points.total
    return {
        **({} if score is None else {"score": score}),
        **_common(_summary(result, exercise)),
        "tests": [_test(check, shares.get(check.id)) for check in result.checks] + _further(result, exercise, failed),
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
    return {**_common(_HEADLINES[Verdict.ERROR]), "tests": [test]}


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
    lines = [f"{exercise.title}: {_HEADLINES[result.verdict]}"]
    rubrics = {} if result.verdict is Verdict.ERROR else exercise.points
    for rubric, most in rubrics.items():
        part = getattr(given, rubric, None)
        lines.append(f"{rubric}: {'not judged here' if part is None else f'{part:g} of {most}'}")
    if given.manual is not None:
        lines.append(f"by the instructor: {given.manual:g}")
    lines.append(f"Seed {result.seed}; to repeat: grade run {exercise.name} starter.cu --seed {result.seed}")
    return "\n".join(lines)


def _test(check: Check, share: float | None) -> dict[str, Any]:
    says = [f"{_SAYS[check.status]}: {check.reason}" if check.reason else _SAYS[check.status]]
    says += [check.message] if check.message else []
    says += [line for finding in check.findings[:SHOWN_FINDINGS] for line in _lines(finding)]
    score = {} if share is None else {"score": _earned(check, share), "max_score": share}
    status = {"status": _STATUS[check.status]} if check.status in _STATUS else {}
    return {
        "name": check.id,
        **score,
        **status,
        "output": "\n".join(dict.fromkeys(says)),
        "tags": [tag for tag in (check.family, check.case, check.device) if tag],
        "visibility": "visible",
    }


def _earned(check: Check, share: float) -> float:
    if check.rubric == "quality":
        return check.measurements.points or 0.0
    return share if check.status is Status.PASSED else 0.0


def _lines(finding: Finding) -> Iterator[str]:
    place = f"{finding.file}:{finding.line}: " if finding.line else ""
    times = f" ({finding.count:,} times)" if finding.count > 1 and finding.line else ""
    yield f"{place}{finding.kind}: {finding.message}{times}"
    yield from (f"  {note}" for note in finding.notes)


def _shares(result: Result, exercise: Exercise) -> dict[str, float]:
    """By check id. A rubric that was not judged gives no points to share."""
    given, shares = result.points, list[Share]()
    if given.correctness is not None:
        shares += points.correctness_shares(exercise, result.checks)
    if given.performance is not None:
        shares += points.performance_shares(exercise, result.checks)
    found = {share.checks[0].id: round(share.points, 2) for share in shares if not share.further}
    if given.quality is not None:
        rules = float(sum(rule.points for rule in exercise.quality))
        found |= {check.id: rules for check in result.checks if check.rubric == "quality"}
    return found


def _further(result: Result, exercise: Exercise, failed: bool) -> list[dict[str, Any]]:
    """The extra cases count as one."""
    right, of = outcomes.further(result, exercise)
    if failed or not of or result.points.correctness is None:
        return []
    shares = points.correctness_shares(exercise, result.checks)
    share = next((round(share.points, 2) for share in shares if share.further), 0.0)
    return [
        {
            "name": "correct, extra cases",
            "score": share if right == of else 0.0,
            "max_score": share,
            "status": "passed" if right == of else "failed",
            "output": f"{right} of {of} right; each has its own test above",
            "tags": ["correct"],
            "visibility": "visible",
        }
    ]


def _leaderboard(result: Result, exercise: Exercise) -> Iterator[dict[str, Any]]:
    """Only correct submissions are ranked, and only if they were timed."""
    ratios = {case: outcomes.of_case(result, case).ratio for case in exercise.speed_cases or exercise.cases}
    measured: Sequence[float] = [ratio for ratio in ratios.values() if ratio is not None]
    if len(measured) == len(ratios) and measured:
        yield {"name": "lowest ratio", "value": round(min(measured), 3)}
    for case, ratio in ratios.items():
        if ratio is not None:
            yield {"name": f"{case} ratio", "value": round(ratio, 3)}
