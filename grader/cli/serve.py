"""grade serve: grade what one student sends over SSH."""

from __future__ import annotations

import os
from pathlib import Path

import click

from grader.cli import exits
from grader.cli.numbers import Whole
from grader.cli.paths import PATH


@click.command("serve")
@click.option("--student", metavar="NAME", required=True, help="Whose key this is.")
@click.option("--queue", metavar="DIR", type=PATH, required=True, help="Folder of the queue and its ledger.")
@click.option("--exercises", metavar="DIR", type=PATH, help="Folder of the exercises.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cuda", help="Where to run.")
@click.option("--gpu", metavar="N", type=Whole(0), default=0, help="Use this GPU.")
@click.option("--secret", metavar="FILE", type=PATH, help="Your own cases, shown redacted.")
@click.option("-j", "--jobs", metavar="N", type=Whole(1), default=1, show_default=True, help="How many at a time.")
@click.option("--per-hour", metavar="N", type=Whole(1), default=20, show_default=True, help="Most for one student.")
@click.option("--waiting", metavar="N", type=Whole(1), default=40, show_default=True, help="Most in the queue.")
@click.option(
    "--config", metavar="FILE", type=PATH, help="Grade with Parsl: a Python file with config = Config(...)."
)
def command(
    student: str,
    queue: Path,
    exercises: Path | None,
    device: str,
    gpu: int,
    secret: Path | None,
    jobs: int,
    per_hour: int,
    waiting: int,
    config: Path | None,
) -> int:
    """Grade what a student sends with grade run --host, in the queue of this machine.

    sshd runs it for each connection: in authorized_keys of the account that grades, it is the command of a student's
    key. Nothing else can be run with that key.

    \b
    restrict,command="grade serve --student ada --queue /srv/queue" ssh-rsa AAAA
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in grade run
    from grader.exercise import catalog
    from grader.exercise import secret as secret_cases
    from grader.remote.server import Place, serve

    # Answers alone go to the client; what an oracle prints must not come between.
    answers = os.dup(1)
    os.dup2(2, 1)
    place = Place(
        folder=queue,
        exercises=catalog.exercises_folder(exercises),
        device=device,
        gpu=gpu,
        secret=secret_cases.read(secret) if secret else None,
        at_once=jobs,
        per_hour=per_hour,
        most=waiting,
        config=config,
    )
    with os.fdopen(answers, "wb", buffering=0) as out:
        serve(place, student, 0, lambda content: _write(out.fileno(), content))
    return exits.PASSED


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
