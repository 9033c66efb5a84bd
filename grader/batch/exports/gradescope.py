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
from grader.batch.exports import gradescope_tests
from grader.batch.exports.format import Exported, Order
from grader.model.exercise import Exercise
from grader.model.result import Result, Verdict

_GRADER_FAILED = "The grader failed; this is not your fault. Submit again, or tell your instructor."

ON_TIME = Lateness()


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
    tests = list(gradescope_tests.of(result, exercise, comment, scored=not failed))
    if total and lateness.percent:
        minus = {
            "score": -lateness.lost(total),
            "max_score": 0.0,
            "output": f"{lateness.percent:g}% of {total:g} points",
        }
        tests.append({"name": lateness.said, **minus, "visibility": "visible"})
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
    lines.append(f"To repeat: {feedback.repeat(result)}")
    return "\n".join(lines)


def _leaderboard(result: Result, exercise: Exercise) -> Iterator[dict[str, Any]]:
    """Only correct submissions are ranked, and only if they were timed."""
    ratios = {case: outcomes.of_case(result, case).ratio for case in exercise.speed_cases or exercise.cases}
    measured: Sequence[float] = [ratio for ratio in ratios.values() if ratio is not None]
    if len(measured) == len(ratios) and measured:
        yield {"name": "lowest ratio", "value": round(min(measured), 3)}
    for case, ratio in ratios.items():
        if ratio is not None:
            yield {"name": f"{case} ratio", "value": round(ratio, 3)}
