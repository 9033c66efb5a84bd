"""The verdict in words: a headline and the sentence under it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from grader.model import families
from grader.model.details import Detail
from grader.model.families import SPEED
from grader.model.measurements import Measurements
from grader.model.result import Result, Status, Verdict
from grader.reports.cases import against
from grader.reports.problems import Problem
from grader.reports.text import as_ratio, plural

SHOWN_STEPS = 4  # of those left to write, by name

BEFORE_SPEED = {family.name for family in families.before(SPEED)}


class Words(NamedTuple):
    headline: str
    sentence: str


def words(result: Result, problems: tuple[Problem, ...]) -> Words:
    match result.verdict:
        case Verdict.FAILED:
            return _failed(result, problems)
        case Verdict.ERROR:
            return Words(
                "The grader failed, not you",
                "A check could not finish because of an error in the grader or on this machine. This costs you no "
                "points. Run grade doctor, then grade again.",
            )
        case Verdict.INCOMPLETE:
            return _incomplete(result)
        case _:
            return Words("Passed", _passed(result))


def _failed(result: Result, problems: tuple[Problem, ...]) -> Words:
    failed = {c.rubric for c in result.checks if c.status is Status.FAILED and c.required}
    if failed == {"performance"}:
        return Words("Correct, but too slow", _too_slow(result))
    if not problems:
        return Words("Not passed", "The result contains no failed check that explains why.")
    first = problems[0]
    if first.unwritten:
        return Words("Not written yet", _left(first))
    problems = tuple(problem for problem in problems if not problem.unwritten)
    if first.first.detail == Detail.STEP_LEFT:
        step = first.steps[0]
        return Words("Not finished yet", f"{step.name} on line {step.line} is still as in the starter.")
    place = f" on line {first.line}" if first.at_fault else ""
    if first.kind == "compile-error":
        where = "; the first" + (place or " below") if len(problems) > 1 else place or ", below"
        return Words("Does not compile", f"{plural(len(problems), 'error')}{where}.")
    wrong = any(c.family in BEFORE_SPEED for c in result.checks if c.status is Status.FAILED and c.required)
    headline = "Not correct yet" if wrong else "Not passed"
    what = first.title.lower() + place
    if len(problems) == 1:
        return Words(headline, f"1 problem to fix: {what}.")
    return Words(headline, f"{len(problems)} problems to fix. Start with: {what}.")


def _left(problem: Problem) -> str:
    """What is left to write, if nothing written so far is wrong."""
    first, *further = problem.steps
    begin = "This is the unchanged starter. Begin" if problem.first.detail == Detail.UNTOUCHED else "Go on"
    names = [step.name for step in further]
    if not names:
        return f"{begin} with {first.name} on line {first.line}."
    shown = _listed(names) if len(names) <= SHOWN_STEPS else f"{names[0]} and {len(names) - 1} more"
    verb = "is" if len(names) == 1 else "are"
    return f"{begin} with {first.name} on line {first.line}; {shown} {verb} left after it."


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _too_slow(result: Result) -> str:
    """How many are fast enough, and the slowest."""
    judged = [c for c in result.checks if c.rubric == "performance" and c.required]
    enough = sum(c.status is Status.PASSED for c in judged)
    count = (
        f"only {enough} of {plural(len(judged), 'case')} {'is' if enough == 1 else 'are'}" if enough else "none is"
    )
    text = f"Every case is correct, but {count} fast enough"
    slowest = _slowest(result)
    if slowest is None:
        return f"{text}."
    case, ratio, required = slowest
    return f"{text}. The slowest is {case}, at {ratio} of {required}."


def _passed(result: Result) -> str:
    slowest = _slowest(result)
    if slowest is None:
        return "Every check passed."
    case, ratio, required = slowest
    return f"Every case is correct and fast enough. The slowest is {case}, at {ratio} of {required}."


def _slowest(result: Result) -> tuple[str, str, str] | None:
    """(case, ratio, "cuBLAS's speed; 0.60 is required")."""
    judged = [c for c in result.checks if c.rubric == "performance" and c.required]
    found = [(check, *one) for check in judged for one in _requirements(check.measurements)]
    if not found:
        return None
    check, ratio, threshold, name = min(found, key=lambda one: one[1] / (one[2] or 1.0))
    required = name + (f"; {threshold:.2f} is required" if threshold is not None else "")
    return check.case or check.id, as_ratio(ratio, threshold), required


def _requirements(measured: Measurements) -> Iterator[tuple[float, float | None, str]]:
    """(ratio, what is required of it, "cuBLAS's speed")."""
    if measured.ratio is not None:
        yield measured.ratio, measured.threshold, f"{against(measured)}'s speed"
    for floor in measured.floors or ():
        yield floor.ratio, floor.required, f"the speed of {floor.label}"


def _incomplete(result: Result) -> Words:
    if {c.rubric for c in result.checks if c.status is Status.NOT_JUDGED and c.required} == {"performance"}:
        sentence = "All results are correct and no faults were found. Speed has not been measured."
        return Words("Correct; speed not measured", sentence)
    return Words("Not everything was judged", "Everything that could be judged here is correct.")
