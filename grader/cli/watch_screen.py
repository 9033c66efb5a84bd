"""What grade watch shows: a line for each check as it finishes, then the verdict of grade run, then the keys."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich.text import Text

from grader.cli.case_table import CELL_STYLES
from grader.cli.terminal import SCREEN, console, print_result
from grader.grading.pipeline import Progress
from grader.model.exercise import Exercise
from grader.model.result import Check, Finding, Result, Status
from grader.reports.cases import word
from grader.reports.kinds import kind_of, title
from grader.reports.text import inert
from grader.watch.hints import Hint

CLEAR_LINE = "\r\x1b[2K"
CLEAR_SCREEN = "\x1b[2J\x1b[H"  # does not clear what was above
MARKS = {Status.PASSED: "ok", Status.FAILED: "NO", Status.ERROR: "error", Status.NOT_JUDGED: "-"}
KEYS = 3  # lines below a verdict: a blank one, the keys, what watch waits for

Key = tuple[str, str]  # the key and what it does


class Screen:
    """Clears and overwrites on a terminal; a pipe or a dumb terminal gets the same text line by line."""

    def __init__(self) -> None:
        self._out = console()
        self._moves = self._out.is_terminal and os.environ.get("TERM") != "dumb"
        self._shown = 0

    def begin(self, exercise: Exercise, file: Path, why: str) -> None:
        self._clear()
        self._title(exercise)
        at = time.strftime("%H:%M:%S")
        self._out.print(Text(f"{inert(str(file))}, {why} {at}", "dim"), overflow="ellipsis", no_wrap=True)
        self._out.print()
        self._shown = 0

    def going(self, progress: Progress) -> None:
        """The lines of what has finished since; below them, what starts now."""
        new = progress.checks[self._shown :]
        self._shown += len(new)
        self._write(CLEAR_LINE)
        for _, checks in groupby(new, key=lambda check: check.case or check.id):
            self._out.print(_line(list(checks)), overflow="ellipsis", no_wrap=True)
        self._write(f"  grading: {progress.said}")

    def verdict(self, exercise: Exercise, result: Result, source: str, *, verbose: bool = False) -> None:
        self._clear()
        rows = max(self._out.height - 1, SCREEN)  # the last one is for the cursor
        print_result(self._out, result, exercise, source, verbose=verbose, most=rows - KEYS)

    def hint(self, hint: Hint | None, otherwise: str) -> None:
        from rich.markdown import Markdown

        self._out.print()
        if hint is None:
            self._out.print(Text(otherwise, "cyan"))
            return
        self._out.print(Text(hint.title, "bold cyan"))
        self._out.print(Markdown(hint.text))

    def text(self, title: str, text: str) -> None:
        self._out.print()
        self._out.print(Text(title, "bold cyan"))
        self._out.print(Text(text.expandtabs(4)), soft_wrap=True)

    def say(self, text: str, style: str = "yellow") -> None:
        self._write(CLEAR_LINE)
        self._out.print(Text(inert(text), style), soft_wrap=True)

    def keys(self, keys: Sequence[Key], waiting: str) -> None:
        """The last lines: the keys, and what watch waits for."""
        self._out.print()
        if keys:
            self._out.print(Text("  ").join(Text.assemble((key, "bold"), f" {does}") for key, does in keys))
        self._out.print(Text(waiting, "dim"), soft_wrap=True)

    def _title(self, exercise: Exercise) -> None:
        title = Text.assemble((exercise.name, "bold"), f"  {exercise.title}")
        self._out.print(title, overflow="ellipsis", no_wrap=True)

    def _clear(self) -> None:
        if self._moves:
            self._write(CLEAR_SCREEN)
        else:
            self._out.print()

    def _write(self, text: str) -> None:
        if self._moves:
            sys.stdout.write(text)
            sys.stdout.flush()


def _line(checks: list[Check]) -> Text:
    """ "NO  uniform  faulty: race between threads, line 22": for one case, or for a check without a case."""
    judged = [check for check in checks if check.status is not Status.SKIPPED and check.rubric != "performance"]
    last = (judged or checks)[-1]
    name = last.case or last.id
    words = [word(check) for check in judged]
    said = ", ".join(word for word in words if word)
    if last.status is Status.FAILED and last.findings:
        said = ": ".join(part for part in (said, _cause(last.findings[0])) if part)
    elif not said:
        said = last.reason or last.message if last.case else ""
    mark = f"  {MARKS.get(last.status, '-'):5}", CELL_STYLES.get(last.status, "yellow")
    return Text.assemble(mark, f"  {inert(name):18}  {inert(said)}".rstrip())


def _cause(finding: Finding) -> str:
    """ "race between threads, line 22"; empty if the words before it already say so."""
    if finding.kind == "wrong-values":
        return ""
    called = title(finding)
    called = called[0].lower() + called[1:]
    return f"{called}, line {finding.line}" if finding.line and kind_of(finding.kind).at_fault else called
