"""A git repository, read through the `git` command. Nothing here writes to it, or executes a file of a commit.

Only full names of refs are looked up: to git, `main` and even `refs/heads/main` may be a tag. Content is exactly what
the commit has: no attribute, filter, replacement or graft changes it.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import msgspec

from grader.ci import git
from grader.errors import GraderError, UsageError

# A link is read as a file that holds where it points to, a submodule not at all; their modes tell them apart.
SYMLINK = "120000"
SUBMODULE = "160000"

HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")

# What one answer of git may hold: some 300,000 paths. A few kilobytes of nested trees name more than a disk holds.
MOST_LISTED = 32 << 20

# The exercises of a course, unpacked.
MOST_EXPORTED = 256 << 20

ASK_SECONDS = 30


class Change(msgspec.Struct, frozen=True):
    """One path that differs; a rename is a deletion and an addition. `status`: A, M, D or T (as git names them)."""

    status: str
    path: str


class TreeEntry(msgspec.Struct, frozen=True):
    """A file of a commit: its mode, its object, and its bytes, where they were asked for."""

    mode: str
    object: str
    size: int


class Repository:
    """Raises UsageError if `folder` is not in a repository."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.root = Path(os.fsdecode(self._git("rev-parse", "--show-toplevel").removesuffix(b"\n")))
        self._folder = self.root

    # Which commits there are

    def ref(self, name: str) -> str | None:
        """The commit of HEAD, or of a ref by its full name, and of nothing else that git would take it for."""
        found = self._try("show-ref", "--verify", "--hash", "--", name)
        return self.object(found.decode().strip()) if found else None

    def object(self, commit: str) -> str | None:
        """The commit with this full hash; None if it is missing here, or not a commit."""
        if not HASH.fullmatch(commit):
            return None
        found = self._try("rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}")
        return found.decode().strip() if found else None

    def abbreviated(self, start: str) -> tuple[str, ...]:
        """The commits whose hashes start with this."""
        found = (self._try("rev-parse", f"--disambiguate={start}") or b"").decode().split()
        return tuple(one for one in found if self._try("cat-file", "-t", one) == b"commit\n")

    def behind(self, commit: str, steps: str) -> str | None:
        """ "~1", "^2" and the like from a commit."""
        found = self._try("rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}{steps}^{{commit}}")
        return found.decode().strip() if found else None

    def points_to(self, symbolic: str) -> str | None:
        """The ref that a symbolic ref points to; None if it is not a symbolic ref."""
        found = self._try("symbolic-ref", "--quiet", symbolic)
        return os.fsdecode(found).strip() if found else None

    @property
    def remotes(self) -> frozenset[str]:
        """The configured remotes, and origin if something was fetched for it."""
        named = set(os.fsdecode(self._git("remote")).split())
        if self._git("for-each-ref", "--count=1", "refs/remotes/origin/"):
            named.add("origin")
        return frozenset(named)

    def default_of_origin(self) -> str | None:
        """The ref that origin's default branch was fetched into: as noted here, or as origin itself says."""
        noted = self.points_to("refs/remotes/origin/HEAD")
        if noted is not None:
            return noted
        asked = self._try("ls-remote", "--symref", "--", "origin", "HEAD", seconds=ASK_SECONDS) or b""
        said = re.match(rb"ref: refs/heads/(\S+)\tHEAD\n", asked)
        return f"refs/remotes/origin/{os.fsdecode(said[1])}" if said else None

    def contains(self, commit: str, ancestor: str) -> bool:
        return self._try("merge-base", "--is-ancestor", ancestor, commit) is not None

    def merge_bases(self, one: str, other: str) -> tuple[str, ...]:
        """All of the best: after merges in both directions there may be several, and a branch could pick one."""
        return tuple((self._try("merge-base", "--all", one, other) or b"").decode().split())

    @property
    def is_shallow(self) -> bool:
        return self._git("rev-parse", "--is-shallow-repository").strip() == b"true"

    # What is in them

    def changes(self, before: str, after: str) -> tuple[Change, ...]:
        """By comparing their lists of files: git's own diff collects everything before it prints the first."""
        old, new = self.files(before), self.files(after)
        paths = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
        return tuple(Change(_status(old.get(path), new.get(path)), path) for path in paths)

    def files(self, commit: str, path: str = "") -> dict[str, TreeEntry]:
        """Every path of the commit; with `path`, that file, or those below that folder, and their sizes."""
        what = ("-l", commit, "--", path) if path else (commit,)
        listed = self._git("ls-tree", "-r", "-z", "--full-tree", *what)
        entries = (os.fsdecode(entry).partition("\t") for entry in listed.split(b"\0")[:-1])
        return {path: _entry(*facts.split()) for facts, _, path in entries}

    def export(self, commit: str, folder: str, into: Path) -> None:
        """The trusted commit's `folder`, as files below `into`; links stay links, submodules are left out."""
        files = {path: one for path, one in self.files(commit, folder).items() if one.mode != SUBMODULE}
        size = sum(one.size for one in files.values())
        if size > MOST_EXPORTED:
            raise UsageError(
                f"{folder}/ of {commit[:10]} holds {size >> 20} MiB; at most {MOST_EXPORTED >> 20} MiB of exercises "
                "are read. Keep large files elsewhere."
            )
        for path, content in self._contents(files):
            file = into / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if files[path].mode == SYMLINK:
                file.symlink_to(os.fsdecode(content))
            else:
                file.write_bytes(content)

    def read(self, commit: str, path: str, most: int) -> bytes:
        """The file at `path`; of a larger one, the first `most` + 1 bytes.

        A link is not followed: its text is returned. Raises GraderError if it is missing here: a clone without
        blobs may fail to fetch it.
        """
        content, said = git.answer(git.command(self._folder, "cat-file", "blob", f"{commit}:{path}"), most)
        if said is not None:
            raise GraderError(f"git cannot read {path} of {commit[:10]}: {said}")
        return content

    def _contents(self, files: Mapping[str, TreeEntry]) -> Iterator[tuple[str, bytes]]:
        """One process for all of them, one request after another."""
        command = git.command(self._folder, "cat-file", "--batch")
        environment = git.environment()
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as batch:
            assert batch.stdin is not None
            assert batch.stdout is not None
            for path, one in files.items():
                batch.stdin.write(one.object.encode() + b"\n")
                batch.stdin.flush()
                yield path, _blob(batch.stdout, path)
            batch.stdin.close()

    def _try(self, *arguments: str, seconds: float | None = None) -> bytes | None:
        return git.attempt(git.command(self._folder, *arguments), seconds)

    def _git(self, *arguments: str) -> bytes:
        """Raises UsageError if git refuses, or its output is larger than any real repository's."""
        try:
            content, said = git.answer(git.command(self._folder, *arguments), MOST_LISTED)
        except FileNotFoundError:
            raise GraderError("grade ci needs git, and there is none on PATH; install it") from None
        if said is not None:
            raise UsageError(f"git {arguments[0]} in {self._folder}: {said}")
        if len(content) > MOST_LISTED:
            raise UsageError(
                f"git {arguments[0]} in {self._folder}: more than {MOST_LISTED >> 20} MiB of file names; "
                "no course has that many files. Look at what the commit adds."
            )
        return content


def _entry(mode: str, _kind: str, name: str, size: str = "") -> TreeEntry:
    return TreeEntry(mode, name, int(size) if size.isdecimal() else 0)


def _status(old: TreeEntry | None, new: TreeEntry | None) -> str:
    if old is None:
        return "A"
    if new is None:
        return "D"
    return "M" if old.mode[:3] == new.mode[:3] else "T"


def _blob(stream: IO[bytes], path: str) -> bytes:
    """The next answer of `git cat-file --batch`: "HASH blob SIZE", the content, and a line feed."""
    header = stream.readline().split()
    if len(header) != 3:
        raise GraderError(f"git cannot read {path}: {b' '.join(header).decode(errors='replace') or 'git has ended'}")
    size = int(header[2])
    return stream.read(size + 1)[:size]
