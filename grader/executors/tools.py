"""NVIDIA's tools, each run on a replay of the submission, with a deadline.

The replayed submission is as untrusted as in a child: it gets its own session, environment and folder.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from grader.executors import replay
from grader.model.execution import Invocation
from grader.model.exercise import Array
from grader.sandbox import process

# Where the toolkit's packages install them, in addition to PATH.
PLACES = ("/usr/local/cuda/bin", "/opt/nvidia/nsight-compute")
MAX_OUTPUT = 4 << 20  # limit on a tool's output, in characters


class Staged(NamedTuple):
    """One run to replay: a case by name."""

    name: str
    invocations: tuple[Invocation, ...]
    arrays: tuple[Array, ...]


def find(name: str) -> str | None:
    return shutil.which(name) or next((p for place in PLACES if (p := shutil.which(name, path=place))), None)


class StagedRuns:
    """A temporary folder with the source and the runs, in the format that `replay` reads."""

    def __init__(self, text: str, runs: Sequence[Staged], variables: Mapping[str, str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="grader-tool-")
        self._variables = variables
        self._token = secrets.token_hex(8)
        self._runs = []
        for number, run in enumerate(runs):
            folder = Path(self._folder.name) / f"{number}"
            folder.mkdir()
            replay.write(folder, text, run.invocations, run.arrays)
            self._runs.append(f"{self._token}-{run.name}={folder}")

    def __enter__(self) -> StagedRuns:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def run(self, command: Sequence[str], seconds: float) -> str:
        """The output of the tool and the replay. The whole process group is killed at the deadline."""
        environment = process.environment(self._variables) | {"HOME": self._folder.name, "TMPDIR": self._folder.name}
        child = subprocess.Popen(
            [*command, sys.executable, "-s", "-P", "-m", replay.__name__, *self._runs],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=self._folder.name,
            env=environment,
        )
        with child:
            try:
                output, _ = child.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                _end(child)
                output, _ = child.communicate()
            finally:
                _end(child)
        return "".join(self._told(output[:MAX_OUTPUT].decode(errors="replace")))

    def _told(self, output: str) -> Iterator[str]:
        """The output's lines, without announcements of a run faked by a kernel: only the replay knows the token."""
        own = f"{replay.CASE}{self._token}-"
        for line in output.splitlines(keepends=True):
            if line.startswith(own) or not line.startswith(replay.CASE):
                yield line.replace(own, replay.CASE, 1)


def _end(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
