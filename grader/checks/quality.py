"""quality: the part of it that can be judged automatically (exercise.toml says what, and for how many points).

Never required for the verdict. Points that no rule gives are the instructor's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec

from grader.exercise import submission
from grader.launching import signature
from grader.model.execution import Compilation, CompiledKernel
from grader.model.exercise import Exercise
from grader.model.families import QUALITY
from grader.model.measurements import Measurements
from grader.model.result import Check, Finding, Status

LINE_COLUMNS = 110  # what fits next to a report's margin, and on half a screen


class Subject(msgspec.Struct, frozen=True):
    """What the rules look at. `kernels` are the exercise's own, variants among them."""

    filename: str
    text: str
    compilation: Compilation
    kernels: tuple[CompiledKernel, ...]


def judge(exercise: Exercise, compilation: Compilation, text: str, filename: str) -> Check:
    """Measures the points that the rules give, and that they could give."""
    kernels = [k for kernel in exercise.kernels for k in signature.variants(kernel, compilation).values()]
    subject = Subject(filename, text, compilation, tuple(kernels))
    broken = {entry.rule: tuple(RULES[entry.rule](subject)) for entry in exercise.quality}
    findings = [finding for found in broken.values() for finding in found]
    return Check(
        id=QUALITY.id(),
        status=Status.FAILED if findings else Status.PASSED,
        message=findings[0].message if findings else "nothing found that should be improved",
        required=QUALITY.required,
        findings=tuple(findings),
        measurements=Measurements(
            points=float(sum(entry.points for entry in exercise.quality if not broken[entry.rule])),
            points_max=float(sum(entry.points for entry in exercise.quality)),
        ),
    )


def _no_warnings(subject: Subject) -> Iterator[Finding]:
    warnings = [f for f in subject.compilation.findings if f.kind == "compile-warning"]
    if warnings:
        first = warnings[0]
        message = f"the compiler warns: {first.message}"
        yield Finding("no-warnings", first.file, first.line, message, count=len(warnings))


def _no_spills(subject: Subject) -> Iterator[Finding]:
    for kernel in subject.kernels:
        if kernel.resources and kernel.resources.spill_bytes:
            message = (
                f"{kernel.name} spills {kernel.resources.spill_bytes} bytes of registers to memory "
                f"(it has {kernel.resources.registers} registers per thread)"
            )
            yield Finding("no-spills", subject.filename, kernel.line, message)


def _formatted(subject: Subject) -> Iterator[Finding]:
    """The first line that breaks each habit, with how many do."""
    habits: dict[str, Callable[[str], bool]] = {
        "a tab; indent with spaces": lambda line: "\t" in line,
        "spaces at the end of the line": lambda line: line.endswith((" ", "\t")),
        f"longer than {LINE_COLUMNS} columns": lambda line: len(line) > LINE_COLUMNS,
    }
    lines = submission.lines(subject.text)
    for message, breaks in habits.items():
        at = [number for number, line in enumerate(lines, start=1) if breaks(line)]
        if at:
            yield Finding("formatted", subject.filename, at[0], message, count=len(at))


def _commented(subject: Subject) -> Iterator[Finding]:
    """Each of the exercise's kernels has a comment directly above it or inside its body."""
    lines = submission.lines(subject.text)
    for kernel in subject.kernels:
        at = _definition(lines, kernel.name)
        if at is not None and not _has_comment(lines, at):
            message = f"{kernel.name} has no comment; say in a line or two how it works"
            yield Finding("commented", subject.filename, at + 1, message)


def _definition(lines: list[str], name: str) -> int | None:
    """Index of the line that names the function; None where a macro made it."""
    pattern = re.compile(rf"\b{re.escape(name)}\s*\(")
    return next((i for i, line in enumerate(lines) if pattern.search(line.split("//")[0])), None)


def _has_comment(lines: list[str], at: int) -> bool:
    """A comment in the lines that touch the function from above, or up to its closing brace."""
    start = at
    while start > 0 and lines[start - 1].strip():
        start -= 1
    end = next((i for i in range(at, len(lines)) if lines[i].startswith("}")), len(lines))
    return any("//" in line or "/*" in line for line in lines[start:end])


RULES: dict[str, Callable[[Subject], Iterator[Finding]]] = {
    "no-warnings": _no_warnings,
    "no-spills": _no_spills,
    "formatted": _formatted,
    "commented": _commented,
}
