"""Keeps an exercise's promises: its starter fails, its solution passes, each wrong kernel is caught as it states.

A wrong kernel is run on the one case that it names, so that the whole exercise takes less than a minute.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from grader import pipeline, submission
from grader.checks import rules
from grader.errors import GraderError
from grader.model.exercise import Exercise
from grader.model.result import Check, Finding, Result, Status, Verdict
from grader.runner import OpenExecutor

STARTER, SOLUTION = "compiles and fails", "passes"
PROMISE = re.compile(r"// caught by: (compile|launch|rules|(?:memory|correct)\[([\w-]+)\]) ([\w-]+)")
MARK = "// <-- here"

# Kinds whose finding names the guilty line: those of memory, and of the compiler.
AT_A_LINE = frozenset(
    {
        "compile-error",
        "out-of-bounds",
        "uninitialised-read",
        "misaligned-access",
        "race",
        "barrier-divergence",
        "collective-mismatch",
        "read-only-write",
        "did-not-finish",
        "forbidden-instruction",
        "trap",
    }
)


class Promise(msgspec.Struct, frozen=True):
    """What a file of an exercise says of itself. `case` is the only one to run; None: all of them."""

    file: Path
    check: str = ""
    kind: str = ""
    lines: tuple[int, ...] = ()
    case: str | None = None
    says: str = ""  # the promise in words


class Verified(msgspec.Struct, frozen=True):
    """`problem` says what was found instead; empty where the promise was kept."""

    promise: Promise
    problem: str
    seconds: float


def promises(exercise: Exercise) -> Iterator[Promise]:
    """One for each file, starter and solution first. Raises GraderError where a wrong kernel states none."""
    yield Promise(exercise.starter, case=exercise.cases[0], says=STARTER)
    yield Promise(exercise.folder / "solution.cu", says=SOLUTION)
    for file in sorted((exercise.folder / "wrong").glob("*.cu")):
        yield promise_of(file)


def promise_of(file: Path) -> Promise:
    """What a wrong kernel's first line and its marks state."""
    lines = file.read_text(encoding="utf-8").splitlines()
    stated = PROMISE.fullmatch(lines[0]) if lines else None
    if stated is None:
        raise GraderError(f"{file}: the first line must be // caught by: CHECK KIND")
    marked = tuple(number for number, line in enumerate(lines, start=1) if line.endswith(MARK))
    check, case, kind = stated.groups()
    return Promise(file, check, kind, marked if kind in AT_A_LINE else (), case, f"{check} {kind}")


def verify(
    exercise: Exercise,
    wanted: Iterable[Promise],
    *,
    seed: int,
    open_executor: OpenExecutor,
    jobs: int,
    on_done: Callable[[Verified], None] = lambda _: None,
) -> list[Verified]:
    """Each promise in a child process of its own, `jobs` at a time; the results in the promises' order."""

    def one(promise: Promise) -> Verified:
        began = time.monotonic()
        problem = _problem(exercise, promise, seed, open_executor)
        return Verified(promise, problem, time.monotonic() - began)

    with ThreadPoolExecutor(jobs) as pool:
        found = []
        try:
            for verified in pool.map(one, wanted):
                on_done(verified)
                found.append(verified)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return found


def _problem(exercise: Exercise, promise: Promise, seed: int, open_executor: OpenExecutor) -> str:
    source = submission.read(promise.file)
    # What the compiled code shows needs no case; one is graded so that nothing else is wrong.
    only = exercise.cases[0] if promise.check == rules.ID else promise.case
    result = pipeline.grade(exercise, source, seed=seed, open_executor=open_executor, only=only)
    errors = [check for check in result.checks if check.status is Status.ERROR]
    if errors:
        return f"{errors[0].id} ended in error: {errors[0].message}"
    if promise.says == SOLUTION:
        passed = result.verdict in (Verdict.PASSED, Verdict.INCOMPLETE)
        return "" if passed else _caught_by(first_failed(result))
    if promise.says == STARTER:
        return _starter_problem(result)
    return problem_of(promise, first_failed(result))


def _starter_problem(result: Result) -> str:
    failed = first_failed(result)
    if failed is not None and failed.id == "compile":
        return _caught_by(failed)
    return "" if failed is not None else "nothing is wrong with it"


def first_failed(result: Result) -> Check | None:
    """In grading order."""
    return next((c for c in result.checks if c.required and c.status is Status.FAILED), None)


def problem_of(promise: Promise, failed: Check | None) -> str:
    """How what was caught differs from the promise; empty where it does not."""
    if failed is None or failed.id != promise.check:
        return _caught_by(failed)
    of_kind = [finding for finding in failed.findings if finding.kind == promise.kind]
    if not of_kind:
        return _caught_by(failed)
    if promise.lines and not any(set(promise.lines) & named_lines(finding) for finding in of_kind):
        lines = sorted({finding.line for finding in of_kind})
        return f"{promise.kind} in line {_listed(lines)}, not in line {_listed(promise.lines)}"
    return ""


def named_lines(finding: Finding) -> set[int]:
    """The finding's line, and for a race the other access's, which its note names."""
    notes = " ".join(finding.notes) if finding.kind == "race" else ""
    return {finding.line, *(int(line) for line in re.findall(r"\bline (\d+)", notes))}


def _caught_by(failed: Check | None) -> str:
    if failed is None:
        return "nothing was found"
    first = failed.findings[0] if failed.findings else Finding("", "", 0, failed.message)
    where = f" in line {first.line}" if first.line else ""
    return f"{failed.id} {first.kind}{where}: {first.message}"


def _listed(lines: Iterable[int]) -> str:
    return " or ".join(map(str, lines))
