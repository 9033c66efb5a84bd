"""One real batch: the real compiler, the real engine, children of their own."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grader.batch.ledger import FILE, Ledger

ROOT = Path(__file__).parents[2]
EXERCISE = ROOT / "exercises" / "01_simple_grouped_gemm"
CLASS = {
    "ada": EXERCISE / "solution.cu",
    "bob": EXERCISE / "wrong" / "no_column_bound.cu",
    "cyd": EXERCISE / "wrong" / "syntax_error.cu",
}


def command(folder: Path) -> list[str]:
    grade = [sys.executable, "-m", "grader", "batch", str(folder / "submissions"), "--out", str(folder / "out")]
    return [*grade, "--exercise", "1", "--exercises", str(ROOT / "exercises"), "--device", "cpu", "--seed", "7"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for student, file in CLASS.items():
        (tmp_path / "submissions" / student).mkdir(parents=True)
        (tmp_path / "submissions" / student / "starter.cu").write_bytes(file.read_bytes())
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"GRADER_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(ROOT)}


def test_killed_and_resumed_the_grades_are_those_of_grade_run(folder: Path) -> None:
    process = subprocess.Popen(
        command(folder), env=environment(folder), stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if (folder / "out" / FILE).exists() and (folder / "cache").exists():  # something has been compiled
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(0.01)
    assert process.wait() == -signal.SIGKILL
    again = subprocess.run(command(folder), env=environment(folder), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    with (folder / "out" / "gradebook.csv").open() as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "ada": "incomplete",
        "bob": "failed",
        "cyd": "failed",
    }
    assert rows["ada"]["correctness"] == "40"
    with Ledger(folder / "out") as ledger:
        assert [len(ledger.history(name)) for name in CLASS] == [1, 1, 1]
    for name in CLASS:
        report = (folder / "out" / "reports" / f"{name}.html").read_text()
        assert "starter.cu" in report
        assert "submission.cu" not in report


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_it_ends_soon_and_leaves_a_gradebook(folder: Path, sent: signal.Signals, status: int) -> None:
    process = subprocess.Popen(
        command(folder), env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (folder / "cache").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(sent)
    said, errors = process.communicate(timeout=20)
    assert process.returncode == status
    assert "Traceback" not in errors
    assert "not graded yet" in said
    assert len((folder / "out" / "gradebook.csv").read_text().splitlines()) == 1 + len(CLASS)
