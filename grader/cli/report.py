"""grade report: a Result, written by grade run --json, as HTML."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli import exits
from grader.errors import UsageError

if TYPE_CHECKING:
    from grader.model.exercise import Exercise
    from grader.model.result import Result

# A Result has some 20 kB; what is larger than this was not written by the grader.
MAX_BYTES = 64 << 20


@click.command("report")
@click.argument("result", type=click.Path(path_type=Path))
@click.option("--html", "html_file", metavar="FILE", type=click.Path(path_type=Path), required=True)
@click.option("--exercises", metavar="DIR", type=click.Path(path_type=Path), help="Where the exercises are.")
def command(result: Path, html_file: Path, exercises: Path | None) -> int:
    """Render RESULT (from grade run --json) as an HTML report.

    The source is shown where the submission is still there, unchanged.
    """
    from grader.cli.deliver import write_report

    decoded = _read(result)
    written = write_report(decoded, _exercise(decoded, exercises), _source(decoded), html_file)
    return exits.PASSED if written else exits.ERROR


def _read(file: Path) -> Result:
    from grader.model import codec

    try:
        with file.open("rb") as stream:
            return codec.decode(stream.read(MAX_BYTES))
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    except codec.ResultError as error:
        raise UsageError(f"{file} is no Result of grade run --json: {error}") from None


def _exercise(result: Result, folder: Path | None) -> Exercise | None:
    """None where this machine does not have the exercise: the report then says less."""
    from grader import catalog

    try:
        return catalog.find(result.exercise, catalog.exercises_folder(folder))
    except UsageError:
        if folder is not None:
            raise
        return None


def _source(result: Result) -> str | None:
    """The submission's text, if it is the one that was graded."""
    try:
        content = Path(result.submission.path).read_bytes()
    except (OSError, ValueError):
        return None
    same = hashlib.sha256(content).hexdigest() == result.submission.sha256
    return content.decode(errors="replace") if same else None
