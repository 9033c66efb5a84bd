"""The student's file with the findings next to their lines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath

from markupsafe import Markup

from grader.reports import highlight
from grader.reports.problems import Problem

# Lines of code shown around a guilty line, before and after.
CONTEXT = 3

# A submission may be one mebibyte of empty lines; a page of that is of no use.
SHOWN_LINES = 4_000

# How many characters of a note fit into a line of the margin (report.css: --margin), to know how many
# lines of code stand beside it. Too few only leaves a gap.
NOTE_COLUMNS = 34


@dataclass(frozen=True)
class Line:
    number: int
    code: Markup
    notes: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()  # that it stands out for

    @property
    def css_class(self) -> str:
        if not self.problems:
            return "line"
        return "line hit mild" if all(problem.mild for problem in self.problems) else "line hit"


@dataclass(frozen=True)
class Note:
    """A problem in the margin, next to `span` lines starting at line `row`."""

    problem: Problem
    row: int
    span: int


@dataclass(frozen=True)
class Listing:
    name: str
    lines: tuple[Line, ...]
    omitted: int

    @property
    def notes(self) -> tuple[Note, ...]:
        return tuple(note for line in self.lines for note in line.notes)

    def has(self, problem: Problem) -> bool:
        return 1 <= problem.line <= len(self.lines) and PurePath(problem.file).name == self.name

    def around(self, problem: Problem) -> tuple[Line, ...]:
        """The guilty lines and their neighbours, indented no further than needed; none where it has none.

        What else is wrong there does not stand out here.
        """
        if not (self.has(problem) and problem.at_fault):
            return ()
        near = {n for line in problem.lines for n in range(line - CONTEXT, line + CONTEXT + 1)}
        return _dedent(
            tuple(
                replace(line, notes=(), problems=(problem,) if line.number in problem.lines else ())
                for line in self.lines
                if line.number in near
            )
        )


EMPTY = Listing("", (), 0)


def make(path: str, source: str, problems: Iterable[Problem]) -> Listing:
    """`path` is the submission's: a finding belongs to the listing when its file has the same name."""
    name = PurePath(path).name
    code = highlight.lines(source)
    shown = code[:SHOWN_LINES]
    notes = _place([p for p in problems if PurePath(p.file).name == name and 1 <= p.line <= len(shown)])
    guilty: dict[int, list[Problem]] = {}
    for problem in (note.problem for beside in notes.values() for note in beside):
        for line in {problem.line, *problem.lines}:  # of a race both accesses
            guilty.setdefault(line, []).append(problem)
    lines = [Line(n, text, notes.get(n, ()), tuple(guilty.get(n, ()))) for n, text in enumerate(shown, start=1)]
    return Listing(name, tuple(lines), len(code) - len(shown))


def _dedent(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    indents = [len(line.code) - len(line.code.lstrip(" ")) for line in lines if line.code.strip()]
    common = min(indents, default=0)
    return tuple(replace(line, code=line.code[common:]) for line in lines)


def _place(problems: Iterable[Problem]) -> Mapping[int, tuple[Note, ...]]:
    """The notes of each line, from top to bottom, none over another."""
    placed: dict[int, tuple[Note, ...]] = {}
    free = 1
    for problem in sorted(problems, key=lambda p: p.line):
        note = Note(problem, max(problem.line, free), _height(problem))
        free = note.row + note.span
        placed[problem.line] = (*placed.get(problem.line, ()), note)
    return placed


def _height(problem: Problem) -> int:
    """In lines of code, with one of air."""
    texts = (f"{problem.title}, line {problem.line}", problem.first.message, problem.seen_in)
    return 1 + sum(math.ceil(len(text) / NOTE_COLUMNS) for text in texts)
