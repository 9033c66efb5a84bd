"""grade watch: grade at every save, until the student leaves."""

from __future__ import annotations

import os
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import click

from grader.cli import exits
from grader.cli.complete import exercise_names
from grader.cli.paths import PATH
from grader.cli.streams import say
from grader.errors import GraderError

if TYPE_CHECKING:
    from grader.model.exercise import Exercise


@click.command("watch")
@click.argument("exercise", required=False, shell_complete=exercise_names)
@click.argument("file", required=False, type=PATH)
@click.option("--exercises", metavar="DIR", type=PATH, help="Folder of the exercises.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="Where to run.")
@click.option("--host", metavar="NAME", default="", help="With the key g, grade on that machine, over SSH.")
def command(exercise: str | None, file: Path | None, exercises: Path | None, device: str, host: str) -> int:
    """Grade FILE (default: the exercise's starter.cu) again at every save.

    Without EXERCISE, it opens the first one that is not correct yet. The small cases come first, so that the first
    lines appear a moment after the save. Saving during a grading starts it again.

    \b
    Keys:
      h  hint; again for the next one
      d  details: everything that was found
      r  grade again, with different values
      g  with --host NAME: grade on that machine, which has a GPU
      s  the solution, once your kernel is correct
      l  list the exercises and how far you are
      x  restore the original starter (press it twice; yours is kept)
      n  next exercise (you stay on this one until you press it)
      q  quit

    While something is wrong, every grading uses the same values; once everything is correct, the next one uses new
    ones.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in grade run
    from grader.cli.watch_session import Event, Session
    from grader.exercise import catalog, submission
    from grader.grading import gpu_lane
    from grader.watch.gradings import Gradings
    from grader.watch.keys import Keys

    folder = catalog.exercises_folder(exercises)
    chosen = catalog.find(exercise, folder) if exercise else _first_open(folder)
    if device == "cuda":  # fails now, not at every save
        gpu_lane.choose(required=True)
    if file is not None:  # probably a typo; watch waits only for files that existed once
        submission.read(file)
    events: SimpleQueue[Event] = SimpleQueue()
    with Gradings(events.put, device=device) as gradings, Keys(events.put) as keys:
        Session(events, gradings, folder, listens=keys.works, host=host).run(chosen, file)
    return exits.PASSED


def _first_open(folder: Path) -> Exercise:
    """The first that is not correct yet; if all are, the last. Broken ones are reported and skipped."""
    from grader import progress
    from grader.exercise import catalog

    exercises = catalog.sound(folder, say)
    if not exercises:
        raise GraderError(f"no exercise in {folder} can be read")
    for exercise in exercises:
        record = progress.read(exercise, say)
        if record is None or record.best.stage is progress.Stage.TRIED:
            return exercise
    return exercises[-1]
