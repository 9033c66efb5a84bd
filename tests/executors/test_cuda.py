"""Submissions through the whole of the CUDA executor: child, compiler, GPU."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from grader.executors import open_cuda
from grader.executors.cuda_child import CudaChild
from grader.model.execution import Invocation, LaunchConfig, Outcome
from grader.model.exercise import Array
from grader.sandbox import ChildTimeout

pytestmark = pytest.mark.gpu

N = 100
SOURCE = """
__device__ int counter;
extern "C" __global__ void double_kernel(const float* x, float* y, long long n) {
    extern __shared__ float shared[];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    BODY
    if (i < n) y[i] = 2 * x[i];
}
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CudaChild]:
    monkeypatch.setenv("GRADER_CACHE_DIR", str(tmp_path / "cache"))
    with open_cuda() as opened:
        yield opened


def run(child: CudaChild, body: str = "", *, shared_bytes: int = 0, deadline: float = 20) -> Outcome:
    compilation = child.compile(SOURCE.replace("BODY", body).encode(), "mine.cu")
    assert compilation.ok, compilation.log
    x = np.arange(N, dtype=np.float32)
    arrays = (Array("x", x), Array("y", np.empty_like(x), "out"))
    config = LaunchConfig((2, 1, 1), (64, 1, 1), shared_bytes)
    return child.run((Invocation("double_kernel", config, ("x", "y", (N, 8))),), arrays, deadline=deadline)


def kinds(outcome: Outcome) -> list[str]:
    return [finding.kind for finding in outcome.findings]


def test_describes_a_gpu_that_the_grader_supports(child: CudaChild) -> None:
    gpu = child.describe()
    assert gpu.compute_capability >= (8, 0)
    assert gpu.sm_count > 0
    assert gpu.max_shared_bytes >= 48 << 10
    assert 1e11 < gpu.memory_bytes_per_second < 1e14
    assert 1e8 < gpu.clock_hz < 1e10


def test_runs_right_over_both_kinds_of_rubbish(child: CudaChild) -> None:
    outcome = run(child)
    assert kinds(outcome) == []
    for outputs in (outcome.outputs, outcome.again):
        np.testing.assert_array_equal(outputs["y"], 2 * np.arange(N, dtype=np.float32))


def test_what_is_never_written_holds_another_rubbish_each_time(child: CudaChild) -> None:
    outcome = run(child, "if (i == 3) return;")
    assert np.isnan(outcome.outputs["y"][3])
    assert outcome.again["y"][3] == np.frombuffer(b"\x4b" * 4, np.float32)[0]


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("if (i == 0) y[n + 4] = 1;", "out-of-bounds", "outside y: 4 bytes, the first 16 bytes past the end"),
        ("if (i == 0) y[-1] = 1;", "out-of-bounds", "before the start"),
        ("if (i == 0) y[1ll << 40] = 1;", "out-of-bounds", "double_kernel accessed an address"),
        ("*(float4*)(y + 1) = float4();", "misaligned-access", "not a multiple of the access"),
        ("const_cast<float*>(x)[7] = 1;", "read-only-write", "changed the input x, first at element 7"),
        ("atomicAdd(&counter, 1);", "read-only-write", "the __device__ variable counter"),
        ("if (i == 0) __trap();", "out-of-bounds", "after an access outside shared memory, or a trap"),
    ],
)
def test_a_mistake_is_a_finding(child: CudaChild, body: str, kind: str, words: str) -> None:
    outcome = run(child, body)
    assert kinds(outcome) == [kind]
    assert words in outcome.findings[0].message


def test_a_loop_without_end_costs_its_own_process_only(child: CudaChild) -> None:
    start = time.monotonic()
    with pytest.raises(ChildTimeout):
        run(child, "while (*(volatile float*)x == 0) {}", deadline=2)
    assert time.monotonic() - start < 30
    with open_cuda() as fresh:
        assert kinds(run(fresh)) == []


def test_a_block_may_have_all_the_shared_memory_of_the_device(child: CudaChild) -> None:
    most = child.describe().max_shared_bytes
    body = f"shared[{most // 4 - 1}] = 1; if (shared[{most // 4 - 1}] != 1) return;"
    assert kinds(run(child, body, shared_bytes=most)) == []


def test_a_launch_function_sees_the_device_at_hand(child: CudaChild) -> None:
    source = """#include "grader.cuh"
    extern "C" __global__ void launch_double(Launch* launch) {
        launch->grid = dim3(launch->sm_count);
        launch->block = dim3(launch->max_shared_bytes);
    }"""
    assert child.compile(source.encode(), "mine.cu").ok
    given = np.frombuffer(struct.pack("<3I3IIiQii", 0, 0, 0, 0, 0, 0, 0, 0, 0, 77, 1234), np.uint8).copy()
    invocation = Invocation("launch_double", LaunchConfig(), ("launch",))
    outcome = child.run((invocation,), (Array("launch", given, "inout"),), deadline=20)
    assert struct.unpack("<6I", outcome.outputs["launch"].tobytes()[:24]) == (77, 1, 1, 1234, 1, 1)


def test_a_submission_that_was_compiled_before_is_loaded(child: CudaChild) -> None:
    run(child)
    with open_cuda() as second:
        outcome = run(second)
        assert kinds(outcome) == []
        assert second.compile(SOURCE.replace("BODY", "").encode(), "mine.cu").cached


def test_a_workspace_is_as_it_was_when_the_second_run_begins(child: CudaChild) -> None:
    """A queue in the workspace that the first run emptied would leave the second nothing to do."""
    source = """extern "C" __global__ void queue_kernel(float* y, void* workspace) {
        y[atomicAdd((int*)workspace, 1)] = 1;
    }"""
    assert child.compile(source.encode(), "mine.cu").ok
    arrays = (Array("y", np.empty(32, np.float32), "out"), Array("workspace", np.zeros(64, np.uint8), "inout"))
    config = LaunchConfig((1, 1, 1), (32, 1, 1))
    outcome = child.run((Invocation("queue_kernel", config, ("y", "workspace")),), arrays, deadline=20)
    assert kinds(outcome) == []
    assert (outcome.outputs["y"] == 1).all()
    assert (outcome.again["y"] == 1).all()
    assert outcome.outputs["workspace"][0] == 32
