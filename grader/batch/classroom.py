"""The class at a glance: class.html for the instructor, leaderboard.html for the class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from grader import files
from grader.batch import alike, gradebook, mistakes, outcomes, pseudonyms, worker
from grader.batch.entry import Entry
from grader.model.exercise import Exercise
from grader.model.result import Result, Status, Verdict
from grader.reports import classroom

PAGE, LEADERBOARD = "class.html", "leaderboard.html"


def write(entries: Sequence[Entry], exercise: Exercise, out: Path, *, real_names: bool = False) -> Path:
    """Writes both pages into `out`, next to the reports. With `real_names`, the leaderboards show names too."""
    for name, page in pages(entries, exercise, out, real_names=real_names).items():
        files.write(out / name, page)
    return out / PAGE


def pages(entries: Sequence[Entry], exercise: Exercise, out: Path, *, real_names: bool = False) -> dict[str, bytes]:
    """By file name. `out` stores the key of the pseudonyms."""
    rows = rows_of(entries, exercise, pseudonyms.key_of(out))
    made = {
        PAGE: classroom.render(rows, exercise, alike_of(entries, exercise), real_names=real_names),
        LEADERBOARD: classroom.render_leaderboard(rows, exercise, real_names=real_names),
    }
    return {name: page.encode(errors="replace") for name, page in made.items()}


def alike_of(entries: Sequence[Entry], exercise: Exercise) -> tuple[classroom.AlikeGroup, ...]:
    """Submissions that look like copies of each other. Two who submitted together (Gradescope) are one."""
    sources, seen = {}, set()
    for entry in gradebook.in_order(entries):
        text = worker.graded_text(entry.submitted.path, entry.result) if entry.result else None
        together = entry.submitted.identifiers.get("Submission")
        if text is not None and together not in seen:
            sources[entry.submitted.student] = text
        seen |= {together} if together else set()
    return alike.groups(sources, _text(exercise.starter), _text(exercise.folder / "solution.cu"))


def _text(file: Path) -> str:
    """ "" if the exercise here has no such file."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def rows_of(entries: Sequence[Entry], exercise: Exercise, key: bytes) -> tuple[classroom.StudentRow, ...]:
    names = pseudonyms.of((entry.submitted.student for entry in entries), key)
    return tuple(_row(entry, exercise, names[entry.submitted.student]) for entry in gradebook.in_order(entries))


def _row(entry: Entry, exercise: Exercise, pseudonym: str) -> classroom.StudentRow:
    submitted, result = entry.submitted, entry.result
    cases = {}
    if result is not None:
        cases = {case: outcomes.of_case(result, case) for case in outcomes.cases(exercise)}
    return classroom.StudentRow(
        student=submitted.student,
        name=submitted.name,
        pseudonym=pseudonym,
        verdict=result.verdict if result else None,
        points=outcomes.final(entry),
        complete=outcomes.complete(entry),
        cases=cases,
        mistakes=mistakes.of(result) if result else (),
        late=submitted.late,
        problem=outcomes.problem(entry) or (_error(result) if result else ""),
        report=entry.report,
    )


def _error(result: Result) -> str:
    """Why there are no points even though there is a Result."""
    if result.verdict is not Verdict.ERROR:
        return ""
    failed = next((check for check in result.checks if check.status is Status.ERROR), None)
    return f"the grader failed: {failed.message or failed.reason or failed.id}" if failed else "the grader failed"
