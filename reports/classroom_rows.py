"""A student as the page of the class shows one. Whoever grades a batch makes them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from grader.model.result import Status, Verdict
from grader.reports.kinds import kind_of

VERDICT_WORDS = {
    Verdict.PASSED: "passed",
    Verdict.FAILED: "not passed",
    Verdict.INCOMPLETE: "right so far",
    Verdict.ERROR: "grader failed",
    None: "not graded",
}
# The mark and colour of each; `marks.html.j2` draws statuses.
VERDICT_STATUS = {
    Verdict.PASSED: Status.PASSED,
    Verdict.FAILED: Status.FAILED,
    Verdict.INCOMPLETE: Status.NOT_JUDGED,
    Verdict.ERROR: Status.ERROR,
    None: Status.SKIPPED,
}
_MISTAKE_TITLES = {
    "too-slow": "Too slow",
    "not-written": "Not written yet",
    "launch": "Does not launch",
    "rules": "Against the rules",
}


@dataclass(frozen=True)
class ClassMistake:
    """A kind of finding; `detail` tells apart what the kind does not.

    `name` is the same for all students who made it; `detail` may hold numbers of one of them.
    """

    kind: str
    detail: str = ""
    hint: str = ""
    name: str = ""

    @property
    def title(self) -> str:
        return _MISTAKE_TITLES.get(self.kind) or kind_of(self.kind).title

    @property
    def key(self) -> tuple[str, str]:
        return self.kind, self.name or self.detail


@dataclass(frozen=True)
class AlikeGroup:
    """Students whose submissions look like copies; `share` of the code, and `how` in words."""

    students: tuple[str, ...]
    share: float
    how: str


@dataclass(frozen=True)
class CaseOutcome:
    """None: no such check, or not measured."""

    right: Status | None
    speed: Status | None
    ratio: float | None

    @property
    def word(self) -> str:
        return {Status.PASSED: "right", Status.FAILED: "wrong"}.get(self.right or Status.SKIPPED, "not judged")


@dataclass(frozen=True)
class StudentRow:
    """A student. Without a verdict, or with an error, `problem` says why."""

    student: str
    name: str = ""
    pseudonym: str = ""
    verdict: Verdict | None = None
    points: float | None = None
    complete: bool = False  # false: points are what is known so far
    cases: dict[str, CaseOutcome] | None = None
    mistakes: tuple[ClassMistake, ...] = ()
    late: bool = False
    problem: str = ""
    report: str = ""  # relative to the page

    @property
    def shown(self) -> str:
        return self.name or self.student

    @property
    def link(self) -> str:
        return quote(self.report, errors="replace")

    @property
    def word(self) -> str:
        return VERDICT_WORDS[self.verdict]

    @property
    def status(self) -> Status:
        return VERDICT_STATUS[self.verdict]

    def case(self, name: str) -> CaseOutcome:
        return (self.cases or {}).get(name) or CaseOutcome(None, None, None)
