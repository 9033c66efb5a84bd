"""Hints come from the exercise's problem.md, for what failed, and cannot act."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from grader.model.result import Finding
from grader.reports.guide import Guide, by_problem
from grader.reports.problems import Occurrence, Problem
from tests.reports import samples

PROBLEM = """# Exercise
## Hints
<details><summary>1. Where to start?</summary>At the top.</details>
<details class="speed"><summary>2. Why is it slow?</summary>Look at `memory`.</details>
<details class="speed"><summary>3. And now?</summary>Tile.</details>
## Pitfalls
### Endless loop
Half of 0 is 0. <script>alert(1)</script> [link](http://example.com) ![x](y.png)

```cuda
if (a < b) return;
```
### Empty
"""


@pytest.fixture
def guide(tmp_path: Path) -> Guide:
    (tmp_path / "problem.md").write_text(PROBLEM)
    return Guide(msgspec.structs.replace(samples.EXERCISE, folder=tmp_path))


def problem(kind: str, hint: str = "", number: int = 1) -> Problem:
    return Problem(
        f"problem-{number}", False, kind, "x.cu", 3, (Occurrence("small", Finding(kind, "x.cu", 3, "", hint=hint)),)
    )


@pytest.mark.parametrize(
    ("kind", "hint", "titles"),
    [
        ("race", "endless-loop", ["Endless loop"]),
        ("wrong-values", "", ["Where to start?"]),
        ("wrong-values", "empty", ["Where to start?"]),
        ("speed", "", ["Why is it slow?", "And now?"]),
        ("race", "gone", []),
        ("compile-error", "", []),
    ],
)
def test_hints_are_for_what_failed(guide: Guide, kind: str, hint: str, titles: list[str]) -> None:
    assert [found.title for found in guide.hints(problem(kind, hint))] == titles


def test_a_hint_is_html_without_markup_of_its_own(guide: Guide) -> None:
    (hint,) = guide.hints(problem("race", "endless-loop"))
    assert "&lt;script&gt;" in hint.body
    assert "<a " not in hint.body and "<img" not in hint.body
    assert '<span class="k">return</span>' in hint.body


def test_a_hint_is_given_once() -> None:
    found = by_problem(
        samples.EXERCISE,
        [problem("race", "endless-loop"), problem("race", "endless-loop", 2), problem("speed", "", 3)],
    )
    assert [len(found[f"problem-{number}"]) for number in (1, 2, 3)] == [1, 0, 4]


def test_without_the_exercise_there_are_none(tmp_path: Path) -> None:
    gone = msgspec.structs.replace(samples.EXERCISE, folder=tmp_path / "gone")
    for exercise in (None, gone):
        assert Guide(exercise).hints(problem("speed")) == ()
