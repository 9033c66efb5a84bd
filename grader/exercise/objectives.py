"""The course's learning objectives, and where each is learned: exercises/objectives.toml, next to the exercises.

Which exercises practise an objective is said in each exercise.toml alone; this file adds the course's order, and what
no exercise practises. It may be missing: then the objectives are those of the exercises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from grader.errors import ExerciseError
from grader.exercise.catalog import decoded
from grader.model.exercise import Exercise

FILE = "objectives.toml"


class Objective(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`checks`: "03_fp8_quantization correct[outliers]"; `sections`: "path/page.md#heading", from the folder on."""

    text: str
    checks: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    objectives: tuple[Objective, ...]


def of_course(folder: Path) -> tuple[Objective, ...]:
    """In the course's order; empty if the folder does not say. Raises ExerciseError if the file is broken."""
    file = folder / FILE
    return decoded(file, _File, lambda _: None).objectives if file.exists() else ()


def practised(
    exercises: Iterable[Exercise], folder: Path, tell: Callable[[str], None]
) -> dict[Objective, list[Exercise]]:
    """Every objective with the exercises that practise it: the course's first, then what only exercises name."""
    try:
        known = of_course(folder)
    except ExerciseError as error:
        known = ()
        tell(str(error))
    by_text = {objective.text: objective for objective in known}
    found: dict[Objective, list[Exercise]] = {objective: [] for objective in known}
    for exercise in exercises:
        for text in exercise.objectives:
            found.setdefault(by_text.get(text) or Objective(text), []).append(exercise)
    return found
