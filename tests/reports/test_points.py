"""What was given, what could be given on this machine, and what is open."""

from __future__ import annotations

import msgspec

from grader.model.measurements import read
from grader.model.result import Check, Points, Result, Status
from grader.reports.points import account
from tests.reports import samples

EXERCISE = samples.EXERCISE


def result(*given: float | None, manual: float | None = None, checks: tuple[Check, ...] = ()) -> Result:
    known = [points for points in (*given, manual) if points is not None]
    points = Points(*given, manual=manual, total=sum(known) if known else None, max=100)  # type: ignore[misc]
    return msgspec.structs.replace(samples.SITUATIONS["no-gpu"], points=points, checks=checks)


def test_without_a_gpu_speed_and_the_instructors_points_are_open() -> None:
    found = account(result(40, None, 12), EXERCISE)
    assert (found.said, found.said_open) == (
        "52 of the 52 that can be given here",
        "48 open: speed 40, instructor 8",
    )


def test_with_everything_given_nothing_is_open() -> None:
    found = account(result(40, 30, 12, manual=6), EXERCISE)
    assert (found.said, found.said_open) == ("88 of 100", "")
    assert [part.of for part in found.parts] == [40, 40, 12, 8]


def test_what_could_not_be_judged_is_open_and_no_zero() -> None:
    found = account(result(None, None, None), EXERCISE)
    assert (found.total, found.said_open) == (None, "100 open: correctness 40, speed 40, quality 12, instructor 8")


def test_the_rules_points_are_those_that_were_measured() -> None:
    measured = Check("quality", Status.PASSED, required=False, measurements=read({"points": 9, "points_max": 15}))
    assert account(result(40, None, 9, checks=(measured,)), EXERCISE).said_open == "45 open: speed 40, instructor 5"


def test_without_the_exercise_nothing_is_claimed() -> None:
    found = account(result(40, None, 12), None)
    assert (found.said, found.said_open) == ("52 of 100", "")


def test_a_zero_for_quality_says_what_it_waits_for() -> None:
    wrong = Check("correct[uniform]", Status.FAILED, case="uniform")
    why = {part.name: part.why for part in account(result(0, None, 0, checks=(wrong,)), EXERCISE).parts}
    assert why["quality"] == "until a required case is right"


def test_a_zero_for_what_the_exercise_forbids_says_so() -> None:
    rules = Check("rules", Status.FAILED)
    why = {part.name: part.why for part in account(result(0, 0, 12, checks=(rules,)), EXERCISE).parts}
    assert why["correctness"] == "with what is not allowed"
