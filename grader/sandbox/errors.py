"""Why a child process gave no answer."""

from __future__ import annotations

from grader.model.result import Finding


class ChildDied(Exception):  # noqa: N818 - what happened, not an error of ours
    """The child ended, or sent what is no answer. `stderr` is the end of what it wrote there."""

    def __init__(self, message: str, stderr: str = "") -> None:
        super().__init__(message)
        self.stderr = stderr


class ChildCrashed(ChildDied):
    """It died of what it was doing: SIGSEGV and the like. Nobody killed it."""


class ChildFailed(ChildDied):
    """The child says that it cannot answer: a part of the grader's own is missing or broken."""


class ChildFaulted(Exception):  # noqa: N818
    """What runs in the child broke its GPU context while it was timed; `finding` says how."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


class ChildTimeout(Exception):  # noqa: N818
    """The child did not answer in time, and was killed. The text is the time it had."""


class ChildMemory(Exception):  # noqa: N818
    """The child held more memory than it may, and was killed. The text says how much."""
