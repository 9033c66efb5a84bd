"""The progress of a batch, on stderr: a bar on a terminal, otherwise a line per submission."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from grader.batch import outputs
from grader.batch.choice import some
from grader.batch.class_list import NOT_SUBMITTED
from grader.batch.entry import Entry
from grader.batch.run import BatchPlan
from grader.batch.worker import Graded
from grader.cli.terminal import console
from grader.cli.wrap import NO_BREAK, wrapped
from grader.reports.text import in_line, inert, plural

VERDICTS = ("passed", "incomplete", "failed", "error")
SHOWN_PROBLEMS = 10
SHOWN_NAMES = 3  # of students who submitted the same file
BAR_WIDTH = 10  # leaves room for the rest of the line
# The remedy for whatever was not taken.
NOT_TAKEN = (
    "To grade them, replace each submission with its starter.cu (unpack a zip first), or list students "
    "and files in a CSV file, and run the command again. Or give points by hand: grade points."
)
DAYS_UNKNOWN = "It is not known how late, so one day counts: list the days under [days_late] in the --late file."
STEADY = 3  # gradings before a rate is meaningful


class BatchProgress:
    """Implements Watch. `summary` is set when the batch has ended."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._began = time.monotonic()
        self._done = self._todo = 0
        self._counts: Counter[str] = Counter()
        self._tried_again = False
        self.summary = ""

    def note(self, text: str) -> None:
        self._out.print(wrapped(inert(text)))

    def began(self, plan: BatchPlan) -> None:
        self._began, self._todo = time.monotonic(), plan.todo
        students = plural(plan.students, "student")
        known = f", {plan.done} already graded" if plan.done else ""
        self.note(f"{students}{known}; {plan.todo} to grade {_where(plan)}, seed{NO_BREAK}{plan.seed}")

    def graded(self, students: Sequence[str], graded: Graded) -> None:
        verdict = graded.result.verdict.value if graded.result else "error"
        self._done += 1
        self._counts[verdict] += 1
        self._show(self._line(students, graded, verdict))

    def ended(self, entries: Sequence[Entry]) -> None:
        self.close()
        self.summary = summary(entries)

    def close(self) -> None:
        """Restores the terminal."""

    def _show(self, line: str) -> None:
        self._out.print(line)

    def _line(self, students: Sequence[str], graded: Graded, verdict: str) -> str:
        points = graded.result.points if graded.result else None
        known = f"{points.total:g} of {points.max:g}" if points and points.total is not None else "-"
        number = f"{min(self._done, self._todo):{len(str(self._todo))}}/{self._todo}"
        took = f"{graded.seconds:.1f} s"
        return f"{number}  {verdict:10}  {known:>12}  {took:>7}  {_names(students)}"

    def rate(self) -> str:
        """ "24/min, 3:10 left"; "" while there are too few to estimate."""
        seconds = time.monotonic() - self._began
        if self._done < STEADY or seconds <= 0:
            return ""
        left = int(max(0, self._todo - self._done) * seconds / self._done)
        hours, minutes = left // 3600, left // 60 % 60
        shown = f"{hours}:{minutes:02}:{left % 60:02}" if hours else f"{minutes}:{left % 60:02}"
        return f"{60 * self._done / seconds:.0f}/min, {shown} left"

    def counts(self) -> str:
        return ", ".join(f"{self._counts[verdict]} {verdict}" for verdict in VERDICTS if self._counts[verdict])


class BarProgress(BatchProgress):
    """The same on a terminal, as two lines that overwrite themselves."""

    def __init__(self, out: Console) -> None:
        super().__init__(out)
        columns = (BarColumn(BAR_WIDTH), MofNCompleteColumn(), TextColumn("{task.description}"))
        self._progress = Progress(*columns, console=out, transient=True)
        self._bar: TaskID | None = None

    def began(self, plan: BatchPlan) -> None:
        super().began(plan)
        if plan.todo:
            self._bar = self._progress.add_task("", total=plan.todo)
            self._progress.start()

    def _show(self, _: str) -> None:
        if self._bar is not None:
            parts = (self.rate(), self.counts())
            said = "  ".join(part for part in parts if part)
            self._progress.update(self._bar, completed=min(self._done, self._todo), description=said)

    def close(self) -> None:
        self._progress.stop()


@contextmanager
def progress() -> Iterator[BatchProgress]:
    out = console(to_stderr=True)
    out.soft_wrap = True
    watch = BarProgress(out) if out.is_terminal else BatchProgress(out)
    try:
        yield watch
    finally:
        watch.close()


def summary(entries: Sequence[Entry]) -> str:
    """The number of each verdict, and which students have none, and why."""
    counts = Counter(entry.result.verdict.value for entry in entries if entry.result)
    parts = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]]
    waiting = sum(entry.problem == outputs.NOT_YET for entry in entries)
    if waiting:
        parts.append(f"{waiting} not graded yet")
    problems = [(entry.submitted.called, _problem(entry)) for entry in entries if _problem(entry)]
    if problems:
        parts.append(f"{len(problems)} without a grade")
    lines = [f"{plural(len(entries), 'student')}: {', '.join(parts) or 'none graded'}"]
    nothing = [entry.submitted.called for entry in entries if entry.submitted.problem == NOT_SUBMITTED]
    lines += _listed([one for one in problems if one[1] != NOT_SUBMITTED], "problem")
    if any(entry.submitted.problem not in ("", NOT_SUBMITTED) for entry in entries):
        lines.append(wrapped(NOT_TAKEN))
    lines += [wrapped(inert(f"{NOT_SUBMITTED}: {some(nothing)}"), indent="  ", further="    ")] if nothing else []
    notes = [(entry.submitted.called, entry.submitted.note) for entry in entries if entry.submitted.note]
    lines += ["Please check:", *_listed(notes, "note")] if notes else []
    unsure = [entry.submitted.called for entry in entries if not entry.lateness.known]
    if unsure:
        lines.append(wrapped(inert(f"Late by at least a day: {some(unsure)}. {DAYS_UNKNOWN}")))
    if waiting:
        lines.append("Run the same command again to resume.")
    return "\n".join(lines)


def _listed(said: Sequence[tuple[str, str]], column: str) -> list[str]:
    lines = [
        wrapped(inert(f"{student}: {text}"), indent="  ", further="    ") for student, text in said[:SHOWN_PROBLEMS]
    ]
    more = len(said) - SHOWN_PROBLEMS
    return [*lines, f"  and {more} more; see the column `{column}` of the gradebook"] if more > 0 else lines


def _problem(entry: Entry) -> str:
    known = entry.submitted.problem or entry.problem
    return "" if known == outputs.NOT_YET else known


def _where(plan: BatchPlan) -> str:
    if plan.gpus:
        which = "GPU " if len(plan.gpus) == 1 else "GPUs "
        return f"on {which}{', '.join(map(str, plan.gpus))}, {plan.at_once} at a time"
    where = f"on the {'GPU' if plan.device == 'cuda' else 'CPU'}"
    return f"{where}, {plan.at_once} at a time" if plan.at_once else f"{where} on other machines"


def _names(students: Sequence[str]) -> str:
    shown = ", ".join(in_line(student) for student in students[:SHOWN_NAMES])
    return shown + (f" and {len(students) - SHOWN_NAMES} more" if len(students) > SHOWN_NAMES else "")
