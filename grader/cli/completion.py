"""grade completion: shell completion for `grade`."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_GRADE_COMPLETE"  # click's: set by the shell's completion function


@click.command("completion")
@click.argument("shell", required=False, type=click.Choice(SHELLS))
def command(shell: str | None) -> None:
    """Print the completion script for SHELL (default: yours): commands, options and exercise names.

    \b
    bash  in ~/.bashrc                      eval "$(grade completion bash)"
    zsh   in ~/.zshrc                       eval "$(grade completion zsh)"
    fish  in ~/.config/fish/completions     grade completion fish > grade.fish
    """
    from grader.cli.command import grade

    chosen = shell or Path(os.environ.get("SHELL", "")).name
    found = get_completion_class(chosen) if chosen in SHELLS else None
    if found is None:
        raise click.UsageError(f"name a shell: {', '.join(SHELLS)}")
    click.echo(found(grade, {}, "grade", VARIABLE).source())
