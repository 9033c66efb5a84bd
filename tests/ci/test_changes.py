from __future__ import annotations

import pytest

from grader.ci import changes
from grader.ci.changes import Beside, Submissions
from grader.ci.repository import Change
from grader.errors import UsageError


@pytest.mark.parametrize(
    ("pattern", "path", "exercise"),
    [
        ("exercises/{exercise}/starter.cu", "exercises/01_double/starter.cu", "01_double"),
        ("./exercises/{exercise}/starter.cu", "exercises/01_double/starter.cu", "01_double"),
        ("exercises/{exercise}/starter.cu", "exercises/01_double/wrong/starter.cu", None),
        ("exercises/{exercise}/starter.cu", "other/exercises/01_double/starter.cu", None),
        ("exercises/{exercise}/starter.cu", "exercises/01_double/starterXcu", None),
        ("students/*/{exercise}.cu", "students/ada/2.cu", "2"),
        ("students/*/{exercise}.cu", "students/ada/more/2.cu", None),
        ("{exercise}-*.cu", "01-ada.cu", "01"),
    ],
)
def test_which_paths_are_submissions(pattern: str, path: str, exercise: str | None) -> None:
    assert Submissions(pattern).exercise(path) == exercise


@pytest.mark.parametrize("pattern", ["starter.cu", "", "{exercise}/{exercise}.cu"])
def test_a_pattern_names_the_exercise_once(pattern: str) -> None:
    with pytest.raises(UsageError, match=r"it must contain \{exercise\} once"):
        Submissions(pattern)


def test_what_is_touched_and_what_lies_beside() -> None:
    found = [
        Change("A", "exercises/01_a/starter.cu"),
        Change("M", "exercises/02_b/starter.cu"),
        Change("T", "exercises/03_c/starter.cu"),
        Change("D", "exercises/04_d/starter.cu"),
        Change("M", "exercises/01_a/oracle.py"),
        Change("M", "exercises/01_a/wrong/race.cu"),
        Change("M", "other/oracle.py"),
        Change("M", ".github/workflows/grade.yml"),
        Change("M", "README.md"),
    ]
    submissions = Submissions("exercises/{exercise}/starter.cu")
    touched = changes.touched(found, submissions)
    assert [(t.exercise, t.how) for t in touched] == [
        ("01_a", "added"),
        ("02_b", "changed"),
        ("03_c", "changed"),
        ("04_d", "deleted"),
    ]
    assert changes.beside(found, "exercises") == (
        Beside("exercises/01_a/oracle.py", changes.NOT_USED),
        Beside(".github/workflows/grade.yml", changes.LOOK_FIRST),
    )
