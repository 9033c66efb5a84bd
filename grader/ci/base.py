"""What a change is compared with: the trusted commit, whose exercises are used for grading.

Only what the build server or the caller names, or origin's default branch, is trusted; never whatever commit a name
happens to resolve to (grader.ci.refs).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from grader.ci import events, refs
from grader.ci.events import Event
from grader.ci.refs import REMOTES, Named
from grader.ci.repository import HASH, Repository
from grader.errors import UsageError

NO_COMMIT = "0" * 40  # how git writes "there was none before"


class Range(msgspec.Struct, frozen=True):
    """`base` is trusted. What is graded is what `head` has changed since `forks`, the newest ancestors of both."""

    base: str
    base_name: str
    forks: tuple[str, ...]
    head: str


def find(repository: Repository, given: str | None, head: str, environment: Mapping[str, str]) -> Range:
    """Raises UsageError, which says what to fetch or name, if there is nothing to compare with."""
    tip = refs.head(repository, head).commit
    base = refs.base(repository, given) if given is not None else _base(repository, environment)
    forks = repository.merge_bases(base.commit, tip)
    if not forks:
        raise UsageError(_unrelated(repository, base.name, head))
    return Range(base.commit, base.name, forks, tip)


def whole(repository: Repository, given: str | None, head: str, environment: Mapping[str, str]) -> Range:
    """Every file of `head`, with its own exercises if it is a commit of the base branch; else with the base's."""
    tip = refs.head(repository, head)
    base = refs.base(repository, given) if given is not None else _base(repository, environment, pushed=True)
    if given is None and repository.contains(base.commit, tip.commit):
        base = tip
    return Range(base.commit, base.name, (), tip.commit)


def _base(repository: Repository, environment: Mapping[str, str], *, pushed: bool = False) -> Named:
    """The first of those that may be it. With `pushed` as the branch is after a push to it, not before."""
    names = _names(repository, environment, pushed=pushed)
    found = (_exactly(repository, name) for name in names)
    base = next(filter(None, found), None)
    if base is None:
        raise UsageError(_missing(repository, names))
    return base


def _exactly(repository: Repository, name: str) -> Named | None:
    """A ref by its full name, or a whole hash."""
    if name.startswith("refs/"):
        return refs.tracked(repository, name)
    commit = repository.object(name)
    return Named(name, commit) if commit else None


def _names(repository: Repository, environment: Mapping[str, str], *, pushed: bool) -> tuple[str, ...]:
    """Full names of refs, and hashes, that may be the base, best first."""
    if environment.get("GITHUB_ACTIONS") == "true":
        event = events.read(environment.get("GITHUB_EVENT_PATH", ""))
        return _on_github(environment, event, pushed=pushed)
    if environment.get("GITLAB_CI"):
        return _on_gitlab(environment, pushed=pushed)
    return refs.usual(repository)


def _on_github(environment: Mapping[str, str], event: Event, *, pushed: bool) -> tuple[str, ...]:
    """A pull request's target; else the branch that others start from, as it was before a push to itself."""
    if target := environment.get("GITHUB_BASE_REF"):
        return _named(_origins(target), event.pull_request.base.sha)
    default = event.repository.default_branch
    if not default and environment.get("GITHUB_EVENT_NAME") == "schedule":  # which runs on the default branch alone
        default = environment.get("GITHUB_REF_NAME", "")
    before = event.before if event.ref == f"refs/heads/{default}" and not pushed else ""
    return _named(before, _origins(default))


def _on_gitlab(environment: Mapping[str, str], *, pushed: bool) -> tuple[str, ...]:
    """A merge request's target; else as on GitHub."""
    if target := environment.get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME"):
        tip = environment.get("CI_MERGE_REQUEST_TARGET_BRANCH_SHA", "")
        return _named(tip, _origins(target), environment.get("CI_MERGE_REQUEST_DIFF_BASE_SHA", ""))
    default = environment.get("CI_DEFAULT_BRANCH", "")
    was_pushed_to = environment.get("CI_COMMIT_BRANCH") == default and not pushed
    before = environment.get("CI_COMMIT_BEFORE_SHA", "") if was_pushed_to else ""
    return _named(before, _origins(default))


def _origins(branch: str) -> str:
    return f"{REMOTES}origin/{branch}" if branch else ""


def _named(*names: str | None) -> tuple[str, ...]:
    """Those that are a ref's full name or a hash; a build server gives no others."""
    given = (name for name in names if name and name != NO_COMMIT)
    return tuple(name for name in given if name.startswith("refs/") or HASH.fullmatch(name))


def _missing(repository: Repository, names: tuple[str, ...]) -> str:
    if names:
        listed = " and no ".join(map(refs.shown, names))
        what = f"nothing to compare with: there is no {listed} in {repository.root}"
    else:
        what = "nothing to compare with: this event names no base"
    if repository.is_shallow:
        return f"{what}, which is a shallow clone. {_DEEPEN}"
    return f"{what}. Name a commit with --base REF; --base HEAD trusts what is checked out."


def _unrelated(repository: Repository, base: str, head: str) -> str:
    what = f"{base} and {head} have no common ancestor"
    if repository.is_shallow:
        return f"{what} in this shallow clone. {_DEEPEN}"
    return f"{what}. Start the branch from {base}, or name another commit with --base REF."


_DEEPEN = (
    "Fetch the whole history: fetch-depth: 0 for actions/checkout, GIT_DEPTH: 0 in GitLab, "
    "git fetch --unshallow by hand."
)
