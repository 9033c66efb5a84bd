"""The points in words: what was given, what can be given on this machine, and what is open and to whom."""

from __future__ import annotations

from typing import NamedTuple

from grader.model import families
from grader.model.exercise import Exercise
from grader.model.result import Result, Status
from grader.reports.text import readable

SPEED, INSTRUCTOR = "speed", "instructor"


class Part(NamedTuple):
    """`given`: None while it is open."""

    name: str
    given: float | None
    of: float | None  # None where the exercise is not known
    why: str = ""  # what a zero is for, or waits for


class Account(NamedTuple):
    parts: tuple[Part, ...]
    total: float | None
    of: float  # all points of the exercise

    @property
    def open(self) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.given is None)

    @property
    def still_open(self) -> float:
        return sum(part.of or 0.0 for part in self.open)

    @property
    def possible(self) -> float:
        """What can be given on this machine."""
        return self.of - self.still_open

    @property
    def said(self) -> str:
        """ "52 of the 52 that can be given here"."""
        if not self.still_open:
            return f"{readable(self.total)} of {readable(self.of)}"
        return f"{readable(self.total)} of the {readable(self.possible)} that can be given here"

    @property
    def said_open(self) -> str:
        """ "48 open: speed 40, instructor 8"; empty if nothing is open, or if it is unknown how much."""
        if not self.still_open:
            return ""
        listed = ", ".join(f"{part.name} {readable(part.of)}" for part in self.open if part.of)
        return f"{readable(self.still_open)} open: {listed}"


def account(result: Result, exercise: Exercise | None) -> Account:
    points = result.points
    of = exercise.points if exercise else {}
    by_rules = _by_rules(result, exercise)
    parts = [
        Part("correctness", points.correctness, of.get("correctness"), _voided(result)),
        Part("speed", points.performance, of.get("performance")),
        Part("quality", points.quality, by_rules, _withheld(result, exercise)),
    ]
    hand = of["quality"] - by_rules if "quality" in of and by_rules is not None else None
    if hand or points.manual is not None:
        parts.append(Part(INSTRUCTOR, points.manual, hand))
    return Account(tuple(parts), points.total, points.max)


def _voided(result: Result) -> str:
    voided = any(families.of(check.family).voids and check.status is Status.FAILED for check in result.checks)
    return "with what is not allowed" if voided else ""


def _by_rules(result: Result, exercise: Exercise | None) -> float | None:
    """The points for quality that are given automatically."""
    measured = (check.measurements.points_max for check in result.checks if check.rubric == "quality")
    known = next((most for most in measured if most is not None), None)
    if known is None and exercise is not None:
        return float(sum(rule.points for rule in exercise.quality))
    return known


def _withheld(result: Result, exercise: Exercise | None) -> str:
    """Whether the points for quality wait for a case that is right, as grader.grading.points says."""
    if exercise is None or result.points.quality != 0:
        return ""
    results = (check for check in result.checks if check.rubric == "correctness" and check.case in exercise.cases)
    right = any(check.status is Status.PASSED for check in results)
    return "" if right else "until a required case is right"
