"""grade ci: grade the submissions that a change touches, for pull requests and build servers."""

from __future__ import annotations

import io
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from grader.cli import exits
from grader.cli.numbers import SEED
from grader.cli.paths import folder_only
from grader.cli.wrap import wrapped
from grader.seeds import SEEDS

if TYPE_CHECKING:
    from grader.ci.annotations import Annotation
    from grader.ci.base import Range
    from grader.ci.changes import Beside, Submissions, Touched
    from grader.ci.graded import GradedFile
    from grader.ci.repository import Repository
    from grader.grading.gpu_lane import GpuChoice

DEFAULT_SUBMISSIONS = "{exercise}/starter.cu"  # below the folder of the exercises

_PATH = click.Path(path_type=Path)


@click.command("ci")
@click.option("--base", metavar="REF", help="Commit to compare with, whose exercises are used.")
@click.option("--head", metavar="REF", default="HEAD", help="Commit to grade; default: HEAD.")
@click.option("--all", "everything", is_flag=True, help="Grade every submission of the commit.")
@click.option("--exercises", metavar="DIR", help="Folder of the exercises; default: exercises.")
@click.option("--submissions", metavar="PATTERN", help="Default: exercises/{exercise}/starter.cu.")
@click.option(
    "--out",
    metavar="DIR",
    type=_PATH,
    callback=folder_only,
    help="Write junit.xml, codequality.json, results and reports.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="Where to run.")
@click.option("--seed", metavar="N", type=SEED, help="Repeat a run with this seed.")
@click.option("--trust", is_flag=True, help="Grade even if this machine cannot confine submissions.")
@click.option("--strict", is_flag=True, help="Exit with 3 if a required check was not judged.")
@click.option("-v", "--verbose", is_flag=True, help="Show everything that was found.")
def command(
    base: str | None,
    head: str,
    everything: bool,
    exercises: str | None,
    submissions: str | None,
    out: Path | None,
    device: str,
    seed: int | None,
    trust: bool,
    strict: bool,
    verbose: bool,
) -> int:
    """Grade the submissions that a change touches, with the exercises of the base commit.

    Changes to the exercises themselves are not used. The base is the one GitHub or GitLab reports; otherwise
    the default branch of origin, or main if there is no remote. REF is a branch, a commit's hash or HEAD, never a
    tag. Only committed files count.

    In PATTERN, * matches any part of a name, and {exercise} is the exercise's number or name. An absolute DIR outside
    the repository is trusted as it is.

    \b
    Exit status, for all submissions together:
      0  passed, or nothing wrong but something not judged;
         or no submission was touched
      1  failed
      2  wrong usage: no base, no repository, bad option
      3  with --strict: a required check was not judged
      4  the grader or this machine failed
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in grade run
    from grader.ci import grading, trusted
    from grader.ci import out as outputs
    from grader.ci.changes import Submissions
    from grader.ci.graded import overall
    from grader.ci.repository import Repository
    from grader.sandbox import confine

    repository = Repository(Path.cwd())
    out = out and outputs.folder(out, repository)
    folder = trusted.named(exercises or trusted.FOLDER, repository)
    inside = folder.inside or trusted.FOLDER
    pattern = Submissions(submissions or f"{inside}/{DEFAULT_SUBMISSIONS}")
    change = _change(repository, pattern, inside, base, head, everything=everything)
    with confine.required(trust=trust), tempfile.TemporaryDirectory(prefix="grade-ci-") as name:
        scratch = Path(name)
        where = folder.at(repository, change.range.base, scratch / "base")
        how = grading.How(where, secrets.randbelow(SEEDS) if seed is None else seed, _gpu(device))
        told = _Told(change, repository, how.seed, out, verbose=verbose)
        graded = tuple(
            told.show(grading.grade(touched, repository, change.range.head, how)) for touched in change.touched
        )
        written = told.end(graded)
    return exits.of(overall(graded), strict=strict) if written else exits.ERROR


class _Change(NamedTuple):
    range: Range
    touched: tuple[Touched, ...]
    beside: tuple[Beside, ...]
    pattern: str

    @property
    def compared(self) -> str:
        """In words."""
        commit, base = self.range.head[:10], self.range.base[:10]
        if self.range.base == self.range.head:
            return f"Commit {commit}, graded with its own exercises"
        return f"Commit {commit} against {self.range.base_name} ({base}), whose exercises grade"


def _change(
    repository: Repository, pattern: Submissions, exercises: str, base: str | None, head: str, *, everything: bool
) -> _Change:
    from grader.ci import base as bases
    from grader.ci import changes

    if everything:
        span = bases.whole(repository, base, head, os.environ)
        return _Change(span, changes.everything(repository.files(span.head), pattern), (), pattern.pattern)
    span = bases.find(repository, base, head, os.environ)
    found = changes.since(repository, span.forks, span.head)
    beside = changes.beside(found, exercises)
    return _Change(span, changes.touched(found, pattern), beside, pattern.pattern)


def _gpu(device: str) -> GpuChoice | None:
    """Raises GraderError if a GPU was requested but is not available."""
    if device == "cpu":
        return None
    from grader.grading import gpu_lane

    return gpu_lane.choose(required=device == "cuda")


class _Told:
    """What is reported along the way and at the end: in the log, on GitHub, in `out`."""

    def __init__(
        self, change: _Change, repository: Repository, seed: int, out: Path | None, *, verbose: bool
    ) -> None:
        self._change, self._out, self._verbose = change, out, verbose
        self._on_github = os.environ.get("GITHUB_ACTIONS") == "true"
        self._prefix = _prefix(repository.root) if self._on_github else ""
        number = len(change.touched)
        what = "no submission" if not number else "1 submission" if number == 1 else f"{number} submissions"
        click.echo(wrapped(f"{change.compared}:"))
        click.echo(f"{what}, seed {seed}.")
        if not number:
            looked = f"looked for {change.pattern}; only what is committed counts"
            click.echo(wrapped(f"No submission was touched ({looked})."))
        self._list(wrapped(f"{_line(one.path)}: {one.message}", further="  ") for one in change.beside)

    def show(self, one: GradedFile) -> GradedFile:
        """Returns it with its text, in which GitHub does not interpret a kernel's output as commands."""
        import msgspec

        from grader.ci import annotations

        text = self._text(one)
        title = f"{_line(one.path)}: {one.outcome}"
        before, after = annotations.fold(title) if self._on_github else (f"\n{_line(one.path)}", "")
        _say(f"{before}\n{text.rstrip()}\n{after}".rstrip())
        return msgspec.structs.replace(one, text=text)

    def end(self, graded: Sequence[GradedFile]) -> bool:
        """The final list, annotations, summary and files. False if something could not be written."""
        from grader.ci import annotations
        from grader.ci import out as outputs

        if len(graded) > 1:
            click.echo()
            self._list(f"{one.outcome:10}  {_line(one.path)}" for one in graded)
        found = annotations.of(graded, self._change.beside)
        if self._on_github:
            for annotation in annotations.limited(found):
                click.echo(annotations.command(annotation, self._prefix))
        written = [_append_summary(self._summary(graded))]
        if self._out is not None:
            written += [outputs.write(self._out / name, content) for name, content in self._files(graded, found)]
        return all(written)

    def _list(self, lines: Iterable[str]) -> None:
        """They contain names of changed files, which GitHub must not interpret as commands."""
        from grader.ci import annotations

        text = "\n".join(lines)
        if text:
            before, after = annotations.quiet() if self._on_github else ("", "")
            _say(f"{before}\n{text}\n{after}".strip())

    def _text(self, one: GradedFile) -> str:
        """As grade run shows it."""
        if one.result is None:
            return f"Not graded: {one.problem}\n"
        from rich.console import Console

        from grader.cli import terminal

        stream = io.StringIO()
        out = Console(file=stream, width=terminal.WIDTH, highlight=False, markup=False, emoji=False)
        terminal.print_result(out, one.result, one.exercise, one.source, verbose=self._verbose)
        return stream.getvalue()

    def _summary(self, graded: Sequence[GradedFile]) -> str:
        from grader.ci import summary

        return summary.markdown(graded, f"{self._change.compared}.", self._change.beside)

    def _files(self, graded: Sequence[GradedFile], found: Sequence[Annotation]) -> Iterator[tuple[str, bytes]]:
        from grader import reports
        from grader.ci import code_quality, junit
        from grader.model import codec
        from grader.model.result import Verdict

        suites = [junit.Suite(g.path, g.result, g.problem, g.verdict is Verdict.ERROR) for g in graded]
        yield "junit.xml", junit.document(suites)
        yield "codequality.json", code_quality.document(found)
        yield "summary.md", self._summary(graded).encode()
        for number, one in enumerate(graded, start=1):
            if one.result is not None:
                name = _file_name(number, one.path)
                yield f"{name}.json", codec.encode(one.result)
                page = reports.render(one.result, one.exercise, one.source)
                yield f"{name}.html", page.encode(errors="replace")


def _say(text: str) -> None:
    from grader.reports.text import inert

    click.echo(inert(text))


def _line(text: str) -> str:
    """A path may contain line feeds, but a list has one line per path."""
    return text.replace("\n", "␊")


def _prefix(root: Path) -> str:
    """GitHub wants paths relative to the workspace, which may contain the repository in a folder."""
    workspace = Path(os.environ.get("GITHUB_WORKSPACE", "") or root).resolve()
    inside = root.is_relative_to(workspace) and root != workspace
    return f"{root.relative_to(workspace).as_posix()}/" if inside else ""


def _append_summary(text: str) -> bool:
    """True if none was requested."""
    name = os.environ.get("GITHUB_STEP_SUMMARY")
    if not name:
        return True
    try:
        with Path(name).open("a", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        click.echo(f"grade: cannot write the step's summary, {name}: {error.strerror}", err=True)
        return False
    return True


def _file_name(number: int, path: str) -> str:
    """Unique, and short enough for every file system: "01-01_simple_grouped_gemm-starter"."""
    words = re.sub(r"[^\w.-]+", "-", path.removesuffix(".cu"), flags=re.ASCII)
    return f"{number:02}-{words[-80:].strip('-.')}"
