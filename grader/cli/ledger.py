"""grade ledger: what a batch recorded, and why a grade changed."""

from __future__ import annotations

import shlex
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli import exits
from grader.cli.paths import from_here
from grader.cli.wrap import WIDTH, wrapped
from grader.errors import GraderError, UsageError

if TYPE_CHECKING:
    from grader.batch.entry import Entry
    from grader.batch.ledger import Ledger, LedgerEvent

_PATH = click.Path(path_type=Path)

WIDEST_NAME = 40  # of a student's id and name, in the list
NONE = "none"  # as a verdict: nothing was graded


@click.group("ledger", subcommand_metavar="COMMAND [STUDENT]", invoke_without_command=True)
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option("--exercises", metavar="DIR", type=_PATH, help="Folder of the exercises.")
@click.pass_context
def command(context: click.Context, folder: Path, exercises: Path | None) -> None:
    """Look into the ledger of a batch (grade batch --out DIR). Without a command: list.

    \b
    grade ledger DIR list --verdict failed
    grade ledger DIR why alice
    """
    context.obj = (folder, exercises)
    if context.invoked_subcommand is None:
        context.invoke(list_)


@command.command("list")
@click.option(
    "--verdict",
    type=click.Choice(["passed", "failed", "incomplete", "error", NONE]),
    multiple=True,
    help=f"Only this verdict ({NONE}: not graded); repeatable.",
)
@click.pass_obj
def list_(at: tuple[Path, Path | None], verdict: tuple[str, ...]) -> int:
    """One line per student. Long reasons are cut; `show` has them in full."""
    with _open(at) as ledger:
        entries = [entry for entry in _entries(ledger, at) if not verdict or _verdict(entry) in verdict]
    from grader.batch import outcomes

    named = [_name(f"{entry.submitted.student} {entry.submitted.name}".rstrip()) for entry in entries]
    width = min(max(map(len, named), default=0), WIDEST_NAME)
    for entry, name in zip(entries, named, strict=True):
        total = _number(outcomes.final(entry))
        why = entry.submitted.problem or entry.problem
        line = f"{_cut(name, width):{width}}  {_verdict(entry):10}  {total:>6}  "
        click.echo((line + _cut(_shown(why), WIDTH - len(line))).rstrip())
    return exits.PASSED


@command.command()
@click.argument("student")
@click.pass_obj
def show(at: tuple[Path, Path | None], student: str) -> int:
    """Show STUDENT's grade as grade run does."""
    import msgspec

    from grader.batch import instructor, worker, workplace
    from grader.cli.terminal import console, print_result

    with _open(at) as ledger:
        exercise = instructor.exercise_of(ledger, at[1])
        entry = instructor.entry_of(ledger, exercise, student)
    submitted, result = entry.submitted, entry.result
    student = submitted.student
    path = str(from_here(submitted.path)) if submitted.path else ""
    unpacked = submitted.path is not None and workplace.is_unpacked(submitted.path)
    source = worker.graded_text(submitted.path, result) if result else None
    late = f", {entry.lateness.said}" if entry.lateness.said else ", late" if submitted.late else ""
    click.echo(f"{_name(student)}{f' ({_name(submitted.name)})' if submitted.name else ''}{late}")
    if path:
        gone = result is not None and source is None
        shown = submitted.place if unpacked else path
        click.echo(_name(shown) + (" (since it was graded, changed or removed)" if gone else ""))
    if unpacked and submitted.path is not None:
        path = submitted.path.name  # where it was unpacked to lasts until the next download
        click.echo(f"Source: {shlex.join(['grade', 'ledger', str(at[0]), 'source', student])} > {shlex.quote(path)}")
    if submitted.note:
        click.echo(f"Note: {_name(submitted.note)}")
    if entry.manual != type(entry.manual)():
        points = "" if entry.manual.points is None else f"{entry.manual.points:g} points"
        click.echo(_shown(f"From you: {'; '.join(filter(None, (points, entry.manual.said)))}"))
    if result is None:
        click.echo(_shown(submitted.problem or entry.problem))
        return exits.PASSED
    click.echo(f"Report: {at[0] / entry.report}\n")
    # With its full path, which the command to repeat needs.
    result = msgspec.structs.replace(result, submission=msgspec.structs.replace(result.submission, path=path))
    print_result(console(), result, exercise, source)
    return exits.PASSED


@command.command()
@click.argument("student")
@click.pass_obj
def source(at: tuple[Path, Path | None], student: str) -> int:
    """Print STUDENT's file as it was graded, for grade run."""
    from grader.batch import who, worker

    with _open(at) as ledger:
        enrolled = {one.submitted.student: one for one in ledger.enrolled()}
    one = enrolled[who.find(student, [one.submitted for one in enrolled.values()]).student]
    if one.submitted.path is None:
        raise UsageError(f"{one.submitted.student}: {one.submitted.problem}")
    read = worker.source(one.submitted.path)
    if read.sha256 != one.sha256:
        raise UsageError(f"{one.submitted.path} changed since it was graded; run grade batch again")
    sys.stdout.buffer.write(read.content)
    return exits.PASSED


@command.command()
@click.argument("student")
@click.pass_obj
def history(at: tuple[Path, Path | None], student: str) -> int:
    """List all of STUDENT's gradings, oldest first."""
    with _open(at) as ledger:
        events = _events(ledger, student)
    click.echo(f"{'since (UTC)':19}  {'verdict':10}  {'points':>6}  {'submission':12}  {'device':6}  seed")
    for event in events:
        grading = event.grading
        total = _number(grading.result.points.total if grading.result else None)
        row = f"{event.at:19}  {grading.verdict:10}  {total:>6}  {grading.sha256[:12]}  {grading.conditions.device:6}"
        click.echo(f"{row}  {grading.conditions.seed}")
        if grading.problem:
            click.echo(textwrap.indent(_shown(grading.problem), "    "))
    return exits.PASSED


@command.command()
@click.argument("student")
@click.pass_obj
def why(at: tuple[Path, Path | None], student: str) -> int:
    """Show what changed between STUDENT's last two gradings."""
    from grader.batch import changes

    with _open(at) as ledger:
        events = _events(ledger, student)
    if len(events) < 2:
        click.echo(f"{_name(student)} was graded only once, on {events[0].at}; there is nothing to compare")
        return exits.PASSED
    before, after = events[-2], events[-1]
    found = changes.between(before.grading, after.grading)
    was, now = map(_number, found.points)
    click.echo(f"{before.at}: {before.grading.verdict}, {was} points")
    click.echo(f"{after.at}: {after.grading.verdict}, {now} points")
    click.echo("\nWhat changed:")
    for cause in found.causes or ("nothing that the ledger records",):
        click.echo(f"  {cause}")
    click.echo("\nChecks whose outcome changed:" if found.checks else "\nNo check's outcome changed.")
    for check in found.checks:
        more = f" and {len(check.ids) - 1} more" if len(check.ids) > 1 else ""
        click.echo(f"  {check.before} -> {check.after}: {check.ids[0]}{more}")
        if check.why:
            click.echo(wrapped(_shown(check.why), indent="    ", further="    "))
    return exits.PASSED


@command.command("alike")
@click.pass_obj
def alike_(at: tuple[Path, Path | None]) -> int:
    """List submissions that look like copies of each other."""
    from grader.batch import classroom, instructor, outputs
    from grader.reports.text import plural

    with _open(at) as ledger:
        exercise = instructor.exercise_of(ledger, at[1])
        entries = outputs.entries(ledger, exercise)
    names = {one.submitted.student: one.submitted.name for one in entries}
    found = classroom.alike_of(entries, exercise)
    for group in found:
        students = [f"{student} ({names[student]})" if names[student] else student for student in group.students]
        click.echo(wrapped(_shown(f"{', '.join(students)}: {group.how}"), further="    "))
    hint = "; a hint, not proof: compare the files yourself" if found else ""
    click.echo(f"{plural(len(found), 'group')} of submissions that look alike{hint}")
    return exits.PASSED


@command.command()
@click.option("--since", metavar="TIME", default="", help='Only gradings since, in UTC: "2026-03-01 09:30".')
@click.pass_obj
def changed(at: tuple[Path, Path | None], since: str) -> int:
    """List whose grade changed when they were last graded again."""
    from grader.batch import changes
    from grader.reports.text import plural

    with _open(at) as ledger:
        found = changes.regraded(ledger, since)
    another = [one for one in found if one.changed]
    named = [_cut(_name(f"{one.submitted.student} {one.submitted.name}".rstrip()), WIDEST_NAME) for one in another]
    width = max(map(len, named), default=0)
    for one, name in zip(another, named, strict=True):
        was, now = map(_number, one.points)
        verdicts = dict.fromkeys((one.before.grading.verdict, one.after.grading.verdict))
        causes = changes.between(one.before.grading, one.after.grading).causes
        line = f"{name:{width}}  {was:>5} -> {now:5}  {' -> '.join(verdicts)}"
        click.echo(f"{line}; {'; '.join(causes)}" if causes else line)
    same = len(found) - len(another)
    click.echo(f"{plural(len(another), 'grade')} changed; {same} graded again with the same outcome")
    return exits.PASSED


@command.command()
@click.argument("student")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.pass_obj
def purge(at: tuple[Path, Path | None], student: str, yes: bool) -> int:
    """Remove everything that DIR holds about STUDENT."""
    from grader.batch import instructor, outputs, who
    from grader.remote import queue

    folder, exercises = at
    with _open(at) as ledger:
        if not ledger.knows(student):
            student = who.find(student, [one.submitted for one in ledger.enrolled()]).student
        if not (yes or _agreed(student, folder)):
            click.echo("nothing was removed")
            return exits.PASSED
        try:
            exercise = instructor.exercise_of(ledger, exercises)
        except (UsageError, GraderError):
            exercise = None
        of_a_batch = "exercise" in ledger.settings()  # and not of grade serve, which has no gradebook
        files = instructor.purge(ledger, exercise, folder, student)
    if (folder / queue.STARTS).exists():
        queue.Queue(folder).forget(student)
    click.echo("\n  ".join(["removed:", "the ledger's rows", *(_name(str(from_here(file))) for file in files)]))
    for file in outputs.exported(folder):
        click.echo(f"grade: note: {file} was exported earlier and may still contain {_name(student)}", err=True)
    if not of_a_batch:
        return exits.PASSED
    if exercise is None:
        click.echo("grade: the gradebook was not updated: its exercise was not found", err=True)
        return exits.ERROR
    click.echo("A submission that is still in the batch's folder is graded again: remove it.")
    return exits.PASSED


def _agreed(student: str, folder: Path) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(f"cannot ask for confirmation here; --yes would remove everything about {_name(student)}")
    return click.confirm(f"Remove everything about {_name(student)} from {folder}? It cannot be undone.")


def _open(at: tuple[Path, Path | None]) -> Ledger:
    from grader.batch.ledger import Ledger

    return Ledger(at[0])


def _entries(ledger: Ledger, at: tuple[Path, Path | None]) -> list[Entry]:
    from grader.batch import instructor, outputs

    return outputs.entries(ledger, instructor.exercise_of(ledger, at[1]))


def _events(ledger: Ledger, student: str) -> list[LedgerEvent]:
    """Raises UsageError if there is none."""
    from grader.batch import who

    events = ledger.history(student)  # also of one who left
    if events:
        return events
    one = who.find(student, [one.submitted for one in ledger.enrolled()])
    if events := ledger.history(one.student):
        return events
    raise UsageError(f"{one.student} has not been graded yet: {one.problem or 'run grade batch again'}")


def _verdict(entry: Entry) -> str:
    return entry.result.verdict.value if entry.result else NONE


def _cut(text: str, most: int) -> str:
    """Leaves some room even after a name as long as the line."""
    line, most = " ".join(text.split()), max(most, 20)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _name(text: str) -> str:
    from grader.reports.text import in_line

    return in_line(text)


def _shown(text: str) -> str:
    from grader.reports.text import inert

    return inert(text)
