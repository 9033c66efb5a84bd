"""Resolves the name of a commit without ambiguity: a branch, a hash or HEAD, and a few steps back from it.

Tags are never used: anyone who can push can create one, under any name. Nor is a branch that could be confused with
another one, or with a hash: then the full name is required.
"""

from __future__ import annotations

import re

import msgspec

from grader.ci.repository import Repository
from grader.errors import UsageError

HEADS = "refs/heads/"
REMOTES = "refs/remotes/"

_NAME_AND_STEPS = re.compile(r"(?P<name>[^\s~^:?*\[\\]+)(?P<steps>(?:[~^]\d*)*)")
_SHORT_HASH = re.compile(r"[0-9a-f]{7,64}")


class Named(msgspec.Struct, frozen=True):
    """A commit, and what to call it: "origin/main"."""

    name: str
    commit: str


def shown(ref: str) -> str:
    """ "origin/main" of "refs/remotes/origin/main"."""
    return ref.removeprefix(REMOTES).removeprefix(HEADS)


def base(repository: Repository, given: str) -> Named:
    """The commit that `--base` names. Raises UsageError, which says how to name it, if that is ambiguous."""
    name, steps = _parts(repository, given)
    found = _certain(repository, name) or _in_full(repository, name)
    found = found or _one_of(name, _branch(repository, name), _short(repository, name))
    if found is None:
        raise UsageError(_unknown(repository, name))
    return _stepped(repository, found, steps)


def head(repository: Repository, given: str) -> Named:
    """The commit that `--head` names. It is not trusted, so of two branches with one name, the local one is used."""
    name, steps = _parts(repository, given)
    full = (name,) if name.startswith("refs/") else (HEADS + name, REMOTES + name, f"{REMOTES}origin/{name}")
    branches = (Named(shown(ref), commit) for ref in full if (commit := repository.ref(ref)))
    found = _certain(repository, name) or _one_of(name, next(branches, None), _short(repository, name))
    if found is None:
        raise UsageError(_unknown(repository, name))
    return _stepped(repository, found, steps)


def tracked(repository: Repository, ref: str) -> Named | None:
    """What was last fetched of a remote's branch, by the ref's full name."""
    commit = repository.ref(ref)
    return Named(shown(ref), commit) if commit else None


def usual(repository: Repository) -> tuple[str, ...]:
    """The full name of the branch that others start from. Raises UsageError if that is unknown.

    If there is a remote, only the remote knows: a local branch called main may be anybody's.
    """
    remotes = repository.remotes
    if not remotes:
        mains = tuple(ref for ref in (f"{HEADS}main", f"{HEADS}master") if repository.ref(ref))
        if len(mains) > 1:
            raise UsageError("nothing says whether main or master is the base; name it with --base REF")
        return mains or (f"{HEADS}main", f"{HEADS}master")
    default = repository.default_of_origin() if "origin" in remotes else None
    if default is None:
        why = "origin cannot be reached" if "origin" in remotes else "there is no remote called origin"
        raise UsageError(
            f"nothing here shows which branch is the default, and {why}. Name the base with --base REF, "
            "or once and for all: git remote set-head origin BRANCH."
        )
    return (default,)


def _parts(repository: Repository, given: str) -> tuple[str, str]:
    match = _NAME_AND_STEPS.fullmatch(given)
    if match is None:
        raise UsageError(_unknown(repository, given))
    return match["name"], match["steps"]


def _certain(repository: Repository, name: str) -> Named | None:
    """A commit named so that no branch or tag can shadow it."""
    commit = repository.ref("HEAD") if name in ("HEAD", "@") else repository.object(name)
    return Named("HEAD" if name == "@" else name, commit) if commit else None


def _in_full(repository: Repository, name: str) -> Named | None:
    """A branch by its full name; origin/HEAD only if it is a symbolic ref: a branch can be called HEAD, too."""
    commit = repository.ref(name) if name.startswith((HEADS, REMOTES)) else None
    if commit is None:
        return None
    if name.startswith(REMOTES) and name.endswith("/HEAD") and repository.points_to(name) is None:
        raise UsageError(f"{name} is a branch called HEAD, not the remote's default. {_SAY_WHICH}")
    return Named(shown(name), commit)


def _branch(repository: Repository, name: str) -> Named | None:
    remotes = repository.remotes
    if name.partition("/")[0] in remotes:
        return _in_full(repository, REMOTES + name)
    here, there = f"{HEADS}{name}", f"{REMOTES}origin/{name}"
    local, fetched = repository.ref(here), repository.ref(there)
    if local and fetched and not repository.contains(fetched, local):
        raise UsageError(
            f"{name} is two branches: {local[:10]} here, and {fetched[:10]} of origin, which is not behind it. "
            f"Say which: --base {here} or --base {there}."
        )
    if local and not fetched and remotes and repository.points_to("HEAD") == here:
        raise UsageError(
            f"{name} is the branch that is checked out, and none of origin's: it cannot be its own base. {_SAY_WHICH}"
        )
    return Named(shown(there), fetched) if fetched else Named(name, local) if local else None


def _short(repository: Repository, name: str) -> Named | None:
    found = repository.abbreviated(name) if _SHORT_HASH.fullmatch(name) else ()
    if len(found) > 1:
        raise UsageError(f"{name} is the start of {len(found)} commits; write out more of its hash")
    return Named(name, found[0]) if found else None


def _one_of(name: str, branch: Named | None, short: Named | None) -> Named | None:
    if branch and short and branch.commit != short.commit:
        raise UsageError(f"{name} is a branch, and the start of another commit; write the hash out: {short.commit}")
    return branch or short


def _stepped(repository: Repository, found: Named, steps: str) -> Named:
    commit = repository.behind(found.commit, steps)
    if commit is None:
        raise UsageError(f"there is no commit {found.name}{steps} in {repository.root}")
    return Named(found.name + steps, commit)


def _unknown(repository: Repository, name: str) -> str:
    tag = repository.ref(f"refs/tags/{name.removeprefix('refs/tags/')}")
    if tag is not None:
        return f"{name} is a tag, which anyone who can push can create. Name its commit: {tag[:10]}"
    return f"there is no commit {name} in {repository.root}; expected a branch, the hash of a commit, or HEAD"


_SAY_WHICH = "Name the base by its full name: --base refs/remotes/origin/BRANCH."
