"""Everything below a folder of submissions: every file and folder, by path, read without trusting it.

A zip looks the same (`archives`), so layouts are recognised once for both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Protocol

import msgspec

from grader import files
from grader.errors import UsageError

# Left behind by operating systems; names that begin with a dot are not submissions either.
LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini"})

# A folder that is deeper or has more files was not meant to be graded.
MAX_DEPTH = 8
MAX_FILES = 2_000


class Found(msgspec.Struct, frozen=True):
    """`place` is relative to the root. With a `problem`, it cannot or must not be read."""

    place: PurePosixPath
    folder: bool = False
    problem: str = ""
    path: Path | None = None  # in a folder
    member: int = -1  # in a zip: its number


class Unreadable(Exception):  # noqa: N818 - it says a state, not a mistake of the program
    """Why a file cannot be graded: a sentence for the instructor, without a full stop."""


class SubmissionSource(Protocol):
    """A folder of submissions, or a zip of them."""

    def list(self) -> Sequence[Found]: ...

    def read(self, found: Found, limit: int) -> bytes:
        """At most `limit` + 1 bytes. Raises Unreadable."""
        ...

    def modified(self, found: Found) -> float:
        """When it was last changed, comparable within this source; 0 if unknown."""
        ...

    def fetch(self, found: Found, student: str, name: str) -> Path:
        """A path that the grader can open; if a file has to be written, it gets the name `name`.

        Raises Unreadable if the file cannot be read. Empty, binary and oversized files are fetched: like grade run,
        the batch grades them as files that do not compile.
        """
        ...


class Folder:
    """A folder on disk. Links that lead out of it are problems, and links to folders are not followed.

    `left_out`: a folder inside it that does not belong to a student.
    """

    def __init__(self, root: Path, left_out: Path | None = None) -> None:
        self._root = root
        self._real = files.real(root)
        self._left_out = files.real(left_out) if left_out else None

    def list(self) -> Sequence[Found]:
        try:
            with os.scandir(self._root) as entries:
                names = sorted(entry.name for entry in entries)
        except OSError as error:
            raise UsageError(f"{self._root}: {error.strerror}") from None
        found: list[Found] = []
        for name in names:
            below = self._walk(PurePosixPath(name))
            found += islice(below, MAX_FILES)
            if next(below, None) is not None:
                found.append(
                    Found(PurePosixPath(name), folder=True, problem=f"contains more than {MAX_FILES:,} files")
                )
        return found

    def read(self, found: Found, limit: int) -> bytes:
        assert found.path is not None
        try:
            return files.start(found.path, limit + 1)
        except OSError as error:
            raise Unreadable(f"{found.place.name} cannot be read: {error.strerror}") from None

    def modified(self, found: Found) -> float:
        try:
            return found.path.stat().st_mtime if found.path else 0.0
        except OSError:
            return 0.0

    def fetch(self, found: Found, student: str, name: str) -> Path:  # noqa: ARG002 - it stays where it is
        self.read(found, 0)  # fails if it cannot be read
        assert found.path is not None
        return found.path

    def _walk(self, place: PurePosixPath) -> Iterator[Found]:
        if is_litter(place) or self._real / place == self._left_out:
            return
        path = self._root / place
        if path.is_symlink():
            yield self._link(place, path)
        elif path.is_dir():
            yield from self._enter(place, path)
        elif path.is_file():
            yield Found(place, path=path)
        else:
            yield Found(place, problem=f"{place.name} is not a regular file")

    def _enter(self, place: PurePosixPath, path: Path) -> Iterator[Found]:
        if len(place.parts) > MAX_DEPTH:
            yield Found(place, folder=True, problem=f"folders are nested more than {MAX_DEPTH} deep")
            return
        try:
            with os.scandir(path) as entries:
                names = sorted(entry.name for entry in entries)
        except OSError as error:
            yield Found(place, folder=True, problem=f"the folder {place.name} cannot be read: {error.strerror}")
            return
        yield Found(place, folder=True)
        for name in names:
            yield from self._walk(place / name)

    def _link(self, place: PurePosixPath, path: Path) -> Found:
        try:
            target = path.resolve(strict=True)
        except (OSError, RuntimeError):
            return Found(place, problem=f"{place.name} is a broken link")
        own = self._real.joinpath(*place.parts[:1]) if len(place.parts) > 1 else self._real
        if not target.is_relative_to(own):  # to another student's file, perhaps
            return Found(
                place, folder=target.is_dir(), problem=f"{place.name} is a link to a place outside the folder"
            )
        if target.is_dir():
            return Found(place, folder=True, problem=f"{place.name} is a link to another folder")
        return Found(place, path=target)


def is_litter(place: PurePosixPath) -> bool:
    return any(part.startswith(".") or part.lower() in LITTER for part in place.parts)
