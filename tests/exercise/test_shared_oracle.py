"""One set of inputs for many submissions: made once, and not to be changed."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from grader.errors import GraderError
from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.exercise.shared_oracle import SharedOracle
from grader.model.exercise import Array
from tests.fakes import ORACLE, write_exercise

COUNTING = ORACLE.replace("def expected(case):", "made = []\n\ndef expected(case):\n    made.append(case.name)")


def shared(folder: Path, oracle: str = COUNTING) -> SharedOracle:
    return SharedOracle(catalog.read(write_exercise(folder / "01_double", oracle=oracle)))


def test_it_gives_what_a_plain_oracle_gives(tmp_path: Path) -> None:
    one = shared(tmp_path)
    plain = Oracle(catalog.read(tmp_path / "01_double"))
    for ours, theirs in zip(one.cases(7), plain.cases(7), strict=True):
        assert ours.name == theirs.name
        np.testing.assert_array_equal(one.expected(ours)["y"], plain.expected(theirs)["y"])
    assert len(list(one.cases(7))) == len(list(plain.cases(7)))


def test_it_is_made_once_whoever_asks(tmp_path: Path) -> None:
    one = shared(tmp_path)
    answers: list[object] = []
    threads = [threading.Thread(target=lambda: answers.append(one.expected(next(one.cases(7))))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(answer) for answer in answers}) == 1
    assert one._module.made == ["even"]
    assert next(one.cases(8)) is not next(one.cases(7))


def test_nobody_can_change_it(tmp_path: Path) -> None:
    one = shared(tmp_path)
    case = next(one.cases(7))
    x = case.arguments["x"]
    assert isinstance(x, Array)
    for array in (x.data, one.expected(case)["y"]):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0


def test_what_failed_once_is_tried_again(tmp_path: Path) -> None:
    flaky = ORACLE.replace(
        "def expected(case):",
        "fails = [1]\n\ndef expected(case):\n    if fails and fails.pop():\n        raise OSError('x')",
    )
    one = shared(tmp_path, flaky)
    case = next(one.cases(7))
    with pytest.raises(GraderError):
        one.expected(case)
    assert "y" in one.expected(case)
