"""grade hint: what the key h of grade watch shows, without a terminal."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from grader.progress import Record, Stage
from tests.cli.conftest import Grade

PROBLEM = """# Double

## Hints

<details><summary>1. Where do I start?</summary>With the rows.</details>
<details><summary>2. And then?</summary>With the columns.</details>
<details class="speed"><summary>3. Why is it slow?</summary>It reads twice.</details>

## Pitfalls

### Race between threads

Two threads write one element.
"""


@pytest.fixture
def course(grade: Grade) -> Grade:
    (grade.folder / "exercises" / "01_double" / "problem.md").write_text(PROBLEM)
    (grade.folder / ".grade").mkdir()  # progress lies there
    return grade


def said(grade: Grade, *arguments: str) -> str:
    assert grade("hint", *arguments) == 0
    return grade.out


def test_hints_come_one_at_a_time_after_the_first_run(course: Grade) -> None:
    course("run", "1")
    _found_a_race(Path(".grade/progress/01_double.json"))
    assert said(course, "1").startswith("Race between threads\n\nTwo threads")
    assert said(course, "1").startswith("Hint 1 of 3: Where do I start?")
    assert said(course, "1").startswith("Hint 2 of 3: And then?")
    assert "No more hints for now" in said(course, "1")
    assert said(course, "1", "1").startswith("Hint 1 of 3: Where do I start?")


def test_of_a_correct_kernel_the_hints_about_speed_are_left(course: Grade) -> None:
    course("run", "1")
    assert said(course, "1").startswith("Hint 3 of 3: Why is it slow?")


def test_there_is_no_such_hint(course: Grade) -> None:
    assert course("hint", "1", "9") == 2
    assert "01_double has no hint 9" in course.err


def _found_a_race(file: Path) -> None:
    """As if the last run had."""
    record = msgspec.json.decode(file.read_bytes(), type=Record)
    last = msgspec.structs.replace(record.last, stage=Stage.TRIED)
    found = msgspec.structs.replace(record, last=last, section="race-between-threads")
    file.write_bytes(msgspec.json.encode(found))
