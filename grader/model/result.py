"""The Result: what grading one submission found. One JSON object, its schema versioned."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any, Literal

import msgspec

from grader.model import families
from grader.model.details import Detail, Role
from grader.model.families import Rubric
from grader.model.measurements import NOTHING, Measurements

SCHEMA_VERSION = 1


class Status(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    NOT_JUDGED = "not-judged"
    ERROR = "error"


class Verdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    INCOMPLETE = "incomplete"


class Related(msgspec.Struct, frozen=True):
    """Another line that has to do with a finding. `file` "": the finding's own."""

    role: str  # a details.Role
    line: int
    file: str = ""
    access: str = ""  # read or write, of a race's other side
    name: str = ""  # of a step: "TODO 2"


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong, at one place. `line` is 1-based in `file`; 0 where no line applies.

    Everything that is known is a field of its own: `message` and `notes` are the finished sentences for a reader, and
    no code takes meaning from them. Results from before a field was added leave it empty.
    """

    kind: str
    file: str
    line: int
    message: str
    count: int = 1
    column: int = 0
    notes: tuple[str, ...] = ()  # further lines: the other side of a race, the include chain
    hint: str = ""  # anchor in problem.md
    detail: str = ""  # tells findings of a kind apart: a details.Detail; of a compile-error, which error it is
    array: str = ""  # as the source calls it, or "dynamic shared memory"
    space: str = ""  # of the array: global, shared, local
    access: str = ""  # read or write
    related: tuple[Related, ...] = ()
    kernel: str = ""  # that the finding is about, if that is known
    changed: bool = False  # whether that kernel has changed since the last run
    output: str = ""  # that holds wrong values
    mistake: str = ""  # the name of the mistake that explains them
    cause: str = ""  # the same as a sentence, without a full stop
    first: str = ""  # where the first wrong element is: "group 3, row 9, column 0"
    expected: str = ""  # of that element
    got: str = ""  # "" if nothing was written
    extent: str = ""  # how many elements are wrong, and where they lie

    @property
    def unwritten(self) -> bool:
        """Whether it is about code that the student has not written yet."""
        return self.detail in (Detail.UNTOUCHED, Detail.NOT_WRITTEN)

    @property
    def placed(self) -> str:
        """Its message, and where it is if that is known."""
        return f"{self.message} ({self.file}:{self.line})" if self.line else self.message

    @property
    def other(self) -> Related | None:
        """The other access of a race."""
        return next((one for one in self.related if one.role == Role.OTHER_ACCESS), None)

    @property
    def guilty_lines(self) -> tuple[int, ...]:
        """Of its own file: its line, and for a race that of the other access."""
        other = self.other
        both = other is not None and other.line and other.file in ("", self.file)
        return tuple(dict.fromkeys((self.line, *((other.line,) if other and both else ()))))

    @property
    def calls(self) -> tuple[int, ...]:
        """Lines of its own file that call the function that holds its line, the innermost first."""
        return tuple(one.line for one in self.related if one.role == Role.CALL and one.file in ("", self.file))

    @property
    def noticed_lines(self) -> tuple[int, ...]:
        """Where the compiler stopped, if what it misses belongs on an earlier line."""
        return tuple(one.line for one in self.related if one.role == Role.NOTICED)


class Check(msgspec.Struct, frozen=True):
    """One check's outcome. `reason`: why it was skipped or not judged; `message`: the learner's line."""

    id: str
    status: Status
    message: str = ""
    reason: str | None = None
    case: str | None = None
    device: Literal["cpu", "cuda"] | None = None
    required: bool = True
    findings: tuple[Finding, ...] = ()
    measurements: Measurements = NOTHING

    @property
    def family(self) -> str:
        """ "memory" of "memory[uniform]"; grader.model.families declares it."""
        return families.name_of(self.id)

    @property
    def rubric(self) -> Rubric:
        """Whose points it decides."""
        return families.of(self.family).rubric

    def measured(self, **values: Any) -> Check:
        """With these measurements beside or instead of what it has."""
        return msgspec.structs.replace(self, measurements=msgspec.structs.replace(self.measurements, **values))


class Points(msgspec.Struct, frozen=True):
    """Points by rubric; None is "not judged yet", never zero."""

    correctness: float | None
    performance: float | None
    quality: float | None
    manual: float | None
    total: float | None
    max: float


class Submission(msgspec.Struct, frozen=True):
    path: str
    sha256: str


class Result(msgspec.Struct, frozen=True):
    schema: int
    exercise: str
    submission: Submission
    verdict: Verdict
    points: Points
    seed: int
    machine: dict[str, Any]
    checks: tuple[Check, ...]
    geometric_mean: float | None = None  # of the ratios that decide; None where one of them was not measured


def geometric_mean(checks: tuple[Check, ...]) -> float | None:
    """Of the ratios of all cases whose speed decides: how fast the submission is as a whole."""
    decisive = [check for check in checks if check.rubric == "performance" and check.required]
    ratios = [ratio for check in decisive if (ratio := check.measurements.ratio) is not None and ratio > 0]
    if not ratios or len(ratios) < len(decisive):
        return None
    return math.exp(math.fsum(math.log(ratio) for ratio in ratios) / len(ratios))


def verdict_of(checks: tuple[Check, ...]) -> Verdict:
    """The first rule that applies (DESIGN: failed, error, incomplete, passed)."""
    required = [c for c in checks if c.required]
    if any(c.status is Status.FAILED for c in required):
        return Verdict.FAILED
    if any(c.status is Status.ERROR for c in checks):
        return Verdict.ERROR
    if any(c.status is Status.NOT_JUDGED for c in required):
        return Verdict.INCOMPLETE
    return Verdict.PASSED
