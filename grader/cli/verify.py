"""grade verify: what an exercise promises about its own files, kept or not. For authors."""

from __future__ import annotations

import os
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli import exits

if TYPE_CHECKING:
    from grader.model.exercise import Exercise
    from grader.verify import Verified

SEED = 1  # a promise holds for every seed
WIDTH = 80


@click.command("verify")
@click.argument("exercise", required=False)
@click.option("--exercises", metavar="DIR", type=click.Path(path_type=Path), help="Where the exercises are.")
@click.option("-j", "--jobs", metavar="N", type=click.IntRange(min=1), help="How many at a time; default: cores.")
@click.option("--seed", metavar="N", type=click.IntRange(0, 2**32 - 1), default=SEED, help="Another seed.")
def command(exercise: str | None, exercises: Path | None, jobs: int | None, seed: int) -> int:
    """Check the files of EXERCISE (default: of every exercise) against their promises. For authors.

    The starter compiles and fails; the solution passes; each file in wrong/ is caught by the check, with the
    kind and at the line that it states.

    \b
    Exit status: 0 every promise kept, 1 some not, 2 wrong usage, 4 the grader failed.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in grade run
    from grader import catalog, machine

    folder = catalog.exercises_folder(exercises)
    chosen = (catalog.find(exercise, folder),) if exercise else catalog.every(folder)
    kept = [_verify(one, jobs or machine.cores(), seed) for one in chosen]
    return exits.PASSED if all(kept) else exits.FAILED


def _verify(exercise: Exercise, jobs: int, seed: int) -> bool:
    from grader import executors, verify

    wanted = list(verify.promises(exercise))
    names = {promise: str(promise.file.relative_to(exercise.folder)) for promise in wanted}
    width = max(map(len, names.values()))
    began = time.monotonic()
    click.echo(f"{exercise.name}")

    def show(done: Verified) -> None:
        mark = click.style("NO" if done.problem else "ok", fg="red" if done.problem else "green", bold=bool(done.problem))
        click.echo(f"  {mark}  {names[done.promise]:{width}}  {done.promise.says:42.42} {done.seconds:5.1f} s")
        for line in textwrap.wrap(f"found: {done.problem}", WIDTH - 6) if done.problem else ():
            click.echo(f"      {line}")

    def open_one() -> object:
        return executors.open_cpu(workers=1 if jobs > 1 else None)

    found = verify.verify(exercise, wanted, seed=seed, open_executor=open_one, jobs=jobs, on_done=show)
    broken = sum(bool(done.problem) for done in found)
    took = f"{time.monotonic() - began:.0f} s"
    click.echo(f"{len(found) - broken} of {len(found)} as they state; {took}, {jobs} at a time")
    return not broken
