"""What is wrong, as a student reads it: one problem for one mistake, however many cases show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from grader.model.measurements import NOTHING, Measurements
from grader.model.result import Check, Finding, Result, Status
from reports.kinds import kind_of, next_step, title

WARNING = "compile-warning"
COMPILE_ERROR = "compile-error"

EXPLAINED_STEP = "That mistake would produce exactly these numbers. Find it in your code"

# Kind, file, lines.
_Key = tuple[str, str, frozenset[int]]

# Of a mistake that shows in more cases, only this many are named.
SHOWN_CASES = 4


@dataclass(frozen=True)
class Occurrence:
    """One case in which the problem shows; `case` is empty for a check that belongs to none.

    `measured` is the check's, for its first finding: what is drawn in it is of that one.
    """

    case: str
    finding: Finding
    measured: Measurements = NOTHING


@dataclass(frozen=True)
class Problem:
    """A finding, with every case that shows the same kind at the same line. `line` 0: no line applies.

    A race shows at both of its lines, whichever access came first: that is one problem too.
    """

    id: str
    mild: bool  # costs no verdict
    kind: str
    file: str
    line: int
    occurrences: tuple[Occurrence, ...]
    alone: bool = True  # no other finding is of its kind

    @property
    def title(self) -> str:
        return title(self.first)

    @property
    def next_step(self) -> str:
        if self.is_explained:
            return EXPLAINED_STEP + ("; the hint explains it." if self.hint else ".")
        if self.kind == COMPILE_ERROR and self.alone:
            return ""  # the compiler has said it all
        return next_step(self.first)

    @property
    def is_explained(self) -> bool:
        """Whether a mistake is known that would produce exactly these numbers."""
        return bool(self.first.cause)

    @property
    def at_fault(self) -> bool:
        """Whether `line` is the guilty one."""
        return self.line > 0 and kind_of(self.kind).at_fault

    @property
    def counted(self) -> bool:
        """Whether how often it was seen says something: how many races show depends on the order of a run."""
        return self.at_fault and self.kind != "race"

    @property
    def lines(self) -> tuple[int, ...]:
        """The guilty line, and for a race the line of the other access, which is as guilty."""
        if not self.at_fault:
            return ()
        return self.first.guilty_lines

    @property
    def first(self) -> Finding:
        return self.occurrences[0].finding

    @property
    def cases(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(o.case for o in self.occurrences if o.case))

    @property
    def seen_in(self) -> str:
        """The cases in words, and no long list of them."""
        shown = self.cases if len(self.cases) <= SHOWN_CASES + 1 else self.cases[:SHOWN_CASES]
        rest = len(self.cases) - len(shown)
        return ", ".join(shown) + (f" and {rest} more cases" if rest else "")

    @property
    def others(self) -> tuple[Occurrence, ...]:
        """The further cases, where they say something else than the first."""
        return tuple(o for o in self.occurrences[1:] if o.finding.message != self.first.message)

    @property
    def hint(self) -> str:
        """The first that a case has. Another mistake's leads astray: a single element may look like several."""
        cause = self.first.cause
        same = (o.finding for o in self.occurrences if not cause or o.finding.cause == cause)
        return next((finding.hint for finding in same if finding.hint), "")


def problems(result: Result) -> tuple[Problem, ...]:
    """What made required checks fail, in grading order, speed last: the first is the one to start with."""
    failed = sorted(filter(_withholds, result.checks), key=lambda check: check.rubric == "performance")
    return _merge("problem", False, failed)


def advice(result: Result) -> tuple[Problem, ...]:
    """What costs no verdict: findings of checks that passed, such as warnings, or that are not required."""
    others = (c for c in result.checks if not _withholds(c) and c.status is not Status.ERROR)
    found = _merge("advice", True, others)
    # The rule about warnings repeats the first of them: each is there already, at its own line.
    return tuple(p for p in found if p.kind != "no-warnings" or not any(q.kind == WARNING for q in found))


def grader_errors(result: Result) -> tuple[Check, ...]:
    return tuple(c for c in result.checks if c.status is Status.ERROR)


def not_judged(result: Result) -> tuple[tuple[str, str, tuple[Check, ...]], ...]:
    """What was not judged: (family of checks, why, the checks), one entry for each reason.

    Not the speed of cases whose speed is only shown.
    """
    groups: dict[tuple[str, str], list[Check]] = {}
    for check in result.checks:
        if check.status is Status.NOT_JUDGED and (check.required or check.rubric != "performance"):
            groups.setdefault((check.family, check.message or check.reason or ""), []).append(check)
    return tuple((*key, tuple(checks)) for key, checks in groups.items())


def _withholds(check: Check) -> bool:
    return check.status is Status.FAILED and check.required


def _merge(prefix: str, mild: bool, checks: Iterable[Check]) -> tuple[Problem, ...]:
    groups: dict[_Key, list[Occurrence]] = {}
    for check in checks:
        findings = check.findings
        if not findings and check.status is Status.FAILED:
            findings = (Finding(check.family, "", 0, check.message or check.reason or "failed"),)
        for at, finding in enumerate(findings):
            key = (finding.kind, finding.file, frozenset(finding.guilty_lines))
            measured = NOTHING if at else check.measurements
            groups.setdefault(key, []).append(Occurrence(check.case or "", finding, measured))
    of_kind = Counter(kind for (kind, _, _), occurrences in groups.items() for _ in occurrences)
    return tuple(
        Problem(
            f"{prefix}-{number}",
            mild,
            kind,
            file,
            occurrences[0].finding.line,
            tuple(occurrences),
            of_kind[kind] == 1,
        )
        for number, ((kind, file, _), occurrences) in enumerate(_by_cause(groups).items(), start=1)
    )


def _by_cause(groups: Mapping[_Key, list[Occurrence]]) -> dict[_Key, list[Occurrence]]:
    """A mistake in a function that several kernels share spoils them all: one problem, where it shows first."""
    merged: dict[_Key, list[Occurrence]] = {}
    first: dict[str, _Key] = {}
    for key, occurrences in groups.items():
        cause = occurrences[0].finding.cause
        at = first.setdefault(cause, key) if cause else key
        merged[at] = merged.get(at, []) + occurrences
    return merged
