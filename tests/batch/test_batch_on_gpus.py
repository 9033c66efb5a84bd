"""A batch on fake GPUs: what is timed, shared inputs, and a GPU that stops answering."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest

from grader.batch import instructor
from grader.batch.entry import ManualPoints
from grader.batch.ledger import Ledger
from grader.cli.command import invoke
from grader.errors import GraderError
from grader.sandbox import ChildFailed
from grader.timing import session
from tests.batch.classroom import School, Watching
from tests.batch.test_batch_run import grade, verdict
from tests.fake_gpu import FakeGpu
from tests.grading.test_gpu_lane import ANOTHER
from tests.timing.samples import H200


class Machine:
    """So many GPUs; one that `dies_after` so many children answers no more."""

    def __init__(self, dies_after: dict[int, int]) -> None:
        self.opened: Counter[int] = Counter()
        self._dies_after = dies_after

    def open(self, gpu: int = 0) -> FakeGpu:
        self.opened[gpu] += 1
        dead = self.opened[gpu] > self._dies_after.get(gpu, 1000)
        return FakeGpu(gpu=ChildFailed("the GPU has fallen off the bus") if dead else H200)


@pytest.fixture
def machine(school: School, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    (school.exercise.folder / "oracle.py").write_text(ANOTHER)
    made = Machine({})
    monkeypatch.setattr("grader.executors.open_cuda", made.open)
    monkeypatch.setattr("grader.machine.gpus", lambda: 2)
    monkeypatch.setattr(session, "WARM_UP_SECONDS", 0.0)
    monkeypatch.setattr(session, "CLOCK_SLACK", 1e9)
    monkeypatch.setattr("grader.timing.roofline.least_seconds", lambda *_, **__: 0.0)
    monkeypatch.setattr("grader.timing.rotation.MAX_SETS", 6)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return made


STUDENTS = ["ada", "bob", "cyd", "dot", "eve", "fay"]


def test_auto_takes_the_gpus_and_speed_is_judged(school: School, machine: Machine) -> None:
    school.hand_in_all(STUDENTS)
    watch = Watching()
    made = grade(school, watch, device="auto", jobs=2)
    assert {verdict(made[student]) for student in STUDENTS} == {"passed"}
    assert watch.plan.device == "cuda"  # type: ignore[attr-defined]
    assert watch.plan.gpus == (0, 1)  # type: ignore[attr-defined]
    assert min(machine.opened[0], machine.opened[1]) > 1


def test_only_the_gpus_that_were_named(school: School, machine: Machine) -> None:
    school.hand_in_all(STUDENTS[:2])
    grade(school, gpus=(1,))
    assert set(machine.opened) == {1}


def test_a_gpu_that_falls_off_leaves_and_the_other_does_its_work(school: School, machine: Machine) -> None:
    machine._dies_after = {0: 2}  # its probe, and one submission
    school.hand_in_all(STUDENTS)
    watch = Watching()
    made = grade(school, watch, device="cuda", jobs=2)
    assert {verdict(made[student]) for student in STUDENTS} == {"passed"}
    assert len(watch.heard) == len(STUDENTS)


def test_without_any_left_it_is_nobodys_loss_and_goes_on_later(school: School, machine: Machine) -> None:
    machine._dies_after = {0: 2, 1: 2}
    school.hand_in_all(STUDENTS)
    made = grade(school, device="cuda", jobs=2)
    results = [made[student].result for student in STUDENTS]
    assert results.count(None) == 4
    assert all("GPU" in made[student].problem for student in STUDENTS if made[student].result is None)
    machine._dies_after = {}
    watch = Watching()
    again = grade(school, watch, jobs=2, device="auto")
    assert len(watch.heard) == 4
    assert {verdict(again[student]) for student in STUDENTS} == {"passed"}


def test_what_was_begun_on_a_gpu_is_not_finished_without(
    school: School, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    school.hand_in("ada")
    grade(school, device="cuda")
    monkeypatch.setattr("grader.machine.gpus", lambda: 0)
    assert verdict(grade(school, device="auto")["ada"]) == "passed"  # nothing left to do
    school.hand_in("bob")
    with pytest.raises(GraderError, match="no NVIDIA GPU"):
        grade(school, device="auto")


def test_leaderboards_show_real_names_only_where_they_were_asked_for(school: School, machine: Machine) -> None:
    school.hand_in("adelaide")
    board = school.out / "leaderboard.html"
    grade(school, device="cuda")
    assert "adelaide" not in board.read_text()
    grade(school, device="auto", real_names=True)
    assert "adelaide" in board.read_text()
    with Ledger(school.out) as ledger:
        instructor.give(ledger, school.exercise, school.out, "adelaide", ManualPoints(3))
    assert "adelaide" in board.read_text()
    export = ["export", str(school.out), "--to", "class"]
    assert invoke([*export, "--pseudonyms"]) == 0
    assert "adelaide" not in board.read_text()
    assert invoke(export) == 0
    assert "adelaide" in board.read_text()
    grade(school, device="auto", real_names=False)
    assert "adelaide" not in board.read_text()
