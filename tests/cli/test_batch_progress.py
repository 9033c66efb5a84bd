"""What a batch shows while it runs, on a terminal and elsewhere."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from grader.batch.entry import Entry, Submitted
from grader.batch.outputs import NOT_YET
from grader.batch.run import BatchPlan
from grader.batch.worker import Graded
from grader.cli import batch_progress
from grader.cli.batch_progress import BarProgress, BatchProgress, summary
from grader.model.result import Check, Points, Result, Status, Submission, Verdict

PLAN = BatchPlan(students=200, done=20, todo=180, seed=7, device="cpu", at_once=2)


def graded(verdict: Verdict) -> Graded:
    points = Points(40, None, 12, None, 52, 100)
    checks = (Check("compile", Status.PASSED),)
    return Graded(Result(1, "01", Submission("a.cu", "sha"), verdict, points, 7, {}, checks), seconds=2.5)


def test_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    watch = BatchProgress(Console(file=out, width=80))
    watch.began(PLAN)
    watch.graded(["ada", "bob", "cyd", "dot"], graded(Verdict.FAILED))
    watch.graded(["eve\x1b[31m\n3/3  passed"], Graded(None, "no"))
    lines = out.getvalue().splitlines()
    assert lines[0] == "200 students, 20 already graded; 180 to grade on the CPU, 2 at a time, seed 7"
    assert lines[1] == "  1/180  failed         52 of 100    2.5 s  ada, bob, cyd and 1 more"
    assert "error" in lines[2]
    assert "\x1b" not in lines[2]
    assert len(lines) == 3


def test_the_first_line_is_no_wider_than_80_columns() -> None:
    out = io.StringIO()
    BatchProgress(Console(file=out, width=80)).began(msgspec.structs.replace(PLAN, seed=4294967295))
    assert "seed 4294967295" in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) <= 80


def test_a_bar_with_rate_time_left_and_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(batch_progress.time, "monotonic", lambda: clock[0])
    out = io.StringIO()
    watch = BarProgress(Console(file=out, width=80, force_terminal=True, color_system=None))
    watch.began(PLAN)
    for verdict in (Verdict.PASSED, Verdict.PASSED, Verdict.FAILED):
        clock[0] += 2.0
        watch.graded(["ada"], graded(verdict))
    watch._progress.refresh()
    watch.close()
    assert "3/180 30/min, 5:54 left  2 passed, 1 failed" in out.getvalue()


def test_long_waits_are_in_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(batch_progress.time, "monotonic", lambda: clock[0])
    watch = BatchProgress(Console(file=io.StringIO()))
    watch.began(PLAN)
    for _ in range(3):
        watch.graded(["ada"], graded(Verdict.PASSED))
    clock[0] = 300.0
    assert watch.rate() == "1/min, 4:55:00 left"


def test_the_end_names_who_has_no_grade_and_why() -> None:
    entries = [Entry(Submitted(f"s{number:02}", problem="handed in nothing")) for number in range(12)]
    said = summary([*entries, Entry(Submitted("zoe"), problem=NOT_YET)]).splitlines()
    assert said[0] == "13 students: 1 not graded yet, 12 without a grade"
    assert said[1] == "  s00: handed in nothing"
    assert said[11] == "  and 2 more; see the column `problem` of the gradebook"
    assert "same command" in said[-1]
