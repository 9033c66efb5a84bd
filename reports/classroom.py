"""A class at a glance: one HTML file that is whole without scripts, and needs no network.

Whoever grades a batch makes the rows; nothing here reads a Result.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from grader.model.exercise import Exercise
from grader.model.result import Status
from grader.reports import classroom_counts as counts
from grader.reports import text
from grader.reports.charts import Histogram, histogram
from grader.reports.classroom_rows import AlikeGroup, CaseOutcome, ClassMistake, StudentRow

__all__ = ["AlikeGroup", "CaseOutcome", "ClassMistake", "StudentRow", "render", "render_leaderboard"]

# Bars of the points: tenths of what can be had. Bars of the ratios: tenths of the baseline; what is faster than the
# last is in it.
POINT_BARS = 10
RATIO_STEP, RATIO_BARS = 0.1, 16

SHOWN_MISTAKES = 15
SHOWN_LEADERS = 20
SHOWN_ALIKE = 30

_HERE = Path(__file__).parent
_ASSETS = _HERE / "assets"
_STYLE = "".join((_ASSETS / name).read_text(encoding="utf-8") for name in ("report.css", "classroom.css"))
_SCRIPT = (_ASSETS / "classroom.js").read_text(encoding="utf-8")

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=text.finalize,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(readable=text.readable, plural=text.plural)


def render(
    rows: Sequence[StudentRow], exercise: Exercise, alike: Sequence[AlikeGroup] = (), *, real_names: bool = False
) -> str:
    """The instructor's page. It names students; only its leaderboard does not, unless `real_names`."""
    counted = counts.mistakes(rows)
    by_row: dict[str, list[counts.MistakeRow]] = {}
    for one in counted:
        for row in one.rows:
            by_row.setdefault(row.student, []).append(one)
    return _page(
        "classroom.html.j2",
        exercise,
        script=_SCRIPT,
        rows=rows,
        verdicts=counts.verdicts(rows),
        words=_headline(rows, exercise),
        points=_points(rows, exercise),
        ratios={case: _ratios(rows, case, exercise) for case in counts.cases(exercise)},
        case_rows=counts.case_rows(rows, exercise),
        mistakes=counted,
        passed=Status.PASSED,
        failed=Status.FAILED,
        mistakes_of=lambda row: by_row.get(row.student, []),
        ungraded=[row for row in rows if row.problem],
        leaders=counts.leaders(rows, exercise),
        alike=alike,
        by_student={row.student: row for row in rows},
        real_names=real_names,
    )


def render_leaderboard(rows: Sequence[StudentRow], exercise: Exercise, *, real_names: bool = False) -> str:
    """A page to show to the class: ratios by pseudonym, and nothing else of anybody."""
    return _page(
        "classroom_leaderboard.html.j2",
        exercise,
        script="",
        leaders=counts.leaders(rows, exercise),
        real_names=real_names,
    )


def _page(template: str, exercise: Exercise, *, script: str, **values: object) -> str:
    return _ENVIRONMENT.get_template(template).render(
        exercise=exercise,
        cases=counts.cases(exercise),
        timed=counts.timed(exercise),
        style=Markup(_STYLE),  # noqa: S704 - our own files
        style_hash=_content_hash(_STYLE),
        script=Markup(script),  # noqa: S704
        script_hash=_content_hash(script),
        shown_mistakes=SHOWN_MISTAKES,
        shown_leaders=SHOWN_LEADERS,
        shown_alike=SHOWN_ALIKE,
        most=sum(exercise.points.values()),
        **values,
    )


def _content_hash(content: str) -> str:
    """As a content security policy names what may apply."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _headline(rows: Sequence[StudentRow], exercise: Exercise) -> tuple[str, str]:
    """A headline, and what the middle of the class has."""
    most = text.readable(sum(exercise.points.values()))
    known = [row.points for row in rows if row.points is not None]
    sentences = []
    if known:
        so_far = "" if all(row.complete for row in rows if row.points is not None) else " so far"
        sentences.append(f"The median is {text.readable(median(known))} of {most} points{so_far}.")
    ungraded = sum(bool(row.problem) for row in rows)
    if ungraded:
        sentences.append(f"{ungraded} could not be graded.")
    return text.plural(len(rows), "student"), " ".join(sentences)


def _points(rows: Sequence[StudentRow], exercise: Exercise) -> Histogram | None:
    most = float(sum(exercise.points.values()))
    known = [(row.points, 0 if row.complete else 1) for row in rows if row.points is not None]
    return histogram(known, step=most / POINT_BARS, bars=POINT_BARS, last_is_open=False) if known else None


def _ratios(rows: Sequence[StudentRow], case: str, exercise: Exercise) -> Histogram | None:
    ratios = [ratio for row in rows if (ratio := row.case(case).ratio) is not None]
    split = [(ratio, 0 if ratio >= exercise.threshold else 1) for ratio in ratios]
    return histogram(split, step=RATIO_STEP, bars=RATIO_BARS, mark=exercise.threshold) if split else None
