"""A Result in 80 columns: verdict, cases, what is wrong, what to do, points, how to repeat it.

The words are those of the HTML report. Without `verbose` it fits on a screen.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
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
    out.print(Text(said.sentence))


def _cases(out: Console, result: Result, exercise: Exercise | None, *, verbose: bool) -> None:
    """One row per required case, one for the extra and one for the secret ones. None where nothing ran."""
    own, further = tables(result, exercise)
    if not any(cell.status is not Status.SKIPPED for row in (*own, *further) for cell in _cells(row)):
        return
    table = Table(box=None, padding=(0, 2), pad_edge=False, header_style="dim")
    for header in ("case", *(name.lower() for name in COLUMNS.values())):
        table.add_column(header, no_wrap=True)
    for row in (*own, *further) if verbose else own:
        table.add_row(inert(row.case), *(_cell(row.cells[column]) for column in COLUMNS))
    if not verbose:
        secret = [row for row in further if row.case.startswith("secret-")]
        extra = [row for row in further if row not in secret]
        for name, rows in (("extra", extra), ("secret", secret)):
            if rows:
                table.add_row(plural(len(rows), f"{name} case"), *(_together(rows, c) for c in COLUMNS))
    out.print()
    out.print(Padding(table, (0, 0, 0, 2)))


def _cells(row: Row) -> list[Cell]:
    return [cell for cells in row.cells.values() for cell in cells]


def _cell(cells: Sequence[Cell]) -> Text:
    if not cells or cells[-1].status is Status.SKIPPED:
        return Text(DASH, "dim")
    return Text(cells[-1].word, CELL_STYLES.get(cells[-1].status, "yellow"))


def _together(rows: Sequence[Row], column: str) -> Text:
    """The worst that the rows have in a column, with how many have it."""
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


def _problem(
    out: Console, problem: Problem, source: str | None, exercise: Exercise | None, *, verbose: bool
) -> None:
    out.print()
    out.print(Text(_heading(problem), "bold yellow" if problem.mild else "bold red"))
    finding = problem.first
    for text in (finding.message, *(finding.notes if verbose else finding.notes[:2])):
        out.print(Padding(Text(inert(text)), (0, 0, 0, 2)))
    if source is not None and problem.line:
        for line in excerpt.lines(source, problem.line, out.width - 2, verbose=verbose):
            out.print(Padding(line, (0, 0, 0, 2)))
    if problem.next_step:
        out.print(Padding(Text(f"Next: {problem.next_step}"), (0, 0, 0, 2)))
    if problem.hint:
        out.print(Padding(Text(f"Hint: {_hint(problem.hint, exercise)}", "cyan"), (0, 0, 0, 2)))


def _heading(problem: Problem) -> str:
    """ "starter.cu:31: race (uniform and 3 more)"."""
    place = inert(problem.file) + (f":{problem.line}" if problem.line else "")
    where = problem.where
    more = f" and {len(where) - 1} more" if len(where) > 1 else ""
    return f"{place + ': ' if place else ''}{problem.kind} ({inert(where[0])}{more})"


def _hint(anchor: str, exercise: Exercise | None) -> str:
    folder = f"{exercise.name}/" if exercise else ""
    return f"{folder}problem.md#{inert(anchor)}"


def _open_ends(out: Console, result: Result) -> None:
    """What nobody judged, and where the grader failed; a line for each reason."""
    errors = grader_errors(result)
    if errors:
        out.print()
    for check in errors:
        out.print(Text(f"{check.id}: {inert(check.message)}", "magenta"))
    for family, why, checks in not_judged(result):
        out.print()
        name = checks[0].id if len(checks) == 1 else f"{family} ({plural(len(checks), 'case')})"
        out.print(Text(f"Not judged: {name}: {inert(why)}", "yellow"))


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
            out.print(Padding(Text(inert(str(printed).rstrip())), (0, 0, 0, 2)))


def _footer(out: Console, result: Result, exercise: Exercise | None) -> None:
    out.print()
    out.print(Text(f"Points: {_points(result.points, exercise)}"))
    file = result.submission.path
    number = exercise.number.lstrip("0") if exercise else result.exercise
    again = shlex.join(["grade", "run", number, file, "--seed", str(result.seed)])
    out.print(Text(f"Seed {result.seed}. Repeat: {inert(again)}"), soft_wrap=True)


def _points(points: Points, exercise: Exercise | None) -> str:
    parts = []
    for rubric in ("correctness", "performance", "quality"):
        given = getattr(points, rubric)
        of = f" of {exercise.points[rubric]}" if exercise else ""
        parts.append(f"{rubric} {'not judged' if given is None else readable(given) + of}")
    total = "" if points.total is None else f"{readable(points.total)} of {readable(points.max)} so far ("
    return f"{total}{', '.join(parts)}{')' if total else ''}"
