"""grade gradebook: one gradebook of several exercises. For instructors."""

from __future__ import annotations

from pathlib import Path

import click

from grader.cli import exits
from grader.cli.deliver import KERNELS, STDOUT, write_private
from grader.errors import UsageError

_PATH = click.Path(path_type=Path)


@click.command("gradebook")
@click.argument("folders", metavar="DIR...", type=_PATH, nargs=-1, required=True)
@click.option("--out", metavar="FILE", type=_PATH, required=True, help="The CSV file to write; - is stdout.")
@click.option("--exercises", metavar="DIR", type=_PATH, help="Folder of the exercises.")
def command(folders: tuple[Path, ...], out: Path, exercises: Path | None) -> int:
    """Write one gradebook of several batches (grade batch --out DIR), a column for each exercise.

    Students are matched by their identifiers, and by name unless their identifiers differ. What is not graded stays
    empty; the column `not final` names it.
    """
    from grader import files
    from grader.batch import course_gradebook, instructor, outputs
    from grader.batch.choice import some
    from grader.batch.ledger import Ledger
    from grader.reports.text import in_line, plural

    if out.is_dir() or out.suffix in KERNELS or out.suffix == ".sqlite":
        raise UsageError(f"--out {out}: name a CSV file")
    if out != STDOUT and files.real(out.parent) in map(files.real, folders):
        raise UsageError(f"--out {out}: that folder's files belong to its batch; choose another folder")
    batches = []
    for folder in folders:
        with Ledger(folder) as ledger:
            exercise = instructor.exercise_of(ledger, exercises)
            batches.append(course_gradebook.Graded(exercise, outputs.entries(ledger, exercise)))
    made = course_gradebook.make(batches)
    written = write_private(out, made.content)
    if made.partial:
        who = in_line(some(made.partial))
        click.echo(f"grade: note: not in every batch, or not known to be the same person: {who}", err=True)
    click.echo(f"{out}: {plural(made.students, 'student')}, {plural(len(batches), 'exercise')}", err=out == STDOUT)
    return exits.PASSED if written else exits.ERROR
