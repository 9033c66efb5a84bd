"""A git repository, read through the `git` command. Nothing here writes to it, or executes a file of a commit."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import msgspec

from grader.errors import GraderError, UsageError

# A link is read as a file that holds where it points to, a submodule not at all; their modes tell them apart.
SYMLINK = "120000"
SUBMODULE = "160000"


class Change(msgspec.Struct, frozen=True):
    """One path that differs; a rename is a deletion and an addition. `status`: A, M, D or T (as git names them)."""

    status: str
    path: str


class Repository:
    """Raises UsageError where `folder` is in none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.root = Path(os.fsdecode(self._git("rev-parse", "--show-toplevel").removesuffix(b"\n")))
        self._folder = self.root

    def commit(self, ref: str) -> str | None:
        """The commit's hash; None where there is no such commit here.

        Branches first: to git a tag named origin/main comes before the branch, and whoever may push could bring one.
        """
        for name in (f"refs/remotes/{ref}", f"refs/heads/{ref}", ref):
            found = self._try("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
            if found:
                return found.decode().strip()
        return None

    def merge_base(self, one: str, other: str) -> str | None:
        found = self._try("merge-base", one, other)
        return found.decode().strip() if found else None

    @property
    def is_shallow(self) -> bool:
        return self._git("rev-parse", "--is-shallow-repository").strip() == b"true"

    def changes(self, before: str, after: str) -> tuple[Change, ...]:
        fields = self._git("diff", "--name-status", "--no-renames", "--no-ext-diff", "-z", before, after)
        words = [os.fsdecode(word) for word in fields.split(b"\0")[:-1]]
        return tuple(Change(status, path) for status, path in zip(words[::2], words[1::2], strict=True))

    def files(self, commit: str, path: str = "") -> dict[str, str]:
        """Every path of the commit, and its mode; with `path`, that file, or those below that folder."""
        where = ("--", path) if path else ()
        listed = self._git("ls-tree", "-r", "-z", "--full-tree", commit, *where)
        entries = (os.fsdecode(entry).partition("\t") for entry in listed.split(b"\0")[:-1])
        return {path: facts.split()[0] for facts, _, path in entries}

    def export(self, commit: str, folder: str, into: Path) -> None:
        """The trusted commit's `folder`, as files below `into`; links stay links."""
        archive = self._git("archive", "--format=tar", commit, "--", folder)
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extraction_filter = lambda member, _: member  # before Python 3.11.4 there is no filter="..."
            tar.extractall(into)  # noqa: S202 - git writes no path that leads out

    def save(self, commit: str, path: str, file: Path) -> None:
        """What the commit holds at `path`. A link is not followed: its text is saved.

        Raises GraderError where it is not here: a clone without blobs may fail to fetch it.
        """
        command = self._command("cat-file", "blob", f"{commit}:{path}")
        with file.open("wb") as stream:
            done = subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, check=False, env=_environment())
        if done.returncode:
            raise GraderError(f"git cannot read {path} of {commit[:10]}: {_said(done.stderr)}")

    def _try(self, *arguments: str) -> bytes | None:
        done = subprocess.run(self._command(*arguments), capture_output=True, check=False, env=_environment())
        return done.stdout if done.returncode == 0 else None

    def _git(self, *arguments: str) -> bytes:
        try:
            done = subprocess.run(self._command(*arguments), capture_output=True, check=False, env=_environment())
        except FileNotFoundError:
            raise GraderError("grade ci needs git, and there is none on PATH; install it") from None
        if done.returncode:
            raise UsageError(f"git {arguments[0]} in {self._folder}: {_said(done.stderr)}")
        return done.stdout

    def _command(self, *arguments: str) -> list[str]:
        return ["git", "-C", str(self._folder), *arguments]


def _said(stderr: bytes) -> str:
    return stderr.decode(errors="replace").strip().removeprefix("fatal: ")


def _environment() -> dict[str, str]:
    """Messages in English, no question asked, no lock taken; a path is a path, whatever characters are in it."""
    own = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_LITERAL_PATHSPECS": "1"}
    return os.environ | own
