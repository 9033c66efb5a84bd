"""What a platform tells a student, as plain text: the verdict, each mistake once, and the next step."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import PurePath
from typing import NamedTuple

from grader.batch import outcomes, table
from grader.batch.entry import Entry
from grader.model.exercise import Exercise
from grader.model.result import Check, Result
from grader.reports import problems as found
from grader.reports import verdict
from grader.reports.text import inert

SHOWN_PROBLEMS = 20


class Advice(NamedTuple):
    """One mistake. `lines`: the guilty ones, in the student's file. `section`: its anchor in problem.md."""

    title: str
    lines: tuple[int, ...]
    message: str
    next_step: str
    section: str
    shown_by: tuple[tuple[str, str], ...]  # the kind and case of each finding

    @property
    def heading(self) -> str:
        """ "Race between threads on lines 46 and 52"."""
        if not self.lines:
            return self.title
        *others, last = map(str, self.lines)
        where = f"lines {', '.join(others)} and {last}" if others else f"line {last}"
        return f"{self.title} on {where}"

    def shows(self, check: Check) -> bool:
        """Whether it is what made this check fail."""
        kinds = {finding.kind for finding in check.findings} or {check.family}
        return any(kind in kinds and case == (check.case or "") for kind, case in self.shown_by)

    @property
    def next(self) -> str:
        """The next step, and where to read on; "" if there is nothing to add."""
        said = [self.next_step] if self.next_step else []
        said += [f"See problem.md#{self.section}."] if self.section else []
        return " ".join(said)


def of(result: Result) -> tuple[Advice, ...]:
    """What made the submission fail, the one to start with first. Each next step appears only once."""
    advice: list[Advice] = []
    for problem in found.problems(result)[:SHOWN_PROBLEMS]:
        one = _advice(problem)
        told = any((one.next_step, one.section) == (other.next_step, other.section) for other in advice)
        advice.append(one._replace(next_step="", section="") if told else one)
    return tuple(advice)


def headline(result: Result) -> str:
    """ "Not correct yet. 2 problems to fix. Start with: race between threads on line 46."."""
    words = verdict.words(result, found.problems(result))
    return inert(f"{words.headline}. {words.sentence}")


def repeat(result: Result) -> str:
    """The command, under the student's own file name: where it lies is another matter on each machine."""
    name = PurePath(result.submission.path).name
    return shlex.join(["grade", "run", result.exercise, name, "--seed", str(result.seed)])


def points(entry: Entry, exercise: Exercise) -> str:
    """ "correctness 16 of 40; quality 12 of 20; total 28 of 100"."""
    known = outcomes.points(entry)
    parts = [
        f"{rubric} {table.number(given)} of {most}"
        for rubric, most in exercise.points.items()
        if known and (given := getattr(known, rubric, None)) is not None
    ]
    if entry.manual.points is not None:
        parts.append(f"from your instructor {table.number(entry.manual.points)}")
    if entry.lateness.percent and (final := outcomes.final(entry)) is not None:
        parts.append(f"{entry.lateness.said}, so {table.number(final)}")
    return "; ".join(parts)


def from_instructor(entry: Entry) -> str:
    """What the report says in the instructor's name."""
    points = outcomes.total(entry)
    said = ""
    if entry.lateness.percent and points is not None:
        final = table.number(outcomes.final(entry) or 0.0)
        said = f"{entry.lateness.said}. Of {table.number(points)} points, {final} count."
    return "\n".join(filter(None, (entry.manual.said, said)))


def comment(entry: Entry, exercise: Exercise) -> str:
    """One paragraph: points, the mistake to start with, its next step, and the instructor's own words."""
    parts = [text + "." if (text := points(entry, exercise)) else ""]
    if entry.result is not None and (advice := of(entry.result)):
        first = advice[0]
        parts += [f"{first.heading}: {_sentence(first.message)}", first.next and f"Next: {first.next}"]
        more = len(advice) - 1
        parts.append(f"{more} more in the report." if more else "")
    parts.append(entry.manual.said)
    return " ".join(filter(None, parts))


def _advice(problem: found.Problem) -> Advice:
    return Advice(
        title=problem.title,
        lines=tuple(sorted(problem.lines)),
        message=inert(problem.first.message or problem.title),
        next_step=problem.next_step,
        section=problem.hint,
        shown_by=tuple((one.finding.kind, one.case) for one in problem.occurrences),
    )


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def numbered(advice: Sequence[Advice]) -> list[str]:
    """ "1. Race between threads on line 46", and under it, indented, what is wrong and what to do next."""
    lines = []
    for number, one in enumerate(advice, start=1):
        heading, *rest = paragraph(one)
        lines += [f"{number}. {heading}", *(f"   {line}" for line in rest)]
    return lines


def paragraph(one: Advice) -> list[str]:
    return [one.heading, _sentence(one.message), *([f"Next: {one.next}"] if one.next else [])]
