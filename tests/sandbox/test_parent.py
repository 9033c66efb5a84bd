"""What is left of a child when its parent ends, in whichever way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.test_child import wait_until_gone

ROOT = Path(__file__).parents[2]
PARENT = """
import sys
from grader.compile.cache import Cache
from grader.sandbox.child import Child
from grader.sandbox.process import Process

with Child(Process("tests.sandbox.fake_engine"), "cpu", cache=Cache(None)) as child:
    child.compile(b"echo up", "a.cu")
    print(child.process.pid, flush=True)
    if sys.argv[1] == "wait":
        child.compile(b"sleep", "a.cu")
    raise SystemExit(3)
"""


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def start(how: str, temporary: Path) -> tuple[subprocess.Popen[str], int]:
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
        start_new_session=True,
    )
    assert parent.stdout
    return parent, int(parent.stdout.readline())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_parent_leaves_nothing(how: signal.Signals, temporary: Path) -> None:
    parent, child = start("wait", temporary)
    parent.send_signal(how)
    _, stderr = parent.communicate(timeout=20)
    assert parent.returncode == -how
    assert ("KeyboardInterrupt" in stderr) == (how is signal.SIGINT)
    assert wait_until_gone(child)


def test_an_exit_leaves_nothing(temporary: Path) -> None:
    parent, child = start("exit", temporary)
    assert parent.communicate(timeout=20) == ("", "")
    assert parent.returncode == 3
    assert wait_until_gone(child)
