"""grade report: turns a Result written by grade run --json into HTML."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader import files
from grader.cli import exits
from grader.cli.paths import PATH
from grader.errors import UsageError

if TYPE_CHECKING:
    from grader.model.exercise import Exercise
    from grader.model.result import Result

# A Result is about 20 kB; the grader never writes one larger than this.
MAX_BYTES = 64 << 20


@click.command("report")
@click.argument("result", type=PATH)
@click.option("--html", "html_file", metavar="FILE", type=PATH, help="Default: RESULT.html.")
@click.option("--open", "browser", is_flag=True, help="Open it in a browser.")
@click.option("--since", metavar="EARLIER", type=PATH, help="Show what changed since this earlier RESULT.")
@click.option("--exercises", metavar="DIR", type=PATH, help="Folder of the exercises.")
def command(result: Path, html_file: Path | None, browser: bool, since: Path | None, exercises: Path | None) -> int:
    """Turn RESULT (from grade run --json) into an HTML report, next to it or in --html.

    The source is included if the submission still exists, unchanged.
    """
    from grader.cli.deliver import Destinations, open_in_browser, write_report

    page = html_file or result.with_suffix(".html")
    if page == result:
        raise UsageError(f"this would overwrite {result}; name the report with --html")
    decoded = read(result)
    Destinations(html=page).check([result, Path(decoded.submission.path), *([since] if since else [])])
    earlier = read_earlier(since, decoded.exercise) if since else None
    written = write_report(decoded, _exercise(decoded, exercises), _source(decoded), page, since=earlier)
    if written and browser:
        open_in_browser(page)
    return exits.PASSED if written else exits.ERROR


def read_earlier(file: Path, exercise: str) -> Result:
    """An earlier Result of the same exercise, to compare with. Raises UsageError."""
    earlier = read(file)
    if earlier.exercise != exercise:
        raise UsageError(f"cannot compare: {file} is a result of {earlier.exercise}, but this is {exercise}")
    return earlier


def read(file: Path) -> Result:
    """Reads what grade run --json wrote. Raises UsageError, which names the file."""
    from grader.model import codec

    try:
        return codec.decode(files.read(file, MAX_BYTES))
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    except codec.ResultError as error:
        raise UsageError(f"{file} was not written by grade run --json: {error}") from None


def _exercise(result: Result, folder: Path | None) -> Exercise | None:
    """None if this machine does not have the exercise; the report is then less detailed."""
    from grader.exercise import catalog

    try:
        return catalog.find(result.exercise, catalog.exercises_folder(folder))
    except UsageError:
        if folder is not None:
            raise
        return None


def _source(result: Result) -> str | None:
    """The submission's text, if it is still the graded version. A Result may contain any path."""
    from grader.exercise import submission

    try:
        content = files.read(Path(result.submission.path), submission.MAX_BYTES)
    except (OSError, ValueError):
        return None
    same = hashlib.sha256(content).hexdigest() == result.submission.sha256
    return content.decode(errors="replace") if same else None
