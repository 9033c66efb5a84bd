"""The starter as it came: where it is kept, and where a folder has only the student's own."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from grader.exercise import catalog, original
from grader.model.exercise import Exercise
from tests.fakes import SOURCE, TOML, write_exercise


@pytest.fixture
def exercise(tmp_path: Path) -> Exercise:
    """In a checkout: nothing beside it keeps a copy of the starter."""
    stated = TOML.replace("[points]", f'starter_sha256 = "{hashlib.sha256(SOURCE).hexdigest()}"\n[points]')
    return catalog.read(write_exercise(tmp_path / "exercises" / "77_only_here", toml=stated))


def test_an_untouched_starter_is_known_where_it_is_the_only_copy(exercise: Exercise) -> None:
    assert original.text(exercise, exercise.starter) == SOURCE.decode()


def test_a_starter_that_was_written_in_is_not_taken_for_the_original(exercise: Exercise) -> None:
    exercise.starter.write_bytes(SOURCE + b"// mine\n")
    assert original.text(exercise, exercise.starter) is None


def test_another_file_is_compared_with_the_starter_beside_it(exercise: Exercise, tmp_path: Path) -> None:
    mine = tmp_path / "mine.cu"
    mine.write_bytes(b"// mine\n")
    assert original.text(exercise, mine) == SOURCE.decode()


def test_the_copy_that_grade_start_keeps_comes_first(exercise: Exercise) -> None:
    kept = exercise.folder.parents[1] / ".grade" / "originals" / exercise.name / "starter.cu"
    kept.parent.mkdir(parents=True)
    kept.write_text("// as it came\n")
    assert original.text(exercise, exercise.starter) == "// as it came\n"
