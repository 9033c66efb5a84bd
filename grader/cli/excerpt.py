"""A few lines of the student's source around the relevant ones."""

from __future__ import annotations

from collections.abc import Collection

from rich.text import Text

from grader.reports.text import inert

CONTEXT = 1  # lines before and after; with -v more
CONTEXT_VERBOSE = 2


GAP = "..."


def lines(
    source: str, marked: Collection[int], columns: int, *, calls: Collection[int] = (), context: int = CONTEXT
) -> list[Text]:
    """Numbered lines, the relevant ones marked with >; lines that the file does not have are left out.

    `calls` are marked, too, but shown without the lines around them. With context, skipped lines are shown as a gap;
    without, they are not shown.
    """
    code = source.replace("\r\n", "\n").split("\n")
    inside = [line for line in marked if 1 <= line <= len(code)]
    around = {n for line in inside for n in range(line - context, line + context + 1) if 1 <= n <= len(code)}
    if inside:
        inside += [line for line in calls if 1 <= line <= len(code)]
        around.update(inside)
    shown: list[Text] = []
    width = len(str(max(around, default=0)))
    for number in sorted(around):
        if context and shown and number - 1 not in around:
            shown.append(Text(f"  {GAP:>{width}}".rstrip(), style="dim", no_wrap=True))
        shown.append(_line(code[number - 1], number, width, columns, marked=number in inside))
    return shown


def _line(code: str, number: int, width: int, columns: int, *, marked: bool) -> Text:
    text = f"{'>' if marked else ' '} {number:{width}} | {inert(code.expandtabs(4))}".rstrip()
    if len(text) > columns:
        text = text[: columns - 1] + "…"
    return Text(text, style="bold" if marked else "dim", no_wrap=True)
