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


def test_a_folder_of_a_commit_whatever_lies_in_the_working_tree(course: Course, tmp_path: Path) -> None:
    base = course.git("rev-parse", "HEAD")
    right = course.text(ORACLE)
    course.branch("cheat", {ORACLE: "cheated"})
    Repository(course.folder).export(base, "exercises", tmp_path / "base")
    assert (tmp_path / "base" / ORACLE).read_text() == right
    assert course.text(ORACLE) == "cheated"


def test_links_of_a_trusted_folder_stay_links(course: Course, tmp_path: Path) -> None:
    for name, target in (("shared.py", "oracle.py"), ("data", "/usr/share"), ("gone", "../../nowhere")):
        (course.folder / "exercises/01_double" / name).symlink_to(target)
    Repository(course.folder).export(course.commit(), "exercises", tmp_path / "base")
    folder = tmp_path / "base/exercises/01_double"
    assert (folder / "shared.py").read_text() == course.text(ORACLE)
    assert (folder / "data").readlink() == Path("/usr/share")


def test_a_file_that_the_clone_lacks_is_said(course: Course) -> None:
    with pytest.raises(GraderError, match=r"git cannot read nowhere\.cu of HEAD"):
        Repository(course.folder).read("HEAD", "nowhere.cu", 10)


def test_a_link_is_read_as_its_text(course: Course) -> None:
    (course.folder / "link.cu").symlink_to("/etc/passwd")
    head = course.commit()
    repository = Repository(course.folder)
    assert repository.read(head, "link.cu", 100) == b"/etc/passwd"
    assert repository.files(head)["link.cu"].mode == SYMLINK


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


def test_a_folder_that_unpacks_to_more_than_a_course_holds(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few kilobytes of zeroes in git may be gigabytes on the disk: sizes are asked for first."""
    monkeypatch.setattr("grader.ci.repository.MOST_EXPORTED", 1 << 20)
    head = course.change({"exercises/01_double/zeroes.bin": bytes(2 << 20)})
    with pytest.raises(UsageError, match=r"exercises/ of \w{10} holds 2 MiB; at most 1 MiB of exercises are read"):
        Repository(course.folder).export(head, "exercises", tmp_path / "base")
    assert not (tmp_path / "base").exists()


def test_no_more_of_a_file_is_read_than_is_needed(course: Course) -> None:
    head = course.change({"large.cu": b"x" * (4 << 20)})
    assert len(Repository(course.folder).read(head, "large.cu", 1000)) == 1001


def test_trees_in_trees_that_name_more_files_than_any_disk_holds(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grader.ci.repository.MOST_LISTED", 1 << 20)
    before = course.git("rev-parse", "HEAD")
    (course.folder / "blob").write_text("x")
    tree = course.git("hash-object", "-w", "blob")
    kind = "100644 blob"
    for _ in range(10):
        listing = "".join(f"{kind} {tree}\t{name}\n" for name in "0123456789")
        tree, kind = course.git("mktree", standard_input=listing), "040000 tree"
    after = course.git("commit-tree", "-p", before, "-m", "Ten to the tenth", tree)
    repository = Repository(course.folder)
    with pytest.raises(UsageError, match="more than 1 MiB of file names"):
        repository.changes(before, after)
    with pytest.raises(UsageError, match="more than 1 MiB of file names"):
        repository.files(after)
