"""What a batch knows about a student: the submission and its grading."""

from __future__ import annotations

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
    late: bool = False
    identifiers: dict[str, str] = {}  # by the platform's column name: {"SIS User ID": "..."}; exports need them
    note: str = ""  # what the instructor should know about the choice of the file
    platform: Platform = ""  # whose names the submissions have
    place: str = ""  # the graded file in the download, or the first file there; feedback goes back under it


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


class Entry(msgspec.Struct, frozen=True):
    """One row of the gradebook. Without a result, `problem` says why: no student gets an unearned zero."""

    submitted: Submitted
    result: Result | None = None  # manual points are already included in result.points
    problem: str = ""
    manual: ManualPoints = ManualPoints()
    report: str = ""  # the student's own HTML report, relative to the output folder
