"""Options that take a whole number; errors state the range."""

from __future__ import annotations

from typing import Any

import click

from grader.seeds import SEEDS


class Whole(click.IntRange):
    """From `least` to `most`, inclusive; without `most`, unbounded."""

    def __init__(self, least: int, most: int | None = None) -> None:
        super().__init__(least, most)
        self._range = f"of at least {least}" if most is None else f"from {least} to {most}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            option = f"{max(param.opts, key=len)} " if param else ""
            raise click.UsageError(f"{option}{value}: expected a whole number {self._range}", ctx) from None


SEED = Whole(0, SEEDS - 1)
