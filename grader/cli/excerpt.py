"""A few lines of the student's source around the one that matters."""

from __future__ import annotations

from rich.text import Text

from reports.text import inert

CONTEXT = 1  # lines before and after; with -v more
CONTEXT_VERBOSE = 2


def lines(source: str, line: int, columns: int, *, verbose: bool = False) -> list[Text]:
    """Numbered, the line itself marked with >; nothing where the file has no such line."""
    code = source.replace("\r\n", "\n").split("\n")
    if not 1 <= line <= len(code):
        return []
    context = CONTEXT_VERBOSE if verbose else CONTEXT
    numbers = range(max(1, line - context), min(len(code), line + context) + 1)
    width = len(str(numbers[-1]))
    return [_line(code[n - 1], n, width, columns, marked=n == line) for n in numbers]


def _line(code: str, number: int, width: int, columns: int, *, marked: bool) -> Text:
    text = f"{'>' if marked else ' '} {number:{width}} | {inert(code.expandtabs(4))}".rstrip()
    if len(text) > columns:
        text = text[: columns - 1] + "…"
    return Text(text, style="bold" if marked else "dim", no_wrap=True)
