"""What an exercise's problem.md has to say about a problem, as HTML: hints, opened one at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from markupsafe import Markup

from grader.model import problem_text
from grader.model.exercise import Exercise
from grader.reports import highlight
from grader.reports.problems import Problem
from grader.reports.text import inert

if TYPE_CHECKING:
    from markdown_it import MarkdownIt


@dataclass(frozen=True)
class HtmlHint:
    title: str
    body: Markup


class Guide:
    """Empty where the exercise is not here."""

    def __init__(self, exercise: Exercise | None) -> None:
        text = inert(_read(exercise)) if exercise else ""
        self._sections = {section.anchor: section for section in problem_text.sections(text)}
        self._questions = problem_text.questions(text)

    def hints(self, problem: Problem) -> tuple[HtmlHint, ...]:
        """From the gentlest on: the pitfall that explains it; else the exercise's own hints, for what failed."""
        section = self._sections.get(problem.hint)
        if section is not None and section.text:
            return (HtmlHint(section.title, _html(section.text)),)
        if problem.kind not in ("speed", "wrong-values"):
            return ()
        return self._opened(about_speed=problem.kind == "speed")

    def of_speed(self) -> tuple[HtmlHint, ...]:
        return self._opened(about_speed=True)

    def _opened(self, *, about_speed: bool) -> tuple[HtmlHint, ...]:
        return tuple(HtmlHint(q.title, _html(q.text)) for q in self._questions if q.about_speed == about_speed)


def about_speed(exercise: Exercise | None) -> tuple[HtmlHint, ...]:
    """What comes after a kernel that is right."""
    return Guide(exercise).of_speed()


def by_problem(exercise: Exercise | None, problems: Iterable[Problem]) -> dict[str, tuple[HtmlHint, ...]]:
    """By the problem's id; the first of a kind and section has them, the others need not repeat them."""
    guide, told, given = Guide(exercise), set(), {}
    for problem in problems:
        key = (problem.kind, problem.hint)
        given[problem.id] = () if key in told else guide.hints(problem)
        told.add(key)
    return given


def _read(exercise: Exercise) -> str:
    try:
        return (exercise.folder / "problem.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _code(source: str, *_: str) -> str:
    return Markup("\n").join(highlight.lines(source))


@cache
def _markdown() -> MarkdownIt:
    """No HTML of the text's own, and no links or images: the report is one file. Loaded for the first hint."""
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": False, "highlight": _code})
    return markdown.enable("table").disable(["link", "image", "autolink"])


def _html(text: str) -> Markup:
    return Markup(_markdown().render(text))  # noqa: S704 - an exercise's author wrote it, and its HTML is escaped
