"""A batch that is killed with its whole process group, and goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grader.batch.ledger import FILE, Ledger
from tests.batch.classroom import School
from tests.batch.test_batch_run import grade, outputs

ROOT = Path(__file__).parents[2]

# As grade batch, with children that only pretend; each grading leaves a line where the test can count it.
BATCH = """
import sys
from pathlib import Path
import grader.executors, grader.machine
from grader.batch import intake, run
from tests.batch.classroom import Child, School, Watching

school = School.__new__(School)
school.folder, school.submissions, school.out = (Path(name) for name in sys.argv[1:4])
school.compiled, school.closed, school.deaths = [], set(), {}
grader.executors.open_cpu = lambda **_: Child(school)
grader.machine.gpus = lambda: 0

class Told(Watching):
    def graded(self, students, graded):
        print(students[0], flush=True)

run.run(intake.Batch(school.submissions, school.exercise, school.out, "cpu", seed=7, jobs=2), Told())
"""


def start(school: School, out: Path) -> subprocess.Popen[str]:
    arguments = [str(path) for path in (school.folder, school.submissions, out)]
    return subprocess.Popen(
        [sys.executable, "-c", BATCH, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("lines", [1, 5])
def test_nothing_is_lost_nothing_graded_twice_nothing_changed(school: School, lines: int) -> None:
    school.hand_in_all([f"s{number:02}" for number in range(6)], "slow")
    school.hand_in_all([f"w{number:02}" for number in range(4)], "wrong")
    process = start(school, school.out)
    assert process.stdout is not None
    told = [process.stdout.readline().strip() for _ in range(lines)]
    os.killpg(process.pid, signal.SIGKILL)
    assert all(told), "it did not come as far"
    told += process.communicate()[0].split()
    with Ledger(school.out) as ledger:
        kept = {one.submitted.student for one in ledger.enrolled() if ledger.settled([one.key])}
    assert kept.issuperset(told)
    rest, _ = start(school, school.out).communicate(timeout=60)
    assert not kept.intersection(rest.split())
    assert kept.union(rest.split()) == {one.name for one in school.submissions.iterdir()}
    uninterrupted = school.folder / "uninterrupted"
    start(school, uninterrupted).communicate(timeout=60)  # by the same program, read as freshly
    assert outputs(school.out) == outputs(uninterrupted)


def test_killed_before_anything_was_graded(school: School) -> None:
    school.hand_in("ada")
    process = start(school, school.out)
    deadline = time.monotonic() + 30
    while not (school.out / FILE).exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert grade(school)["ada"].result is not None
