"""Where a Result goes: the terminal, a JSON file, an HTML file, a browser."""

from __future__ import annotations

import os
import sys
import tempfile
import webbrowser
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import click

from grader import files
from grader.cli.streams import give_up_stdout, say
from grader.errors import UsageError
from grader.model import codec
from grader.model.exercise import Exercise
from grader.model.result import Result

STDOUT = Path("-")
KERNELS = (".cu", ".cuh")


class Destinations(NamedTuple):
    """None: not requested."""

    json: Path | None = None
    html: Path | None = None
    browser: bool = False

    def check(self, kept: Iterable[Path]) -> None:
        """Before anything is graded. Raises UsageError where a Result cannot be written, as far as that shows
        now, or would take the place of a kernel, of what is read (`kept`), or of its twin."""
        if self.json and self.html and _same(self.json, self.html):
            raise UsageError(f"--json and --html name the same file: {self.json}")
        wanted = {"--json": self.json, "--html": self.html}
        files = {option: file for option, file in wanted.items() if file is not None and file != STDOUT}
        kept = list(kept)
        for option, file in files.items():
            if file.suffix in KERNELS or any(_same(file, other) for other in kept):
                raise UsageError(f"{option} {file} would overwrite a file that is needed; choose another path")
            if problem := _unwritable(file):
                raise UsageError(f"{option} {file}: {problem}")


def _unwritable(file: Path) -> str:
    """Why nothing can be written there; empty if no reason shows yet (the disk may still be full)."""
    try:
        if file.is_dir():
            return "is a folder; name a file inside it"
        folder = file.parent
        if not folder.is_dir():
            return (
                f"{folder} is not a folder"
                if folder.exists()
                else f"the folder {folder} does not exist; create it first"
            )
        allowed = os.access(file, os.W_OK) if file.exists() else os.access(folder, os.W_OK | os.X_OK)
    except OSError as error:  # a name that is too long
        return str(error.strerror)
    return "" if allowed else "no permission to write there; choose another path"


def _same(one: Path, other: Path) -> bool:
    """Whether both paths lead to the same file."""
    try:
        return files.real(one) == files.real(other) or (one.exists() and other.exists() and one.samefile(other))
    except (OSError, ValueError):  # a Result may contain any path
        return False


def deliver(
    result: Result,
    exercise: Exercise | None,
    source: str | None,
    to: Destinations,
    *,
    verbose: bool = False,
    since: Result | None = None,
    since_name: str = "",
) -> bool:
    """Shows the verdict in any case. False if something could not be written, which is reported.

    With `since`, an earlier Result of the exercise, from the file `since_name`: what changed.
    """
    written = to.json is None or write(to.json, codec.encode(result))
    to_stderr = STDOUT in (to.json, to.html)
    shown = show(result, exercise, source, verbose=verbose, to_stderr=to_stderr, since=since, since_name=since_name)
    written = shown and written
    page = to.html or (_temporary() if to.browser else None)
    if page is not None:
        written = write_report(result, exercise, source, page, since=since) and written
    if page is not None and to.browser:
        open_in_browser(page)
    return written


def show(
    result: Result,
    exercise: Exercise | None,
    source: str | None,
    *,
    verbose: bool,
    to_stderr: bool,
    since: Result | None = None,
    since_name: str = "",
) -> bool:
    from grader.cli.terminal import console, print_result

    try:
        out = console(to_stderr=to_stderr)
        print_result(out, result, exercise, source, verbose=verbose, since=since, since_name=since_name)
        sys.stdout.flush()
    except BrokenPipeError:  # e.g. | head
        give_up_stdout()
    except OSError as error:
        give_up_stdout()
        say(f"cannot write the verdict, {result.verdict}: {error.strerror}")
        return False
    return True


def write_report(
    result: Result, exercise: Exercise | None, source: str | None, file: Path, *, since: Result | None = None
) -> bool:
    from grader import reports

    done = write(file, reports.render(result, exercise, source, since=since).encode(errors="replace"))
    if done and file != STDOUT:
        click.echo(f"Report: {file}", err=True)
    return done


def open_in_browser(page: Path) -> None:
    """Does nothing without a page or a browser; the report itself was written."""
    if page.exists():
        webbrowser.open(page.resolve().as_uri())


def write(file: Path, content: bytes) -> bool:
    try:
        if file == STDOUT:
            sys.stdout.buffer.write(content)
            sys.stdout.flush()
        else:
            files.replace(file, content)
    except BrokenPipeError:
        give_up_stdout()
    except OSError as error:
        say(f"cannot write {file}: {error.strerror}")
        return False
    return True


def write_private(file: Path, content: bytes) -> bool:
    """As `write`, for what others must not read; but raises GraderError if a file cannot be written."""
    if file == STDOUT:
        return write(file, content)
    files.write_private(file, content)
    return True


def _temporary() -> Path:
    """For a report that only the browser needs; it must outlive this process."""
    return Path(tempfile.mkdtemp(prefix="grade-")) / "report.html"
