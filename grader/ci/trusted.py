"""The exercises that grade: those of the base commit, never those of the change."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from grader import catalog
from grader.ci.repository import Repository
from grader.errors import UsageError

FOLDER = "exercises"


class Exercises(msgspec.Struct, frozen=True):
    """`inside`: the folder's path in the repository; "" where the caller named one outside, which is trusted."""

    inside: str
    path: Path

    def at(self, repository: Repository, base: str, scratch: Path) -> Path:
        """The folder, as the base commit has it. Raises UsageError where there are no exercises."""
        if not self.inside:
            return catalog.exercises_folder(self.path)
        if not any(path.endswith("/exercise.toml") for path in repository.files(base, self.inside)):
            raise UsageError(
                f"no exercises in {self.inside}/ of the base, {base[:10]}: they are what grades.\n"
                "Commit them to the base first, or name a folder that you trust with --exercises DIR."
            )
        repository.export(base, self.inside, scratch)
        return scratch / self.inside


def named(name: str, repository: Repository) -> Exercises:
    """`name` is relative to the repository's root, or absolute."""
    path = Path(os.path.normpath(repository.root / name))
    inside = path.is_relative_to(repository.root) and path != repository.root
    return Exercises(path.relative_to(repository.root).as_posix() if inside else "", path)
