"""Hints, one at a time: first the explanation of the finding on the screen, then problem.md's hints in order.

Hints about speed are held back until the kernel is correct; from then on, the others are skipped.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from grader.model import problem_text


class Hint(msgspec.Struct, frozen=True):
    """`text` is Markdown, from problem.md."""

    title: str
    text: str


class Hints:
    def __init__(self, folder: Path, opened: int = 0) -> None:
        self._file = folder / "problem.md"
        self._anchor = ""
        self._opened = opened

    @property
    def opened(self) -> int:
        """How many of problem.md's hints have been."""
        return self._opened

    def numbered(self, number: int) -> Hint | None:
        """That hint of problem.md, from 1 on."""
        questions = problem_text.questions(self._text())
        if not 1 <= number <= len(questions):
            return None
        question = questions[number - 1]
        return Hint(f"Hint {number} of {len(questions)}: {question.title}", question.text)

    def about(self, anchor: str) -> None:
        """Sets the section that the last grading referred to: an anchor of problem.md, or ""."""
        self._anchor = anchor

    def next(self, *, right: bool) -> Hint | None:
        """The next hint, depending on whether the kernel is `right`; None if there are no more."""
        text = self._text()
        anchor, self._anchor = self._anchor, ""
        for section in problem_text.sections(text):
            if section.anchor == anchor and section.text:
                return Hint(section.title, section.text)
        questions = problem_text.questions(text)
        if right:
            self._opened = max(self._opened, sum(not question.about_speed for question in questions))
        if self._opened >= len(questions) or (questions[self._opened].about_speed and not right):
            return None
        self._opened += 1
        return self.numbered(self._opened)

    def _text(self) -> str:
        try:
            return self._file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
