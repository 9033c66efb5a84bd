"""A student's source with the grading in comments: above it, and beside the guilty lines."""

from __future__ import annotations

import textwrap

from grader.batch import feedback
from grader.batch.entry import Entry
from grader.model.exercise import Exercise
from grader.model.result import Result

WIDTH = 100


def source(entry: Entry, result: Result, exercise: Exercise, text: str) -> str:
    """Line numbers in the comments are those of the student's file, which follows unchanged but for the marks."""
    advice = feedback.of(result)
    marks: dict[int, list[int]] = {}
    for number, one in enumerate(advice, start=1):
        for line in one.lines:
            marks.setdefault(line, []).append(number)
    theirs = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    lines = [_marked(line, marks.get(at, [])) for at, line in enumerate(theirs, start=1)]
    return "\n".join([*_above(entry, result, exercise, advice), *lines]) + "\n"


def _above(entry: Entry, result: Result, exercise: Exercise, advice: tuple[feedback.Advice, ...]) -> list[str]:
    said = [f"{exercise.title}: {feedback.headline(result)}"]
    points = feedback.points(entry, exercise)
    said += [f"Points: {points}."] if points else []
    said += ["", *feedback.numbered(advice)] if advice else []
    by_hand = entry.manual.said
    said += ["", f"From your instructor: {by_hand}"] if by_hand else []
    said += ["", f"To repeat: {feedback.repeat(result)}"]
    said += ["Line numbers are those of your file, which begins below.", ""]
    return [f"// {line}".rstrip() for text in said for line in _wrapped(text)]


def _wrapped(text: str) -> list[str]:
    """Of several paragraphs; what follows the first line is indented as that one is."""
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        indent = paragraph[: len(paragraph) - len(paragraph.lstrip())]
        lines += textwrap.wrap(
            paragraph, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        ) or [""]
    return lines


def _marked(line: str, numbers: list[int]) -> str:
    """Not behind a backslash, which continues a macro: the mark would end it."""
    if not numbers or line.rstrip().endswith("\\"):
        return line
    return f"{line}  // <-- {', '.join(map(str, numbers))}"
