"""The files a batch writes: a Result and a report per student, the gradebook, the class page.

All of them are generated from the ledger and can be generated again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from grader import files, reports
from grader.batch import classroom, feedback, filenames, gradebook, late, who, worker, workplace
from grader.batch.entry import Entry, Lateness, ManualPoints, Submitted
from grader.batch.exports.formats import FORMATS
from grader.batch.ledger import Enrolled, Grading, Ledger
from grader.errors import GraderError, at_fault
from grader.model import codec
from grader.model.exercise import Exercise
from grader.model.result import Points, Result

RESULTS = "results"
REPORTS = "reports"

LATE = "late"  # the setting that holds the instructor's rule for late work

NOT_YET = "not graded yet"


def entries(ledger: Ledger, exercise: Exercise) -> list[Entry]:
    """Every student of the batch with the current results, in the order of the submissions."""
    enrolled = ledger.enrolled()
    gradings = ledger.gradings(one.key for one in enrolled if one.key)
    given = ledger.manual(exercise.name)
    lateness = late.lateness(ledger.settings().get(LATE, ""), [one.submitted for one in enrolled])
    return [
        msgspec.structs.replace(
            _entry(one, gradings.get(one.key), given.get(one.submitted.student, ManualPoints())),
            lateness=lateness.get(one.submitted.student, Lateness()),
        )
        for one in enrolled
    ]


def write(made: Sequence[Entry], exercise: Exercise, out: Path, *, real_names: bool) -> None:
    """Files that are still up to date are not touched. Raises GraderError if something cannot be written.

    Pages come last, so that a page that cannot be generated does not block anything else.
    """
    for entry in made:
        _write_result(entry, out)
    gradebook.write(made, exercise, out)
    problems = [_write_report(entry, exercise, out) for entry in made]
    problems.append(_guarded("the class's page", lambda: classroom.write(made, exercise, out, real_names=real_names)))
    failed = [problem for problem in problems if problem]
    if failed:
        more = f" ({len(failed)} pages in all)" if len(failed) > 1 else ""
        raise GraderError(failed[0] + more)


def files_of(student: str, out: Path) -> tuple[Path, Path]:
    """The Result and the report."""
    stem = filenames.stem(student)
    return out / RESULTS / f"{stem}.json", out / REPORTS / f"{stem}.html"


def remove(student: str, out: Path) -> None:
    """What `write` generates again."""
    for file in files_of(student, out):
        workplace.remove(file, out)


def forget(student: str, out: Path) -> list[Path]:
    """Removes the files in `out` under the student's name, and returns them. The `exported` files stay."""
    folders = (out / format_.place for format_ in FORMATS.values() if format_.per_student)
    own = [*files_of(student, out), *(folder / filenames.stem(student) for folder in folders)]
    there = [path for path in own if path.exists()]
    for path in there:
        workplace.remove(path, out)
    return there


def exported(out: Path) -> list[Path]:
    """Files exported for a platform, with several students in them."""
    places = [format_.place for format_ in FORMATS.values() if format_.place and not format_.per_student]
    return [out / place for place in places if (out / place).exists()]


def _entry(one: Enrolled, grading: Grading | None, manual: ManualPoints) -> Entry:
    submitted = one.submitted
    if submitted.problem:
        return Entry(submitted, manual=manual)
    if grading is None:
        return Entry(submitted, problem=NOT_YET, manual=manual)
    if grading.result is None:
        return Entry(submitted, problem=f"could not be graded: {grading.problem}", manual=manual)
    report = f"{REPORTS}/{filenames.stem(submitted.student)}.html"
    return Entry(submitted, personal(grading.result, submitted, manual), manual=manual, report=report)


def personal(result: Result, submitted: Submitted, manual: ManualPoints) -> Result:
    """The Result under the student's own file name, with the instructor's points."""
    name = submitted.path.name.encode(errors="replace").decode() if submitted.path else worker.NAME
    checks = tuple(worker.named(check, name) for check in result.checks)
    return msgspec.structs.replace(
        result,
        submission=msgspec.structs.replace(result.submission, path=name),
        checks=checks,
        points=with_manual(result.points, manual),
    )


def with_manual(points: Points, manual: ManualPoints) -> Points:
    if manual.points is None:
        return points
    total = round((points.total or 0.0) + manual.points, 2)
    return msgspec.structs.replace(points, manual=manual.points, total=total)


def _write_result(entry: Entry, out: Path) -> None:
    """An existing report always belongs to the existing Result, so the old report is removed first."""
    file, _ = files_of(entry.submitted.student, out)
    content = codec.encode(entry.result) if entry.result else None
    if content is None or not _holds(file, content):
        remove(entry.submitted.student, out)
    if content is not None and not file.exists():
        files.write(file, content)


def _write_report(entry: Entry, exercise: Exercise, out: Path) -> str:
    """Writes it if it is missing. Returns what went wrong, or ""."""
    _, page = files_of(entry.submitted.student, out)
    if entry.result is None or page.exists():
        return ""
    result = entry.result

    def write() -> None:
        html = reports.render(
            result,
            exercise,
            worker.graded_text(entry.submitted.path, result),
            comment=feedback.from_instructor(entry),
        )
        files.write(page, html.encode(errors="replace"))

    return _guarded(f"the report of {entry.submitted.student}", write)


def _guarded(what: str, write: Callable[[], object]) -> str:
    """Returns what went wrong, or "". A full disk stops everything; a page that cannot be generated stops nothing."""
    try:
        write()
    except GraderError:
        raise
    except Exception as error:
        return f"{what} could not be generated: internal error at {at_fault(error)}"
    return ""


def _holds(file: Path, content: bytes) -> bool:
    try:
        return files.read(file, len(content)) == content
    except OSError:
        return False


def could_not_be_graded(made: Sequence[Entry], students: Sequence[str] = ()) -> list[Entry]:
    """Those for which the grader or the machine failed, or that were never reached; not the submission's fault.

    With `students`, only of these, by any identifier.
    """
    wanted = {who.find(name, [one.submitted for one in made]).student for name in students}
    asked = [one for one in made if not wanted or one.submitted.student in wanted]
    return [
        one for one in asked if not one.submitted.problem and (one.result is None or one.result.verdict == "error")
    ]
