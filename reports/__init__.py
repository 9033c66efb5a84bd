"""Renders a Result as one self-contained HTML file. Reads grader.model only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grader.model.exercise import Exercise
    from grader.model.result import Result

__all__ = ["render"]


def render(
    result: Result,
    exercise: Exercise | None = None,
    source: str | None = None,
    *,
    since: Result | None = None,
    comment: str = "",
) -> str:
    """See `grader.reports.report.render`, which is loaded only now: a terminal needs neither Jinja nor Pygments."""
    from grader.reports import report

    return report.render(result, exercise, source, since=since, comment=comment)
