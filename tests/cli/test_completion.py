from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from grader.cli.command import VERBS
from tests.cli.conftest import Grade

ROOT = Path(__file__).parents[2]


def offered(folder: Path, *words: str) -> list[str]:
    """What a bash would offer for the last of the words behind `grade`."""
    asked = {
        "_GRADE_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("grade", *words)),
        "COMP_CWORD": str(len(words)),
        "PYTHONPATH": str(ROOT),
    }
    code = "from grader.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=os.environ | asked, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return [line.split(",", 1)[1] for line in done.stdout.splitlines() if line]


def test_verbs(grade: Grade) -> None:
    assert offered(grade.folder, "re") == [verb for verb in VERBS if verb.startswith("re")]


@pytest.mark.parametrize("verb", ["run", "watch", "reset"])
@pytest.mark.parametrize("begun", ["0", "01_d", "1"])
def test_exercises_by_name_and_by_number(grade: Grade, verb: str, begun: str) -> None:
    assert offered(grade.folder, verb, begun) == ["01_double"]


def test_options(grade: Grade) -> None:
    assert "--device" in offered(grade.folder, "watch", "--")


def test_where_there_are_no_exercises_nothing_is_offered_and_nothing_said(tmp_path: Path) -> None:
    assert offered(tmp_path, "run", "--exercises", str(tmp_path), "x") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_prints_what_the_shell_runs(grade: Grade, shell: str) -> None:
    assert grade("completion", shell) == 0
    assert f"_GRADE_COMPLETE={shell}_complete" in grade.out


def test_bash_takes_it(grade: Grade) -> None:
    grade("completion", "bash")
    script = f"{grade.out}\ncomplete -p grade"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("grade")


def test_the_shell_in_use_is_the_default(grade: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    assert grade("completion") == 0
    assert "zsh_complete" in grade.out


def test_an_unknown_shell_is_asked_for(grade: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/ksh")
    assert grade("completion") == 2
    assert "bash, zsh, fish" in grade.err


def test_a_verb_that_is_nearly_right_is_named(grade: Grade) -> None:
    assert grade("wach") == 2
    assert "Did you mean: grade watch?" in grade.err


def test_the_help_of_every_verb_fits(grade: Grade) -> None:
    for verb in ("watch", "list", "start", "reset", "new", "completion"):
        assert grade(verb, "--help") == 0
        assert max(map(len, grade.out.splitlines())) <= 80
