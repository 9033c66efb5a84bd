"""Records an evening with grade watch, as it stands in docs/watch_session.txt.

    python benchmarks/record_watch.py > docs/watch_session.txt

A 16x16-tile kernel of exercise 01 is saved without its second barrier, a hint is asked for, the barrier is put back.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.pseudo_terminal import PseudoTerminal  # noqa: E402

EXERCISE = ROOT / "exercises" / "01_simple_grouped_gemm"
KERNEL = ROOT / "tests" / "kernels" / "correct" / "tile16.cu"
BARRIER = "        __syncthreads();\n    }\n"
WAITING = "Waiting for the next save of exercises/01_simple_grouped_gemm/starter.cu."

INTRODUCTION = """\
A session of grade watch, as a terminal of 80 columns showed it, without colours; on a terminal each screen replaces
the one before. Lines that begin with >>> say what the student did. Made by: python benchmarks/record_watch.py
"""


class Recorder:
    def __init__(self, terminal: PseudoTerminal) -> None:
        self._terminal = terminal
        self._screens = 0

    def step(self, what: str, wanted: str) -> None:
        """What the terminal shows from one deed of the student's to the text that is wanted."""
        self._terminal.shows(wanted)
        self._terminal.read(0.2)
        shown = self._terminal.screens[self._screens :]
        print(f">>> {what}\n")
        for screen in shown:
            self._print(screen)
        self._screens += len(shown)

    def more(self, what: str, wanted: str) -> None:
        """The same, for what is added to the screen."""
        before = len(self._terminal.screens[-1])
        self._terminal.shows(wanted)
        self._terminal.read(0.2)
        print(f">>> {what}\n")
        self._print(self._terminal.screens[-1][before:])

    @staticmethod
    def _print(screen: str) -> None:
        lines = [line.rstrip() for line in screen.splitlines()]
        if any(lines):
            print("\n".join(lines).strip("\n") + "\n")


def main() -> None:
    right = KERNEL.read_text()
    racing = right.replace(BARRIER, "    }\n")
    assert racing != right
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(EXERCISE, folder / "exercises" / EXERCISE.name, ignore=shutil.ignore_patterns("wrong"))
        starter = folder / "exercises" / EXERCISE.name / "starter.cu"
        starter.write_text(racing)
        environment = os.environ | {"XDG_STATE_HOME": str(folder / "state")}
        command = [str(Path(sys.executable).with_name("grade")), "watch", "1", "--device", "cpu"]
        print(INTRODUCTION)
        with PseudoTerminal(command, cwd=folder, env=environment) as terminal:
            recorder = Recorder(terminal)
            recorder.step("grade watch 1", WAITING)
            terminal.press("h")
            recorder.more("presses h", WAITING)
            starter.write_text(right)
            recorder.step("puts a __syncthreads() at the end of the loop, and saves", WAITING)
            terminal.press("q")
            assert terminal.ends() == 0
    print(">>> presses q")


if __name__ == "__main__":
    main()
