"""The current step: one line that overwrites itself, only on a terminal."""

from __future__ import annotations

import os
import shutil
import sys
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grader.grading.pipeline import Progress

CLEAR = "\r\x1b[2K"


class StatusLine:
    """Writes to stderr, so that piped output stays clean; clears its line at the end."""

    def __init__(self) -> None:
        self._shows = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def __enter__(self) -> StatusLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write(CLEAR)

    def show(self, progress: Progress) -> None:
        if not self._shows:
            return
        from grader.reports.text import in_line

        text = in_line(f"grading: {progress.said}")  # another machine may have said it
        self._write(CLEAR + text[: shutil.get_terminal_size().columns - 1])

    def _write(self, text: str) -> None:
        if self._shows:
            sys.stderr.write(text)
            sys.stderr.flush()
