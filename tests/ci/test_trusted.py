from __future__ import annotations

from pathlib import Path

import pytest

from grader.ci import trusted
from grader.ci.repository import Repository
from grader.errors import UsageError
from tests.ci.course import Course


@pytest.mark.parametrize(
    "name", ["exercises", "./exercises/", "other/../exercises", "{root}/exercises", "{alias}/exercises"]
)
def test_a_folder_in_the_repository_is_read_from_the_base(course: Course, tmp_path: Path, name: str) -> None:
    """However it is named: what lies in the working tree is the change's."""
    (tmp_path / "alias").symlink_to(course.folder)
    given = name.format(root=course.folder, alias=tmp_path / "alias")
    assert trusted.named(given, Repository(course.folder)).inside == "exercises"


def test_a_link_in_the_working_tree_leads_nowhere(course: Course, tmp_path: Path) -> None:
    (course.folder / "linked").symlink_to(tmp_path)
    assert trusted.named("linked", Repository(course.folder)).inside == "linked"


def test_a_folder_outside_is_trusted_as_it_is(course: Course, tmp_path: Path) -> None:
    found = trusted.named(str(tmp_path / "mine"), Repository(course.folder))
    assert (found.inside, found.path) == ("", tmp_path / "mine")


@pytest.mark.parametrize("name", [".", "..", "exercises/..", "/", "{alias}"])
def test_the_repository_as_a_whole_is_never_trusted(course: Course, tmp_path: Path, name: str) -> None:
    (tmp_path / "alias").symlink_to(course.folder)
    with pytest.raises(UsageError, match="holds the whole repository; name the folder of the exercises in it"):
        trusted.named(name.format(alias=tmp_path / "alias"), Repository(course.folder))
