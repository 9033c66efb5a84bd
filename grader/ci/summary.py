"""The step's summary: Markdown that GitHub shows on the run's page. Text from a submission is never markup in it."""

from __future__ import annotations

import html
from collections.abc import Sequence

from grader.ci.changes import Beside
from grader.ci.graded import GradedFile
from grader.model.result import Verdict
from grader.reports.problems import problems
from grader.reports.text import inert, plural, readable
from grader.reports.verdict import words

MOST_BYTES = 1_000_000  # GitHub rejects a whole summary of more than 1 MiB

MOST_BESIDE = 50  # lines; a whole course may be rewritten at once

MARKS = {Verdict.PASSED: "✅", Verdict.INCOMPLETE: "🟡", Verdict.FAILED: "❌", Verdict.ERROR: "⚠️"}

# As numbers, these characters are text to every reader of Markdown and HTML.
_SPECIAL = {ord(c): f"&#{ord(c)};" for c in "&<>\"'\\`*_[]#|~@$:"} | {ord("\n"): " "}


def markdown(graded: Sequence[GradedFile], compared: str, beside: Sequence[Beside] = ()) -> str:
    """A table with one row per submission, then each as a terminal shows it. `compared`: which commits, in words."""
    lines = ["## CUDA kernel exercises", "", _text(compared), ""]
    if graded:
        lines += ["| | submission | verdict | points | start with |", "|---|---|---|---|---|"]
        lines += [_row(one) for one in graded]
    else:
        lines.append("No submission was touched: nothing to grade.")
    if beside:
        lines += ["", *(f"- {_code(one.path)}: {_text(one.message)}" for one in beside[:MOST_BESIDE])]
    if len(beside) > MOST_BESIDE:
        lines.append(f"- and {len(beside) - MOST_BESIDE} more like these")
    left = MOST_BYTES - sum(len(line.encode()) + 1 for line in lines)
    return "\n".join([*lines, *_details(graded, left)]) + "\n"


def _row(one: GradedFile) -> str:
    if one.result is None:
        return f"| {MARKS[one.verdict]} | {_code(one.path)} | not graded | | {_text(one.problem)} |"
    points = one.result.points
    total = "" if points.total is None else f"{readable(points.total)} of {readable(points.max)}"
    return f"| {MARKS[one.verdict]} | {_code(one.path)} | {one.verdict} | {total} | {_text(_first(one))} |"


def _first(one: GradedFile) -> str:
    assert one.result is not None
    found = problems(one.result)
    if not found:
        return words(one.result, found).sentence
    line = f"line {found[0].line}: " if found[0].at_fault else ""
    more = f" (and {plural(len(found) - 1, 'more problem')})" if len(found) > 1 else ""
    return f"{line}{found[0].title}{more}"


def _details(graded: Sequence[GradedFile], left: int) -> list[str]:
    """In order, as long as there is room."""
    lines: list[str] = []
    for one in graded:
        if not one.text:
            continue
        shown = html.escape(inert(one.text))
        block = f"\n<details><summary>{_code(one.path)}</summary>\n\n<pre>\n{shown}</pre>\n\n</details>"
        left -= len(block.encode()) + 1
        if left < 0:
            return [*lines, "", "The rest does not fit here; the log has it."]
        lines.append(block)
    return lines


def _text(text: str) -> str:
    return inert(text).translate(_SPECIAL)


def _code(text: str) -> str:
    return f"<code>{_text(text)}</code>"
