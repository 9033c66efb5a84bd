from __future__ import annotations

from pathlib import Path

import pytest

from grader.ci import out
from grader.ci.repository import Repository
from grader.errors import UsageError
from tests.ci.course import Course


@pytest.fixture
def repository(course: Course, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(course.folder)
    return Repository(course.folder)


def test_a_new_folder_in_the_repository_and_any_outside(repository: Repository, tmp_path: Path) -> None:
    assert out.folder(Path("new/inner"), repository) == repository.root / "new/inner"
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "here")
    assert out.folder(tmp_path / "link", repository) == tmp_path / "here"


def test_a_folder_from_a_run_before(repository: Repository) -> None:
    assert out.write(out.folder(Path("results"), repository) / "junit.xml", b"old")
    file = out.folder(Path("results"), repository) / "junit.xml"
    assert out.write(file, b"new")
    assert file.read_bytes() == b"new"


@pytest.mark.parametrize("name", ["results", "results/inner", "./results/../results"])
def test_a_link_in_the_repository_is_not_followed(course: Course, repository: Repository, name: str) -> None:
    (course.folder / "results").symlink_to("/tmp")
    with pytest.raises(UsageError, match="results is a link in the repository; name another folder"):
        out.folder(Path(name), repository)


def test_nor_where_the_repository_is_reached_by_a_link(
    course: Course, repository: Repository, tmp_path: Path
) -> None:
    (tmp_path / "alias").symlink_to(course.folder)
    (course.folder / "results").symlink_to("/tmp")
    with pytest.raises(UsageError, match="is a link in the repository"):
        out.folder(tmp_path / "alias" / "results", repository)


@pytest.mark.parametrize("name", ["results", ".", "exercises"])
def test_a_folder_that_the_commit_fills_is_no_place(course: Course, repository: Repository, name: str) -> None:
    """Its links and files would be kept as ours."""
    course.change({"results/report.html": "mine"})
    with pytest.raises(UsageError, match="the commit itself has files there; name another folder"):
        out.folder(Path(name), repository)


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert not out.write(tmp_path / "file" / "junit.xml", b"")
    assert "cannot write" in capsys.readouterr().err
