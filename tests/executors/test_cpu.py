"""Submissions through the whole of the CPU executor: child, compiler, engine."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from grader.compile.cache import Cache
from grader.executors import open_cpu
from grader.launching.plan import LAUNCH_BYTES
from grader.model.execution import Compilation, Executor, Invocation, LaunchConfig, Outcome
from grader.model.exercise import Array
from grader.sandbox import ChildMemory, ChildTimeout
from grader.sandbox.child import Child
from grader.sandbox.process import Process

ROOT = Path(__file__).parents[2]

SOURCE = b"""\
#include "grader.cuh"

extern "C" __global__ void scale_kernel(const float* x, float* y, int n, long long offset) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = 2.0f * x[i] + (float)offset;
}

extern "C" __global__ void launch_scale(const int* sizes, int n, Launch* launch) {
    launch->grid = dim3((n + 127) / 128);
    launch->block = dim3(128);
    launch->shared_bytes = sizes[0];
    launch->workspace_bytes = launch->max_shared_bytes;
}

extern "C" __global__ void second_kernel(float* y, int n) {
    if (threadIdx.x < n) y[threadIdx.x] += 1.0f;
    if (threadIdx.x == 0) printf("first is %g\\n", y[0]);
}

extern "C" __global__ void wild_kernel(const float* x, float* y, int n) {
    y[n + threadIdx.x] = x[0];
}

extern "C" __global__ void endless_kernel(volatile int* flag) {
    while (*flag == 0) {
    }
    *flag = 2;
}

extern "C" __global__ void exotic_kernel(int* p) {
    asm volatile("brkpt;");
    p[0] = 1;
}
"""


@pytest.fixture(scope="module")
def opened() -> Iterator[tuple[Executor, Compilation]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADER_CACHE_DIR", "")
        executor = open_cpu()
    yield executor, executor.compile(SOURCE, "mine.cu")
    executor.close()


@pytest.fixture
def executor(opened: tuple[Executor, Compilation]) -> Executor:
    assert opened[1].ok, opened[1].log
    return opened[0]


def config(grid: int = 1, block: int = 1) -> LaunchConfig:
    return LaunchConfig((grid, 1, 1), (block, 1, 1))


def run(executor: Executor, kernel: str, arguments: tuple[str | tuple[int, int], ...], *arrays: Array,
        launch: LaunchConfig | None = None, deadline: float = 60) -> Outcome:  # fmt: skip
    return executor.run((Invocation(kernel, launch or config(), arguments),), arrays, deadline=deadline)


def test_the_compilation_names_kernels_and_what_they_take(opened: tuple[Executor, Compilation]) -> None:
    compilation = opened[1]
    assert compilation.ok
    assert not compilation.cached
    assert [(k.name, k.parameter_bytes, k.line) for k in compilation.kernels[:2]] == [
        ("scale_kernel", (8, 8, 4, 8), 3),
        ("launch_scale", (8, 4, 8), 8),
    ]
    assert all(k.resources and k.resources.registers > 0 for k in compilation.kernels)


def test_a_kernel_runs(executor: Executor) -> None:
    x = np.linspace(-1, 1, 1000, dtype=np.float32)
    arrays = Array("x", x), Array("y", np.empty(1000, np.float32), "out")
    outcome = run(executor, "scale_kernel", ("x", "y", (1000, 4), (-3, 8)), *arrays, launch=config(8, 128))
    assert outcome.findings == ()
    np.testing.assert_array_equal(outcome.outputs["y"], 2 * x - 3)
    assert outcome.jit_seconds > 0


def test_a_launch_function_is_a_kernel_like_any(executor: Executor) -> None:
    given = np.zeros(LAUNCH_BYTES // 4, np.uint32)
    given[11] = 232448
    arrays = Array("sizes", np.array([77], np.int32)), Array("launch", given.view(np.uint8), "inout")
    outcome = run(executor, "launch_scale", ("sizes", (300, 4), "launch"), *arrays)
    assert outcome.outputs["launch"].view(np.uint32)[:12].tolist() == [
        3,
        1,
        1,
        128,
        1,
        1,
        77,
        0,
        232448,
        0,
        0,
        232448,
    ]


def test_kernels_in_a_row_see_what_the_one_before_wrote(executor: Executor) -> None:
    x = np.ones(32, np.float32)
    first = Invocation("scale_kernel", config(1, 32), ("x", "y", (32, 4), (0, 8)))
    second = Invocation("second_kernel", config(1, 32), ("y", (32, 4)))
    arrays = Array("x", x), Array("y", np.empty(32, np.float32), "out")
    outcome = executor.run((first, second), arrays, deadline=60)
    assert outcome.findings == ()
    np.testing.assert_array_equal(outcome.outputs["y"], np.full(32, 3.0, np.float32))
    assert outcome.printed == "first is 3\n"


def test_a_finding_carries_the_students_file_line_and_array(executor: Executor) -> None:
    arrays = Array("x", np.ones(4, np.float32)), Array("y", np.empty(4, np.float32), "out")
    wild = Invocation("wild_kernel", config(), ("x", "y", (4, 4)))
    outcome = executor.run((wild, wild), arrays, deadline=60)
    (finding,) = outcome.findings  # of the first; the second was not run any more
    assert (finding.kind, finding.file, finding.line) == ("out-of-bounds", "mine.cu", 21)
    assert "y[4]" in finding.message


def test_an_output_that_nothing_writes_is_no_number(executor: Executor) -> None:
    arrays = Array("x", np.ones(4, np.float32)), Array("y", np.empty(4, np.float32), "out")
    outcome = run(executor, "scale_kernel", ("x", "y", (2, 4), (0, 8)), *arrays, launch=config(1, 4))
    assert np.isnan(outcome.outputs["y"][2:]).all()


def test_an_endless_loop_is_named_before_the_deadline_kills(executor: Executor) -> None:
    start = time.monotonic()
    arrays = (Array("flag", np.zeros(1, np.int32), "inout"),)
    outcome = run(executor, "endless_kernel", ("flag",), *arrays, deadline=4)
    assert time.monotonic() - start < 30
    assert [(f.kind, f.file) for f in outcome.findings] == [("did-not-finish", "mine.cu")]
    assert outcome.findings[0].line in (25, 26)
    assert run(executor, "second_kernel", ("y", (1, 4)), Array("y", np.ones(1, np.float32), "inout")).findings == ()


def test_an_instruction_the_engine_does_not_know_is_named(executor: Executor) -> None:
    outcome = run(executor, "exotic_kernel", ("p",), Array("p", np.zeros(1, np.int32), "inout"))
    assert outcome.findings == ()
    assert outcome.unsupported
    assert "brkpt" in outcome.unsupported.message
    assert (outcome.unsupported.kind, outcome.unsupported.line) == ("unsupported-instruction", 31)
    assert outcome.unsupported.file == "mine.cu"


def test_a_failed_compilation_is_an_answer_and_the_next_one_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADER_CACHE_DIR", str(tmp_path))
    with open_cpu() as child:
        failed = child.compile(b"__global__ void k() { nothing(); }", "a.cu")
        assert (failed.ok, failed.findings[0].file, failed.findings[0].line) == (False, "a.cu", 1)
        assert child.compile(SOURCE, "b.cu").ok
    with open_cpu() as child:
        assert child.compile(b"__global__ void k() { nothing(); }", "c.cu").findings[0].file == "c.cu"
        assert child.compile(SOURCE, "d.cu").cached
        y = np.ones(1, np.float32)
        outcome = run(child, "second_kernel", ("y", (1, 4)), Array("y", y, "inout"))
        assert outcome.outputs["y"] == 2


def test_a_compile_bomb_ends() -> None:
    bomb = b"#define A0 p[0] += 1;\n" + b"".join(
        b"#define A%d %s\n" % (i, b"A%d " % (i - 1) * 10) for i in range(1, 9)
    )
    process = Process("grader.executors.cpu")
    with (
        Child(process, "cpu", cache=Cache(None), compile_seconds=1.0) as child,
        pytest.raises((ChildTimeout, ChildMemory)),
    ):
        child.compile(bomb + b"__global__ void k(int* p) { A8 }\n", "bomb.cu")


def test_nothing_comes_before_the_compiler_that_it_can_do_without() -> None:
    """Nor does the compiler need CuPy, which can be loaded later all the same."""
    program = (
        "import sys\n"
        "import grader.executors.cpu\n"
        "from grader.compile import compiler, recipe\n"
        "heavy = {'numpy', 'cupy', 'llvmlite', 'grader.ptx'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert compiler.compile_text('__global__ void k() {}', recipe.PTX_ARCH).ptx\n"
        "assert not [name for name in sys.modules if name.startswith('cupy.') or name == 'cupy']\n"
        "import cupy\n"
        "assert cupy.ndarray and cupy._environment\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
