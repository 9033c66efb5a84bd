"""What inputs are given to: the pipeline takes sources, the CPU engine takes PTX; each in a child with a deadline."""

from __future__ import annotations

import io
import traceback
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Protocol

from rich.console import Console

from grader.ci import junit
from grader.cli.terminal import print_result
from grader.compile.compiler import compile_text
from grader.compile.recipe import PTX_ARCH
from grader.exercise import submission
from grader.grading import pipeline
from grader.grading.runs import Plans, Runs
from grader.launching import invocations
from grader.model import codec
from grader.model.execution import OUT_OF_TIME
from grader.model.execution import Outcome as Ran
from grader.model.exercise import Exercise
from grader.model.result import Check, Result, Status
from grader.reports import render
from grader.sandbox import ChildDied, ChildMemory, ChildTimeout
from tests.fuzz import cases, cuda, ptx
from tests.fuzz.children import Children

NAME = "starter.cu"
PTX_SECONDS = 5.0  # of processor time; the engine stops a run after four fifths of it


@dataclass(frozen=True)
class Input:
    origin: str
    number: str  # of its exercise
    text: str


@dataclass(frozen=True)
class Outcome:
    """`verdict` is counted; `offence` is what must not happen, if it did."""

    verdict: str
    offence: str = ""


class Target(Protocol):
    suffix: str
    children: Children

    def input(self, rng: Random) -> Input: ...

    def outcome(self, given: Input) -> Outcome: ...


class Sources:
    """Through the pipeline, with the CPU executor."""

    suffix = ".cu"

    def __init__(self) -> None:
        self.children = Children("grader.executors.cpu")

    def input(self, rng: Random) -> Input:
        return Input(*cuda.source(rng))

    def outcome(self, given: Input) -> Outcome:
        source = submission.of(Path(NAME), given.text.encode(errors="surrogatepass"))
        exercise = cases.exercise(given.number)
        try:
            result = pipeline.grade(
                exercise, source, seed=cases.SEED, open_executor=self.children.open, open_oracle=cases.Tiny
            )
            _show(result, exercise, source.text)
        except Exception:
            return Outcome("exception", traceback.format_exc())
        return Outcome(_named(result), "\n".join(map(_complaint, filter(_offends, result.checks))))


def _show(result: Result, exercise: Exercise, text: str) -> None:
    """In every form that a student or a server gets it in."""
    assert codec.encode(codec.decode(codec.encode(result))) == codec.encode(result)
    render(result, exercise, text)
    for verbose in (False, True):
        print_result(Console(file=io.StringIO()), result, exercise, text, verbose=verbose)
    junit.document([junit.Suite("all", result)])


def _named(result: Result) -> str:
    """With the first check that decided it."""
    bad = (check.id for check in result.checks if check.required and check.status is not Status.PASSED)
    return f"{result.verdict} at {next(bad, 'none').partition('[')[0]}"


def _offends(check: Check) -> bool:
    """An error; or a run that only its parent could stop, so that nobody knows in which loop it was."""
    late = any(f.kind == "did-not-finish" and not f.line and check.id != "compile" for f in check.findings)
    return check.status is Status.ERROR or late


def _complaint(check: Check) -> str:
    return f"{check.id}: {check.status}: {check.message} {check.reason or ''} {[f.message for f in check.findings]}"


@dataclass
class Ptx:
    """Straight to the engine, with the launches of the kernel that it was made from."""

    suffix = ".ptx"
    children: Children = field(default_factory=partial(Children, "tests.fuzz.child"))
    _bases: dict[Path, tuple[str, Plans] | None] = field(default_factory=dict)

    def input(self, rng: Random) -> Input:
        while True:
            number, file = rng.choice(cuda.bases())
            if base := self._base(number, file):
                return Input(str(file.relative_to(cuda.ROOT)), number, ptx.mutant(base[0], rng))

    def _base(self, number: str, file: Path) -> tuple[str, Plans] | None:
        """A kernel's PTX and its launches; None if it has none."""
        if file not in self._bases:
            text = file.read_text(encoding="utf-8")
            compiled = compile_text(text, PTX_ARCH)
            self._bases[file] = None
            if compiled.compilation.ok:
                child = self.children.open()
                child.load(compiled.ptx, PTX_SECONDS)
                run = partial(child.run, deadline=PTX_SECONDS)
                runs = Runs(cases.exercise(number), text, NAME, compiled.compilation, run)
                plans = runs.plans(cases.case(number))
                child.close()
                if not any(plan.findings or plan.unsupported for plan in plans):
                    self._bases[file] = compiled.ptx, plans
        return self._bases[file]

    def outcome(self, given: Input) -> Outcome:
        base = self._base(given.number, cuda.ROOT / given.origin)
        assert base is not None
        kernels, case = cases.exercise(given.number).kernels, cases.case(given.number)
        launches, arrays = invocations.of(kernels, case, base[1]), invocations.arrays(kernels, case, base[1])
        child = self.children.open()
        try:
            child.load(given.text, PTX_SECONDS)
            return Outcome(_kind(child.run(launches, arrays, deadline=PTX_SECONDS)))
        except ChildTimeout:
            return Outcome("hang", "past the deadline")
        except (ChildDied, ChildMemory) as error:
            return Outcome("crash", f"{error}\n{getattr(error, 'stderr', '')}")
        finally:
            child.close()


def _kind(ran: Ran) -> str:
    if ran.unsupported is None:
        return "run with findings" if ran.findings else "run"
    if ran.unsupported.kind == OUT_OF_TIME:
        return "out of time"
    if "cannot read this PTX" in ran.unsupported.message:
        return "not read"
    return "nothing to call" if ran.unsupported.kind == "no-such-kernel" else "refused"
