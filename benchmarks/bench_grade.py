"""How long a grading takes from the command line to the exit: `make bench`.

Every access checked, the four required cases and the extra ones. Cold: a new process that finds no cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

ROOT = Path(__file__).parents[1]
SUBMISSIONS = {
    "tile16": ROOT / "tests" / "kernels" / "correct" / "tile16.cu",
    "solution": ROOT / "exercises" / "01_simple_grouped_gemm" / "solution.cu",
}
SEED = "1"  # the extra cases differ from seed to seed, and with them the work
ROUNDS = 5


def grade(submission: Path, home: Path) -> None:
    home.mkdir(exist_ok=True)
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    command = [str(Path(sys.executable).with_name("grade")), "run", "1", str(submission), "--seed", SEED]
    subprocess.run(
        [*command, "--device", "cpu"], cwd=ROOT, env=environment, check=True, capture_output=True, timeout=300
    )


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_cold(benchmark: BenchmarkFixture, tmp_path: Path, name: str) -> None:
    homes = iter(range(ROUNDS))
    benchmark.pedantic(grade, setup=lambda: ((SUBMISSIONS[name], tmp_path / str(next(homes))), {}), rounds=ROUNDS)


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_again(benchmark: BenchmarkFixture, tmp_path: Path, name: str) -> None:
    benchmark.pedantic(grade, args=(SUBMISSIONS[name], tmp_path / "home"), rounds=ROUNDS, warmup_rounds=1)
