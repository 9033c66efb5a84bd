from __future__ import annotations

import io
import os
import sys

import pytest

from grader.cli.status import CLEAR, StatusLine
from grader.grading.pipeline import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, *steps: Progress) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_, **__: os.terminal_size((40, 24)))
    with StatusLine() as line:
        for step in steps:
            line.show(step)
    return stream.getvalue()


def test_overwrites_itself_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    text = shown(monkeypatch, Terminal(), Progress("compile"), Progress("memory[even]", 1, 3))
    assert text == f"{CLEAR}grading: compile{CLEAR}grading: even, case 2 of 3{CLEAR}"


def test_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    lines = shown(monkeypatch, Terminal(), Progress("memory[" + "x" * 99 + "]", 1, 3)).split(CLEAR)
    assert max(map(len, lines)) == 39


def test_is_silent_where_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert shown(monkeypatch, io.StringIO(), Progress("compile")) == ""
    monkeypatch.setenv("TERM", "dumb")
    assert shown(monkeypatch, Terminal(), Progress("compile")) == ""


def test_what_another_machine_says_stays_on_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    text = shown(monkeypatch, Terminal(), Progress("a\x1b[31m\nPASSED"))
    assert "\x1b" not in text.replace(CLEAR, "")
    assert "\n" not in text
