"""What a batch knows about a student: the submission and its grading."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from grader.model.result import Result

Platform = Literal["", "canvas", "moodle", "gradescope"]


class Submitted(msgspec.Struct, frozen=True):
    """One student's submission as found. If there is nothing to grade, `problem` says why."""

    student: str  # unique within the batch: a folder's name, a login, an id of the learning platform
    name: str = ""  # the person's name; "" if only the id is known
    path: Path | None = None
    problem: str = ""
    late: bool = False  # as the platform says
    at: datetime | None = None  # when it was submitted, if that is known
    identifiers: dict[str, str] = {}  # by the platform's column name: {"SIS User ID": "..."}; exports need them
    note: str = ""  # what the instructor should know about the choice of the file
    platform: Platform = ""  # whose names the submissions have
    place: str = ""  # the graded file in the download, or the first file there; feedback goes back under it

    @property
    def called(self) -> str:
        """ "101 (Lovelace, Ada)"."""
        return f"{self.student} ({self.name})" if self.name else self.student


class ManualPoints(msgspec.Struct, frozen=True):
    """What an instructor gave; kept when regrading."""

    points: float | None = None
    comment: str = ""
    items: dict[str, float] = {}  # of the instructor's rubric, by name; they add up to `points`

    @property
    def said(self) -> str:
        """ "comments 4, naming 3.5. Clear code.": what a student reads."""
        items = ", ".join(f"{name} {value:g}" for name, value in self.items.items())
        return f"{items}. {self.comment}".strip() if items else self.comment


class Lateness(msgspec.Struct, frozen=True):
    """What the instructor's rule for late work says. `days` count after the `extension`, in days; not `known`: the
    platform only says that it is late."""

    days: int = 0
    percent: float = 0.0  # of the student's points, to be subtracted
    extension: float = 0.0
    known: bool = True

    def lost(self, points: float) -> float:
        return round(points * self.percent / 100, 2)

    @property
    def said(self) -> str:
        """ "2 days late, 20% off"; "" if nothing is subtracted."""
        days = "1 day" if self.days == 1 else f"{self.days} days"
        return f"{days} late: -{self.percent:g}%" if self.percent else ""


class Entry(msgspec.Struct, frozen=True):
    """One row of the gradebook. Without a result, `problem` says why: no student gets an unearned zero."""

    submitted: Submitted
    result: Result | None = None  # manual points are already included in result.points
    problem: str = ""
    manual: ManualPoints = ManualPoints()
    lateness: Lateness = Lateness()
    report: str = ""  # the student's own HTML report, relative to the output folder
