"""A course's git repository, to open pull requests against."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.fakes import write_exercise

STARTER = "exercises/01_double/starter.cu"
ORACLE = "exercises/01_double/oracle.py"

# Nobody's own git configuration, and no clock.
GIT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_ALLOW_PROTOCOL": "file",
}


class Course:
    """`main` holds exercise 01_double; a pull request is a branch that starts from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")

    @classmethod
    def with_exercise(cls, folder: Path, **parts: str) -> Course:
        course = cls(folder)
        write_exercise(folder / "exercises" / "01_double", **parts)  # type: ignore[arg-type]
        course.commit("The exercise")
        return course

    def git(self, *arguments: str, standard_input: str = "") -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env=GIT,
            input=standard_input,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, message: str = "Work") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def branch(self, name: str, files: Mapping[str, str | bytes | None]) -> str:
        """A branch from where we are, with one commit; None deletes a file."""
        self.git("switch", "--quiet", "--create", name)
        return self.change(files)

    def change(self, files: Mapping[str, str | bytes | None]) -> str:
        for path, content in files.items():
            file = self.folder / path
            if content is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)
        return self.commit()

    def clone(self, folder: Path, *options: str) -> Course:
        """As a build server has it."""
        self.git("clone", "--quiet", *options, self.folder.as_uri(), str(folder))
        return Course(folder)

    def fetched(self, folder: Path, head: str) -> Course:
        """The same by init and fetch, as most build servers do it: with every branch and tag, and no origin/HEAD."""
        clone = Course(folder)
        clone.git("remote", "add", "origin", self.folder.as_uri())
        clone.git("fetch", "--quiet", "origin", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
        clone.git("checkout", "--quiet", "--detach", head)
        return clone

    def text(self, path: str = STARTER) -> str:
        return (self.folder / path).read_text()
