from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from grader.exercise import catalog
from grader.grading import hints
from grader.model.details import Detail
from grader.model.exercise import Exercise
from grader.model.result import Check, Finding, Status
from tests.fakes import write_exercise

PROBLEM = """# Double every row
## Pitfalls
### Missing synchronization
### Endless loop!
text # no heading
#no heading either
"""


@pytest.fixture
def exercise(tmp_path: Path) -> Exercise:
    folder = write_exercise(tmp_path / "01_double")
    (folder / "problem.md").write_text(PROBLEM)
    return catalog.read(folder)


def given(exercise: Exercise, finding: Finding) -> str:
    check = Check("memory[even]", Status.FAILED, findings=(finding,))
    return hints.give(check, hints.sections(exercise)).findings[0].hint


def test_headings_become_anchors_as_github_makes_them(exercise: Exercise) -> None:
    assert hints.sections(exercise) == {
        "double-every-row",
        "pitfalls",
        "missing-synchronization",
        "endless-loop",
    }


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("race", "missing-synchronization"),
        ("did-not-finish", "endless-loop"),
        ("misaligned-access", ""),
        ("wrong-values", ""),
    ],
)
def test_a_finding_gets_the_section_that_is_there(exercise: Exercise, kind: str, hint: str) -> None:
    assert given(exercise, Finding(kind, "starter.cu", 3, "wrong")) == hint


def test_past_the_end_of_shared_memory_the_steps_of_a_reduction_go_too_far(exercise: Exercise) -> None:
    text = PROBLEM + "### Out-of-range rows\n### The reduction\n"
    (exercise.folder / "problem.md").write_text(text)
    found = {space: Finding("out-of-bounds", "starter.cu", 3, "wrong", space=space) for space in ("shared", "global")}
    assert given(exercise, found["shared"]) == "the-reduction"
    assert given(exercise, found["global"]) == "out-of-range-rows"


def test_a_hint_of_its_own_stays(exercise: Exercise) -> None:
    assert given(exercise, Finding("race", "starter.cu", 3, "wrong", hint="pitfalls")) == "pitfalls"


def test_outside_of_what_the_launch_asked_for_the_launch_is_looked_at_first(exercise: Exercise) -> None:
    with (exercise.folder / "problem.md").open("a") as problem:
        problem.write("### Wrong launch\n### Out-of-range rows\n")
    past_the_end = Finding("out-of-bounds", "x.cu", 3, "wrong")
    dynamic = msgspec.structs.replace(past_the_end, detail=Detail.DYNAMIC_SHARED)
    assert given(exercise, dynamic) == "wrong-launch"
    assert given(exercise, past_the_end) == "out-of-range-rows"


def test_before_its_start_no_size_helps(exercise: Exercise) -> None:
    with (exercise.folder / "problem.md").open("a") as problem:
        problem.write("### Wrong launch\n### Out-of-range rows\n")
    before = Finding("out-of-bounds", "x.cu", 3, "wrong", detail=Detail.BEFORE_START)
    assert given(exercise, before) == "out-of-range-rows"


def test_a_race_between_blocks_has_a_section_of_its_own(exercise: Exercise) -> None:
    race = Finding("race", "x.cu", 3, "wrong", detail=Detail.BETWEEN_BLOCKS)
    assert given(exercise, race) == "missing-synchronization"
    for section in ("Out-of-range rows", "Race between blocks"):  # each better than the last
        with (exercise.folder / "problem.md").open("a") as problem:
            problem.write(f"### {section}\n")
        assert given(exercise, race) == section.lower().replace(" ", "-")


def test_no_problem_md_is_no_hint(exercise: Exercise) -> None:
    (exercise.folder / "problem.md").unlink()
    assert given(exercise, Finding("race", "starter.cu", 3, "wrong")) == ""


def test_the_first_exercise_explains_every_pitfall() -> None:
    exercise = catalog.find("1", catalog.exercises_folder(Path(__file__).parents[2] / "exercises"))
    known = hints.sections(exercise)
    unexplained = [kind for kind, anchors in hints.PITFALLS.items() if not known & set(anchors)]
    assert unexplained == ["forbidden-instruction"]  # it forbids none
