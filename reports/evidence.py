"""What a problem shows in addition to its message: pictures, bits, hints, where a slow kernel can gain most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grader.model.details import Detail
from grader.reports import bits, picture, speed
from grader.reports.bits import Example
from grader.reports.guide import HtmlHint
from grader.reports.picture import Drawn
from grader.reports.problems import Occurrence, Problem

# Of a mistake that shows in every case.
SHOWN_PICTURES = 4


@dataclass(frozen=True)
class Evidence:
    next_step: str
    slow: tuple[str, ...]  # each case that is too slow, in a sentence
    hints: tuple[HtmlHint, ...]
    pictures: tuple[tuple[str, Drawn], ...]  # (case, picture)
    example: Example | None


def of(problem: Problem, hints: tuple[HtmlHint, ...], machine: Mapping[str, Any]) -> Evidence:
    wrong = [o for o in problem.occurrences if problem.kind == "wrong-values" and not problem.unwritten]
    drawn = [(o.case, found) for o in wrong if (found := picture.draw(o.measured))]
    advice = (speed.advice(o.measured, machine) for o in speed.slowest_first(problem))
    too_slow = [(o.case, o.measured) for o in problem.occurrences if problem.kind == "speed"]
    return Evidence(
        slow=tuple(text for case, measured in too_slow if (text := speed.slow(case, measured))),
        next_step=next(filter(None, advice), "") or problem.next_step,
        hints=hints,
        pictures=tuple(drawn[:SHOWN_PICTURES]),
        example=next((byte for o in wrong if (byte := _byte(o))), None),
    )


def _byte(occurrence: Occurrence) -> Example | None:
    by_chance = occurrence.finding.detail == Detail.STOCHASTIC_CONVERSION
    return bits.example(occurrence.measured, by_chance=by_chance)
