from __future__ import annotations

import subprocess
import sys

import pytest

import grader
from tests.cli.conftest import Grade

# Loaded by no command that only talks: they would cost the reader a second.
HEAVY = ("numpy", "rich", "jinja2", "llvmlite", "cupy", "cupy_backends")


def in_a_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys; from grader.cli.command import invoke;"
        "status = invoke(sys.argv[1:]); print(*sys.modules); sys.exit(status)"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
def test_talking_loads_nothing_heavy(arguments: list[str]) -> None:
    done = in_a_process(*arguments)
    assert done.returncode == 0
    loaded = done.stdout.splitlines()[-1].split()
    assert [name for name in HEAVY if name in loaded] == []


def test_version(grade: Grade) -> None:
    assert grade("--version") == 0
    assert grader.__version__ in grade.out


def test_help_names_every_verb_and_fits(grade: Grade) -> None:
    assert grade("--help") == 0
    assert all(verb in grade.out for verb in ("run", "list", "doctor", "report"))
    for verb in ("run", "list", "doctor", "report"):
        assert grade(verb, "--help") == 0
        assert max(map(len, grade.out.splitlines())) <= 80


def test_a_reader_who_leaves_early_leaves_no_traceback() -> None:
    script = f"{sys.executable} -c 'from grader.cli import main; main()' doctor | head -n 1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""
