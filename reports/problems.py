"""What is wrong, as a student reads it: one problem for one mistake, however many cases show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from grader.model.details import Detail, Role
from grader.model.measurements import NOTHING, Measurements
from grader.model.result import Check, Finding, Related, Result, Status
from grader.reports.kinds import kind_of, next_step, title

WARNING = "compile-warning"
COMPILE_ERROR = "compile-error"
RACE = "race"

EXPLAINED_STEP = "That mistake would produce exactly these numbers. Find it in your code"

# Kind, file, lines.
_Key = tuple[str, str, frozenset[int]]

# Details whose next step says more than that the mistake is known.
OWN_STEPS = (Detail.UNSET_VARIABLE, Detail.FLAT_BLOCK)

# What a wrong index does where it leaves an array, or its block's part of one: kinds, and details.
SYMPTOMS = ("out-of-bounds", "uninitialised-read", Detail.BETWEEN_BLOCKS)

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

    A race shows at both of its lines, whichever access came first: that is one problem too. So are races that one
    barrier between the same lines would end, as when a loop fills two tiles.
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
        if self.unwritten:
            return f"Write {self.steps[0].name} on line {self.steps[0].line}: it is still as in the starter."
        if self.first.detail == Detail.STEP_LEFT:
            return f"Go on with {self.steps[0].name} on line {self.steps[0].line}: it is still as in the starter."
        if self.is_explained and self.first.detail not in OWN_STEPS:
            return EXPLAINED_STEP + ("; the hint explains it." if self.hint else ".")
        if self.kind == COMPILE_ERROR and self.alone:
            return ""  # the compiler has said it all
        return next_step(self.first)

    @property
    def unwritten(self) -> bool:
        """Whether it only says what the student has not written yet."""
        return self.first.unwritten

    @property
    def steps(self) -> tuple[Related, ...]:
        """The steps of the starter that are left, in their order."""
        found = {one.name: one for o in self.occurrences for one in o.finding.related if one.role == Role.TODO}
        return tuple(sorted(found.values(), key=lambda one: one.line))

    @property
    def kernels(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(o.finding.kernel for o in self.occurrences if o.finding.kernel))

    @property
    def left(self) -> str:
        """ "not written yet: encode_e4m3_kernel, encode_e5m2_kernel (TODO 2 on line 30)"."""
        steps = ", ".join(f"{step.name} on line {step.line}" for step in self.steps)
        return f"not written yet: {', '.join(self.kernels)} ({steps})"

    @property
    def is_explained(self) -> bool:
        """Whether a mistake is known that would produce exactly these numbers."""
        return bool(self.first.cause)

    @property
    def at_fault(self) -> bool:
        """Whether `line` is the guilty one, or the one to go on with."""
        if self.unwritten:
            return True
        return self.line > 0 and kind_of(self.kind).at_fault

    @property
    def counted(self) -> bool:
        """Whether how often it was seen says something: how many races show depends on the order of a run."""
        return self.at_fault and self.kind != RACE

    @property
    def lines(self) -> tuple[int, ...]:
        """The guilty line, and for a race the line of the other access, which is as guilty."""
        if self.unwritten:
            return (self.line,)
        if self.first.detail == Detail.STEP_LEFT:
            return (self.steps[0].line,)
        if self.first.detail == Detail.UNSET_VARIABLE:
            return tuple(one.line for one in self.first.related if one.role == Role.UNSET)
        if not self.at_fault:
            return ()
        return tuple(dict.fromkeys(line for o in self._alike for line in o.finding.guilty_lines))

    @property
    def _alike(self) -> Sequence[Occurrence]:
        """Those whose lines count: of races all; in what several kernels share, where the mistake shows first."""
        return self.occurrences if self.kind == RACE else self.occurrences[:1]

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
        if self.unwritten:
            return ()
        return tuple(o for o in self.occurrences[1:] if o.finding.message != self.first.message)

    @property
    def hint(self) -> str:
        """The first that a case has. Another mistake's leads astray: a single element may look like several."""
        cause = self.first.cause
        same = (o.finding for o in self.occurrences if not cause or o.finding.cause == cause)
        return next((finding.hint for finding in same if finding.hint), "")


def problems(result: Result) -> tuple[Problem, ...]:
    """What made required checks fail, the one to start with first: in grading order, but causes before symptoms.

    Speed comes last, except for what is not written yet.
    """
    failed = sorted(filter(_withholds, result.checks), key=lambda check: check.rubric == "performance")
    found = _merge("problem", False, failed)
    explained = {kernel for one in found if one.is_explained for kernel in one.kernels}
    ordered = sorted(found, key=lambda one: _rank(one, explained))
    return tuple(replace(one, id=f"problem-{number}") for number, one in enumerate(ordered, start=1))


def _rank(problem: Problem, explained: Collection[str]) -> tuple[bool, bool, int]:
    """Of the kernel that changed since the last run first; then hard faults, named mistakes, other wrong values.

    A wrong index reads past an array in some cases, or two blocks write one element: there its name says more than
    the fault.
    """
    first = problem.first
    symptom = problem.kind in SYMPTOMS or first.detail in SYMPTOMS
    if symptom and (not first.kernel or first.kernel in explained) and explained:
        kind = 2
    elif problem.kind == "wrong-values":
        kind = 1 if problem.is_explained else 3
    else:
        kind = 0
    return problem.unwritten, not any(o.finding.changed for o in problem.occurrences), kind


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
            lines: frozenset[int] = frozenset() if finding.unwritten else frozenset(finding.guilty_lines)
            key = (finding.kind, finding.file, lines)
            measured = NOTHING if at else check.measurements
            groups.setdefault(key, []).append(Occurrence(check.case or "", finding, measured))
    of_kind = Counter(kind for (kind, _, _), occurrences in groups.items() for _ in occurrences)
    return tuple(
        Problem(
            f"{prefix}-{number}",
            mild,
            kind,
            file,
            _line(occurrences),
            tuple(occurrences),
            of_kind[kind] == 1,
        )
        for number, ((kind, file, _), occurrences) in enumerate(_by_barrier(_by_cause(groups)).items(), start=1)
    )


def _line(occurrences: Sequence[Occurrence]) -> int:
    """The first step of what is not written yet: kernels may need several."""
    lines = [o.finding.line for o in occurrences]
    return min(lines) if occurrences[0].finding.unwritten else lines[0]


def _by_cause(groups: Mapping[_Key, list[Occurrence]]) -> dict[_Key, list[Occurrence]]:
    """A mistake in a function that several kernels share spoils them all: one problem, where it shows first."""
    merged: dict[_Key, list[Occurrence]] = {}
    first: dict[str, _Key] = {}
    for key, occurrences in groups.items():
        cause = occurrences[0].finding.cause
        at = first.setdefault(cause, key) if cause else key
        merged[at] = merged.get(at, []) + occurrences
    return merged


def _by_barrier(groups: Mapping[_Key, list[Occurrence]]) -> dict[_Key, list[Occurrence]]:
    """Races within a block that one barrier would end: it belongs between the lines of each of them."""
    merged: dict[_Key, list[Occurrence]] = {}
    between: dict[_Key, tuple[int, int]] = {}  # the first and the last of the lines it may stand between
    for key, occurrences in groups.items():
        at, (_, file, lines) = key, key
        if all(o.finding.kind == RACE and o.finding.space == "shared" and not o.finding.detail for o in occurrences):
            after, before = min(lines), max(lines)
            for other, (start, end) in between.items():
                if other[1] == file and max(start, after) < min(end, before):
                    at, after, before = other, max(start, after), min(end, before)
                    break
            between[at] = after, before
        merged[at] = merged.get(at, []) + occurrences
    return merged
