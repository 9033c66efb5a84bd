"""Findings as GitHub shows them in a diff: one workflow command per line, escaped, within GitHub's limits.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands. Beyond its limits GitHub
silently drops annotations, so the last one says what is left out.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import PurePosixPath
from typing import Literal

import msgspec

from grader.ci.changes import Beside
from grader.ci.graded import GradedFile
from grader.model.result import Verdict
from grader.reports.problems import Problem, advice, grader_errors, not_judged, problems
from grader.reports.text import inert

MOST_OF_A_LEVEL = 10  # GitHub shows at most this many errors, warnings and notices each per step
MOST_TITLE = 255  # characters; the title of an annotation in GitHub's API
MOST_MESSAGE = 3000  # characters; GitHub cuts at 4 KB, and none of ours should end in the middle of a word

Level = Literal["error", "warning", "notice"]


class Annotation(msgspec.Struct, frozen=True):
    """`file` is a path from the repository's root; `line` 0: none."""

    level: Level
    title: str
    message: str
    file: str = ""
    line: int = 0


def of(graded: Sequence[GradedFile], beside: Sequence[Beside] = ()) -> tuple[Annotation, ...]:
    """The first of each submission come before the second of any: where there are many, each gets its share."""
    by_submission = (tuple(_of_one(one)) for one in graded)
    ranked = [a for rank in zip_longest(*by_submission) for a in rank if a is not None]
    return (*ranked, *(Annotation("warning", "Decides about grades", one.message, one.path) for one in beside))


def limited(annotations: Sequence[Annotation]) -> tuple[Annotation, ...]:
    """As many of each level as GitHub shows; where some are left out, the last one says so."""
    kept: list[Annotation] = []
    for level in ("error", "warning", "notice"):
        same = [a for a in annotations if a.level == level]
        if len(same) > MOST_OF_A_LEVEL:
            rest = len(same) - MOST_OF_A_LEVEL + 1
            more = Annotation(same[0].level, f"{rest} more", "The step's summary and the log show them all.")
            same = [*same[: MOST_OF_A_LEVEL - 1], more]
        kept += same
    return tuple(kept)


def command(annotation: Annotation, prefix: str = "") -> str:
    """One line for the log. `prefix`: the repository's folder within the workspace, with its slash."""
    properties = {
        "file": inert(prefix + annotation.file) if annotation.file else "",
        "line": str(annotation.line) if annotation.file and annotation.line else "",
        "title": _short(inert(annotation.title), MOST_TITLE),
    }
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    return f"::{annotation.level} {listed}::{_data(_short(inert(annotation.message), MOST_MESSAGE))}"


def fold(title: str) -> tuple[str, str]:
    """What to print before and after text of a submission: a group in the log, in which no command is obeyed."""
    before, after = quiet()
    return f"::group::{_data(inert(title))}\n{before}", f"{after}\n::endgroup::"


def quiet() -> tuple[str, str]:
    """What to print before and after text in which GitHub obeys no command, be it `::error` or `##[error]`."""
    token = secrets.token_hex(16)
    return f"::stop-commands::{token}", f"::{token}::"


def _of_one(one: GradedFile) -> Iterator[Annotation]:
    if one.result is None:
        level: Level = "error" if one.verdict is Verdict.ERROR else "warning"
        yield Annotation(level, "Not graded", one.problem, one.path)
        return
    for problem in problems(one.result):
        yield _of_problem("error", problem, one)
    for check in grader_errors(one.result):
        yield Annotation("error", "The grader failed, not you", f"{check.id}: {check.message}", one.path)
    for problem in advice(one.result):
        yield _of_problem("notice", problem, one)
    for family, why, checks in not_judged(one.result):
        yield Annotation("notice", f"Not judged: {family}", f"{why} ({len(checks)} cases)", one.path)


def _of_problem(level: Level, problem: Problem, one: GradedFile) -> Annotation:
    finding = problem.first
    own = finding.file in ("", PurePosixPath(one.path).name)
    where = "" if own else f"{finding.file}:{finding.line}: "
    cases = f" ({problem.seen_in})" if problem.cases else ""
    said = [f"{where}{finding.message}{cases}", *finding.notes, problem.next_step]
    return Annotation(level, problem.title, "\n".join(filter(None, said)), one.path, finding.line if own else 0)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
