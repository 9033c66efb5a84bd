from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from grader import pytest_support
from grader.model.execution import Outcome
from grader.model.result import Finding
from tests.fakes import FakeExecutor, write_exercise

RACE = Finding("race", "starter.cu", 6, "two threads, no barrier", notes=("the other is line 5",))


@pytest.fixture
def test_file(tmp_path: Path) -> str:
    return str(write_exercise(tmp_path / "01_double") / "test.py")


def use(monkeypatch: pytest.MonkeyPatch, executor: FakeExecutor) -> FakeExecutor:
    monkeypatch.setattr(pytest_support, "open_cpu", executor.open)
    return executor


def test_one_test_for_each_check_known_before_grading(test_file: str) -> None:
    (mark,) = pytest_support.check_tests(test_file).pytestmark  # type: ignore[attr-defined]
    assert mark.args[1] == [
        "compile",
        "launch",
        "memory[even]",
        "correct[even]",
        "speed[even]",
        "memory[ragged]",
        "correct[ragged]",
        "speed[ragged]",
        "memory[one-row]",
        "correct[one-row]",
        "rules",
        "quality",
    ]


def test_grades_once_for_all_tests(monkeypatch: pytest.MonkeyPatch, test_file: str) -> None:
    executor = use(monkeypatch, FakeExecutor())
    check = pytest_support.check_tests(test_file)
    assert executor.opened == 0
    for identity in ("compile", "memory[even]", "correct[one-row]"):
        check(identity)
    assert executor.opened == 1


def test_a_failed_check_shows_its_findings(monkeypatch: pytest.MonkeyPatch, test_file: str) -> None:
    use(monkeypatch, FakeExecutor(compute=lambda _: Outcome(findings=(RACE,))))
    check = pytest_support.check_tests(test_file)
    with pytest.raises(pytest.fail.Exception) as failed:
        check("memory[even]")
    assert "starter.cu:6: race: two threads, no barrier\n  the other is line 5\nseed " in str(failed.value)
    with pytest.raises(pytest.skip.Exception, match=r"memory\[even\] failed"):
        check("correct[even]")


def test_what_was_not_judged_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch, test_file: str) -> None:
    use(monkeypatch, FakeExecutor())
    with pytest.raises(pytest.skip.Exception, match="no NVIDIA GPU"):
        pytest_support.check_tests(test_file)("speed[even]")


def test_an_error_is_not_the_students(monkeypatch: pytest.MonkeyPatch, test_file: str) -> None:
    use(monkeypatch, FakeExecutor(compute=lambda _: Outcome(outputs={"y": np.zeros(1)})))
    with pytest.raises(pytest.fail.Exception, match="the grader failed, not the submission"):
        pytest_support.check_tests(test_file)("correct[even]")


def test_another_file_by_the_environment(monkeypatch: pytest.MonkeyPatch, test_file: str, tmp_path: Path) -> None:
    use(monkeypatch, FakeExecutor())
    (tmp_path / "mine.cu").write_bytes(b"")
    monkeypatch.setenv(pytest_support.SUBMISSION_VARIABLE, str(tmp_path / "mine.cu"))
    with pytest.raises(pytest.fail.Exception, match=r"mine\.cu is empty"):
        pytest_support.check_tests(test_file)("compile")


def test_a_missing_submission_fails_plainly(monkeypatch: pytest.MonkeyPatch, test_file: str) -> None:
    monkeypatch.setenv(pytest_support.SUBMISSION_VARIABLE, "nowhere.cu")
    with pytest.raises(pytest.fail.Exception, match=r"nowhere\.cu does not exist"):
        pytest_support.check_tests(test_file)("compile")
