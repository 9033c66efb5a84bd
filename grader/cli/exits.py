"""Exit statuses of `grade`. Imports nothing: it is needed before anything is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grader.model.result import Verdict

PASSED = 0
FAILED = 1
USAGE = 2
INCOMPLETE = 3  # with --strict only
ERROR = 4
INTERRUPTED = 130  # 128 + SIGINT, as a shell says it
TERMINATED = 143  # 128 + SIGTERM


def of(verdict: Verdict, *, strict: bool) -> int:
    incomplete = INCOMPLETE if strict else PASSED
    return {"passed": PASSED, "failed": FAILED, "error": ERROR, "incomplete": incomplete}[verdict.value]
