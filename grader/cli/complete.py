"""Shell completions for EXERCISE."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem


def exercise_names(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names, also found by number; empty if there are none, since a shell cannot show an error."""
    from grader.errors import UsageError
    from grader.exercise import catalog

    given = context.params.get("exercises")
    try:
        folder = catalog.exercises_folder(Path(given) if given else None)
    except UsageError:
        return []
    names = sorted(file.parent.name for file in folder.glob("*/exercise.toml"))
    number = incomplete.lstrip("0")
    return [
        CompletionItem(name)
        for name in names
        if name.startswith(incomplete) or (number and name.split("_")[0].lstrip("0") == number)
    ]
