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
@click.option("--exercises", metavar="DIR", type=PATH, help="Where the exercises are.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="What to run on.")
def command(exercise: str | None, file: Path | None, exercises: Path | None, device: str) -> int:
    """Grade FILE (default: the exercise's starter.cu) again at every save.

    Without EXERCISE: the first one that is not right yet. The small cases come first, so that the first lines are
    there a moment after the save; a save in the middle of a grading begins it anew.

    \b
    Keys:
      h  a hint; again: the next one
      d  everything that was found
      r  grade again, with other values
      s  the solution, once your kernel is right
      n  the next exercise: nothing else ever leaves this one
      q  quit

    While something is wrong, every grading has the same values; once all is right, the next has others.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in grade run
    from grader.cli.watch_session import Event, Session
    from grader.exercise import catalog, submission
    from grader.grading import gpu_lane
    from grader.watch.gradings import Gradings
    from grader.watch.keys import Keys

    folder = catalog.exercises_folder(exercises)
    chosen = catalog.find(exercise, folder) if exercise else _first_open(folder)
    if device == "cuda":  # to be missed now, not at every save
        gpu_lane.choose(required=True)
    if file is not None:  # a slip of the pen; only a file that has been there is waited for
        submission.read(file)
    events: SimpleQueue[Event] = SimpleQueue()
    with Gradings(events.put, device=device) as gradings, Keys(events.put) as keys:
        Session(events, gradings, folder, listens=keys.works).run(chosen, file)
    return exits.PASSED


def _first_open(folder: Path) -> Exercise:
    """The first that is not right yet; where all are, the last. A broken one is said, and passed over."""
    from grader import progress
    from grader.exercise import catalog

    exercises = catalog.sound(folder, say)
    if not exercises:
        raise GraderError(f"none of the exercises in {folder} can be read")
    for exercise in exercises:
        record = progress.read(exercise, say)
        if record is None or record.best.stage is progress.Stage.TRIED:
            return exercise
    return exercises[-1]
