"""gradebook.csv: one row per student; what is unknown stays empty."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from grader import files
from grader.batch import outcomes, table
from grader.batch.entry import Entry
from grader.model.exercise import Exercise
from grader.model.result import Status

FILE = "gradebook.csv"

RUBRIC = ("correctness", "performance", "quality", "manual")


def write(entries: Sequence[Entry], exercise: Exercise, out: Path) -> Path:
    """Writes out/gradebook.csv atomically. The same entries give the same bytes, whatever their order.

    Raises GraderError if it cannot be written.
    """
    rows: list[Sequence[table.Cell]] = [header(exercise), *(_row(entry, exercise) for entry in in_order(entries))]
    return files.write(out / FILE, table.encode(rows))


def in_order(entries: Sequence[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: (entry.submitted.student.casefold(), entry.submitted.student))


def header(exercise: Exercise) -> list[str]:
    """For each case with points of its own: whether it is right (clean and correct), fast enough, and its ratio."""
    return [
        *("student", "name", "verdict", *RUBRIC, "total", "max", "days late", "percent lost", "final"),
        *(f"{case}{what}" for case in outcomes.cases(exercise) for what in ("", " speed", " ratio")),
        *("extra cases", "late", "problem", "note", "comment", "seed", "sha256", "report"),
    ]


def _row(entry: Entry, exercise: Exercise) -> list[table.Cell]:
    submitted, result = entry.submitted, entry.result
    points = outcomes.points(entry)
    manual = points.manual if points and points.manual is not None else entry.manual.points
    return [
        submitted.student,
        submitted.name,
        result.verdict.value if result else "",
        *(getattr(points, rubric, None) for rubric in RUBRIC[:-1]),
        manual,
        outcomes.total(entry),
        float(points.max if points else sum(exercise.points.values())),
        float(entry.lateness.days),
        entry.lateness.percent,
        outcomes.final(entry),
        *(cell for case in outcomes.cases(exercise) for cell in _case(entry, case)),
        _further(entry, exercise),
        "yes" if submitted.late else "no",
        outcomes.problem(entry),
        submitted.note,
        entry.manual.said,
        str(result.seed) if result else "",
        result.submission.sha256 if result else "",
        entry.report,
    ]


def _case(entry: Entry, case: str) -> tuple[table.Cell, table.Cell, table.Cell]:
    if entry.result is None:
        return "", "", None
    outcome = outcomes.of_case(entry.result, case)
    return _word(outcome.right), _word(outcome.speed), outcome.ratio


def _further(entry: Entry, exercise: Exercise) -> str:
    """Not "7/9", which a spreadsheet would read as a date."""
    right, of = outcomes.further(entry.result, exercise) if entry.result else (0, 0)
    return f"{right} of {of}" if of else ""


def _word(status: Status | None) -> str:
    return status.value if status else ""
