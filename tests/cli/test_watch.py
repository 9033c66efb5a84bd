"""grade watch in a terminal, with real children."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_interrupt import alive, children, gone
from tests.pseudo_terminal import PseudoTerminal

ROOT = Path(__file__).parents[2]
GRADE = [sys.executable, "-c", "from grader.cli import main; main()"]
EXERCISE = "01_first"
SLOW = ROOT / "tests" / "kernels" / "correct" / "tile16.cu"


def invoke(*arguments: str, cwd: Path) -> None:
    subprocess.run([*GRADE, *arguments], cwd=cwd, env=environment(cwd), check=True, capture_output=True)


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder / "state"), "GRADER_WORKERS": "2"}


class Session(PseudoTerminal):
    def __init__(self, folder: Path, *arguments: str) -> None:
        super().__init__([*GRADE, "watch", *arguments, "--device", "cpu"], cwd=folder, env=environment(folder))
        self.starter = folder / "exercises" / EXERCISE / "starter.cu"
        self.solution = self.starter.with_name("solution.cu")


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two small exercises."""
    folder = tmp_path_factory.mktemp("course")
    (folder / "exercises").mkdir()
    invoke("new", "first", cwd=folder)
    invoke("new", "second", cwd=folder)
    return folder


@pytest.fixture
def folder(course: Path, tmp_path: Path) -> Path:
    shutil.copytree(course, tmp_path / "course")
    return tmp_path / "course"


@pytest.fixture
def session(folder: Path) -> Iterator[Session]:
    with Session(folder, "1") as session:
        yield session


def test_an_evening_with_an_exercise(session: Session) -> None:
    first = session.shows("Waiting for the next save of")
    assert first.index("ok     compile") < first.index("NO     one-row") < first.index("FAILED: Not correct yet")
    assert "q quit" in first
    assert "solution" not in first
    session.press("s")
    session.shows("Not yet: the solution is shown once your kernel is correct.")
    session.press("h")
    session.shows("Hint 1 of 3: Where do I start?")
    session.press("d")
    assert "y[at] =" not in session.shows("correct[ragged]: failed")
    session.shows("Waiting for")

    shutil.copy(session.solution, session.starter)
    lines = session.shows("Correct. Waiting for the next save")
    assert lines.index("ok     compile") < lines.index("ok     one-row") < lines.index("INCOMPLETE: Correct")
    assert "s solution" in lines
    session.press("s")
    session.shows("y[at] = factors[row] * x[at];")

    session.press("n")
    session.shows("02_second")
    session.shows("FAILED: Not correct yet")
    session.press("n")
    session.shows("This is the last exercise")
    assert session.settings != session.before
    session.press("q")
    assert session.ends() == 0
    assert session.settings == session.before
    assert children(session.process.pid) == []


def test_a_save_in_the_middle_begins_anew_and_leaving_leaves_nothing(folder: Path) -> None:
    shutil.copytree(ROOT / "exercises" / "01_simple_grouped_gemm", folder / "exercises" / "09_gemm")
    shutil.copy(SLOW, folder / "exercises" / "09_gemm" / "starter.cu")
    starter = folder / "exercises" / "09_gemm" / "starter.cu"
    with Session(folder, "9") as session:
        session.shows("case 13 of 13")
        (first,) = children(session.process.pid)
        starter.write_text(starter.read_text() + "// once more\n")
        session.shows("saved")
        assert "FAILED" not in session.shows("case 13 of 13")
        assert gone(first)
        (second,) = children(session.process.pid)
        session.press("q")
        assert session.ends() == 0
        assert gone(second)


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ended_from_outside_the_terminal_is_as_it_was(session: Session, sent: signal.Signals, status: int) -> None:
    session.shows("compile")
    begun = children(session.process.pid)
    session.process.send_signal(sent)
    assert session.ends() == status
    assert "Traceback" not in session.raw
    assert session.settings == session.before
    assert [pid for pid in begun if alive(pid) and not gone(pid)] == []


def test_after_a_stop_keys_work_again(session: Session) -> None:
    session.shows("Waiting for")
    session.settings = session.before  # as a shell does
    session.process.send_signal(signal.SIGCONT)
    session.shows("FAILED")
    assert session.settings != session.before
    session.press("q")
    assert session.ends() == 0


def test_a_file_that_goes_and_comes_back(session: Session) -> None:
    session.shows("Waiting for")
    session.starter.unlink()
    session.shows("starter.cu does not exist")
    shutil.copy(session.solution, session.starter)
    session.shows("Correct. Waiting")


def test_an_arrow_key_does_nothing(session: Session) -> None:
    session.shows("Waiting for the next save of exercises/01_first/starter.cu.")
    session.read(0.2)
    before = session.text
    for keys in ("\x1b[D", "\x1bOq", "z"):
        session.press(keys)
        session.read(0.3)
    assert session.process.poll() is None
    assert session.text == before
    session.press("Q")
    assert session.ends() == 0


def test_without_a_terminal_it_prints_line_after_line_until_it_is_interrupted(folder: Path) -> None:
    with (folder / "out").open("w") as out:
        process = subprocess.Popen(
            [*GRADE, "watch", "1", "--device", "cpu"],
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + 40
        while "Press Ctrl-C to quit" not in (folder / "out").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    said = (folder / "out").read_text()
    assert "\x1b" not in said
    assert "\r" not in said
    assert "q quit" not in said
    assert "  NO     one-row             clean, wrong" in said.splitlines()


def test_without_an_exercise_it_takes_the_first_that_is_not_right_yet(folder: Path) -> None:
    solution = folder / "mine.cu"
    shutil.copy(folder / "exercises" / EXERCISE / "solution.cu", solution)
    invoke("run", "1", "mine.cu", "--device", "cpu", cwd=folder)
    with Session(folder) as session:
        assert "02_second" in session.shows("compile")


def test_a_broken_exercise_is_said_and_passed_over(folder: Path) -> None:
    shutil.copytree(folder / "exercises" / "02_second", folder / "exercises" / "03_third")
    (folder / "exercises" / "02_second" / "exercise.toml").write_text("title = 3")
    with Session(folder, "1") as session:
        session.shows("Waiting for")
        session.press("n")
        assert "02_second/exercise.toml:1: " in session.shows("03_third")


def test_no_such_file_exits_2(folder: Path) -> None:
    done = subprocess.run(
        [*GRADE, "watch", "1", "nope.cu"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "nope.cu does not exist" in done.stderr


def test_no_such_exercise_exits_2(folder: Path) -> None:
    done = subprocess.run(
        [*GRADE, "watch", "7"], cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "there is no exercise '7'" in done.stderr
