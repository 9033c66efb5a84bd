"""Which submissions a change touches, and what it touches that decides about them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from grader.ci.repository import Change, Repository
from grader.errors import UsageError

EXERCISE = "{exercise}"

# What decides in an exercise's folder, and what decides what a build server does.
RULES = ("exercise.toml", "oracle.py")
WORKFLOWS = (".github/", ".gitlab-ci.yml")

NOT_USED = "Not used for grading: submissions are graded with the base's."
LOOK_FIRST = "It may decide how this change is graded: look at it before you trust the result."


class Touched(msgspec.Struct, frozen=True):
    """A submission, by its path in the repository; `exercise` as the path names it: 01 or the whole name."""

    path: str
    exercise: str
    how: Literal["added", "changed", "deleted", "there"]


class Beside(msgspec.Struct, frozen=True):
    """A file that a change touches and that decides about submissions; `message` says what follows from that."""

    path: str
    message: str


class Submissions:
    """Where submissions lie: a path in the repository; `*` is any part of one name, `{exercise}` the exercise."""

    def __init__(self, pattern: str) -> None:
        """Raises UsageError if the pattern names no exercise."""
        if pattern.count(EXERCISE) != 1:
            raise UsageError(f"--submissions {pattern}: it must contain {EXERCISE} once, as in hw/*/{EXERCISE}.cu")
        self.pattern = pattern.removeprefix("./")
        parts = re.split(r"(\{exercise\}|\*)", self.pattern)
        kinds = {EXERCISE: "(?P<exercise>[^/]+?)", "*": "[^/]*"}
        self._regex = re.compile("".join(kinds.get(part) or re.escape(part) for part in parts))

    def exercise(self, path: str) -> str | None:
        """None if the path is not a submission's."""
        match = self._regex.fullmatch(path)
        return match["exercise"] if match else None


def since(repository: Repository, forks: Iterable[str], head: str) -> tuple[Change, ...]:
    """What differs from any of these commits: if there are several, no single one shows everything that changes."""
    found = {change.path: change for fork in forks for change in repository.changes(fork, head)}
    return tuple(found[path] for path in sorted(found))


def touched(changes: Iterable[Change], submissions: Submissions) -> tuple[Touched, ...]:
    return tuple(
        Touched(
            change.path,
            exercise,
            "added" if change.status == "A" else "deleted" if change.status == "D" else "changed",
        )
        for change in changes
        if (exercise := submissions.exercise(change.path))
    )


def everything(paths: Iterable[str], submissions: Submissions) -> tuple[Touched, ...]:
    return tuple(Touched(path, exercise, "there") for path in paths if (exercise := submissions.exercise(path)))


def beside(changes: Iterable[Change], exercises: str) -> tuple[Beside, ...]:
    """In the order of the changes. `exercises`: their folder's path in the repository."""
    return tuple(Beside(change.path, message) for change in changes if (message := _message(change.path, exercises)))


def _message(path: str, exercises: str) -> str | None:
    if path.startswith(WORKFLOWS):
        return LOOK_FIRST
    if path.startswith(f"{exercises}/") and path.rpartition("/")[2] in RULES:
        return NOT_USED
    return None
