from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from grader.timing import lock

ROOT = Path(__file__).parents[2]
GPU = "0000:17:00.0"
ASKING = """
import sys
from grader.timing import lock
with getattr(lock, sys.argv[1])("0000:17:00.0"):
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def other(how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ASKING, how]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def gets_in(process: subprocess.Popen[str]) -> bool:
    assert process.stdout is not None
    return process.stdout.readline() == "in\n"


@pytest.mark.parametrize(("ours", "theirs", "together"), [("running", "running", True), ("timing", "running", False)])
def test_who_shares_a_gpu(ours: str, theirs: str, together: bool) -> None:
    with getattr(lock, ours)(GPU):
        process = other(theirs)
        if together:
            assert gets_in(process)
        else:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
    assert together or gets_in(process)
    process.communicate()


def test_a_killed_process_leaves_no_lock() -> None:
    process = other("timing")
    assert gets_in(process)
    process.kill()
    process.communicate()
    with lock.timing(GPU):
        assert lock.path(GPU).exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    lock.path(GPU).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"), lock.running(GPU):
        pass
