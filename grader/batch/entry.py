"""What a batch knows of one student: what was handed in, and what became of it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from grader.model.result import Result


class Submitted(msgspec.Struct, frozen=True):
    """One student's submission, as it was found. Where there is nothing to grade, `problem` says why."""

    student: str  # unique within the batch: a folder's name, a login, an id of the learning platform
    name: str = ""  # as a person is called; "" where only the id is known
    path: Path | None = None
    problem: str = ""
    late: bool = False
    identifiers: dict[str, str] = {}  # by column name of the platform: {"SIS User ID": "..."}; exports want them back


class ManualPoints(msgspec.Struct, frozen=True):
    """What an instructor gave; survives every re-grade."""

    points: float | None = None
    comment: str = ""


class Entry(msgspec.Struct, frozen=True):
    """One row of the gradebook. Without a result, `problem` says why: nobody is shown a zero that was not earned."""

    submitted: Submitted
    result: Result | None = None  # with the manual points already in result.points
    problem: str = ""
    manual: ManualPoints = ManualPoints()
    report: str = ""  # the student's own HTML report, relative to the output folder
