"""A Result in 80 columns: verdict, cases, what is wrong, what to do, points, how to repeat it.

The words are those of the HTML report. Without `verbose` it fits on a screen.
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from grader.cli import excerpt
from grader.model.exercise import Exercise
from grader.model.result import Points, Result, Status, Verdict
from reports.cases import COLUMNS, Cell, Row, tables
from reports.problems import Problem, advice, grader_errors, not_judged, problems
from reports.text import inert, plural, readable
from reports.verdict import words

WIDTH = 80

STYLES = {
    Verdict.PASSED: "bold green",
    Verdict.INCOMPLETE: "bold yellow",
    Verdict.FAILED: "bold red",
    Verdict.ERROR: "bold magenta",
}
CELL_STYLES = {Status.PASSED: "green", Status.FAILED: "red", Status.ERROR: "magenta"}
DASH = "-"
INDENT = "  "
SHOWN_NOTES = 2  # without -v

# Without -v, beside the first problem in full: this many more, a line each.
FURTHER_PROBLEMS = 3


def console(*, to_stderr: bool = False) -> Console:
    """Plain where piped or where NO_COLOR is set; never wider than 80 columns."""
    made = Console(stderr=to_stderr, highlight=False, markup=False, emoji=False)
    made.width = min(made.width, WIDTH) if made.is_terminal else WIDTH
    return made


def print_result(
    out: Console, result: Result, exercise: Exercise | None, source: str | None, *, verbose: bool = False
) -> None:
    found = problems(result)
    _verdict(out, result, found)
    _cases(out, result, exercise, verbose=verbose)
    _problems(out, found, source, exercise, verbose=verbose)
    _open_ends(out, result)
    if verbose:
        _problems(out, advice(result), source, exercise, verbose=True)
        _details(out, result)
    _footer(out, result, exercise)


def _verdict(out: Console, result: Result, found: tuple[Problem, ...]) -> None:
    said = words(result, found)
    out.print(Text(f"{result.verdict.upper()}: {said.headline}", STYLES[result.verdict]))
    _say(out, said.sentence, indent="")


def _cases(out: Console, result: Result, exercise: Exercise | None, *, verbose: bool) -> None:
    """One row per required case, one for the extra and one for the secret ones. None where nothing ran."""
    own, further = tables(result, exercise)
    if not any(cell.status is not Status.SKIPPED for row in (*own, *further) for cell in _cells(row)):
        return
    rows = [_row(row) for row in ((*own, *further) if verbose else own)]
    if not verbose:
        secret = [row for row in further if row.case.startswith("secret-")]
        extra = [row for row in further if row not in secret]
        rows += [_together(same, kind) for same, kind in ((extra, "extra"), (secret, "secret")) if same]
    header = [Text(name, "dim") for name in ("case", *(title.lower() for title in COLUMNS.values()))]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    out.print()
    for row in (header, *rows):
        line = Text("  ")
        for cell, width in zip(row[:-1], widths, strict=False):
            line += cell + " " * (width - len(cell) + 3)
        out.print(line + row[-1], no_wrap=True, overflow="ellipsis")


def _row(row: Row) -> list[Text]:
    return [Text(inert(row.case)), *(_cell(row.cells[column]) for column in COLUMNS)]


def _cells(row: Row) -> list[Cell]:
    return [cell for cells in row.cells.values() for cell in cells]


def _cell(cells: Sequence[Cell]) -> Text:
    if not cells or cells[-1].status is Status.SKIPPED:
        return Text(DASH, "dim")
    return Text(cells[-1].word, CELL_STYLES.get(cells[-1].status, "yellow"))


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


def _problems(
    out: Console,
    found: tuple[Problem, ...],
    source: str | None,
    exercise: Exercise | None,
    *,
    verbose: bool,
) -> None:
    shown = found if verbose else found[:1]
    for problem in shown:
        _problem(out, problem, source, exercise, verbose=verbose)
    rest = found[len(shown) :]
    for problem in rest[:FURTHER_PROBLEMS]:
        out.print(Text(f"also: {_heading(problem)}"), overflow="ellipsis", no_wrap=True)
    if len(rest) > FURTHER_PROBLEMS:
        out.print(Text(f"and {len(rest) - FURTHER_PROBLEMS} more; -v shows all", "dim"))


def _problem(out: Console, problem: Problem, source: str | None, exercise: Exercise | None, *, verbose: bool) -> None:
    out.print()
    out.print(Text(_heading(problem), "bold yellow" if problem.mild else "bold red"))
    for text in _messages(problem, verbose=verbose):
        _say(out, text)
    if source is not None:
        for line in excerpt.lines(source, problem.lines, out.width - len(INDENT), verbose=verbose):
            out.print(Text(INDENT) + line, no_wrap=True)
    if problem.next_step:
        _say(out, f"Next: {problem.next_step}")
    if problem.hint:
        _say(out, f"Hint: {_hint(problem.hint, exercise)}", style="cyan")


def _messages(problem: Problem, *, verbose: bool) -> list[str]:
    """What the first case shows, and with `verbose` every case; all of it where there are no cases."""
    shown = problem.occurrences if verbose or not problem.cases else problem.occurrences[:1]
    named = verbose and len(problem.cases) > 1
    messages = [f"{o.case}: {o.finding.message}" if named else o.finding.message for o in shown]
    notes = [note for o in shown for note in o.finding.notes]
    return list(dict.fromkeys(messages + (notes if verbose else notes[:SHOWN_NOTES])))


def _say(out: Console, text: str, *, indent: str = INDENT, style: str = "") -> None:
    """A paragraph. Wrapped here: rich would fill every line up with blanks."""
    for line in inert(text).splitlines():
        for part in textwrap.wrap(line, out.width - len(indent)) or [""]:
            out.print(Text(indent + part, style), no_wrap=True)


def _heading(problem: Problem) -> str:
    """ "starter.cu:31: race (uniform and 3 more)"."""
    place = inert(problem.file) + (f":{problem.line}" if problem.at_fault else "")
    more = f" and {len(problem.cases) - 1} more" if len(problem.cases) > 1 else ""
    where = f" ({inert(problem.cases[0])}{more})" if problem.cases else ""
    return f"{place + ': ' if place else ''}{problem.kind}{where}"


def _hint(anchor: str, exercise: Exercise | None) -> str:
    folder = f"{exercise.name}/" if exercise else ""
    return f"{folder}problem.md#{inert(anchor)}"


def _open_ends(out: Console, result: Result) -> None:
    """What nobody judged, and where the grader failed; a line for each reason."""
    errors = grader_errors(result)
    if errors:
        out.print()
    for check in errors:
        _say(out, f"{check.id}: {check.message}", indent="", style="magenta")
    for family, why, checks in not_judged(result):
        out.print()
        name = checks[0].id if len(checks) == 1 else f"{family} ({plural(len(checks), 'case')})"
        _say(out, f"Not judged: {name}: {why}", indent="", style="yellow")


def _details(out: Console, result: Result) -> None:
    """Everything else that was measured: times, registers, what the kernels printed."""
    out.print()
    for check in result.checks:
        seconds = check.measurements.get("seconds")
        took = f"  {seconds:.2f} s" if isinstance(seconds, float) else ""
        said = check.message or check.reason or ""
        out.print(Text(inert(f"{check.id}: {check.status}{took}  {said}")), overflow="ellipsis", no_wrap=True)
        for name, taken in check.measurements.get("kernels", {}).items():
            listed = ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in taken.items())
            out.print(Text(inert(f"  {name}: {listed}"), "dim"))
        if printed := check.measurements.get("printed"):
            _say(out, str(printed))


def _footer(out: Console, result: Result, exercise: Exercise | None) -> None:
    out.print()
    _say(out, f"Points: {_points(result.points, exercise)}", indent="")
    file = result.submission.path
    number = exercise.number.lstrip("0") if exercise else result.exercise
    again = shlex.join(["grade", "run", number, file, "--seed", str(result.seed)])
    out.print(Text(f"Seed {result.seed}. Repeat this run:\n  {inert(again)}"), soft_wrap=True)


def _points(points: Points, exercise: Exercise | None) -> str:
    parts = []
    for rubric in ("correctness", "performance", "quality"):
        given = getattr(points, rubric)
        of = f"/{exercise.points[rubric]}" if exercise else ""
        parts.append(f"{rubric} {'not judged' if given is None else readable(given) + of}")
    total = "" if points.total is None else f"{readable(points.total)} of {readable(points.max)} so far ("
    return f"{total}{', '.join(parts)}{')' if total else ''}"
