"""What a batch knows about a student: the submission and its grading."""

from __future__ import annotations

from pathlib import Path

import msgspec

from grader.model.result import Result


class Submitted(msgspec.Struct, frozen=True):
    """One student's submission as found. If there is nothing to grade, `problem` says why."""

    student: str  # unique within the batch: a folder's name, a login, an id of the learning platform
    name: str = ""  # the person's name; "" if only the id is known
    path: Path | None = None
    problem: str = ""
    late: bool = False
    identifiers: dict[str, str] = {}  # by the platform's column name: {"SIS User ID": "..."}; exports need them


class ManualPoints(msgspec.Struct, frozen=True):
    """What an instructor gave; kept when regrading."""

    points: float | None = None
    comment: str = ""


class Entry(msgspec.Struct, frozen=True):
    """One row of the gradebook. Without a result, `problem` says why: no student gets an unearned zero."""

    submitted: Submitted
    result: Result | None = None  # manual points are already included in result.points
    problem: str = ""
    manual: ManualPoints = ManualPoints()
    report: str = ""  # the student's own HTML report, relative to the output folder
