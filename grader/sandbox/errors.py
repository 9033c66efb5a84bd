"""Why a child process did not answer."""

from __future__ import annotations

from grader.model.result import Finding


class ChildDied(Exception):  # noqa: N818 - what happened, not an error of ours
    """The child ended, or sent an invalid answer. `stderr` is the end of its output there."""

    def __init__(self, message: str, stderr: str = "") -> None:
        super().__init__(message)
        self.stderr = stderr


class ChildCrashed(ChildDied):
    """It crashed, for example with SIGSEGV; it was not killed from outside."""


class ChildFailed(ChildDied):
    """The child reports that it cannot answer: a part of the grader is missing or broken."""


class ChildFaulted(Exception):  # noqa: N818
    """The submission broke its GPU context during timing; `finding` says how."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


class ChildTimeout(Exception):  # noqa: N818
    """The child did not answer in time and was killed. The text is its time limit."""


class ChildMemory(Exception):  # noqa: N818
    """The child exceeded its memory limit and was killed. The text says how much it used."""
