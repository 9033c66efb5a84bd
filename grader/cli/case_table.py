"""The cases as a table on a terminal: one row per case, or one row for cases with the same outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from grader.model.exercise import Exercise
from grader.model.result import Result, Status
from grader.reports.cases import COLUMNS, Cell, TableRow, tables
from grader.reports.text import inert, plural

INDENT = "  "
CELL_STYLES = {Status.PASSED: "green", Status.FAILED: "red", Status.ERROR: "magenta"}
DASH = "-"
NAME_COLUMNS = 22  # of several cases in one row

TITLES = ("case", *(title.lower() for title in COLUMNS.values()))
GAP, NARROW_GAP = 3, 2


def lines(result: Result, exercise: Exercise | None, width: int, *, every_row: bool, merged: bool) -> list[Text]:
    """Without `every_row`, the extra cases are one row, and the secret ones; with `merged`, what has the same
    outcome is one, too. None where nothing ran."""
    own, further = tables(result, exercise)
    if not any(cell.status is not Status.SKIPPED for row in (*own, *further) for cell in _cells(row)):
        return []
    rows = [_row(row) for row in ((*own, *further) if every_row else own)]
    if merged:
        rows = list(_merged(rows))
    if not every_row:
        secret = [row for row in further if row.secret]
        extra = [row for row in further if not row.secret]
        rows += [_together(same, kind) for same, kind in ((extra, "extra"), (secret, "secret")) if same]
    return _laid_out(rows, width)


def _laid_out(rows: Sequence[list[Text]], width: int) -> list[Text]:
    """If it does not fit: narrower, with only the first words of the titles."""
    laid_out = []
    for titles, gap in ((TITLES, GAP), ([title.split()[0] for title in TITLES], NARROW_GAP)):
        table = [[Text(title, "dim") for title in titles], *rows]
        widths = [max(len(row[column]) for row in table) for column in range(len(titles))]
        laid_out = [_line(row, widths, gap) for row in table]
        if all(len(line) <= width for line in laid_out):
            return laid_out
    for line in laid_out:
        line.truncate(width, overflow="ellipsis")
    return laid_out


def _line(row: Sequence[Text], widths: Sequence[int], gap: int) -> Text:
    line = Text(INDENT)
    for cell, width in zip(row[:-1], widths, strict=False):
        line += cell + " " * (width - len(cell) + gap)
    return line + row[-1]


def _row(row: TableRow) -> list[Text]:
    return [Text(inert(row.case)), *(_cell(row.cells[column]) for column in COLUMNS)]


def _cells(row: TableRow) -> list[Cell]:
    return [cell for cells in row.cells.values() for cell in cells]


def _cell(cells: Sequence[Cell]) -> Text:
    if not cells or cells[-1].status is Status.SKIPPED:
        return Text(DASH, "dim")
    cell = cells[-1]
    return Text(cell.word + (f", {cell.ratio}" if cell.ratio else ""), CELL_STYLES.get(cell.status, "yellow"))


def _merged(rows: Sequence[list[Text]]) -> Iterator[list[Text]]:
    """Merges rows with the same content, in order of first appearance."""
    groups: dict[tuple[str, ...], list[list[Text]]] = {}
    for row in rows:
        groups.setdefault(tuple(cell.plain for cell in row[1:]), []).append(row)
    for same in groups.values():
        names = ", ".join(row[0].plain for row in same)
        more = f"all {len(rows)} cases" if len(same) == len(rows) else f"{same[0][0].plain} and {len(same) - 1} more"
        name = names if len(names) <= NAME_COLUMNS else more
        yield [Text(name), *same[0][1:]]


def _together(rows: Sequence[TableRow], kind: str) -> list[Text]:
    """Cases of one kind as a single row: in each column the worst outcome, and how many cases have it."""
    return [Text(plural(len(rows), f"{kind} case")), *(_worst(rows, column) for column in COLUMNS)]


def _worst(rows: Sequence[TableRow], column: str) -> Text:
    cells = [row.cells[column][-1] for row in rows if row.cells[column]]
    for status in (Status.FAILED, Status.ERROR, Status.NOT_JUDGED, Status.PASSED):
        same = [cell for cell in cells if cell.status is status]
        if same:
            count = f"{len(same)} of {len(rows)} " if len(same) < len(rows) else ""
            return Text(count + same[0].word, CELL_STYLES.get(status, "yellow"))
    return Text(DASH, "dim")
