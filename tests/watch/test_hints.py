from __future__ import annotations

from pathlib import Path

import pytest

from grader.watch.hints import Hints

PROBLEM = """# Doubling

## Hints

<details>
<summary>1. Where do I start?</summary>

At row 0.

</details>

<details class="speed">
<summary>2. Why is it slow?</summary>

Read neighbours.

</details>

## Pitfalls

### Endless loop

Does the counter move?
"""


@pytest.fixture
def hints(tmp_path: Path) -> Hints:
    (tmp_path / "problem.md").write_text(PROBLEM)
    return Hints(tmp_path)


def titles(hints: Hints, count: int, *, right: bool = False) -> list[str | None]:
    found = [hints.next(right=right) for _ in range(count)]
    return [hint.title if hint else None for hint in found]


def test_what_explains_the_finding_goes_first_then_the_others_in_their_order(hints: Hints) -> None:
    hints.about("endless-loop")
    assert titles(hints, 3) == ["Endless loop", "Hint 1 of 2: Where do I start?", None]


def test_those_on_speed_wait_until_the_kernel_is_right(hints: Hints) -> None:
    assert titles(hints, 3) == ["Hint 1 of 2: Where do I start?", None, None]
    assert titles(hints, 2, right=True) == ["Hint 2 of 2: Why is it slow?", None]


def test_a_kernel_that_is_right_needs_no_hint_on_how_to_begin(hints: Hints) -> None:
    assert titles(hints, 2, right=True) == ["Hint 2 of 2: Why is it slow?", None]


def test_the_same_finding_after_the_next_grading_is_explained_again(hints: Hints) -> None:
    for _ in range(2):
        hints.about("endless-loop")
        assert titles(hints, 1) == ["Endless loop"]


def test_the_text_is_problem_md_s(hints: Hints) -> None:
    hint = hints.next(right=False)
    assert hint is not None
    assert hint.text == "At row 0."


def test_without_a_problem_md_there_is_none(tmp_path: Path) -> None:
    assert Hints(tmp_path).next(right=True) is None


def test_an_anchor_that_leads_nowhere_is_passed_over(hints: Hints) -> None:
    hints.about("gone")
    assert titles(hints, 1) == ["Hint 1 of 2: Where do I start?"]
