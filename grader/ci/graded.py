"""What became of one submission of a change; and of all of them together."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from grader.model.exercise import Exercise
from grader.model.result import Result, Verdict


class GradedFile(msgspec.Struct, frozen=True):
    """`path` in the repository. Without a result, `problem` says why there is none."""

    path: str
    verdict: Verdict
    result: Result | None = None
    exercise: Exercise | None = None
    source: str = ""
    text: str = ""  # the result, as a terminal shows it
    problem: str = ""

    @property
    def outcome(self) -> str:
        """The verdict, for a list; "not graded" if there was nothing to grade, which counts as incomplete."""
        nothing = self.result is None and self.verdict is Verdict.INCOMPLETE
        return "not graded" if nothing else self.verdict.value


def overall(graded: Sequence[GradedFile]) -> Verdict:
    """The verdict on all of them together: the most serious one that occurs; passed if there was nothing to grade."""
    found = {one.verdict for one in graded}
    order = (Verdict.FAILED, Verdict.ERROR, Verdict.INCOMPLETE)
    return next((verdict for verdict in order if verdict in found), Verdict.PASSED)
