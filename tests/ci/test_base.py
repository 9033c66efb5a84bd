from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from grader.ci import base
from grader.ci.repository import Repository
from grader.errors import UsageError
from tests.ci.course import ORACLE, STARTER, Course

ZEROS = "0" * 40
PULL_REQUEST = {"GITHUB_ACTIONS": "true", "GITHUB_BASE_REF": "main"}
MERGE_REQUEST = {"GITLAB_CI": "true", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main"}


@pytest.fixture
def student(course: Course, tmp_path: Path) -> Course:
    """A clone with a branch of work, as a build server checks it out."""
    clone = course.clone(tmp_path / "student")
    clone.branch("work", {STARTER: "// mine\n"})
    return clone


def found(course: Course, environment: Mapping[str, str], given: str | None = None) -> base.Range:
    return base.find(Repository(course.folder), given, "HEAD", environment)


def pushed(tmp_path: Path, event: object) -> dict[str, str]:
    (tmp_path / "event.json").write_text(json.dumps(event))
    return {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_PATH": str(tmp_path / "event.json")}


@pytest.mark.parametrize("environment", [PULL_REQUEST, MERGE_REQUEST, {}], ids=["github", "gitlab", "shell"])
def test_a_branch_is_compared_with_where_it_goes(student: Course, environment: Mapping[str, str]) -> None:
    span = found(student, environment)
    assert (span.base, span.head) == (student.git("rev-parse", "main"), student.git("rev-parse", "work"))
    assert span.forks == (span.base,)


def test_the_exercises_are_those_of_the_bases_tip_and_the_change_what_left_it(course: Course, tmp_path: Path) -> None:
    fork = course.git("rev-parse", "HEAD")
    course.branch("work", {STARTER: "// mine\n"})
    course.git("switch", "--quiet", "main")
    tip = course.change({"exercises/01_double/problem.md": "clearer\n"})
    span = base.find(Repository(course.folder), "main", "work", {})
    assert (span.base, span.forks) == (tip, (fork,))


def test_the_option_comes_first(student: Course) -> None:
    assert found(student, PULL_REQUEST, "HEAD").base == student.git("rev-parse", "work")


def test_a_pull_requests_base_where_the_branch_was_not_fetched(student: Course, tmp_path: Path) -> None:
    main = student.git("rev-parse", "main")
    event = pushed(tmp_path, {"pull_request": {"base": {"sha": main}}})
    assert found(student, event | {"GITHUB_BASE_REF": "gone"}).base == main


def test_a_push_to_the_default_branch_is_compared_with_what_was_there_before(student: Course, tmp_path: Path) -> None:
    before = student.git("rev-parse", "HEAD")
    student.change({STARTER: "// better\n"})
    event = {"before": before, "ref": "refs/heads/main", "repository": {"default_branch": "main"}}
    assert found(student, pushed(tmp_path, event)).base == before
    gitlab = {"GITLAB_CI": "true", "CI_COMMIT_BEFORE_SHA": before, "CI_DEFAULT_BRANCH": "main"}
    assert found(student, gitlab | {"CI_COMMIT_BRANCH": "main"}).base == before


def test_a_push_to_another_branch_is_compared_with_the_default(student: Course, tmp_path: Path) -> None:
    """What was there before is the student's own: its exercises are not to grade."""
    before = student.change({ORACLE: "let_pass = True\n"})
    student.change({STARTER: "// better\n"})
    event = {"before": before, "ref": "refs/heads/work", "repository": {"default_branch": "main"}}
    assert found(student, pushed(tmp_path, event)).base_name == "origin/main"
    gitlab = {"GITLAB_CI": "true", "CI_COMMIT_BEFORE_SHA": before, "CI_DEFAULT_BRANCH": "main"}
    assert found(student, gitlab | {"CI_COMMIT_BRANCH": "work"}).base_name == "origin/main"


@pytest.mark.parametrize("before", [ZEROS, "1" * 40], ids=["new branch", "forced push"])
def test_a_branch_without_a_before_is_compared_with_the_default(student: Course, tmp_path: Path, before: str) -> None:
    event = {"before": before, "ref": "refs/heads/main", "repository": {"default_branch": "main"}}
    assert found(student, pushed(tmp_path, event)).base_name == "origin/main"
    gitlab = {"GITLAB_CI": "true", "CI_COMMIT_BEFORE_SHA": before, "CI_DEFAULT_BRANCH": "main"}
    assert found(student, gitlab | {"CI_COMMIT_BRANCH": "main"}).base_name == "origin/main"


@pytest.mark.parametrize(
    "event",
    ["no json", '["a list"]', '{"pull_request": null}', '{"ref": 7}', "[" * 100_000, '{"before": "\\ud800"}', None],
)
def test_an_event_that_cannot_be_read_names_no_base(student: Course, tmp_path: Path, event: str | None) -> None:
    if event is not None:
        (tmp_path / "event.json").write_text(event)
    environment = {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_PATH": str(tmp_path / "event.json")}
    with pytest.raises(UsageError, match=r"this event names no base\. Name a commit with --base REF"):
        found(student, environment)


def test_a_shallow_clone_says_what_to_fetch(course: Course, tmp_path: Path) -> None:
    course.branch("work", {STARTER: "// mine\n"})
    shallow = course.clone(tmp_path / "shallow", "--depth=1", "--single-branch", "--branch=work")
    with pytest.raises(UsageError, match=r"(?s)no origin/main.*shallow clone.*fetch-depth: 0.*git fetch --unshallow"):
        found(shallow, PULL_REQUEST)


def test_a_shallow_clone_whose_history_ends_before_the_fork(course: Course, tmp_path: Path) -> None:
    course.branch("work", {STARTER: "// mine\n"})
    course.git("switch", "--quiet", "main")
    course.change({"notes.md": "meanwhile\n"})
    shallow = course.clone(tmp_path / "shallow", "--depth=1", "--no-single-branch", "--branch=work")
    with pytest.raises(UsageError, match=r"origin/main and HEAD have no common ancestor in this shallow clone"):
        found(shallow, PULL_REQUEST)


def test_a_branch_that_shares_no_history(course: Course) -> None:
    course.git("switch", "--quiet", "--orphan", "alone")
    course.change({"readme.md": "hello\n"})
    with pytest.raises(UsageError, match=r"main and HEAD have no common ancestor\. Start the branch from main"):
        found(course, {})


def test_commits_that_do_not_exist(course: Course) -> None:
    with pytest.raises(UsageError, match="there is no commit nowhere in"):
        found(course, {}, "nowhere")
    with pytest.raises(UsageError, match="there is no commit nowhere in"):
        base.find(Repository(course.folder), None, "nowhere", {})


def test_an_empty_repository(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no commit HEAD"):
        found(Course(tmp_path / "empty"), {})
