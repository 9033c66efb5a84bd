from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from grader.cli.command import invoke
from tests.fakes import FakeExecutor, write_exercise


class Grade:
    """`grade` in this process, with a fake executor in place of the child."""

    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self._capsys = capsys
        self.folder = folder
        self.out = self.err = ""

    def __call__(self, *arguments: str | Path) -> int:
        status = invoke([str(argument) for argument in arguments])
        captured = self._capsys.readouterr()
        self.out, self.err = captured.out, captured.err
        return status


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeExecutor], FakeExecutor]:
    def use(executor: FakeExecutor) -> FakeExecutor:
        monkeypatch.setattr("grader.executors.open_cpu", executor.open)
        return executor

    return use


@pytest.fixture
def grade(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    use: Callable[[FakeExecutor], FakeExecutor],
) -> Grade:
    """In a folder with the exercise 01_double; a right submission unless `use` says otherwise."""
    write_exercise(tmp_path / "exercises" / "01_double")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("grader.cli.streams.WIDTH", 10_000)  # where a line breaks depends on tmp_path
    use(FakeExecutor())
    return Grade(capsys, tmp_path)
