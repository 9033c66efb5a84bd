"""Ctrl-C and SIGTERM on a real grade run with a real child."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GRADE = [sys.executable, "-c", "from grader.cli import main; main()"]
# It keeps storing something new, so it takes a while to be found endless.
ENDLESS = b"""#include "grader.cuh"
extern "C" __global__ void grouped_gemm_kernel(const float* A, const float* B, float* C, const int* offsets,
                                               const int* M_sizes, int K, int N, int num_groups) {
    for (unsigned i = 1; i; ++i) C[i % 7] = i;
}
extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    launch->grid = dim3(1);
    launch->block = dim3(1);
}
"""


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in listed for child in file.read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int) -> bool:
    """Soon: a child that was only just starting finds by itself that its parent has died."""
    deadline = time.monotonic() + 3
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pid)


def wait_for_child(pid: int) -> int:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = children(pid)
        if found:
            return found[0]
        time.sleep(0.01)
    raise AssertionError("no child was started")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to see children")
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("after", [0.0, 0.5, 1.0])
def test_stops_at_once_and_leaves_no_child(tmp_path: Path, sent: signal.Signals, status: int, after: float) -> None:
    (tmp_path / "endless.cu").write_bytes(ENDLESS)
    process = subprocess.Popen(
        [*GRADE, "run", "1", str(tmp_path / "endless.cu")],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    child = wait_for_child(process.pid)
    time.sleep(after)
    process.send_signal(sent)
    stopped = time.monotonic()
    _, errors = process.communicate(timeout=20)
    assert time.monotonic() - stopped < 5
    assert process.returncode == status
    assert "Traceback" not in errors
    assert gone(child)
