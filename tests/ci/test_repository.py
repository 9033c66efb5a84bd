from __future__ import annotations

import os
from pathlib import Path

import pytest

from grader.ci.repository import SYMLINK, Change, Repository
from grader.errors import GraderError, UsageError
from tests.ci.course import ORACLE, STARTER, Course

ODD = b"exercises/01_double/\xff with\nnewline.txt"


def test_every_kind_of_change_a_rename_as_two(course: Course) -> None:
    course.change({"a.cu": "a\n" * 50, "b.cu": "b"})
    before = course.git("rev-parse", "HEAD")
    course.git("mv", "a.cu", "renamed.cu")
    after = course.change({STARTER: "// changed\n", "b.cu": None, "new.cu": b"\0\1\2"})
    changes = Repository(course.folder).changes(before, after)
    assert set(changes) == {
        Change("D", "a.cu"),
        Change("A", "renamed.cu"),
        Change("D", "b.cu"),
        Change("A", "new.cu"),
        Change("M", STARTER),
    }


def test_names_that_are_no_text(course: Course) -> None:
    before = course.git("rev-parse", "HEAD")
    Path(os.fsdecode(os.fsencode(course.folder) + b"/" + ODD)).write_bytes(b"x")
    after = course.commit()
    repository = Repository(course.folder)
    assert repository.changes(before, after) == (Change("A", os.fsdecode(ODD)),)
    assert os.fsdecode(ODD) in repository.files(after)


def test_the_root_is_found_from_a_folder_below(course: Course) -> None:
    assert Repository(course.folder / "exercises").root == course.folder.resolve()


def test_commits_by_any_name_and_none_by_an_option(course: Course) -> None:
    repository = Repository(course.folder)
    assert repository.commit("main") == course.git("rev-parse", "main")
    assert repository.commit("nowhere") is None
    assert repository.commit("--help") is None
    assert repository.commit(f"main:{STARTER}") is None  # a file is no commit


def test_a_folder_of_a_commit_whatever_lies_in_the_working_tree(course: Course, tmp_path: Path) -> None:
    base = course.git("rev-parse", "HEAD")
    right = course.text(ORACLE)
    course.branch("cheat", {ORACLE: "cheated"})
    Repository(course.folder).export(base, "exercises", tmp_path / "base")
    assert (tmp_path / "base" / ORACLE).read_text() == right
    assert course.text(ORACLE) == "cheated"


def test_a_branch_comes_before_a_tag_of_its_name(course: Course, tmp_path: Path) -> None:
    main = course.git("rev-parse", "main")
    other = course.branch("work", {STARTER: "// mine\n"})
    clone = course.clone(tmp_path / "clone", "--branch=main")
    for name in ("main", "origin/main", "v1"):
        clone.git("tag", name, other)
    repository = Repository(clone.folder)
    assert repository.commit("main") == repository.commit("origin/main") == main
    assert repository.commit("v1") == other


def test_links_of_a_trusted_folder_stay_links(course: Course, tmp_path: Path) -> None:
    for name, target in (("shared.py", "oracle.py"), ("data", "/usr/share"), ("gone", "../../nowhere")):
        (course.folder / "exercises/01_double" / name).symlink_to(target)
    Repository(course.folder).export(course.commit(), "exercises", tmp_path / "base")
    folder = tmp_path / "base/exercises/01_double"
    assert (folder / "shared.py").read_text() == course.text(ORACLE)
    assert (folder / "data").readlink() == Path("/usr/share")


def test_a_file_that_the_clone_lacks_is_said(course: Course, tmp_path: Path) -> None:
    with pytest.raises(GraderError, match=r"git cannot read nowhere\.cu of HEAD"):
        Repository(course.folder).save("HEAD", "nowhere.cu", tmp_path / "saved")


def test_a_link_is_saved_as_its_text(course: Course, tmp_path: Path) -> None:
    (course.folder / "link.cu").symlink_to("/etc/passwd")
    head = course.commit()
    repository = Repository(course.folder)
    repository.save(head, "link.cu", tmp_path / "saved")
    assert (tmp_path / "saved").read_text() == "/etc/passwd"
    assert repository.files(head)["link.cu"] == SYMLINK


def test_the_files_below_a_folder_and_one_alone(course: Course) -> None:
    course.change({"exercises-2/a.cu": "a", "exercises/*.cu": "a", ":(top)x.cu": "x"})
    repository = Repository(course.folder)
    below = repository.files("HEAD", "exercises")
    assert STARTER in below
    assert "exercises-2/a.cu" not in below
    for path in (STARTER, "exercises/*.cu", ":(top)x.cu"):
        assert list(repository.files("HEAD", path)) == [path]


def test_outside_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UsageError, match="not a git repository"):
        Repository(tmp_path)


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GraderError, match="needs git"):
        Repository(tmp_path)
