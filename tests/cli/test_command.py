from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import grader
from grader.cli.command import VERBS
from tests.cli.conftest import Grade
from tests.fakes import TOML, write_exercise
from tests.pseudo_terminal import PseudoTerminal

ROOT = Path(__file__).parents[2]

# Loaded by no command that only talks: they would cost the reader a second.
HEAVY = ("numpy", "rich", "jinja2", "llvmlite", "cupy", "cupy_backends")


def in_a_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys; from grader.cli.command import invoke;"
        "status = invoke(sys.argv[1:]); print(*sys.modules); sys.exit(status)"
    )
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


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
    assert all(verb in grade.out for verb in VERBS)
    for verb in VERBS:
        assert grade(verb, "--help") == 0
        assert max(map(len, grade.out.splitlines())) <= 80, verb
    assert grade("--help") == 0
    assert max(map(len, grade.out.splitlines())) <= 80


def test_what_is_wrong_with_a_command_fits_too(grade: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grader.cli.streams.WIDTH", 80)
    path = "nowhere/" + "a-folder/" * 12
    assert grade("run", "1", "--exercises", path) == 2
    assert path.rstrip("/") in grade.err  # to be copied: never broken
    assert all(len(line) <= 80 for line in grade.err.splitlines() if "nowhere" not in line)
    assert grade("run", "1", "--since", "a-result.json", "--html", "no-such-folder/with-a-long-name/report.html") == 2
    assert max(map(len, grade.err.splitlines())) <= 80
    assert "create it first" in " ".join(grade.err.split())


def test_alone_it_says_what_there_is(grade: Grade) -> None:
    assert grade() == 2
    assert grade.err.startswith("Usage: grade ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("command", "status", "says"),
    [
        ("run 1 bad.cu >/dev/full", 4, "grade: cannot write the verdict, failed: No space left on device\n"),
        ("list >/dev/full", 4, "grade: No space left on device\n"),
        ("run 1 bad.cu >&-", 1, ""),
        ("run 1 bad.cu >&- 2>&-", 1, ""),
        ("run 1 bad.cu | head -n 1; exit ${PIPESTATUS[0]}", 1, ""),
    ],
)
def test_an_stdout_that_takes_nothing(grade: Grade, command: str, status: int, says: str) -> None:
    (grade.folder / "bad.cu").write_bytes(b"")
    script = f"{sys.executable} -c 'from grader.cli import main; main()' {command}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (status, says)


def test_a_reader_who_leaves_early_leaves_no_traceback() -> None:
    script = f"{sys.executable} -c 'from grader.cli import main; main()' doctor | head -n 1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_a_reader_who_leaves_early_does_not_change_the_exit_status(grade: Grade) -> None:
    code = (
        "from grader import executors; from grader.cli import main; from tests.fakes import FakeExecutor;"
        "executors.open_cpu = FakeExecutor().open; main()"
    )
    script = f'{sys.executable} -c "{code}" run 1 | true; exit ${{PIPESTATUS[0]}}'
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("verb", [["list"], ["run", "1"], ["start", "mine"]])
def test_a_folder_that_is_gone_is_said(grade: Grade, monkeypatch: pytest.MonkeyPatch, verb: list[str]) -> None:
    Path("gone").mkdir()
    monkeypatch.chdir("gone")
    Path.cwd().rmdir()
    assert grade(*verb) == 2
    assert grade.err == "grade: the current folder no longer exists; cd to another one\n"


def test_what_a_terminal_cannot_show_is_replaced(tmp_path: Path) -> None:
    write_exercise(tmp_path / "exercises" / "01_double", toml=TOML.replace("Double every row", "FP32 ↔ FP8, größer"))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-c", "from grader.cli import main; main()", "list"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0
    assert "FP32 ? FP8, größer" in done.stdout.decode("latin-1")


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color_is_heeded_on_a_terminal(tmp_path: Path, variables: dict[str, str], coloured: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | variables
    command = [sys.executable, "-c", "from grader.cli import main; main()", "doctor"]
    environment["PYTHONPATH"] = str(ROOT)
    with PseudoTerminal(command, cwd=tmp_path, env=environment) as terminal:
        terminal.shows("This machine")
        terminal.ends()
        assert ("\x1b[" in terminal.raw) == coloured
