"""grade list: the exercises, the student's progress, and the learning objectives reached."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli import exits
from grader.cli.complete import exercise_names
from grader.cli.paths import PATH
from grader.cli.streams import say

if TYPE_CHECKING:
    from grader.exercise.objectives import Objective
    from grader.model.exercise import Exercise
    from grader.progress import Record

WIDTH, LEAST_WIDTH = 80, 20
REACHED, RIGHT, OPEN, READ = "x", "~", " ", "-"
LEGEND = {
    REACHED: "all its exercises passed",
    RIGHT: "all correct; only speed is open, which needs a GPU",
    OPEN: "not yet",
    READ: "to read; no exercise here practises it",
}


@click.command("list")
@click.argument("exercise", required=False, shell_complete=exercise_names)
@click.option("--exercises", metavar="DIR", type=PATH, help="Folder of the exercises.")
def command(exercise: str | None, exercises: Path | None) -> int:
    """List the exercises, your progress, and the learning objectives you have reached.

    With EXERCISE, your latest attempts at it, and your best time for each case that was timed.

    After each exercise comes the best result of grade run or grade watch: passed; right, if every case is correct
    and only speed is open; or tried.

    Exit status: 0, or 4 if an exercise is broken; it is named, and the others are listed.
    """
    from grader.exercise import catalog

    folder = catalog.exercises_folder(exercises)
    if exercise is not None:
        _history(catalog.find(exercise, folder))
        return exits.PASSED
    broken: list[str] = []
    found = catalog.sound(folder, broken.append)
    if found:
        _show(found, folder)
    for said in broken:
        say(said)
    return exits.ERROR if broken else exits.PASSED


def _show(found: tuple[Exercise, ...], folder: Path) -> None:
    from grader import progress

    records = {exercise.name: progress.read(exercise, say) for exercise in found}
    width = max(len(exercise.name) for exercise in found)
    states = {name: _state(record) for name, record in records.items()}
    most = max(map(len, states.values()))
    for exercise in found:
        click.echo(f"{exercise.name:{width}}  {states[exercise.name]:{most}}  {exercise.title}")
    _objectives(found, records, folder)
    click.echo(f"\nin {folder}; grade one with: grade run {found[0].number.lstrip('0')}", err=True)


def _history(exercise: Exercise) -> None:
    from grader import progress

    record = progress.read(exercise, say)
    if record is None:
        click.echo(f"{exercise.name}: not tried yet")
        return
    runs = "1 run" if record.runs == 1 else f"{record.runs} runs"
    click.echo(f"{exercise.name}: {_state(record)}; {runs}")
    for attempt in record.attempts:
        points = "" if attempt.points is None else f"{attempt.points:g} of {attempt.of:g}"
        click.echo(f"  {attempt.when.replace('T', ' ').replace('Z', ' UTC')}  {attempt.stage:6}  {points}".rstrip())
    for case, time in record.best_us.items():
        click.echo(f"  best time, {case}: {time:.4g} µs")


def _state(record: Record | None) -> str:
    """ "right, 52 of 100"."""
    if record is None:
        return "not tried"
    points = "" if record.best.points is None else f", {record.best.points:g} of {record.best.of:g}"
    return f"{record.best.stage}{points}"


def _objectives(exercises: Iterable[Exercise], records: Mapping[str, Record | None], folder: Path) -> None:
    """Each objective with the exercises that practise it, in the course's order."""
    from grader.exercise.objectives import practised

    by_objective = practised(exercises, folder, say)
    marks = {each: _mark([records[one.name] for one in own]) for each, own in by_objective.items()}
    reached = sum(mark == REACHED for mark in marks.values())
    width = max(min(WIDTH, shutil.get_terminal_size().columns), LEAST_WIDTH)
    but_for_speed = sum(mark == RIGHT for mark in marks.values())
    more = f", and {but_for_speed} except for speed" if but_for_speed else ""
    click.echo(f"\nLearning objectives: {reached} of {len(marks)} reached{more}")
    for objective, mark in marks.items():
        numbers = ", ".join(one.number.lstrip("0") for one in by_objective[objective])
        lines = textwrap.wrap(f"{objective.text} ({numbers or _pages(objective)})", width - 6)
        click.echo("\n".join([f"  [{mark}] {lines[0]}", *(f"      {line}" for line in lines[1:])]))
    shown = [f"[{mark}] {meaning}" for mark, meaning in LEGEND.items() if mark in marks.values()]
    if shown != [f"[{OPEN}] {LEGEND[OPEN]}"]:
        click.echo(f"  {'; '.join(shown)}")


def _pages(objective: Objective) -> str:
    """Where to read about it: "examples/README.md"."""
    return ", ".join(dict.fromkeys(section.partition("#")[0].removeprefix("../") for section in objective.sections))


def _mark(records: Iterable[Record | None]) -> str:
    """Decided by the exercise that is furthest behind."""
    from grader.progress import Stage

    stages = [record.best.stage if record else Stage.TRIED for record in records]
    if not stages:
        return READ
    if all(stage is Stage.PASSED for stage in stages):
        return REACHED
    return OPEN if Stage.TRIED in stages else RIGHT
