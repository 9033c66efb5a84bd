"""A Result as one HTML file: no network, no scripts, nothing of the submission's that acts."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from grader.model.exercise import Exercise
from grader.model.measurements import KernelResources
from grader.model.result import Result, Status, Verdict
from grader.reports import balance, cases, evidence, guide, history, listing, padding, roofline, savings, speed, text
from grader.reports.evidence import Evidence
from grader.reports.points import account
from grader.reports.problems import Problem, advice, grader_errors, not_judged, problems
from grader.reports.verdict import words

_HERE = Path(__file__).parent
_STYLE = (_HERE / "assets" / "report.css").read_text(encoding="utf-8")

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=text.finalize,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(readable=text.readable, plural=text.plural, exact=text.exact, us=text.us)


def render(
    result: Result,
    exercise: Exercise | None = None,
    source: str | None = None,
    *,
    since: Result | None = None,
    comment: str = "",
) -> str:
    """The report. Without `source` there is no listing; without `exercise` no hints and no points by rubric's
    maximum; with `since`, an earlier Result of the exercise, what changed. `comment` is the instructor's."""
    found, worth_a_look = problems(result), advice(result)
    code = listing.make(result.submission.path, source, found + worth_a_look) if source else listing.EMPTY
    others = cases.others(result)
    linked = _named_lines(result) & set(range(1, len(code.lines) + 1))
    style = _STYLE + "".join(f"#note-{note.problem.id}{{--row:{note.row}/span {note.span}}}\n" for note in code.notes)
    return _ENVIRONMENT.get_template("report.html.j2").render(
        result=result,
        exercise=exercise,
        style=Markup(style),  # noqa: S704 - our own file and integers
        style_hash=_content_hash(style),
        words=words(result, found),
        problems=found,
        advice=worth_a_look,
        evidence=_evidence(result, exercise, found + worth_a_look),
        history=history.changes(result, since) if since else None,
        comment=comment,
        grader_errors=grader_errors(result),
        not_judged=not_judged(result),
        listing=code,
        account=account(result, exercise),
        other_checks=others,
        others_passed=all(check.status is Status.PASSED for check, _ in others),
        resources=_resources(result),
        printed=tuple(_printed(result)),
        right=not found and result.verdict in (Verdict.PASSED, Verdict.INCOMPLETE),
        speed_hints=guide.about_speed(exercise),
        command=_command(result),
        machine=tuple(_flat(result.machine)),
        link_lines=lambda value: text.link_lines(value, linked),
        balance=balance.by_case(result),
        padding=padding.by_case(result),
        **_tables(result, exercise),
        **_speed(result),
        savings=savings.said(result),
        counted=savings.tables(result),
    )


def _named_lines(result: Result) -> set[int]:
    """The submission's lines that findings are about, or of which something was counted."""
    name = PurePath(result.submission.path).name
    findings = [finding for check in result.checks for finding in check.findings]
    places = [(finding.file, finding.line) for finding in findings]
    places += [(one.file or finding.file, one.line) for finding in findings for one in finding.related]
    counted = {row.line for table in savings.tables(result) for row in table.rows}
    return {line for file, line in places if PurePath(file).name == name} | counted


def _tables(result: Result, exercise: Exercise | None) -> dict[str, Any]:
    own, further = cases.tables(result, exercise)
    return {
        "columns": cases.columns,
        "all_passed": cases.all_passed,
        "any_ran": cases.any_ran((*own, *further)),
        "judged_on": cases.judged_on(result),
        "own_cases": own,
        "extra_cases": [row for row in further if not row.secret],
        "secret_cases": [row for row in further if row.secret],
    }


def _speed(result: Result) -> dict[str, Any]:
    """Empty where nothing was timed: then there is nothing to draw."""
    return {
        "charts": speed.charts(result),
        "launched": speed.launched(result),
        "roofline": roofline.make(result),
        "roof_size": (roofline.WIDTH, roofline.HEIGHT),
    }


def _evidence(result: Result, exercise: Exercise | None, found: tuple[Problem, ...]) -> dict[str, Evidence]:
    """By the problem's id."""
    hints = guide.by_problem(exercise, found)
    return {problem.id: evidence.of(problem, hints[problem.id], result.machine) for problem in found}


def _content_hash(style: str) -> str:
    """As a content security policy names the one style sheet that may apply."""
    return "sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def _resources(result: Result) -> Mapping[str, KernelResources]:
    """What ptxas says of each kernel, where a check measured it."""
    return next((check.measurements.kernels for check in result.checks if check.measurements.kernels), {})


def _printed(result: Result) -> Iterator[tuple[str, str]]:
    """(case, what its kernels printed)."""
    for check in result.checks:
        if output := check.measurements.printed:
            yield check.case or check.id, output


def _command(result: Result) -> str:
    return shlex.join(cases.repeated(result, result.exercise))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        name = f"{prefix} {key}".strip()
        if isinstance(value, Mapping):
            yield from _flat(value, name)
        elif isinstance(value, list | tuple):
            yield from [(name, "; ".join(map(str, value)))] if value else []
        elif value is not None:
            yield name, str(value)
