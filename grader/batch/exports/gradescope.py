"""A Result as Gradescope's results.json.

Its fields are those of https://gradescope-autograders.readthedocs.io/en/latest/specs/. `score` at the top counts; the
tests below it show where the points come from. Where the grader failed there is no score anywhere: Gradescope then
says that the autograder failed, and nobody gets a zero for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from grader.batch import outcomes
from grader.model.exercise import Exercise
from grader.model.result import Check, Finding, Result, Status, Verdict

# A test's colour. Without a status Gradescope calls whatever has less than its maximum failed.
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
    Verdict.INCOMPLETE: "Nothing wrong was found, and not everything could be judged here.",
    Verdict.ERROR: "The grader failed, not you. Hand in again, or tell your instructor.",
}

SHOWN_FINDINGS = 20


def encode(results: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n"


def results(result: Result, exercise: Exercise) -> dict[str, Any]:
    """One test for each check, with its share of the points (grader/grading/points.py says how they are shared)."""
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
    """Where the files that were handed in hold no submission: the student sees at once why, and hands in again."""
    test = {"name": "submission", "status": "failed", "output": f"{problem}. Hand in your starter.cu."}
    return {"score": 0.0, **_common(f"Nothing was graded: {problem}."), "tests": [{**test, "visibility": "visible"}]}


def grader_failed(why: str) -> dict[str, Any]:
    """No score: the machine's fault costs nobody points."""
    test = {"name": "grader", "status": "failed", "output": why, "visibility": "visible"}
    return {**_common(_HEADLINES[Verdict.ERROR]), "tests": [test]}


def _common(output: str) -> dict[str, Any]:
    """Plain text: what a submission makes the grader say is no markup."""
    return {
        "output": output,
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
    }


def _summary(result: Result, exercise: Exercise) -> str:
    points = result.points
    lines = [f"{exercise.title}: {_HEADLINES[result.verdict]}"]
    rubrics = {} if result.verdict is Verdict.ERROR else exercise.points
    for rubric, most in rubrics.items():
        given = getattr(points, rubric, None)
        lines.append(f"{rubric}: {'not judged here' if given is None else f'{given:g} of {most}'}")
    if points.manual is not None:
        lines.append(f"by the instructor: {points.manual:g}")
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
        "tags": [tag for tag in (outcomes.family(check), check.case, check.device) if tag],
        "visibility": "visible",
    }


def _earned(check: Check, share: float) -> float:
    if check.id == "quality":
        return float(check.measurements.get("points", 0))
    return share if check.status is Status.PASSED else 0.0


def _lines(finding: Finding) -> Iterator[str]:
    place = f"{finding.file}:{finding.line}: " if finding.line else ""
    times = f" ({finding.count:,} times)" if finding.count > 1 and finding.line else ""
    yield f"{place}{finding.kind}: {finding.message}{times}"
    yield from (f"  {note}" for note in finding.notes)


def _shares(result: Result, exercise: Exercise) -> dict[str, float]:
    """By check id. A rubric that was not judged shares nothing."""
    points = result.points
    shares: dict[str, float] = {}
    if points.correctness is not None:
        wanted = [f"correct[{case}]" for case in exercise.cases]
        others = outcomes.further(result, exercise)[1]
        shares |= dict.fromkeys(wanted, _share(exercise.points["correctness"], len(wanted) + bool(others)))
    if points.performance is not None:
        timed = [check.id for check in result.checks if outcomes.family(check) == "speed" and check.required]
        shares |= dict.fromkeys(timed, _share(exercise.points["performance"], len(timed)))
    if points.quality is not None:
        shares["quality"] = float(sum(rule.points for rule in exercise.quality))
    return shares


def _further(result: Result, exercise: Exercise, failed: bool) -> list[dict[str, Any]]:
    """The cases that are drawn from the seed count as one."""
    right, of = outcomes.further(result, exercise)
    if failed or not of or result.points.correctness is None:
        return []
    share = _share(exercise.points["correctness"], len(exercise.cases) + 1)
    return [
        {
            "name": "correct, further cases",
            "score": share if right == of else 0.0,
            "max_score": share,
            "status": "passed" if right == of else "failed",
            "output": f"{right} of {of} right; each is a test of its own above",
            "tags": ["correct"],
            "visibility": "visible",
        }
    ]


def _share(points: float, of: int) -> float:
    return round(points / of, 2) if of else 0.0


def _leaderboard(result: Result, exercise: Exercise) -> Iterator[dict[str, Any]]:
    """Only what is right is ranked, and only where it was timed."""
    ratios = {case: outcomes.of_case(result, case).ratio for case in exercise.speed_cases or exercise.cases}
    measured: Sequence[float] = [ratio for ratio in ratios.values() if ratio is not None]
    if len(measured) == len(ratios) and measured:
        yield {"name": "lowest ratio", "value": round(min(measured), 3)}
    for case, ratio in ratios.items():
        if ratio is not None:
            yield {"name": f"{case} ratio", "value": round(ratio, 3)}
