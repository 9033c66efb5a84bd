"""grade hint: the next hint of an exercise, as the key h of grade watch."""

from __future__ import annotations

from pathlib import Path

import click

from grader.cli import exits
from grader.cli.complete import exercise_names
from grader.cli.numbers import Whole
from grader.cli.paths import PATH
from grader.cli.streams import say


@click.command("hint")
@click.argument("exercise", shell_complete=exercise_names)
@click.argument("number", required=False, type=Whole(1))
@click.option("--exercises", metavar="DIR", type=PATH, help="Folder of the exercises.")
def command(exercise: str, number: int | None, exercises: Path | None) -> int:
    """Show the next hint of EXERCISE; with NUMBER, that one of problem.md's hints.

    First comes the explanation of what the last grade run or grade watch found, then the hints of problem.md, one at
    a time. Those about speed come once your kernel is correct.
    """
    from grader import progress
    from grader.errors import UsageError
    from grader.exercise import catalog
    from grader.watch.hints import Hints

    chosen = catalog.find(exercise, catalog.exercises_folder(exercises))
    record = progress.read(chosen, say)
    hints = Hints(chosen.folder, record.hints if record else 0)
    if number is not None:
        hint = hints.numbered(number)
        if hint is None:
            raise UsageError(f"{chosen.name} has no hint {number}")
    else:
        right = record is not None and record.last.stage is not progress.Stage.TRIED
        hints.about(record.section if record else "")
        hint = hints.next(right=right)
        if record:
            progress.opened(chosen, record, say, hints.opened)
    if hint is None:
        command_ = f"grade hint {chosen.number.lstrip('0')} 1"
        click.echo(
            f"No more hints for now; those about speed come once it is correct. Again from the first: {command_}"
        )
        return exits.PASSED
    _show(hint.title, hint.text)
    return exits.PASSED


def _show(title: str, text: str) -> None:
    """Plain Markdown, if the output is not a terminal."""
    from grader.cli.terminal import console

    out = console()
    if not out.is_terminal:
        click.echo(f"{title}\n\n{text}")
        return
    from rich.markdown import Markdown
    from rich.text import Text

    out.print(Text(title, "bold cyan"))
    out.print(Markdown(text))
