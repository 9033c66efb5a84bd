"""problem.md is taken apart into sections, and into hints that are opened one at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.model import problem_text

PROBLEM = """# Double every row
Before.

## Hints

<details>
<summary>1. Where do I start?</summary>

At the *top*.

</details>
<details class="speed"><summary>2. Right, and why is it slow?</summary>Read once.</details>
<details class="speed"><summary>3. And now?</summary>

```cuda
# no heading
```

</details>

## Pitfalls
### Endless loop! ###
Half of 0 is 0.
"""


def test_sections_end_at_the_next_heading() -> None:
    found = {section.anchor: section for section in problem_text.sections(PROBLEM)}
    assert list(found) == ["double-every-row", "hints", "pitfalls", "endless-loop"]
    assert (found["endless-loop"].title, found["endless-loop"].text) == ("Endless loop!", "Half of 0 is 0.")
    assert found["pitfalls"].text == ""
    assert "# no heading" in found["hints"].text


def test_only_what_markdown_calls_a_heading_begins_a_section() -> None:
    text = "~~~\n# a comment\n~~~\nSetext\n======\n> # quoted\n\n    # indented code\n\n#no blank\n# `K` and *N*\nend"
    assert [section.anchor for section in problem_text.sections(text)] == ["setext", "k-and-n"]


def test_hints_are_questions_and_those_that_are_marked_are_about_speed() -> None:
    found = problem_text.questions(PROBLEM)
    assert [(q.title, q.about_speed) for q in found] == [
        ("Where do I start?", False),
        ("Right, and why is it slow?", True),
        ("And now?", True),
    ]
    assert found[0].text == "At the *top*."


@pytest.mark.parametrize("text", ["", "no heading\n", "## Hints\n<details><summary>open", "```\n# x\n"])
def test_what_is_not_there_is_nothing(text: str) -> None:
    assert problem_text.questions(text) == ()


def test_the_first_exercise_has_hints_for_both() -> None:
    text = (Path(__file__).parents[2] / "exercises/01_simple_grouped_gemm/problem.md").read_text()
    assert [q.about_speed for q in problem_text.questions(text)] == [False, False, True, True, True, True]
