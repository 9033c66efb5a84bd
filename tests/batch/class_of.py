"""Students made by hand: one of each kind that a gradebook has to hold."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import msgspec

from grader.batch.entry import Entry, ManualPoints, Submitted
from grader.model.exercise import Exercise, QualityRule
from grader.model.measurements import read
from grader.model.result import (
    SCHEMA_VERSION,
    Check,
    Finding,
    Points,
    Result,
    Status,
    Submission,
    verdict_of,
)

CASES = ("uniform", "variable", "imbalanced", "small")
FURTHER = ("one-row", "prime-rows")

EXERCISE = Exercise(
    name="01_simple_grouped_gemm",
    title="Simple grouped GEMM",
    folder=Path("exercises/01_simple_grouped_gemm"),
    kernels=(),
    points={"correctness": 40, "performance": 40, "quality": 20},
    cases=CASES,
    speed_cases=CASES,
    quality=(QualityRule("no-warnings", 4), QualityRule("commented", 8)),
)

RACE = Finding(
    "race", "starter.cu", 33, "thread (3,0,0) overwrites As[0][3] while thread (9,0,0) may still read it", count=64
)


def rows_of(content: bytes, delimiter: str = ",") -> list[list[str]]:
    text = content.decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def wrong_values(cause: str, group: int = 3) -> Finding:
    message = f"group {group}, row 96, column 0: expected 4.7121, got 0; 1536 of 131072 elements are wrong"
    full = f"{cause}. First wrong element: {message}" if cause else message
    return Finding("wrong-values", "starter.cu", 0, full, hint="ragged-tiles", cause=cause)


def result(
    *checks: Check, correctness: float | None, performance: float | None, quality: float | None, manual: float | None
) -> Result:
    known = [part for part in (correctness, performance, quality, manual) if part is not None]
    return Result(
        schema=SCHEMA_VERSION,
        exercise=EXERCISE.name,
        submission=Submission("starter.cu", "9f2c" * 16),
        verdict=verdict_of(checks),
        points=Points(correctness, performance, quality, manual, sum(known) if known else None, 100.0),
        seed=1234567,
        machine={"grader": "0.1.0"},
        checks=checks,
    )


def checks_of(
    wrong: dict[str, Finding] | None = None, ratios: dict[str, float] | None = None, gpu: bool = True
) -> Iterable[Check]:
    """Each case right, but for those that have a finding; fast by its ratio, where there is a GPU."""
    wrong, ratios = wrong or {}, ratios or {}
    yield Check("compile", Status.PASSED, "compiled")
    yield Check("launch", Status.PASSED)
    for case in (*CASES, *FURTHER):
        finding = wrong.get(case)
        faulty = finding is not None and finding.kind != "wrong-values"
        yield _check("memory", case, Status.FAILED if faulty else Status.PASSED, finding if faulty else None)
        parent = f"memory[{case}] failed" if faulty else None
        status = Status.SKIPPED if faulty else Status.FAILED if finding else Status.PASSED
        yield _check("correct", case, status, None if faulty else finding, reason=parent)
        if case in CASES:
            yield _speed(case, bool(finding), ratios.get(case, 0.71), gpu)
    yield Check("quality", Status.PASSED, required=False, measurements=read({"points": 12.0, "of": 12.0}))


def _check(family: str, case: str, status: Status, finding: Finding | None, reason: str | None = None) -> Check:
    findings = (finding,) if finding else ()
    return Check(f"{family}[{case}]", status, case=case, device="cpu", findings=findings, reason=reason)


def _speed(case: str, wrong: bool, ratio: float, gpu: bool) -> Check:
    if wrong:
        return Check(f"speed[{case}]", Status.SKIPPED, case=case, reason=f"correct[{case}] failed")
    if not gpu:
        return Check(f"speed[{case}]", Status.NOT_JUDGED, case=case, reason="needs an NVIDIA GPU")
    status = Status.PASSED if ratio >= 0.6 else Status.FAILED
    return Check(f"speed[{case}]", status, case=case, device="cuda", measurements=read({"ratio": ratio}))


def passed(manual: float | None = None) -> Result:
    """71% of cuBLAS everywhere; the instructor may have added points."""
    return result(*checks_of(), correctness=40.0, performance=40.0, quality=12.0, manual=manual)


def slow() -> Result:
    """One case fast enough, one exactly so."""
    ratios = {"uniform": 0.9, "variable": 0.6, "imbalanced": 0.29, "small": 0.1}
    return result(*checks_of(ratios=ratios), correctness=40.0, performance=20.0, quality=12.0, manual=None)


def not_timed() -> Result:
    return result(*checks_of(gpu=False), correctness=40.0, performance=None, quality=12.0, manual=None)


def judged(result: Result) -> Result:
    """With 0 points for performance instead of none."""
    return msgspec.structs.replace(result, points=msgspec.structs.replace(result.points, performance=0.0))


def wrong(finding: Finding | None = None) -> Result:
    finding = finding or wrong_values("rows of the last tile are never stored")
    checks = checks_of({"variable": finding, "imbalanced": finding, "prime-rows": finding}, gpu=False)
    return result(*checks, correctness=16.0, performance=None, quality=12.0, manual=None)


def does_not_compile() -> Result:
    message, detail = 'identifier "tiel" is undefined', 'identifier "…" is undefined'
    error = Finding("compile-error", "starter.cu", 25, message, detail=detail)
    checks = [Check("compile", Status.FAILED, error.message, findings=(error,))]
    checks += [
        Check(f"{family}[{case}]", Status.SKIPPED, case=case, reason="compile failed")
        for case in CASES
        for family in ("memory", "correct", "speed")
    ]
    return result(*checks, correctness=0.0, performance=0.0, quality=0.0, manual=None)


def grader_error() -> Result:
    checks = (
        Check("compile", Status.PASSED),
        Check("memory[uniform]", Status.ERROR, "the child process ended with signal 9", case="uniform"),
        Check("correct[uniform]", Status.SKIPPED, case="uniform", reason="memory[uniform] ended in an error"),
    )
    return result(*checks, correctness=None, performance=None, quality=None, manual=None)


# What a spreadsheet would calculate, and what breaks a careless CSV.
ODD_NAMES = (
    '=HYPERLINK("http://x")',
    "+1",
    "-2+3",
    "@SUM(A1)",
    "\tx",
    "\rx",
    "＝1+1",
    'Doe, "Jane"',
    "two\nlines",
    "李 明",
    "محمد الأمين",
    "Zoë O’Brien",
    "",
)


def submitted(student: str, name: str = "", **further: object) -> Submitted:
    return Submitted(student, name, **{"path": Path(f"{student}/starter.cu"), **further})  # type: ignore[arg-type]


def entry(student: str, result: Result | None, name: str = "", **identifiers: str) -> Entry:
    report = f"reports/{student}.html" if result else ""
    return Entry(submitted(student, name, identifiers=identifiers), result, report=report)


PASSED = entry("alice", passed(), "Doe, Alice")
OPEN = entry("bob", not_timed(), "Bob Roe")
WRONG = entry("carol", wrong(), "Carol Poe")
MISSING = Entry(submitted("dave", "Dave Low", path=None, problem="no .cu file, only notes.pdf"))
BROKEN = entry("erin", grader_error(), "Erin High")
LOST = Entry(submitted("frank", "Frank Wide"), problem="its process was killed twice")
BY_HAND = Entry(
    submitted("grace", "Grace Tall", path=None, problem="handed in nothing"),
    manual=ManualPoints(30.0, "shown in the lab"),
)
LATE = Entry(
    submitted("heidi", "Heidi Small", late=True),
    passed(manual=7.5),
    manual=ManualPoints(7.5, "well explained; 5 < 6 & more"),
    report="reports/heidi.html",
)

CLASS = (WRONG, PASSED, MISSING, OPEN, BROKEN, LATE, LOST, BY_HAND)
