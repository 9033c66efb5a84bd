"""The same gradebook over Slurm as on this machine, a worker killed while it grades."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from grader.batch.ledger import Ledger
from tests.batch import slurm

ROOT = Path(__file__).parents[2]
END_SECONDS = 10
EXERCISE = "01_simple_grouped_gemm"
CLASS = {"ada": "solution.cu", "bob": "wrong/syntax_error.cu", "cyd": "wrong/wrong_signature.cu"}

# Appended to oracle.py: a worker is killed, as on a node that goes down, when it wants the third case's outputs. Then
# its child runs the cases before. It leaves behind which children it had.
DEADLY = """
import os, pathlib, signal

_expected, _asked = expected, []

def _children():
    for file in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = file.read_text().rsplit(")", 1)[1].split()[:2]
            if int(parent) == os.getpid() and state != "Z":
                yield file.parent.name + " " + (file.parent / "cmdline").read_text().replace("\\0", " ")
        except OSError:
            pass

def expected(case):
    _asked.append(case.name)
    killed = pathlib.Path({killed!r})
    if "PARSL_WORKER_RANK" in os.environ and len(_asked) == 3 and not killed.exists():
        killed.write_text("\\n".join(_children()))
        os.kill(os.getpid(), signal.SIGKILL)
    return _expected(case)
"""

CONFIG = """
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import SlurmProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="grade",
            address="127.0.0.1",
            max_workers_per_node=2,
            heartbeat_period=1,
            heartbeat_threshold=20,
            provider=SlurmProvider(
                partition="grade",
                nodes_per_block=1,
                init_blocks=1,
                max_blocks=1,
                walltime="00:10:00",
                worker_init="export PATH={bin}:$PATH PYTHONPATH={root}",
            ),
        )
    ],
    run_dir={run_dir!r},
    strategy_period=1,
)
"""

pytestmark = pytest.mark.skipif(bool(slurm.missing()), reason=slurm.missing() or "Slurm is here")


@pytest.fixture
def cluster() -> Iterator[dict[str, str]]:
    """In a folder of its own: a socket's path must be short."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, slurm.running(Path(folder)) as environment:
        yield environment


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    exercise = tmp_path / "exercises" / EXERCISE
    shutil.copytree(ROOT / "exercises" / EXERCISE, exercise, ignore=shutil.ignore_patterns("__pycache__"))
    with (exercise / "oracle.py").open("a") as oracle:
        oracle.write(DEADLY.format(killed=str(tmp_path / "killed")))
    for student, file in CLASS.items():
        (tmp_path / "submissions" / student).mkdir(parents=True)
        shutil.copy(exercise / file, tmp_path / "submissions" / student / "starter.cu")
    run_dir = str(tmp_path / "parsl")
    text = CONFIG.format(run_dir=run_dir, root=ROOT, bin=Path(sys.executable).parent)
    (tmp_path / "config.py").write_text(text)
    return tmp_path


def grade(folder: Path, out: str, environment: dict[str, str], *more: str) -> subprocess.CompletedProcess[str]:
    grade = [sys.executable, "-m", "grader", "batch", "submissions", "--exercise", "1", "--exercises", "exercises"]
    return subprocess.run(
        [*grade, "--out", out, "--device", "cpu", "--seed", "7", *more],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT), "GRADER_CACHE_DIR": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )


def gone(pids: set[int]) -> bool:
    """Soon: what was killed has still to be reaped."""
    deadline = time.monotonic() + END_SECONDS
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_the_gradebook_is_that_of_this_machine_though_a_worker_is_killed_while_it_grades(
    folder: Path, cluster: dict[str, str]
) -> None:
    daemons = slurm.processes(cluster)
    there = grade(folder, "there", cluster, "--engine", "parsl", "--config", "config.py")
    assert there.returncode == 0, there.stderr
    children = (folder / "killed").read_text().splitlines()
    assert any("grader.executors" in child for child in children), children
    assert slurm.jobs(cluster) == []
    assert gone({int(child.split()[0]) for child in children} | slurm.processes(cluster) - daemons)
    here = grade(folder, "here", dict(os.environ))
    assert here.returncode == 0, here.stderr
    assert (folder / "there" / "gradebook.csv").read_bytes() == (folder / "here" / "gradebook.csv").read_bytes()
    with Ledger(folder / "there") as ledger:
        gradings = [event.grading for student in CLASS for event in ledger.history(student)]
    assert [grading.attempts for grading in gradings] == [1] * len(CLASS)
    assert there.stderr.count("/3  ") == len(CLASS)
