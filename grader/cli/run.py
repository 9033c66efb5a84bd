"""grade run: grade one submission, show the verdict, write the Result."""

from __future__ import annotations

import contextlib
import importlib
import os
import secrets
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli import exits
from grader.cli.complete import exercise_names
from grader.cli.numbers import SEED, Whole
from grader.cli.paths import PATH, from_here
from grader.cli.report import read_earlier
from grader.cli.standby import Standby
from grader.errors import UsageError
from grader.seeds import SEEDS

if TYPE_CHECKING:
    from grader.exercise.secret import Secret
    from grader.exercise.submission import Source
    from grader.grading.gpu_lane import GpuChoice
    from grader.model.exercise import Exercise
    from grader.model.result import Result

# Needed at the end; a thread imports them while the child works.
_LATER = ("grader.cli.deliver", "grader.cli.terminal")
_LATER_FOR_HTML = (*_LATER, "grader.reports.report")


@click.command("run")
@click.argument("exercise", shell_complete=exercise_names)
@click.argument("file", required=False, type=PATH)
@click.option("--exercises", metavar="DIR", type=PATH, help="Folder of the exercises.")
@click.option("--json", "json_file", metavar="FILE", type=PATH, help="Write the result as JSON; - is stdout.")
@click.option("--html", "html_file", metavar="FILE", type=PATH, help="Write the report as a web page.")
@click.option("--since", metavar="EARLIER", type=PATH, help="Show what changed since an earlier --json file.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="Where to run.")
@click.option("--gpu", metavar="N", type=Whole(0), help="Use this GPU; implies --device cuda.")
@click.option("--host", metavar="NAME", help="Grade on that machine of your course, over SSH.")
@click.option("--sanitize", is_flag=True, help="With a GPU: also run compute-sanitizer.")
@click.option("--profile", is_flag=True, help="With a GPU: add ncu's counters to the result.")
@click.option("--seed", metavar="N", type=SEED, help="Repeat a run with this seed.")
@click.option("--secret", metavar="FILE", type=PATH, help="Add an instructor's secret cases, shown redacted.")
@click.option("--strict", is_flag=True, help="Exit with 3 if a required check was not judged.")
@click.option("--open", "browser", is_flag=True, help="Open the report in a browser.")
@click.option("-v", "--verbose", is_flag=True, help="Show everything that was found.")
def command(
    exercise: str,
    file: Path | None,
    exercises: Path | None,
    json_file: Path | None,
    html_file: Path | None,
    since: Path | None,
    device: str,
    gpu: int | None,
    host: str | None,
    sanitize: bool,
    profile: bool,
    seed: int | None,
    secret: Path | None,
    strict: bool,
    browser: bool,
    verbose: bool,
) -> int:
    """Grade FILE (default: the exercise's starter.cu) as a solution of EXERCISE.

    EXERCISE is a number or a name: 1, 01 and 01_simple_grouped_gemm are the same.

    \b
    Exit status:
      0  passed, or nothing wrong but something not judged
      1  failed
      2  wrong usage
      3  with --strict: a required check was not judged
      4  the grader or this machine failed
    130  interrupted
    """
    # The oracle's products take 0.1 s on one thread. With several, OpenBLAS spins on the cores that the child
    # needs and takes longer. It reads this variable when NumPy is first imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if host is not None and (device != "auto" or gpu is not None or sanitize or profile or secret):
        raise click.UsageError("with --host, leave out --device, --gpu, --sanitize, --profile and --secret")
    with Standby() if host is None else contextlib.nullcontext() as standby:
        from grader.cli.deliver import Destinations, deliver
        from grader.exercise import catalog, submission
        from grader.exercise import secret as secret_cases

        chosen = catalog.find(exercise, catalog.exercises_folder(exercises))
        to = Destinations(json_file, html_file, browser)
        read = file or from_here(chosen.starter)
        to.check([read, *_files_of(chosen), *([secret] if secret else [])])
        Destinations(html=html_file).check([since] if since else [])  # --json may overwrite it
        source = submission.read(_there(read, exercise) if file is None else read)
        hidden = secret_cases.read(secret) if secret else None
        earlier = read_earlier(since, chosen.name) if since else None  # --json may name the same file
        seed = secrets.randbelow(SEEDS) if seed is None else seed
        _import_later(_LATER_FOR_HTML if html_file or browser else _LATER)
        choice = _gpu(device, gpu, sanitize=sanitize, profile=profile) if host is None else host
        result = _grade(chosen, source, seed, hidden, standby, choice)

    from grader.cli.remember import remember

    written = deliver(result, chosen, source.text, to, verbose=verbose, since=earlier, since_name=str(since or ""))
    if hidden is None:  # an instructor's run is not an attempt
        remember(chosen, result, source)
    return exits.of(result.verdict, strict=strict) if written else exits.ERROR


def _there(starter: Path, exercise: str) -> Path:
    """Raises UsageError if the starter was removed."""
    if not starter.exists():
        raise UsageError(f"{starter} does not exist; grade reset {exercise} restores the original")
    return starter


def _files_of(exercise: Exercise) -> Iterator[Path]:
    """The files a student has, which a report must not overwrite."""
    return (exercise.folder / name for name in ("exercise.toml", "oracle.py", "problem.md", "test.py"))


def _gpu(device: str, number: int | None, *, sanitize: bool, profile: bool) -> GpuChoice | None:
    """Raises GraderError if a GPU was requested but is not available."""
    if device == "cpu" and number is not None:
        raise click.UsageError("--gpu implies --device cuda")
    if device == "cpu":
        return None
    from grader.grading import gpu_lane

    required = device == "cuda" or number is not None
    return gpu_lane.choose(number, required=required, sanitize=sanitize, profile=profile)


def _grade(
    exercise: Exercise,
    source: Source,
    seed: int,
    secret: Secret | None,
    standby: Standby | None,
    where: GpuChoice | str | None,
) -> Result:
    """`where`: also on this GPU; or, without `standby`, on the host of that name."""
    from grader import progress
    from grader.cli.status import StatusLine

    before = partial(progress.last_source, exercise)
    with StatusLine() as line:
        if isinstance(where, str) or standby is None:
            from grader.remote import client

            return client.grade(str(where), exercise, source, seed=seed, on_progress=line.show, before=before)
        from grader.grading import pipeline

        return pipeline.grade(
            exercise,
            source,
            seed=seed,
            open_executor=standby.open,
            secret=secret,
            gpu=where,
            count=True,
            on_progress=line.show,
            before=before,
        )


def _import_later(modules: tuple[str, ...]) -> None:
    threading.Thread(target=_import, args=(modules,), daemon=True).start()


def _import(modules: tuple[str, ...]) -> None:
    """If this fails, it fails again where it is needed, and is reported there."""
    with contextlib.suppress(Exception):
        for module in modules:
            importlib.import_module(module)
