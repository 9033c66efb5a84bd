"""rules: nothing that the exercise forbids. What shows only while it runs, `memory` finds."""

from __future__ import annotations

from grader.model.result import Check, Status

ID = "rules"


def judge() -> Check:
    """No exercise forbids an instruction so far: whatever compiles is allowed."""
    return Check(id=ID, status=Status.PASSED, message="nothing forbidden was used", required=True)
