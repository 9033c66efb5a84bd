"""The whole way with a real child, a real compiler and the real engine, on an exercise that takes no time."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader import catalog, pipeline, submission
from grader.executors import open_cpu
from grader.model.result import Result, Status, Verdict
from tests.fakes import write_exercise

SOURCE = """#include "grader.cuh"

// One block for each row, one thread for each column.
extern "C" __global__ void double_kernel(const float* x, float* y, const int* M_sizes, int cols)
{
    int i = blockIdx.x * cols + threadIdx.x;
    y[i] = 2 * x[i];
}

extern "C" __global__ void launch_double(const int* M_sizes, int cols, Launch* launch)
{
    int rows = 0;
    for (int group = 0; group < (cols == 8 ? 3 : 0); ++group)
        if (group < GROUPS) rows += M_sizes[group];
    launch->grid = dim3(rows);
    launch->block = dim3(cols);
}
"""

# The exercise has two, three and one groups; its launch function is not told, so each case is graded alone.
ORACLE_CASE = """
def required(seed):
    yield make("even", [4, 4], seed, required=True)

def extra(seed):
    return []
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path
