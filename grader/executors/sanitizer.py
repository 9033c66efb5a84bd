"""Runs compute-sanitizer's four tools: a second opinion on memory, or the only one if the CPU has none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from grader.compile import recipe
from grader.executors.replay import CASE
from grader.executors.tools import Staged, StagedRuns, find
from grader.model.details import Detail, Role
from grader.model.result import Finding, Related

NAME = "compute-sanitizer"
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
SECONDS = 120.0
PRINTED = 50  # reports per tool; they are counted by line afterwards

_INVALID = re.compile(r"Invalid __(\w+)__ (read|write|atomic) of size (\d+)")
_UNINITIALISED = re.compile(r"Uninitialized __(\w+)__ memory read of size (\d+)")
_BARRIER = re.compile(r"Barrier error detected\. (.*?)\.?$")
_RACE = re.compile(r"Race reported between (\w+) access at .*?(?: in \S*?:(\d+))?$")
_OTHER_SIDE = re.compile(r"and (\w+) access at .*? in \S*?:(\d+)")
_PLACE = re.compile(r"at .*? in \S*?:(\d+)$")
_MISALIGNED = re.compile(r"Access to \S+ is misaligned")
_BY = re.compile(r"by thread (\(\d+,\d+,\d+\)) in block (\(\d+,\d+,\d+\))")


def check(text: str, runs: Sequence[Staged], variables: Mapping[str, str]) -> dict[str, tuple[Finding, ...]] | None:
    """Findings by run; None if the tool is not installed or reports nothing. The four tools run in parallel."""
    tool = find(NAME)
    if tool is None:
        return None
    with StagedRuns(text, runs, variables) as stage, ThreadPoolExecutor(len(TOOLS)) as threads:
        commands = ([tool, "--tool", name, "--print-limit", str(PRINTED)] for name in TOOLS)
        outputs = list(threads.map(lambda command: stage.run(command, SECONDS), commands))
    if not all("ERROR SUMMARY" in output or "RACECHECK SUMMARY" in output for output in outputs):
        return None
    found: dict[str, tuple[Finding, ...]] = {run.name: () for run in runs}
    for output in outputs:
        for name, findings in parse(output).items():
            if name in found:
                found[name] += findings
    return found


def parse(output: str) -> dict[str, tuple[Finding, ...]]:
    """One tool's findings by run: one per kind and line, with the number of reports."""
    counted: dict[tuple[str, str, int], Finding] = {}
    for name, finding in _reports(output):
        key = name, finding.kind, finding.line
        seen = counted.get(key)
        counted[key] = msgspec.structs.replace(seen, count=seen.count + 1) if seen else finding
    found: dict[str, tuple[Finding, ...]] = {}
    for (name, _, _), finding in counted.items():
        found[name] = (*found.get(name, ()), finding)
    return found


def _reports(output: str) -> Iterator[tuple[str, Finding]]:
    """A report is a line that names the error, plus the lines below it up to an empty one."""
    name, report = "", []
    for line in output.splitlines():
        if line.startswith(CASE):
            name = line.removeprefix(CASE).strip()
        elif line.startswith("========="):
            said = line.removeprefix("=========").strip()
            if said and not said.startswith("Host Frame"):
                report.append(said)
                continue
            if not said:
                yield from ((name, f) for f in _finding(report))
                report = []
    yield from ((name, f) for f in _finding(report))


def _finding(report: list[str]) -> Iterator[Finding]:
    for number, said in enumerate(report):
        below = report[number + 1 :]
        if match := _RACE.search(said):
            other = next((m for line in below if (m := _OTHER_SIDE.search(line))), None)
            yield _race(match, other)
        elif match := _INVALID.search(said):
            misaligned = any(_MISALIGNED.search(line) for line in below[:4])
            what = (
                "is misaligned" if misaligned else next((b for b in below[:5] if "nearest" in b), "is out of bounds")
            )
            message = f"{match[2]} of {match[3]} bytes of {match[1]} memory {what.removeprefix('and ')}{_by(below)}"
            access = "read" if match[2] == "read" else "write"
            made = _made("misaligned-access" if misaligned else "out-of-bounds", _line(below), message)
            yield msgspec.structs.replace(made, space=match[1], access=access)
        elif match := _UNINITIALISED.search(said):
            message = f"read of {match[2]} bytes of {match[1]} memory that nothing has written{_by(below)}"
            detail = Detail.GLOBAL_MEMORY if match[1] == "global" else ""
            made = _made("uninitialised-read", _line(below), message)
            yield msgspec.structs.replace(made, space=match[1], access="read", detail=detail)
        elif match := _BARRIER.search(said):
            yield _made("barrier-divergence", _line(below), f"{match[1].lower()}{_by(below)}")


def _race(one: re.Match[str], other: re.Match[str] | None) -> Finding:
    """racecheck looks at shared memory alone."""
    message = f"{one[1].lower()} and another thread's access, with no barrier in between"
    made = _made("race", int(one[2] or 0), message)
    made = msgspec.structs.replace(made, space="shared", access=one[1].lower())
    if other is None:
        return made
    access, line = other[1].lower(), int(other[2])
    return msgspec.structs.replace(
        made,
        notes=(f"the other access, a {access}, is on line {line}",),
        related=(Related(Role.OTHER_ACCESS, line, access=access),),
    )


def _made(kind: str, line: int, message: str) -> Finding:
    return Finding(kind, recipe.SOURCE_NAME, line, f"{NAME}: {message}")


def _line(below: list[str]) -> int:
    return next((int(match[1]) for said in below[:3] if (match := _PLACE.search(said))), 0)


def _by(below: list[str]) -> str:
    match = next((m for said in below[:4] if (m := _BY.search(said))), None)
    return f", by thread {match[1]} of block {match[2]}" if match else ""
