"""What is advised follows a finding's data: the engine makes the findings here, without its words."""

from __future__ import annotations

import numpy as np
import pytest

from grader import ptx
from grader.compile.compiler import compile_text
from grader.compile.recipe import PTX_ARCH
from grader.grading import hints
from grader.model.details import Detail, Role
from grader.model.result import Check, Finding, Status
from grader.ptx import facts
from grader.reports.kinds import FINER, KINDS, next_step, title
from tests.ptx.test_findings import run


def as_data(report: ptx.Report) -> Finding:
    """As a Result carries it, without a word."""
    return Finding(report.kind, report.file, report.line, "", detail=report.detail, array=report.array)


def advised(kind: str, body: str, *, grid: int = 1) -> str:
    """The next step for the first finding of this kernel, which is of that kind."""
    found = run(body, grid=grid, shared=256, workers=1).findings[0]
    assert found.kind == kind, found
    return next_step(as_data(found))


def test_every_detail_of_the_engine_is_one_of_a_finding() -> None:
    assert {detail.value for detail in facts.Detail} - {""} < {detail.value for detail in Detail}
    assert {"other-access", "call", "copy", "wait"} < {role.value for role in Role}


def test_the_table_speaks_of_kinds_and_details_that_there_are() -> None:
    assert {kind for kind, _ in FINER} <= set(KINDS)
    assert {detail for _, detail in FINER} <= {detail.value for detail in Detail}


@pytest.mark.parametrize("detail", [Detail.STUCK_MBARRIER, Detail.MBARRIER_MISUSE])
def test_a_stuck_or_misused_mbarrier_is_counted(detail: Detail) -> None:
    step = next_step(Finding("barrier-divergence", "a.cu", 3, "", detail=detail))
    assert "mbarrier" in step
    assert "__syncthreads" not in step


@pytest.mark.parametrize(
    "body",
    [
        "if (t < 32) return; __syncthreads();",
        "if (t < 32) { __syncthreads(); out[t] = 1; __syncthreads(); } else __syncthreads();",
        'asm volatile("bar.sync 1, 96;");',
    ],
)
def test_syncthreads_is_no_mbarrier(body: str) -> None:
    step = advised("barrier-divergence", body)
    assert "__syncthreads" in step
    assert "mbarrier" not in step


def test_a_race_within_a_block_wants_a_barrier() -> None:
    step = advised("race", "__shared__ int s[64]; s[t] = t; out[t] = s[63 - t];")
    assert step.startswith("Put a __syncthreads() between the two accesses")
    assert "atomics" not in step


@pytest.mark.parametrize("body", ["out[0] = blockIdx.x;", "if (blockIdx.x) out[t] = 1; else state[t] = out[t] = 2;"])
def test_a_race_between_blocks_wants_no_barrier(body: str) -> None:
    step = advised("race", f"if (t == 0) {{ {body} }}", grid=2)
    assert "only one block" in step
    assert "__syncthreads" not in step


@pytest.mark.parametrize(
    "reader",
    [
        "if (blockIdx.x) out[t] = state[t]; else state[t] = 1;",
        "if (t == 0) out[blockIdx.x] = state[0];\nif (t == 0) state[0] = 1;",
    ],
)
def test_who_reads_what_another_block_stores_wants_a_signal_or_an_atomic(reader: str) -> None:
    step = advised("race", reader, grid=2)
    assert "atomicAdd" in step
    assert "__threadfence() and __syncthreads()" in step


@pytest.mark.parametrize(
    ("body", "grid"),
    [
        ("if (t == 0) state[0] += 1;", 2),
        ("__shared__ int s; if (!t) s = 0;\n__syncthreads();\ns += in[t];\n__syncthreads(); out[t] = s;", 1),
        ("__shared__ int s; if (!t) s = 0;\n__syncthreads();\ns = max(s, in[t]);\n__syncthreads(); out[t] = s;", 1),
    ],
)
def test_an_update_that_is_not_atomic_is_not_sent_to_a_barrier(body: str, grid: int) -> None:
    step = advised("race", body, grid=grid)
    assert "atomicAdd" in step
    assert "__syncthreads" not in step


def test_a_matrix_product_without_some_lanes_is_told_of_no_mask() -> None:
    """mma.sync has none."""
    product = """
        if (t % 32 > 27) return;
        int c[4] = {}; unsigned a[4] = {}, b[2] = {};
        asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                     "{%0, %1, %2, %3};" : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
        out[t] = c[0];"""
    found = run(product, workers=1).findings[0]
    assert (found.kind, found.detail) == ("collective-mismatch", "whole-warp")
    assert "needs all 32 lanes" in found.message
    assert "mask" not in found.message + next_step(as_data(found))


ANY_NAME = """extern "C" __global__ void k(int* NAME) { if (threadIdx.x == 0) NAME[0] = blockIdx.x; }"""


@pytest.mark.parametrize("name", ["out", "threads_done", "dynamic_shared_memory", "mbarrier"])
def test_what_an_array_is_called_changes_neither_next_step_nor_hint(name: str) -> None:
    """Two blocks write one element: a read, a launch or an mbarrier has nothing to do with it."""
    compiled = compile_text(ANY_NAME.replace("NAME", name), PTX_ARCH)
    buffer = ptx.Buffer(name, np.zeros(64, np.int32), writable=True)
    ran = ptx.Program(ptx.parse(compiled.ptx)).run("k", grid=(2, 1, 1), block=(32, 1, 1), arguments=[buffer])
    (report,) = ran.findings
    finding = Finding(report.kind, "a.cu", report.line, report.message, detail=report.detail, array=report.array)
    assert finding.array == name
    assert "only one block" in next_step(finding)
    known = frozenset({"race-between-blocks", "out-of-range-rows", "wrong-launch"})
    check = hints.give(Check("memory[a]", Status.FAILED, findings=(finding,)), known - {"race-between-blocks"})
    assert check.findings[0].hint == "out-of-range-rows"  # a read would have none of these


def test_a_kernel_with_barriers_of_its_own_is_not_sent_to_syncthreads() -> None:
    some = 'if (t < 32) asm volatile("bar.sync 1, 32;" ::: "memory");'
    step = advised("race", f"__shared__ int s[64]; s[t] = t; {some} out[t] = s[63 - t];")
    assert "how many threads it counts" in step
    assert "__syncthreads" not in step


@pytest.mark.parametrize(
    "loop", ["while (atomicAdd(state, 0) == 0) {}", "volatile int* s = state; while (*s == 0) {}"]
)
def test_a_loop_that_waits_for_others_is_told_from_one_without_an_end(loop: str) -> None:
    assert "which thread should store" in advised("did-not-finish", loop)
    assert "the counter" in advised("did-not-finish", "for (int i = 0; i >= 0; i = (i + 1) % 9) out[t] = i;")


COPY = """
    __shared__ __align__(16) int s[64];
    unsigned to = (unsigned)__cvta_generic_to_shared(s + 4 * (t % 16));
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16; cp.async.commit_group; cp.async.wait_group 1;"
                 :: "r"(to), "l"(in + 4 * (t % 16)) : "memory");
    __syncthreads(); out[t] = s[t];"""


def test_who_reads_before_a_copy_has_arrived_is_told_to_wait_for_it() -> None:
    found = run(COPY, workers=1).findings[0]
    assert "but the copy that starts on line 7 has not been waited for" in found.message
    assert title(as_data(found)) == "Read before its copy has arrived"
    assert "cp.async.wait_group" in next_step(as_data(found))


def test_a_wait_without_an_end_at_an_mbarrier_is_called_so() -> None:
    stuck = Finding("barrier-divergence", "a.cu", 3, "", detail=Detail.STUCK_MBARRIER)
    assert title(stuck) == "Waits forever at an mbarrier"
    assert title(Finding("barrier-divergence", "a.cu", 3, "")).startswith("Not every")


def test_a_race_within_a_block_is_told_before_one_between_blocks() -> None:
    found = run("__shared__ int s[64]; s[t] = t; out[t] = s[63 - t] + blockIdx.x;", grid=2, workers=1).findings
    assert [one.detail for one in found] == ["", "between-blocks"]


def test_an_atomic_of_block_scope_is_one_of_too_few() -> None:
    assert "without _block" in advised("race", "atomicAdd_block(state, 1);", grid=2)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("out[t + 1] = 0;", "run past the end"),
        ("out[t - 1] = 0;", "fall below 0"),
        ("extern __shared__ int s[]; out[t] = s[t - 32768];", "fall below 0"),
        ("extern __shared__ int s[]; s[t + 1] = t;", "launch->shared_bytes"),
        ("*(int*)(in[t] * 8L + 8) = 0;", "where this pointer comes from"),
    ],
)
def test_an_index_is_looked_for_on_the_side_where_it_leaves(body: str, says: str) -> None:
    assert says in advised("out-of-bounds", body)


def test_an_output_that_is_read_first_is_told_from_a_tile_with_a_gap() -> None:
    assert "C[i] = sum" in advised("uninitialised-read", "out[t] += 1;")
    assert "part of the tile" in advised(
        "uninitialised-read", "__shared__ int s[64]; if (t) s[t] = t; out[t] = s[t];"
    )


def test_a_null_pointer_that_is_followed_is_what_the_compiler_makes_a_trap() -> None:
    assert "null pointer" in advised("trap", "int* p = nullptr; if (t == 3) out[0] = *p;")


def test_a_failed_assertion_is_called_so() -> None:
    found = run("assert(in[t] < 63); out[t] = t;", before="#include <cassert>\n", workers=1).findings[0]
    assert title(as_data(found)) == "Assertion failed"
