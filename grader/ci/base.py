"""What a change is compared with: the commit that is trusted, and whose exercises grade."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from grader.ci.repository import Repository
from grader.errors import UsageError

# Where neither an option nor a build server says it: the branch that others start from.
USUAL = ("origin/HEAD", "origin/main", "origin/master", "main", "master")

NO_COMMIT = "0" * 40  # how git writes "there was none before"


class Range(msgspec.Struct, frozen=True):
    """`base` is trusted. What is graded is what `head` has changed since `fork`, an ancestor of both."""

    base: str
    base_name: str
    fork: str
    head: str


def find(repository: Repository, given: str | None, head: str, environment: Mapping[str, str]) -> Range:
    """Raises UsageError, which says what to fetch or to name, where there is nothing to compare with."""
    tip = commit(repository, head)
    names = [given] if given is not None else _names(environment)
    name, base = next(((n, found) for n in names if (found := repository.commit(n))), ("", None))
    if base is None:
        raise UsageError(_missing(repository, names, given))
    fork = repository.merge_base(base, tip)
    if fork is None:
        raise UsageError(_unrelated(repository, name, head))
    return Range(base, name, fork, tip)


def commit(repository: Repository, ref: str) -> str:
    found = repository.commit(ref)
    if found is None:
        raise UsageError(f"there is no commit {ref} in {repository.root}; git log shows those that there are")
    return found


def _names(environment: Mapping[str, str]) -> list[str]:
    """Refs and commits that may be the base, the best first."""
    if environment.get("GITHUB_ACTIONS") == "true":
        return _on_github(environment, _event(environment))
    if environment.get("GITLAB_CI"):
        return _on_gitlab(environment)
    return list(USUAL)


def _on_github(environment: Mapping[str, str], event: Mapping[str, Any]) -> list[str]:
    """A pull request's target; else the branch that others start from, as it was before a push to itself."""
    if target := environment.get("GITHUB_BASE_REF"):
        sha = event.get("pull_request", {}).get("base", {}).get("sha", "")
        return _named(f"origin/{target}", sha)
    default = event.get("repository", {}).get("default_branch", "")
    before = event.get("before", "") if event.get("ref") == f"refs/heads/{default}" else ""
    return _named(before, f"origin/{default}" if default else "")


def _on_gitlab(environment: Mapping[str, str]) -> list[str]:
    """A merge request's target; else as on GitHub."""
    if target := environment.get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME"):
        tip = environment.get("CI_MERGE_REQUEST_TARGET_BRANCH_SHA", "")
        return _named(tip, f"origin/{target}", environment.get("CI_MERGE_REQUEST_DIFF_BASE_SHA", ""))
    default = environment.get("CI_DEFAULT_BRANCH", "")
    before = environment.get("CI_COMMIT_BEFORE_SHA", "") if environment.get("CI_COMMIT_BRANCH") == default else ""
    return _named(before, f"origin/{default}" if default else "")


def _named(*names: str) -> list[str]:
    return [name for name in names if name and name != NO_COMMIT]


def _event(environment: Mapping[str, str]) -> Mapping[str, Any]:
    """GitHub's account of what happened; empty where there is none that can be read."""
    try:
        event = json.loads(Path(environment.get("GITHUB_EVENT_PATH", "")).read_bytes())
    except (OSError, ValueError):
        return {}
    return event if isinstance(event, dict) else {}


def _missing(repository: Repository, names: list[str], given: str | None) -> str:
    if given is not None:
        what = f"there is no commit {given} in {repository.root}"
    elif names:
        what = f"nothing to compare with: there is no {' and no '.join(names)} in {repository.root}"
    else:
        what = "nothing to compare with: this event names no base"
    if repository.is_shallow:
        return f"{what}, which is a shallow clone. {_DEEPEN}"
    return f"{what}. Name a commit with --base REF, or grade every submission with --all."


def _unrelated(repository: Repository, base: str, head: str) -> str:
    what = f"{base} and {head} have no common ancestor"
    if repository.is_shallow:
        return f"{what} in this shallow clone. {_DEEPEN}"
    return f"{what}. Start the branch from {base}, or name another commit with --base REF."


_DEEPEN = (
    "Fetch the whole history: fetch-depth: 0 for actions/checkout, GIT_DEPTH: 0 in GitLab, "
    "git fetch --unshallow by hand."
)
