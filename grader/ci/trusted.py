"""The exercises used for grading: those of the base commit, never those of the change."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from grader import files
from grader.ci.repository import Repository
from grader.errors import UsageError
from grader.exercise import catalog

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
                f"no exercises in {self.inside}/ of the base, {base[:10]}; submissions are graded with those.\n"
                "Commit the exercises to the base first, or name a folder that you trust with --exercises DIR."
            )
        repository.export(base, self.inside, scratch)
        for file in scratch.rglob("*"):
            if file.is_symlink() and files.real(file).is_relative_to(repository.root):
                raise UsageError(
                    f"{file.relative_to(scratch)} of the base is a link to the files that are checked out, which are "
                    "the change's. Commit a file instead."
                )
        return scratch / self.inside


def named(name: str, repository: Repository) -> Exercises:
    """`name` is relative to the repository's root, or absolute.

    Raises UsageError where the repository lies in it: what is checked out there is the change.
    """
    root = repository.root
    path = Path(os.path.normpath(root / name))
    if not path.is_relative_to(root) and files.real(path).is_relative_to(root):
        path = files.real(path)  # another name of a folder inside, by a link to the repository
    if root.is_relative_to(path):
        raise UsageError(f"--exercises {name} holds the whole repository; name the folder of the exercises in it")
    return Exercises(path.relative_to(root).as_posix() if path.is_relative_to(root) else "", path)
