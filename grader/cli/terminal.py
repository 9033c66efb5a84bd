"""A Result in 80 columns: verdict, cases, what is wrong, what to do, points, how to repeat it.

The words are those of the HTML report. Without `verbose` it fits on a screen: what has no room is shortened, the
least useful first.
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from grader.cli import excerpt
from grader.model.exercise import Exercise
from grader.model.result import Points, Result, Status, Verdict
from reports import history, kernels, speed
from reports.cases import COLUMNS, Cell, Row, tables
from reports.problems import Problem, advice, family, grader_errors, not_judged, problems
from reports.text import inert, plural, readable
from reports.verdict import words

WIDTH = 80

# Of a terminal's 24 lines one is the next prompt's.
SCREEN = 23

STYLES = {
    Verdict.PASSED: "bold green",
    Verdict.INCOMPLETE: "bold yellow",
    Verdict.FAILED: "bold red",
    Verdict.ERROR: "bold magenta",
}
CELL_STYLES = {Status.PASSED: "green", Status.FAILED: "red", Status.ERROR: "magenta"}
DASH = "-"
INDENT = "  "
SHOWN_OPEN = 2  # without -v, of what the grader failed at, and of what nobody judged
NAME_COLUMNS = 22  # of several cases in one row
LAST = "the last attempt"


class Detail(NamedTuple):
    """How much is told. Lines of a message, of the next step, of what is left open; 0 cuts nothing."""

    notes: int
    context: int  # lines of code before and after those that matter
    further: int  # problems beside the first, a line each
    message: int = 0
    next_step: int = 0
    left_open: int = 0
    merged: bool = False  # cases with the same outcome are one row


EVERYTHING = Detail(notes=99, context=excerpt.CONTEXT_VERBOSE, further=99)

# From the most that a screen may have room for to the least that says anything.
SHORTER = (
    Detail(notes=2, context=excerpt.CONTEXT, further=3),
    Detail(notes=1, context=excerpt.CONTEXT, further=1, message=3),
    Detail(notes=1, context=excerpt.CONTEXT, further=1, message=3, merged=True),
    Detail(notes=1, context=0, further=0, message=3, left_open=2, merged=True),
    Detail(notes=0, context=0, further=0, message=2, next_step=2, left_open=1, merged=True),
    Detail(notes=0, context=0, further=0, message=1, next_step=1, left_open=1, merged=True),
)

Lines = list[Text]


def console(*, to_stderr: bool = False) -> Console:
    """Plain where piped or where NO_COLOR is set; never wider than 80 columns."""
    made = Console(stderr=to_stderr, highlight=False, markup=False, emoji=False)
    made.width = min(made.width, WIDTH) if made.is_terminal else WIDTH
    return made


def print_result(
    out: Console,
    result: Result,
    exercise: Exercise | None,
    source: str | None,
    *,
    verbose: bool = False,
    since: Result | None = None,
    since_name: str = "",
) -> None:
    """With `since`, an earlier Result of the exercise, which is called `since_name`: what changed."""
    page = _Page(result, exercise, source, out.width, since, since_name or LAST)
    lines = page.lines(EVERYTHING) + page.details() if verbose else page.on_a_screen()
    for line in lines:
        # A command to be copied is never broken, nor cut.
        out.print(line, no_wrap=True, overflow="ignore", crop=False)


class _Page:
    """The lines of one Result, in as much detail as asked for."""

    def __init__(
        self,
        result: Result,
        exercise: Exercise | None,
        source: str | None,
        width: int,
        since: Result | None,
        since_name: str,
    ) -> None:
        self._result, self._exercise, self._source, self._width = result, exercise, source, width
        self._since, self._since_name = since, since_name
        self._problems = problems(result)

    def lines(self, detail: Detail) -> Lines:
        parts = (
            self._verdict(),
            self._cases(detail),
            *self._all_problems(self._problems, detail),
            *self._open_ends(detail),
            self._quality() if detail is not EVERYTHING else [],
            *(self._all_problems(advice(self._result), detail) if detail is EVERYTHING else ()),
            self._footer(),
        )
        filled = [part for part in parts if part]
        return [line for at, part in enumerate(filled) for line in ([Text("")] * (at > 0) + part)]

    def on_a_screen(self) -> Lines:
        lines = self.lines(SHORTER[0])
        for detail in SHORTER[1:]:
            if len(lines) <= SCREEN:
                break
            lines = self.lines(detail)
        return lines

    def details(self) -> Lines:
        """Everything else that was measured: times, registers, what the kernels printed."""
        lines = [Text("")]
        for check in self._result.checks:
            seconds = check.measurements.get("seconds")
            took = f"  {seconds:.2f} s" if isinstance(seconds, float) else ""
            said = check.message or check.reason or ""
            lines.append(self._cut(f"{check.id}: {check.status}{took}  {said}"))
            for name, taken in check.measurements.get("kernels", {}).items():
                listed = ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in taken.items())
                lines.append(self._cut(f"  {name}: {listed}", "dim"))
            if printed := check.measurements.get("printed"):
                lines += self._say(str(printed))
        return lines

    def _verdict(self) -> Lines:
        said = words(self._result, self._problems)
        headline = Text(f"{self._result.verdict.upper()}: {said.headline}", STYLES[self._result.verdict])
        changed = history.changes(self._result, self._since).sentence if self._since else ""
        since = self._say(f"Since {self._since_name}: {changed}.", indent="", style="cyan", most=2) if changed else []
        return [headline, *self._say(said.sentence, indent=""), *since]

    def _cases(self, detail: Detail) -> Lines:
        """One row per required case, one for the extra and one for the secret ones. None where nothing ran."""
        own, further = tables(self._result, self._exercise)
        if not any(cell.status is not Status.SKIPPED for row in (*own, *further) for cell in _cells(row)):
            return []
        rows = [_row(row) for row in ((*own, *further) if detail is EVERYTHING else own)]
        if detail.merged:
            rows = list(_merged(rows))
        if detail is not EVERYTHING:
            secret = [row for row in further if row.secret]
            extra = [row for row in further if not row.secret]
            rows += [_together(same, kind) for same, kind in ((extra, "extra"), (secret, "secret")) if same]
        header = [Text(name, "dim") for name in ("case", *(title.lower() for title in COLUMNS.values()))]
        widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
        lines = []
        for row in (header, *rows):
            line = Text(INDENT)
            for cell, width in zip(row[:-1], widths, strict=False):
                line += cell + " " * (width - len(cell) + 3)
            line += row[-1]
            line.truncate(self._width, overflow="ellipsis")
            lines.append(line)
        return lines + self._right_kernels()

    def _right_kernels(self) -> Lines:
        """What is done already, where an exercise has several kernels."""
        names = kernels.right(self._result, self._exercise) if self._exercise else ()
        return self._say(f"right in every case: {', '.join(names)}", style="green", most=2) if names else []

    def _quality(self) -> Lines:
        """What cost points where nothing else is wrong; only -v has room for all of it."""
        check = next((check for check in self._result.checks if family(check) == "quality"), None)
        if self._problems or grader_errors(self._result) or check is None or not check.findings:
            return []
        first, *others = check.findings
        place = f"line {first.line}: " if first.line else ""
        lines = self._say(f"Quality: {place}{first.message}", indent="", style="yellow", most=2)
        return lines + ([Text(f"and {len(others)} more; -v shows all", "dim")] if others else [])

    def _all_problems(self, found: Sequence[Problem], detail: Detail) -> Iterator[Lines]:
        """The first in full; without -v of the others no more than where they are."""
        shown, rest = (found, ()) if detail is EVERYTHING else (found[:1], found[1:])
        for problem in shown[:-1]:
            yield self._problem(problem, detail)
        for problem in shown[-1:]:
            also = [self._cut(f"also: {_heading(other, self._exercise)}") for other in rest[: detail.further]]
            more = len(rest) - len(also)
            tail = [Text(f"and {more} more; -v shows all", "dim")] if more else []
            yield self._problem(problem, detail) + also + tail

    def _problem(self, problem: Problem, detail: Detail) -> Lines:
        lines = [self._cut(_heading(problem, self._exercise), "bold yellow" if problem.mild else "bold red")]
        for text in self._messages(problem, detail):
            lines += self._say(text, most=detail.message)
        if self._source is not None:
            width = self._width - len(INDENT)
            code = excerpt.lines(self._source, problem.lines, width, context=detail.context)
            lines += [Text(INDENT) + line for line in code]
        if step := self._next_step(problem):
            lines += self._say(f"Next: {step}", most=detail.next_step)
        if problem.hint:
            lines += self._say(f"Hint: {_hint(problem.hint, self._exercise)}", style="cyan")
        return lines

    def _messages(self, problem: Problem, detail: Detail) -> list[str]:
        """What the first case shows, and with -v every case; all of it where there are no cases."""
        if problem.kind == "speed" and (slow := [speed.slow(o.case, o.measured) for o in problem.occurrences]):
            return list(filter(None, slow)) or [o.finding.message for o in problem.occurrences]
        shown = problem.occurrences if detail is EVERYTHING or not problem.cases else problem.occurrences[:1]
        named = detail is EVERYTHING and len(problem.cases) > 1
        messages = [f"{o.case}: {o.finding.message}" if named else o.finding.message for o in shown]
        notes = [note for o in shown for note in o.finding.notes]
        return list(dict.fromkeys(messages + notes[: detail.notes]))

    def _next_step(self, problem: Problem) -> str:
        said = (speed.advice(o.measured, self._result.machine) for o in speed.slowest_first(problem))
        return next(filter(None, said), "") or problem.next_step

    def _open_ends(self, detail: Detail) -> Iterator[Lines]:
        """What nobody judged, and where the grader failed; a paragraph for each reason."""
        errors = [(f"{check.id}: {check.message}", "magenta") for check in grader_errors(self._result)]
        unjudged = []
        for judged, why, checks in not_judged(self._result):
            name = checks[0].id if len(checks) == 1 else f"{judged} ({plural(len(checks), 'case')})"
            unjudged.append((f"Not judged: {name}: {why}", "yellow"))
        for found in (errors, unjudged):
            shown = found if detail is EVERYTHING else found[:SHOWN_OPEN]
            lines = [
                line
                for text, style in shown
                for line in self._say(text, indent="", style=style, most=detail.left_open)
            ]
            more = len(found) - len(shown)
            yield lines + ([Text(f"and {more} more; -v shows all", "dim")] if more else [])

    def _footer(self) -> Lines:
        result = self._result
        number = self._exercise.number.lstrip("0") if self._exercise else result.exercise
        command = ["grade", "run", number, result.submission.path, "--seed", str(result.seed)]
        again = Text(inert(shlex.join(command)))
        seed = Text(f"Seed {result.seed}; to repeat: ")
        repeat = [seed + again] if len(seed) + len(again) <= self._width else [seed, Text(INDENT) + again]
        for line in repeat:
            line.rstrip()
        return self._say(_points(result.points, self._exercise), indent="") + repeat

    def _say(self, text: str, *, indent: str = INDENT, style: str = "", most: int = 0) -> Lines:
        """A paragraph, of `most` lines. Wrapped here: rich would fill every line up with blanks."""
        parts = [
            part
            for line in inert(text).splitlines()
            for part in textwrap.wrap(line, self._width - len(indent)) or [""]
        ]
        if most and len(parts) > most:
            parts = [*parts[: most - 1], textwrap.shorten(" ".join(parts[most - 1 :]), self._width - len(indent))]
            parts[-1] = parts[-1].replace("[...]", "...")
        return [Text(indent + part, style) for part in parts]

    def _cut(self, text: str, style: str = "") -> Text:
        line = Text(inert(text).replace("\n", " "), style)
        line.truncate(self._width, overflow="ellipsis")
        return line


def _row(row: Row) -> list[Text]:
    return [Text(inert(row.case)), *(_cell(row.cells[column]) for column in COLUMNS)]


def _cells(row: Row) -> list[Cell]:
    return [cell for cells in row.cells.values() for cell in cells]


def _cell(cells: Sequence[Cell]) -> Text:
    if not cells or cells[-1].status is Status.SKIPPED:
        return Text(DASH, "dim")
    cell = cells[-1]
    return Text(cell.word + (f", {cell.ratio}" if cell.ratio else ""), CELL_STYLES.get(cell.status, "yellow"))


def _merged(rows: Sequence[list[Text]]) -> Iterator[list[Text]]:
    """Rows that say the same become one, in the order of their first."""
    groups: dict[tuple[str, ...], list[list[Text]]] = {}
    for row in rows:
        groups.setdefault(tuple(cell.plain for cell in row[1:]), []).append(row)
    for same in groups.values():
        names = ", ".join(row[0].plain for row in same)
        more = f"all {len(rows)} cases" if len(same) == len(rows) else f"{same[0][0].plain} and {len(same) - 1} more"
        name = names if len(names) <= NAME_COLUMNS else more
        yield [Text(name), *same[0][1:]]


def _together(rows: Sequence[Row], kind: str) -> list[Text]:
    """Cases of a kind as one row: in each column the worst that they have, and how many have it."""
    return [Text(plural(len(rows), f"{kind} case")), *(_worst(rows, column) for column in COLUMNS)]


def _worst(rows: Sequence[Row], column: str) -> Text:
    cells = [row.cells[column][-1] for row in rows if row.cells[column]]
    for status in (Status.FAILED, Status.ERROR, Status.NOT_JUDGED, Status.PASSED):
        same = [cell for cell in cells if cell.status is status]
        if same:
            count = f"{len(same)} of {len(rows)} " if len(same) < len(rows) else ""
            return Text(count + same[0].word, CELL_STYLES.get(status, "yellow"))
    return Text(DASH, "dim")


def _heading(problem: Problem, exercise: Exercise | None) -> str:
    """ "starter.cu:31: race (uniform and 3 more)", "starter.cu, decode_kernel: wrong-values (uniform)"."""
    place = inert(problem.file) + (f":{problem.line}" if problem.at_fault else _kernel(problem, exercise))
    more = f" and {len(problem.cases) - 1} more" if len(problem.cases) > 1 else ""
    where = f" ({inert(problem.cases[0])}{more})" if problem.cases else ""
    return f"{place + ': ' if place else ''}{problem.kind}{where}"


def _kernel(problem: Problem, exercise: Exercise | None) -> str:
    """Which kernel wrong values come from, where there are several."""
    if problem.kind != "wrong-values":
        return ""
    if names := kernels.named(o.finding for o in problem.occurrences):
        return f", {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
    several = exercise is not None and len(exercise.kernels) > 1
    return f", kernel on line {problem.line}" if several and problem.line else ""


def _hint(anchor: str, exercise: Exercise | None) -> str:
    folder = f"{exercise.name}/" if exercise else ""
    return f"{folder}problem.md#{inert(anchor)}"


def _points(points: Points, exercise: Exercise | None) -> str:
    """ "Points: 52 of 100 (correctness 40/40, quality 12/20, performance not judged)"."""
    parts, unknown = [], []
    for rubric in ("correctness", "performance", "quality"):
        given = getattr(points, rubric)
        of = f"/{exercise.points[rubric]}" if exercise and rubric in exercise.points else ""
        if given is None:
            unknown.append(rubric)
        else:
            parts.append(f"{rubric} {readable(given)}{of}")
    if unknown:
        parts.append(f"{' and '.join(filter(None, (', '.join(unknown[:-1]), unknown[-1])))} not judged")
    if points.total is None:
        return f"Points: {', '.join(parts)}"
    return f"Points: {readable(points.total)} of {readable(points.max)} ({', '.join(parts)})"
