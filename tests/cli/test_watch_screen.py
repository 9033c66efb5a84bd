"""What grade watch shows, as far as a terminal of 24 lines lets it."""

from __future__ import annotations

import pytest

from grader.cli.watch_screen import Screen
from tests.reports import samples

KEYS = [(key, does) for key, does in zip("hdrnq", ("hint", "details", "again", "next exercise", "quit"), strict=True)]


def lines_shown(name: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    screen = Screen()
    screen.verdict(samples.EXERCISE, samples.SITUATIONS[name], samples.SOURCE)
    screen.keys(KEYS, "Waiting for the next save of starter.cu.")
    return capsys.readouterr().out.strip("\n").split("\n")


@pytest.mark.parametrize("name", samples.SITUATIONS)
def test_the_verdict_and_the_keys_are_seen_together(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINES", "24")
    lines = lines_shown(name, capsys)
    assert len(lines) <= 23  # the last is the cursor's
    assert lines[-1].startswith("Waiting for")


def test_a_taller_terminal_shows_more(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "24")
    few = lines_shown("race", capsys)
    monkeypatch.setenv("LINES", "50")
    assert len(few) < len(lines_shown("race", capsys)) <= 49
