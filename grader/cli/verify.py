"""grade verify: what an exercise promises about its own files, kept or not. For authors."""

from __future__ import annotations

import os
import shlex
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli import exits
from grader.errors import UsageError

if TYPE_CHECKING:
    from grader.model.exercise import Exercise
    from grader.mutants import Verdict as MutantVerdict
    from grader.runner import OpenExecutor
    from grader.verify import Verified

_PATH = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)

SEED = 1  # a promise holds for every seed
WIDTH = 80


@click.command("verify")
@click.argument("exercise", required=False)
@click.option("--exercises", metavar="DIR", type=_PATH, help="Where the exercises are.")
@click.option("-j", "--jobs", metavar="N", type=click.IntRange(min=1), help="How many at a time; default: cores.")
@click.option("--seed", metavar="N", type=click.IntRange(0, 2**32 - 1), default=SEED, help="Another seed.")
@click.option(
    "--mutants", metavar="N", type=click.IntRange(min=1), help="Try N small mistakes in each correct kernel."
)
@click.option(
    "--of", "kernels", metavar="FILE", type=_FILE, multiple=True, help="A correct kernel; default: solution."
)
@click.option("--json", "json_file", metavar="FILE", type=_PATH, help="Write what became of the mutants.")
def command(
    exercise: str | None,
    exercises: Path | None,
    jobs: int | None,
    seed: int,
    mutants: int | None,
    kernels: tuple[Path, ...],
    json_file: Path | None,
) -> int:
    """Check the files of EXERCISE (default: of every exercise) against their promises. For authors.

    The starter compiles and fails; the solution passes; each file in wrong/ is caught by the check, with the
    kind and at the line that it states.

    With --mutants, small mistakes are made in correct kernels, and each must be caught, or change no bit of any
    output: those are listed for you to judge.

    \b
    Exit status: 0 every promise kept, 1 some not, 2 wrong usage, 4 the grader failed.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in grade run
    from grader import catalog, machine

    folder = catalog.exercises_folder(exercises)
    chosen = (catalog.find(exercise, folder),) if exercise else catalog.every(folder)
    if mutants is not None:
        all_caught = [_mutants(one, mutants, kernels, jobs or machine.cores(), seed, json_file) for one in chosen]
        return exits.PASSED if all(all_caught) else exits.FAILED
    kept = [_verify(one, jobs or machine.cores(), seed) for one in chosen]
    return exits.PASSED if all(kept) else exits.FAILED


def _verify(exercise: Exercise, jobs: int, seed: int) -> bool:
    from grader import verify

    wanted = list(verify.promises(exercise))
    names = {promise: str(promise.file.relative_to(exercise.folder)) for promise in wanted}
    width = max(map(len, names.values()))
    began = time.monotonic()
    click.echo(f"{exercise.name}")

    def show(done: Verified) -> None:
        mark = click.style(
            "NO" if done.problem else "ok", fg="red" if done.problem else "green", bold=bool(done.problem)
        )
        click.echo(f"  {mark}  {names[done.promise]:{width}}  {done.promise.says:42.42} {done.seconds:5.1f} s")
        for line in textwrap.wrap(f"found: {done.problem}", WIDTH - 6) if done.problem else ():
            click.echo(f"      {line}")

    found = verify.verify(exercise, wanted, seed=seed, open_executor=_opener(jobs), jobs=jobs, on_done=show)
    broken = sum(bool(done.problem) for done in found)
    took = f"{time.monotonic() - began:.0f} s"
    click.echo(f"{len(found) - broken} of {len(found)} as they state; {took}, {jobs} at a time")
    return not broken


def _mutants(
    exercise: Exercise, count: int, kernels: Sequence[Path], jobs: int, seed: int, json_file: Path | None
) -> bool:
    """Whether none was missed. Lists those that were not caught, each with its change."""
    from grader import mutants

    bench = mutants.Bench(exercise, seed, _opener(jobs))
    texts = mutants.read(kernels or [exercise.folder / "solution.cu"])
    began = time.monotonic()
    try:
        originals = {name: bench.outputs(name, text) for name, text in texts.items()}
    except ValueError as error:
        raise UsageError(str(error)) from None
    chosen = [mutant for name, text in texts.items() for mutant in mutants.mutants(name, text, count, seed)]

    def show(verdict: MutantVerdict) -> None:
        if verdict.outcome in (mutants.EQUIVALENT, mutants.MISSED):
            click.echo(f"{verdict.outcome}: {verdict.origin}:{verdict.line}: {verdict.rule}")
            click.echo(textwrap.indent(verdict.diff, "    "))

    verdicts = bench.judge_all(chosen, originals, jobs, show)
    numbers = mutants.counts(verdicts)
    made = len(verdicts) - numbers[mutants.NO_MUTANT]
    click.echo(
        f"{made} mutants of {', '.join(texts)}: {numbers[mutants.CAUGHT]} caught, "
        f"{numbers[mutants.EQUIVALENT]} equivalent, {numbers[mutants.MISSED]} missed; "
        f"{time.monotonic() - began:.0f} s"
    )
    if json_file is not None:
        _write(json_file, exercise, count, seed, verdicts)
    return not numbers[mutants.MISSED]


def _write(file: Path, exercise: Exercise, count: int, seed: int, verdicts: Sequence[MutantVerdict]) -> None:
    import msgspec

    from grader import mutants
    from grader.cli.deliver import write

    caught_by: dict[str, int] = {}
    for verdict in verdicts:
        if verdict.outcome == mutants.CAUGHT:
            key = f"{verdict.check.split('[')[0]} {verdict.kind}"
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
    write(file, msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")


def _opener(jobs: int) -> OpenExecutor:
    """A child on one core where several run beside each other."""
    from grader import executors

    return lambda: executors.open_cpu(workers=1 if jobs > 1 else None)
