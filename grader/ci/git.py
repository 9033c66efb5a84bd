"""The `git` command, run so that neither a repository nor the environment decides what it answers."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

_MOST_SAID = 10_000  # bytes of an error

# Messages in English, no question asked, no lock taken; a path is a path, and an object is what its hash says.
_OWN = {
    "LC_ALL": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": os.devnull,
}
_NOT_OURS = ("GIT_REPLACE_REF_BASE", "GIT_NAMESPACE", "GIT_SHALLOW_FILE", "GIT_EXTERNAL_DIFF")
_CONFIGURED = ("core.fsmonitor=false", f"core.hooksPath={os.devnull}", "safe.bareRepository=explicit")


def command(folder: Path, *arguments: str) -> list[str]:
    configured = [word for setting in _CONFIGURED for word in ("-c", setting)]
    return ["git", "-C", str(folder), *configured, *arguments]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _NOT_OURS} | _OWN


def answer(command: list[str], most: int) -> tuple[bytes, str | None]:
    """What git says, at most `most` bytes and one more; and where it refuses, why."""
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment()) as git,
    ):
        assert git.stdout is not None
        content = git.stdout.read(most + 1)
        if len(content) > most:
            git.kill()
            return content, None
        if git.wait():
            errors.seek(0)
            return b"", errors.read(_MOST_SAID).decode(errors="replace").strip().removeprefix("fatal: ")
    return content, None


def attempt(command: list[str], seconds: float | None = None) -> bytes | None:
    """None where git refuses, or has not answered after `seconds`; git is never left to ask for a password."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            env=environment(),
            timeout=seconds,
            start_new_session=seconds is not None,
        )
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None
