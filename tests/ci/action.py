"""The composite action, as GitHub's runner goes through it: its inputs, and its `run` steps with bash.

Reads as much YAML as action.yml uses: two blanks a level, `name: value` on a line, `run: |` with a block under it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.ci.course import Course

ROOT = Path(__file__).parents[2]
ACTION = ROOT / ".github" / "actions" / "grade" / "action.yml"

# GitHub's `shell: bash` of a composite action.
BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")

INPUT = re.compile(r"^  (\w+):\n(?:    .*\n)*?    default: (.*)\n", re.MULTILINE)
EXPRESSION = re.compile(r"\$\{\{ inputs\.(\w+) \}\}")


class Step(NamedTuple):
    name: str
    environment: dict[str, str]  # expressions and all
    script: str


def inputs() -> dict[str, str]:
    """Defaults by name."""
    section = ACTION.read_text().partition("\ninputs:\n")[2].partition("\noutputs:\n")[0]
    return {name: value.strip('"') for name, value in INPUT.findall(section + "\n")}


def steps() -> Iterator[Step]:
    """Those that run a script."""
    for text in ACTION.read_text().split("    - name: ")[1:]:
        head, found, script = text.partition("      run: |\n")
        if found:
            listed = re.findall(r"^        (\w+): (.+)$", head.partition("      env:\n")[2], re.MULTILINE)
            body = "".join(line for line in script.splitlines(keepends=True) if re.match(r" {8}|\n", line))
            yield Step(text.partition("\n")[0], dict(listed), textwrap.dedent(body))


class Ran(NamedTuple):
    status: int
    log: str
    summary: str
    out: Path | None  # the action's output

    def obeyed(self) -> list[str]:
        """The lines in which GitHub looks for commands: not between stop-commands and its token."""
        text = re.sub(r"^::stop-commands::(\w+)$.*?^::\1::$", "", self.log, flags=re.MULTILINE | re.DOTALL)
        return text.splitlines()

    def commands(self, level: str) -> list[str]:
        return [line for line in self.obeyed() if line.startswith(f"::{level} ")]


def run(course: Course, runner: Path, *, environment: Mapping[str, str], **given: str) -> Ran:
    """Every script in turn, in the checked-out repository; the grader of these tests is installed already."""
    installed = runner / "grader" / "bin" / "grade"
    installed.parent.mkdir(parents=True, exist_ok=True)
    installed.symlink_to(Path(sys.executable).with_name("grade"))
    summary, outputs = runner / "summary.md", runner / "outputs"
    outputs.touch()
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(runner),
        "GITHUB_ACTIONS": "true",
        "GITHUB_ACTION_PATH": str(ACTION.parent),
        "GITHUB_WORKSPACE": str(course.folder),
        "GITHUB_OUTPUT": str(outputs),
        "GITHUB_STEP_SUMMARY": str(summary),
        "RUNNER_TEMP": str(runner),
    }
    values = inputs() | given
    log, status = "", 0
    for step in steps():
        own = {name: EXPRESSION.sub(lambda m: values[m[1]], value) for name, value in step.environment.items()}
        done = subprocess.run(
            [*BASH, step.script],
            cwd=course.folder,
            env=variables | dict(environment) | own,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=90,
        )
        log, status = log + done.stdout, done.returncode
        if status:
            break
    out = dict(line.split("=", 1) for line in outputs.read_text().splitlines()).get("out")
    return Ran(status, log, summary.read_text() if summary.exists() else "", Path(out) if out else None)
