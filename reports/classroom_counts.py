"""Statistics of a class: how many are right, the most common mistakes, the fastest kernels."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from grader.model.exercise import Exercise
from grader.model.result import Status, Verdict
from grader.reports import text
from grader.reports.classroom_rows import VERDICT_STATUS, VERDICT_WORDS, ClassMistake, StudentRow


@dataclass(frozen=True)
class CountOf:
    """So many of so many."""

    count: int
    of: int

    @property
    def width(self) -> float:
        """In hundredths."""
        return round(100 * self.count / self.of, 1) if self.of else 0.0

    def __str__(self) -> str:
        return f"{self.count} of {self.of} ({100 * self.count / self.of:.0f}%)" if self.of else "–"


@dataclass(frozen=True)
class CaseRow:
    name: str
    right: CountOf
    fast: CountOf
    ratio: float | None  # the median


@dataclass(frozen=True)
class MistakeRow:
    id: str
    mistake: ClassMistake
    rows: tuple[StudentRow, ...]
    share: CountOf


@dataclass(frozen=True)
class Leader:
    rank: int
    row: StudentRow
    mean: float  # geometric, over the cases that speed is graded on


def mistakes(rows: Sequence[StudentRow]) -> list[MistakeRow]:
    """The most common first; each student counts once for each."""
    made: dict[tuple[str, str], list[tuple[StudentRow, ClassMistake]]] = {}
    for row in rows:
        for mistake in {mistake.key: mistake for mistake in row.mistakes}.values():
            made.setdefault(mistake.key, []).append((row, mistake))
    graded = sum(row.verdict not in (None, Verdict.ERROR) for row in rows)
    common = sorted(made.values(), key=len, reverse=True)
    return [
        MistakeRow(f"m{number}", _usual(m for _, m in who), tuple(r for r, _ in who), CountOf(len(who), graded))
        for number, who in enumerate(common, start=1)
    ]


def leaders(rows: Iterable[StudentRow], exercise: Exercise) -> list[Leader]:
    """The students who are right in every case, by the geometric mean of the ratios; equal means share a rank."""
    means = [(mean, row) for row in rows if (mean := _mean(row, exercise)) is not None]
    means.sort(key=lambda item: -item[0])
    found: list[Leader] = []
    for place, (mean, row) in enumerate(means, start=1):
        rank = found[-1].rank if found and text.readable(found[-1].mean) == text.readable(mean) else place
        found.append(Leader(rank, row, mean))
    return found


def _mean(row: StudentRow, exercise: Exercise) -> float | None:
    """None for a student who is wrong in a case, or was not timed in all of them."""
    if any(row.case(case).right is not Status.PASSED for case in exercise.cases):
        return None
    ratios = [row.case(case).ratio for case in timed(exercise)]
    measured = [ratio for ratio in ratios if ratio is not None and ratio > 0]
    if not measured or len(measured) < len(ratios):
        return None
    return math.exp(sum(map(math.log, measured)) / len(measured))


def case_rows(rows: Sequence[StudentRow], exercise: Exercise) -> list[CaseRow]:
    return [_case_row(rows, case) for case in cases(exercise)]


def verdicts(rows: Sequence[StudentRow]) -> list[tuple[str, Status, CountOf]]:
    """Only those that there are."""
    counts = Counter(row.verdict for row in rows)
    return [
        (word, VERDICT_STATUS[verdict], CountOf(counts[verdict], len(rows)))
        for verdict, word in VERDICT_WORDS.items()
        if counts[verdict]
    ]


def cases(exercise: Exercise) -> tuple[str, ...]:
    return (*exercise.cases, *(case for case in timed(exercise) if case not in exercise.cases))


def timed(exercise: Exercise) -> tuple[str, ...]:
    return exercise.speed_cases or exercise.cases


def _case_row(rows: Sequence[StudentRow], case: str) -> CaseRow:
    found = [row.case(case) for row in rows]
    right = [one.right for one in found if one.right in (Status.PASSED, Status.FAILED, Status.SKIPPED)]
    ratios = [one.ratio for one in found if one.ratio is not None]
    fast = [one.speed for one in found if one.speed in (Status.PASSED, Status.FAILED)]
    return CaseRow(
        case,
        CountOf(right.count(Status.PASSED), len(right)),
        CountOf(fast.count(Status.PASSED), len(fast)),
        median(ratios) if ratios else None,
    )


def _usual(mistakes: Iterable[ClassMistake]) -> ClassMistake:
    return Counter(mistakes).most_common(1)[0][0]
