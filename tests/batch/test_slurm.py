"""The same gradebook over Slurm as on this machine, a worker killed on the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from grader.batch.ledger import Ledger
from tests.batch import slurm

ROOT = Path(__file__).parents[2]
EXERCISE = "01_simple_grouped_gemm"
CLASS = {"ada": "solution.cu", "bob": "wrong/syntax_error.cu", "cyd": "wrong/wrong_signature.cu"}

# Appended to oracle.py: the first worker that loads it is killed, as a node that goes down would be.
DEADLY = """
import os, pathlib, signal
if "PARSL_WORKER_RANK" in os.environ and pathlib.Path({flag!r}).exists():
    pathlib.Path({flag!r}).unlink()
    os.kill(os.getpid(), signal.SIGKILL)
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
        oracle.write(DEADLY.format(flag=str(tmp_path / "kill-one")))
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


def test_the_gradebook_is_that_of_this_machine_though_a_worker_is_killed(
    folder: Path, cluster: dict[str, str]
) -> None:
    flag = folder / "kill-one"
    flag.touch()
    there = grade(folder, "there", cluster, "--engine", "parsl", "--config", "config.py")
    assert there.returncode == 0, there.stderr
    assert not flag.exists()
    assert slurm.jobs(cluster) == []
    here = grade(folder, "here", dict(os.environ))
    assert here.returncode == 0, here.stderr
    assert (folder / "there" / "gradebook.csv").read_bytes() == (folder / "here" / "gradebook.csv").read_bytes()
    with Ledger(folder / "there") as ledger:
        assert [len(ledger.history(student)) for student in CLASS] == [1, 1, 1]
