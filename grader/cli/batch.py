"""grade batch: a class's submissions, graded once each, and a gradebook of them."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from grader.cli import exits
from grader.cli.complete import exercise_names
from grader.cli.numbers import SEED, Whole
from grader.cli.paths import folder_only

if TYPE_CHECKING:
    from grader.batch.intake import Batch
    from grader.batch.run import Elsewhere

_PATH = click.Path(path_type=Path)


@click.command("batch")
@click.argument("submissions", type=_PATH)
@click.option("--exercise", metavar="E", required=True, shell_complete=exercise_names, help="Its number or name.")
@click.option(
    "--out",
    metavar="DIR",
    type=_PATH,
    required=True,
    callback=folder_only,
    help="Folder for gradebook, reports and ledger.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="Where to run.")
@click.option("--gpu", "gpus", metavar="N", type=Whole(0), multiple=True, help="Use only this GPU; repeatable.")
@click.option("--seed", metavar="N", type=SEED, help="Seed of all inputs; kept when resuming.")
@click.option("--secret", metavar="FILE", type=_PATH, help="Your own cases, shown redacted.")
@click.option("-j", "--jobs", metavar="N", type=Whole(1), help="How many at a time; default: number of cores.")
@click.option("--engine", type=click.Choice(["local", "parsl"]), default="local", help="This machine, or Parsl.")
@click.option("--config", metavar="FILE", type=_PATH, help="For parsl: a Python file with config = Config(...).")
@click.option("--trust", is_flag=True, help="Grade even if this machine cannot confine submissions.")
@click.option("--replace", is_flag=True, help="Drop students who are no longer in SUBMISSIONS.")
@click.option(
    "--real-names/--pseudonyms",
    default=None,
    help="Names on the leaderboards; remembered. Default: pseudonyms, so that the class may see them.",
)
@click.option("--roster", metavar="FILE", type=_PATH, help="The class as Canvas, Moodle or Gradescope lists it.")
@click.option("--student", "students", metavar="S", multiple=True, help="Grade only this student now; repeatable.")
@click.option("--dry-run", is_flag=True, help="Show what would be graded; write nothing.")
@click.option("--late", metavar="FILE", type=_PATH, help="Rule for late work, a TOML file; remembered.")
@click.option("--exercises", metavar="DIR", type=_PATH, help="Folder of the exercises.")
def command(
    exercise: str,
    secret: Path | None,
    engine: str,
    config: Path | None,
    dry_run: bool,
    exercises: Path | None,
    **asked: Any,  # the others are fields of Batch
) -> int:
    """Grade every submission in SUBMISSIONS: a folder, a zip from Canvas, Moodle or Gradescope, or a CSV list.

    Run the same command again to resume after Ctrl-C, a crash or a power cut. Whatever has been graded already, with
    the same exercise, grader and seed, is not graded again. The grades are in DIR/gradebook.csv.

    \b
    Exit status:
      0    done, whatever the grades are
      2    wrong usage
      4    the grader or this machine failed; some could not be graded
      130  Ctrl-C; results so far are saved
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in grade run
    from grader.batch.intake import Batch
    from grader.batch.outputs import could_not_be_graded
    from grader.batch.run import run
    from grader.cli.batch_progress import progress
    from grader.exercise import catalog
    from grader.exercise import secret as secret_cases
    from grader.sandbox import confine

    _check(engine, config, **asked)
    batch = Batch(
        exercise=catalog.find(exercise, catalog.exercises_folder(exercises)),
        secret=secret_cases.read(secret) if secret else None,
        **asked,
    )
    # What other machines have, their own children find out.
    confined = confine.required(trust=batch.trust or engine == "parsl")
    if dry_run:
        with confined:
            _preview(batch, here=engine == "local")
        return exits.PASSED
    began = _last_event(batch.out)
    with confined, progress() as watch:
        try:
            made = run(batch, watch, _elsewhere(config) if config else None)
        finally:
            watch.close()
            _say_what_is_there(batch, watch.summary)
    _say_what_changed(batch, began)
    return exits.ERROR if could_not_be_graded(made, batch.students) else exits.PASSED


def _check(
    engine: str, config: Path | None, *, device: str, gpus: tuple[int, ...], jobs: int | None, **_: Any
) -> None:
    """Raises UsageError for options that contradict each other."""
    if gpus and device == "cpu":
        raise click.UsageError("--gpu implies --device cuda")
    if (engine == "parsl") != (config is not None):
        raise click.UsageError("--engine parsl and --config FILE must be used together")
    if engine == "parsl" and (gpus or jobs):
        raise click.UsageError("with --engine parsl, set the GPUs and the number of workers in FILE")


def _preview(batch: Batch, *, here: bool) -> None:
    from grader.batch.run import preview
    from grader.cli.wrap import wrapped
    from grader.reports.text import in_line, inert, plural

    accepted = preview(batch, lambda text: click.echo(inert(text), err=True), here=here)
    for one in accepted.enrolled:
        submitted = one.submitted
        state = "left for later" if one.key in accepted.waiting else "already graded"
        state = "to grade" if one.key in accepted.todo else state
        said = submitted.problem or "; ".join(filter(None, (state, submitted.place, submitted.note)))
        click.echo(wrapped(inert(f"{submitted.called}: {said}"), further="    "))
    for student in accepted.leaving:
        click.echo(f"{in_line(student)}: leaves the batch")
    where = "GPU" if accepted.conditions.device == "cuda" else "CPU"
    todo = plural(len(accepted.todo), "submission")
    click.echo(f"{plural(len(accepted.enrolled), 'student')}; {todo} to grade on the {where}. Nothing was written.")


def _last_event(out: Path) -> int:
    """Of the batch so far; 0 if there is none."""
    from grader.batch.ledger import FILE, Ledger

    if not (out / FILE).is_file():
        return 0
    with Ledger(out) as ledger:
        return ledger.last_event()


def _say_what_changed(batch: Batch, began: int) -> None:
    """Whose earlier grade is another since that event."""
    from grader.batch import changes
    from grader.batch.ledger import Ledger
    from grader.reports.text import plural

    with Ledger(batch.out) as ledger:
        changed = sum(one.changed for one in changes.regraded(ledger, after=began))
    if changed:
        click.echo(
            f"{plural(changed, 'grade')} changed: {shlex.join(['grade', 'ledger', str(batch.out), 'changed'])}"
        )


def _elsewhere(file: Path) -> Elsewhere:
    """Reads the file for each engine: Parsl uses a configuration only once."""
    from grader.batch import cluster

    cluster.read(file)
    return lambda device: cluster.engine(cluster.read(file), gpu=device == "cuda")


def _say_what_is_there(batch: Batch, summary: str) -> None:
    if summary:
        click.echo(summary)
    for what, name in (("Gradebook:", "gradebook.csv"), ("Class page:", "class.html")):
        if summary and (batch.out / name).exists():
            click.echo(f"{what} {batch.out / name}")
