"""Batches through Parsl, with workers that are processes of their own."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

pytest.importorskip("parsl")

from grader.batch import cluster, worker
from grader.batch.entry import Entry
from grader.batch.intake import Batch
from grader.batch.ledger import Ledger
from grader.batch.run import run
from grader.batch.worker import Graded, Task
from grader.errors import UsageError
from grader.model import codec
from grader.sandbox import confine
from tests.batch.classroom import School, Watching
from tests.fakes import ORACLE

# Parsl forks beside threads of its own.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CONFIG = """
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="grade",
            address="127.0.0.1",
            max_workers_per_node=1,
            heartbeat_period=1,
            heartbeat_threshold=10,
            provider=LocalProvider(init_blocks=1, max_blocks=1, worker_init={init!r}),
        )
    ],
    run_dir={run_dir!r},
)
"""

THREADS = """
from parsl.config import Config
from parsl.executors import ThreadPoolExecutor
config = Config(executors=[ThreadPoolExecutor(label="grade", max_threads=2)], run_dir={run_dir!r})
"""

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def worker_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker requires confinement for the rest of its life; here some share the tests' process."""
    monkeypatch.setenv(confine.SWITCH, confine.REQUIRED)
    monkeypatch.delenv(confine.SWITCH)


def config(school: School, text: str = CONFIG) -> Path:
    file = school.folder / "parsl_config.py"
    file.write_text(text.format(run_dir=str(school.folder / "parsl"), init=f"export PYTHONPATH={ROOT}"))
    return file


def grade(school: School, file: Path) -> dict[str, Entry]:
    batch = Batch(school.submissions, school.exercise, school.out, "cpu", seed=7)
    made = run(batch, Watching(), lambda device: cluster.engine(cluster.read(file), gpu=device == "cuda"))
    return {entry.submitted.student: entry for entry in made}


def hand_in_what_needs_no_child(school: School) -> list[str]:
    """Binary files: refused before anything is compiled, by the worker that grades them."""
    students = ["ada", "bob", "cyd"]
    for student in students:
        school.hand_in(student).write_bytes(b"\0" + student.encode())
    return students


def test_a_lost_worker_costs_nothing(school: School) -> None:
    """The first worker to make the cases is killed; its task goes to the next."""
    flag = school.folder / "kill-one"
    flag.touch()
    deadly = f"""
import os, pathlib, signal
if "PARSL_WORKER_RANK" in os.environ and pathlib.Path({str(flag)!r}).exists():
    pathlib.Path({str(flag)!r}).unlink()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    (school.exercise.folder / "oracle.py").write_text(ORACLE + deadly)
    students = hand_in_what_needs_no_child(school)
    made = grade(school, config(school))
    assert not flag.exists()
    for student in students:
        result = made[student].result
        assert result is not None
        assert result.verdict == "failed"
        assert "binary" in result.checks[0].findings[0].message
    with Ledger(school.out) as ledger:
        assert {event.grading.attempts for student in students for event in ledger.history(student)} == {1}


def test_what_is_lost_every_time_is_an_error_and_stops_nobody(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, sent = cluster.grade_packed, []

    def lose(packed: bytes) -> bytes:
        if b"\0ada" in packed or b"ada\n" in packed:
            sent.append(packed)
            raise OSError("node down")
        return real(packed)

    monkeypatch.setattr(cluster, "grade_packed", lose)
    school.hand_in_all(["ada", "bob"])
    made = grade(school, config(school, THREADS))
    assert made["ada"].result is None
    assert "node down" in made["ada"].problem
    assert made["bob"].result is not None
    assert len(sent) == 2 * cluster.MOST_SENT  # and once more at the end of the batch


def test_a_task_and_what_comes_of_it_survive_the_way(school: School) -> None:
    file = school.hand_in("ada", "wrong")
    task = Task("key", worker.source(file), school.exercise, "hash", 7, threads=2)
    there = cluster._unpacked(cluster._packed(task, gpu=True))
    assert (there.source, there.exercise, there.seed) == (task.source, task.exercise, task.seed)
    assert (there.gpu, there.threads) == (0, 0)
    back = msgspec.msgpack.decode(cluster.grade_packed(cluster._packed(task, gpu=False)), type=Graded)
    here = worker.grade(task)
    assert back.result is not None
    assert here.result is not None
    assert codec.encode(back.result) == codec.encode(codec.decode(codec.encode(here.result)))  # as the ledger has it


@pytest.mark.parametrize(
    ("text", "says"),
    [("config = 3", "does not define config"), ("1/0", "ZeroDivisionError"), ("syntax error", "running .* failed")],
)
def test_a_configuration_that_is_none(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "config.py"
    file.write_text(text)
    with pytest.raises(UsageError, match=says):
        cluster.read(file)
    with pytest.raises(UsageError, match="does not exist"):
        cluster.read(tmp_path / "nowhere.py")


def test_the_device_must_be_said(school: School) -> None:
    school.hand_in("ada")
    batch = Batch(school.submissions, school.exercise, school.out)
    with pytest.raises(UsageError, match="--device"):
        run(batch, Watching(), lambda _: cluster.engine(None, gpu=False))


@pytest.mark.parametrize("name", ["local.py", "slurm.py"])
def test_the_examples_are_configurations(name: str) -> None:
    cluster.read(ROOT / "docs" / "cluster" / name)
