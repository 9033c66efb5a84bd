"""Pipelines over mbarriers: mistakes in correct kernels are found, and generated code agrees with the interpreter."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import pytest

from grader import ptx
from grader.compile.compiler import compile_text
from grader.compile.recipe import PTX_ARCH
from grader.launching.plan import LAUNCH_BYTES
from grader.ptx.definition import interpreter
from tests.ptx.test_findings import run

FOLDER = Path(__file__).parents[1] / "kernels" / "correct"

# (kernel, what stands there, what somebody writes instead, the finding's kind)
MISTAKES = {
    "copies: no wait for a full tile": (
        "mbarrier_cp_async", "wait(&full[stage], step / STAGES & 1);", "", "uninitialised-read"
    ),
    "copies: no wait for an empty tile": (
        "mbarrier_cp_async", "wait(&empty[stage], (step / STAGES & 1) ^ 1);", "", "race"
    ),
    "copies: the parity of an empty tile is that of a full one": (
        "mbarrier_cp_async", "(step / STAGES & 1) ^ 1", "step / STAGES & 1", "barrier-divergence"
    ),
    "copies: nobody says that a tile is empty": (
        "mbarrier_cp_async", "arrive(&empty[stage]);", "", "barrier-divergence"
    ),
    "copies: the arrivals are not counted on": (
        "mbarrier_cp_async", "arrive.noinc.shared", "arrive.shared", "barrier-divergence"
    ),
    "copies: no barrier after the start": (
        "mbarrier_cp_async", "__syncthreads();", "", "race"
    ),
    "bulk: no wait for a full tile": (
        "bulk_copy_specialised", "wait(&full[s], step / STAGES & 1);", "", "uninitialised-read"
    ),
    "bulk: only the first tile is waited for": (
        "bulk_copy_specialised", "wait(&full[s], step / STAGES & 1);", "if (step == 0) wait(&full[0], 0);", "race"
    ),
    "bulk: one warp of four does not wait": (
        "bulk_copy_specialised", "wait(&full[s], step / STAGES & 1);",
        "if (t < 96) wait(&full[s], step / STAGES & 1); else if (step == 0) wait(&full[0], 0);", "race"
    ),
    "bulk: no wait for an empty tile": (
        "bulk_copy_specialised", "wait(&empty[s], (step / STAGES & 1) ^ 1);", "", "barrier-divergence"
    ),
    "bulk: the parity never changes": (
        "bulk_copy_specialised", "wait(&full[s], step / STAGES & 1);", "wait(&full[s], 0);", "barrier-divergence"
    ),
    "bulk: too many bytes are expected": (
        "bulk_copy_specialised", "TILE_BYTES = (ROWS + STEP)", "TILE_BYTES = (ROWS + 2 * STEP)", "barrier-divergence"
    ),
    "bulk: too few bytes are expected": (
        "bulk_copy_specialised", "TILE_BYTES = (ROWS + STEP)", "TILE_BYTES = ROWS", "race"
    ),
    "bulk: four warps arrive where one is counted on": (
        "bulk_copy_specialised", "init(&empty[s], CONSUMERS / 32);", "init(&empty[s], 1);", "barrier-divergence"
    ),
    "bulk: one warp of four says that a tile is empty": (
        "bulk_copy_specialised", "if (lane == 0) arrive(&empty[s]);",
        "if (t == 0) for (int i = 0; i < 4; ++i) arrive(&empty[s]);", "race"
    ),
    "bulk: no proxy fence": (
        "bulk_copy_specialised", "fence.proxy.async.shared::cta;", "", "race"
    ),
    "bulk: no wait for the stores": (
        "bulk_copy_specialised", "\\ncp.async.bulk.wait_group.read 0;", "", "race"
    ),
    "bulk: rows beside the alignment": (
        "bulk_copy_specialised", "float A[ROWS][STEP], B", "float A[ROWS][STEP + 1], B", "misaligned-access"
    ),
    "cuda::barrier: the arrival comes before the reads": (
        "cuda_barrier", "request(k0 + STEP, now ^ 1);",
        "request(k0 + STEP, now ^ 1), token = ready[now ^ 1].arrive();", "race"
    ),
    "cuda::barrier: more threads than there are": (
        "cuda_barrier", "init(&ready[t], THREADS)", "init(&ready[t], THREADS + 32)", "barrier-divergence"
    ),
    "cuda::pipeline: no wait": (
        "cuda_pipeline_shared", "pipeline.consumer_wait();", "", "uninitialised-read"
    ),
    "cuda::pipeline: no release": (
        "cuda_pipeline_shared", "pipeline.consumer_release();", "", "barrier-divergence"
    ),
}  # fmt: skip


ROWS, K, N = 40, 128, 32  # one group; two blocks, a ring that goes round


@cache
def source(kernel: str) -> str:
    return (FOLDER / f"{kernel}.cu").read_text(encoding="utf-8")


def compiled(text: str) -> ptx.Module:
    result = compile_text(text, PTX_ARCH)
    assert result.compilation.ok, result.compilation.log
    return ptx.parse(result.ptx)


@dataclass(frozen=True)
class Problem:
    """One group of `rows` rows, and where its launch function wants it."""

    module: ptx.Module
    rows: int = ROWS
    k: int = K
    n: int = N

    @cached_property
    def inputs(self) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(3)
        a, b = (random.uniform(-1, 1, shape).astype(np.float32) for shape in ((self.rows, self.k), (self.k, self.n)))
        return a, b

    @cached_property
    def launch(self) -> list[int]:
        """Grid, block, bytes of shared memory."""
        launch = np.zeros(LAUNCH_BYTES // 4, np.uint32)
        arguments = [np.array([self.rows], np.int32), self.k, self.n, 1, launch]
        interpreter.run(self.module, "launch_grouped_gemm", (1, 1, 1), (1, 1, 1), arguments)
        return launch[:7].tolist()

    def run(self) -> tuple[tuple[ptx.Report, ...], np.ndarray]:
        """Findings and C."""
        a, b = self.inputs
        c = np.full((self.rows, self.n), np.nan, np.float32)
        buffers = [
            ptx.Buffer("A", a),
            ptx.Buffer("B", b),
            ptx.Buffer("C", c, writable=True, initialised=False),
            ptx.Buffer("offsets", np.array([0, self.rows], np.int32)),
            ptx.Buffer("rows", np.array([self.rows], np.int32)),
        ]
        *sizes, shared = self.launch
        execution = ptx.Program(self.module).run(
            "grouped_gemm_kernel",
            grid=tuple(sizes[:3]),
            block=tuple(sizes[3:]),
            shared_bytes=shared,
            arguments=[*buffers, self.k, self.n, 1],
            workers=1,
        )
        return execution.findings, c

    def interpreted(self) -> np.ndarray:
        a, b = self.inputs
        c = np.zeros((self.rows, self.n), np.float32)
        *sizes, shared = self.launch
        ints = [np.array([0, self.rows], np.int32), np.array([self.rows], np.int32), self.k, self.n, 1]
        grid, block = tuple(sizes[:3]), tuple(sizes[3:])
        interpreter.run(self.module, "grouped_gemm_kernel", grid, block, [a, b, c, *ints], shared)
        return c


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_pipeline_is_found(name: str) -> None:
    kernel, right, wrong, kind = MISTAKES[name]
    text = source(kernel)
    assert right in text
    findings, _ = Problem(compiled(text.replace(right, wrong))).run()
    assert kind in {f.kind for f in findings}, findings
    assert all(f.line > 0 and f.file == findings[0].file for f in findings)


def test_generated_code_gives_the_bits_of_the_interpreter_for_copies() -> None:
    agree(Problem(compiled(source("mbarrier_cp_async")), rows=3, k=48, n=16))


def test_generated_code_gives_the_bits_of_the_interpreter_for_bulk_copies() -> None:
    text = source("bulk_copy_specialised")
    smaller = text.replace("ROWS = 64", "ROWS = 32").replace("CONSUMERS = 128", "CONSUMERS = 64")
    assert smaller != text
    agree(Problem(compiled(smaller), rows=3, k=64, n=16))


def agree(problem: Problem) -> None:
    findings, c = problem.run()
    assert findings == ()
    assert c.view(np.uint32).tolist() == problem.interpreted().view(np.uint32).tolist()
    a, b = problem.inputs
    assert np.allclose(c, a.astype(np.float64) @ b, atol=1e-4)


LIBRARY = """
#include <cooperative_groups.h>
#include <cuda/barrier>
#include <cuda/pipeline>
#pragma nv_diag_suppress static_var_with_dynamic_init
constexpr auto BLOCK = cuda::thread_scope_block;
"""


def test_what_libcudacxx_makes_of_a_block_wide_copy_and_of_roles() -> None:
    body = """
        __shared__ __align__(128) int whole[64], half[2][32];
        __shared__ cuda::barrier<BLOCK> bar;
        __shared__ cuda::pipeline_shared_state<BLOCK, 2> stages;
        auto block = cooperative_groups::this_thread_block();
        if (t == 0) init(&bar, blockDim.x);
        __syncthreads();
        cuda::memcpy_async(block, whole, in, cuda::aligned_size_t<16>(sizeof(whole)), bar);  // in bulk
        bar.arrive_and_wait();
        const bool produces = t < 32;
        auto pipe = cuda::make_pipeline(
            block, &stages, produces ? cuda::pipeline_role::producer : cuda::pipeline_role::consumer);
        int sum = 0;
        for (int i = 0; i < 6; ++i)
            if (produces) {
                pipe.producer_acquire();
                cuda::memcpy_async(&half[i & 1][t], in + t + i, sizeof(int), pipe);
                pipe.producer_commit();
            } else {
                pipe.consumer_wait(); sum += half[i & 1][63 - t]; pipe.consumer_release();
            }
        out[t] = produces ? whole[63 - t] : sum + whole[t];"""
    ran = run(body, before=LIBRARY)
    assert ran.findings == ()
    t = np.arange(64)
    assert (ran.out == np.where(t < 32, 63 - t, 6 * (63 - t) + 15 + t)).all()
