"""grade verify: checks what an exercise promises about its own files. For authors."""

from __future__ import annotations

import os
import shlex
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli import exits
from grader.cli.numbers import SEED as ANY_SEED
from grader.cli.numbers import Whole
from grader.cli.paths import PATH
from grader.cli.wrap import WIDTH, wrapped
from grader.errors import ExerciseError, UsageError

if TYPE_CHECKING:
    from grader.authoring.mutants import MutantVerdict
    from grader.authoring.verify import VerifiedPromise
    from grader.model.exercise import Exercise
    from grader.sandbox.runner import OpenExecutor

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)

SEED = 1  # a promise holds for every seed
_INDENT = " " * 6


@click.command("verify")
@click.argument("exercise", required=False)
@click.option("--exercises", metavar="DIR", type=PATH, help="Folder of the exercises.")
@click.option("-j", "--jobs", metavar="N", type=Whole(1), help="How many at a time; default: number of cores.")
@click.option("--seed", metavar="N", type=ANY_SEED, default=SEED, help="Use this seed.")
@click.option("--mutants", metavar="N", type=Whole(1), help="Try N small mistakes in each correct kernel.")
@click.option(
    "--of",
    "kernels",
    metavar="FILE",
    type=_FILE,
    multiple=True,
    help="Correct kernel to change; default: the solution.",
)
@click.option("--json", "json_file", metavar="FILE", type=PATH, help="Write the outcome of every mutant.")
def command(
    exercise: str | None,
    exercises: Path | None,
    jobs: int | None,
    seed: int,
    mutants: int | None,
    kernels: tuple[Path, ...],
    json_file: Path | None,
) -> int:
    """Check that the files of EXERCISE (default: all exercises) keep their promises. For authors.

    The starter must compile and fail, the solution must pass, and each file in wrong/ must be caught by the check and
    kind that it states, on the line it marks. A missing file is a broken promise.

    With --mutants, small mistakes are made in correct kernels. Each must be caught, unless it changes no bit of any
    output; those are listed for you to judge.

    \b
    Exit status: 0 all promises kept, 1 some broken, 2 wrong usage, 4 the grader
    failed.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in grade run
    from grader import machine
    from grader.cli.deliver import Destinations
    from grader.exercise import catalog

    if mutants is None and (kernels or json_file):
        raise UsageError("--of and --json need --mutants N")
    folder = catalog.exercises_folder(exercises)
    chosen = [catalog.locate(exercise, folder)] if exercise else catalog.folders(folder)
    Destinations(json=json_file).check(kernels)
    jobs = jobs or machine.cores()

    def check(one: Exercise) -> int:
        if mutants is None:
            return _verify(one, jobs, seed)
        return _mutants(one, mutants, kernels, jobs, seed, json_file)

    return max(_one(place, check) for place in chosen)


def _one(folder: Path, check: Callable[[Exercise], int]) -> int:
    """An exercise that cannot be loaded keeps no promise; the others are still checked."""
    from grader.exercise import catalog

    click.echo(folder.resolve().name)
    try:
        return check(catalog.read(folder))
    except ExerciseError as error:
        click.echo(f"  {_mark('NO')}  this exercise cannot be loaded")
        _found(str(error).replace(f"{Path.cwd()}/", ""))
        return exits.FAILED


def _verify(exercise: Exercise, jobs: int, seed: int) -> int:
    from grader.authoring import verify

    lacking, wanted = list(verify.gaps(exercise)), list(verify.promises(exercise))
    names = {promise: str(promise.file.relative_to(exercise.folder)) for promise in wanted}
    width = max(map(len, (*names.values(), *(gap.name for gap in lacking))))
    began = time.monotonic()
    for gap in lacking:
        click.echo(f"  {_mark(gap.problem)}  {gap.name}")
        _found(gap.problem)

    def show(done: VerifiedPromise) -> None:
        says, room = done.promise.says, max(WIDTH - width - 16, 12)
        shown = says if len(says) <= room else f"{says[: room - 1]}…"
        click.echo(f"  {_mark(done.problem)}  {names[done.promise]:{width}}  {shown:{room}} {done.seconds:5.1f} s")
        _found(done.problem, f"{says}; ")

    with _children(jobs) as open_child:
        found = verify.verify(exercise, wanted, seed=seed, open_executor=open_child, jobs=jobs, on_done=show)
    kept, of = sum(not done.problem for done in found), len(lacking) + len(found)
    click.echo(f"{kept} of {of} promises kept; {time.monotonic() - began:.0f} s, {jobs} at a time")
    return exits.PASSED if kept == of else exits.FAILED


def _mark(problem: str) -> str:
    return click.style("NO", fg="red", bold=True) if problem else click.style("ok", fg="green")


def _found(problem: str, stated: str = "") -> None:
    if problem:
        text = f"{stated and 'states: '}{stated}found: {problem}"
        click.echo(wrapped(text, indent=_INDENT, further=_INDENT))


def _mutants(
    exercise: Exercise, count: int, kernels: Sequence[Path], jobs: int, seed: int, json_file: Path | None
) -> int:
    """PASSED if none was missed. Lists those that were not caught, each with its change."""
    from grader.authoring import mutants

    kernels = kernels or [exercise.folder / "solution.cu"]
    if not kernels[0].is_file():
        raise UsageError(f"{kernels[0]} does not exist; name a correct kernel with --of")
    texts = mutants.read(kernels)
    chosen = [mutant for name, text in texts.items() for mutant in mutants.mutants(name, text, count, seed)]
    began = time.monotonic()

    def show(verdict: MutantVerdict) -> None:
        if verdict.outcome in (mutants.EQUIVALENT, mutants.MISSED):
            click.echo(f"{verdict.outcome}: {verdict.origin}:{verdict.line}: {verdict.rule}")
            click.echo(textwrap.indent(verdict.diff, "    "))

    with _children(jobs) as open_child:
        bench = mutants.MutantBench(exercise, seed, open_child)
        try:
            originals = {name: bench.outputs(name, text) for name, text in texts.items()}
        except ValueError as error:
            raise UsageError(str(error)) from None
        verdicts = bench.judge_all(chosen, originals, jobs, show)
    numbers = mutants.counts(verdicts)
    made = len(verdicts) - numbers[mutants.NO_MUTANT]
    click.echo(
        f"{made} mutants of {', '.join(texts)}: {numbers[mutants.CAUGHT]} caught, "
        f"{numbers[mutants.EQUIVALENT]} equivalent, {numbers[mutants.MISSED]} missed; "
        f"{time.monotonic() - began:.0f} s"
    )
    if json_file is not None and not _write(json_file, exercise, count, seed, verdicts):
        return exits.ERROR
    return exits.FAILED if numbers[mutants.MISSED] else exits.PASSED


def _write(file: Path, exercise: Exercise, count: int, seed: int, verdicts: Sequence[MutantVerdict]) -> bool:
    import msgspec

    from grader.authoring import mutants
    from grader.cli.deliver import write
    from grader.model import families

    caught_by: dict[str, int] = {}
    for verdict in verdicts:
        if verdict.outcome == mutants.CAUGHT:
            key = f"{families.name_of(verdict.check)} {verdict.kind}"
            caught_by[key] = caught_by.get(key, 0) + 1
    content = {
        "command": shlex.join(["grade", *sys.argv[1:]]),
        "exercise": exercise.name,
        "mutants_per_kernel": count,
        "seed": seed,
        "counts": mutants.counts(verdicts),
        "caught_by": dict(sorted(caught_by.items(), key=lambda item: -item[1])),
        "mutants": [verdict for verdict in verdicts if verdict.outcome != mutants.NO_MUTANT],
    }
    return write(file, msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")


@contextmanager
def _children(jobs: int) -> Iterator[OpenExecutor]:
    """Each on one core if several run at the same time."""
    from grader import executors

    with executors.cpu_zygote() as zygote:
        yield lambda: executors.open_cpu(workers=1 if jobs > 1 else None, zygote=zygote)
