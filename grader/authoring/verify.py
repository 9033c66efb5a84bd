"""Checks an exercise's promises: its starter fails, its solution passes, each wrong kernel is caught as stated.

A wrong kernel is run on the one case that it names, so that the whole exercise takes less than a minute.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec

from grader.errors import GraderError
from grader.exercise import submission
from grader.exercise.shared_oracle import SharedOracle
from grader.grading import pipeline
from grader.model.exercise import Exercise
from grader.model.families import COMPILE, QUALITY, RULES
from grader.model.result import Check, Finding, Result, Status, Verdict
from grader.sandbox.children import Children
from grader.sandbox.runner import OpenExecutor

STARTER, SOLUTION = "compiles and fails", "passes"
PROMISE = re.compile(r"// caught by: (compile|launch|rules|(?:memory|correct)\[([\w-]+)\]) ([\w-]+)")
MARK = "// <-- here"
FIRST_LINE = "the first line must be // caught by: CHECK KIND, such as // caught by: memory[small] race"

# Files that an exercise needs besides its exercise.toml, and what to do if one is missing.
NEEDED = {
    "problem.md": "write the text for the student: the task, the cases, hints, pitfalls",
    "starter.cu": "write the file that the student starts from: it must compile and fail",
    "solution.cu": "write a kernel that passes",
    "test.py": "two lines: from grader.pytest_support import check_tests, and test_check = check_tests(__file__)",
}

# Kinds whose finding names the guilty line: those of memory and of the compiler.
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
    """What a file of an exercise states about itself. `case` is the only one to run; None: all of them."""

    file: Path
    check: str = ""
    kind: str = ""
    lines: tuple[int, ...] = ()
    case: str | None = None
    says: str = ""  # the promise in words


class Gap(msgspec.Struct, frozen=True):
    """Something an exercise lacks, or a file that promises nothing. `problem` ends with the next step."""

    name: str
    problem: str


class VerifiedPromise(msgspec.Struct, frozen=True):
    """`problem` says what was found instead; "" if the promise was kept."""

    promise: Promise
    problem: str
    seconds: float


def gaps(exercise: Exercise) -> Iterator[Gap]:
    """What is missing."""
    for name, step in NEEDED.items():
        if not (exercise.folder / name).is_file():
            yield Gap(name, f"is missing; {step}")
        elif not (exercise.folder / name).read_bytes().strip():
            yield Gap(name, f"is empty; {step}")
    starter = exercise.starter.read_bytes() if exercise.starter.is_file() else b""
    if exercise.starter_sha256 and starter.strip():
        digest = hashlib.sha256(starter).hexdigest()
        if digest != exercise.starter_sha256:
            yield Gap("exercise.toml", f'is older than starter.cu; set starter_sha256 = "{digest}"')
    wrong = _wrong(exercise)
    if not wrong:
        yield Gap("wrong/*.cu", f"is missing; add kernels with one mistake each; {FIRST_LINE}")
    for file in wrong:
        try:
            promise_of(file)
        except GraderError as error:
            yield Gap(f"wrong/{file.name}", str(error).removeprefix(f"{file}: "))


def promises(exercise: Exercise) -> Iterator[Promise]:
    """One per existing file, starter and solutions first."""
    if exercise.starter.is_file():
        yield Promise(exercise.starter, case=exercise.cases[0], says=STARTER)
    for file in sorted(exercise.folder.glob("solution*.cu")):
        yield Promise(file, says=SOLUTION)
    for file in _wrong(exercise):
        with suppress(GraderError):  # one of the gaps
            yield promise_of(file)


def _wrong(exercise: Exercise) -> list[Path]:
    return sorted((exercise.folder / "wrong").glob("*.cu"))


def promise_of(file: Path) -> Promise:
    """What a wrong kernel's first line and marks state. Raises GraderError if they state nothing."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise GraderError(f"{file}: cannot be read: {getattr(error, 'strerror', 'it is not UTF-8 text')}") from None
    stated = PROMISE.fullmatch(lines[0]) if lines else None
    if stated is None:
        raise GraderError(f"{file}: line 1 states nothing; {FIRST_LINE}")
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
    on_done: Callable[[VerifiedPromise], None] = lambda _: None,
) -> list[VerifiedPromise]:
    """Checks each promise in its own child process, `jobs` at a time; results are in the order of the promises."""

    children = Children()
    open_child = children.opener(open_executor)
    oracle = SharedOracle(exercise)

    def one(promise: Promise) -> VerifiedPromise:
        began = time.monotonic()
        problem = _problem(exercise, promise, seed, open_child, oracle)
        return VerifiedPromise(promise, problem, time.monotonic() - began)

    with ThreadPoolExecutor(jobs) as pool:
        found = []
        try:
            for verified in pool.map(one, wanted):
                on_done(verified)
                found.append(verified)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            children.end()
            raise
        return found


def _problem(
    exercise: Exercise, promise: Promise, seed: int, open_executor: OpenExecutor, oracle: SharedOracle
) -> str:
    source = submission.read(promise.file)
    # Checks of the compiled code need no case; one is graded to make sure that nothing else is wrong.
    only = exercise.cases[0] if promise.check == RULES.id() else promise.case
    try:
        result = pipeline.grade(
            exercise, source, seed=seed, open_executor=open_executor, only=only, open_oracle=lambda _: oracle
        )
    except GraderError as error:
        if only is None or only in exercise.cases:  # the exercise itself is broken
            raise
        return str(error)
    errors = [check for check in result.checks if check.status is Status.ERROR]
    if errors:
        return f"{errors[0].id} ended in an error: {errors[0].message}"
    if promise.says == SOLUTION:
        return _solution_problem(result)
    if promise.says == STARTER:
        return _starter_problem(result)
    return problem_of(promise, first_failed(result))


def _solution_problem(result: Result) -> str:
    """It must pass, and be what the quality rules ask of others."""
    if result.verdict not in (Verdict.PASSED, Verdict.INCOMPLETE):
        return _caught_by(first_failed(result))
    lost = [check for check in result.checks if check.family == QUALITY.name and check.status is Status.FAILED]
    return _caught_by(lost[0]) if lost else ""


def _starter_problem(result: Result) -> str:
    failed = first_failed(result)
    if failed is not None and failed.family == COMPILE.name:
        return _caught_by(failed)
    return "" if failed is not None else "nothing is wrong"


def first_failed(result: Result) -> Check | None:
    """In grading order."""
    return next((c for c in result.checks if c.required and c.status is Status.FAILED), None)


def problem_of(promise: Promise, failed: Check | None) -> str:
    """How the finding differs from the promise; "" if it does not."""
    if failed is None or failed.id != promise.check:
        return _caught_by(failed)
    of_kind = [finding for finding in failed.findings if finding.kind == promise.kind]
    if not of_kind:
        return _caught_by(failed)
    if promise.lines and not any(_is_at(finding, promise.lines) for finding in of_kind):
        lines = sorted({finding.line for finding in of_kind})
        return f"{promise.kind} on line {_listed(lines)}, not on line {_listed(promise.lines)}"
    return ""


def _caught_by(failed: Check | None) -> str:
    if failed is None:
        return "nothing was found"
    first = failed.findings[0] if failed.findings else Finding("", "", 0, failed.message)
    where = f" on line {first.line}" if first.line else ""
    return f"{failed.id} {first.kind}{where}: {first.message}"


def _listed(lines: Iterable[int]) -> str:
    return " or ".join(map(str, lines))


def _is_at(finding: Finding, marked: tuple[int, ...]) -> bool:
    """A missing semicolon may be marked where it belongs, or on the next line, where the compiler stops."""
    return not set(marked).isdisjoint((*finding.guilty_lines, *finding.noticed_lines))
