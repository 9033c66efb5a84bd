"""What is advised follows the engine's own words, so the engine says them here."""

from __future__ import annotations

import pytest

from grader.ptx import asynchronous
from grader.ptx.machine import Kind, Misuse
from reports.kinds import next_step, title
from tests.ptx.test_findings import run

WHO = "thread (0,0,0) of block (0,0,0)"
MBARRIER = [(Kind.STUCK_PHASE, 2 << 32), (Kind.STUCK_PHASE, 16), *((Kind.MISUSE, misuse) for misuse in Misuse)]


def advised(kind: str, body: str, *, grid: int = 1) -> str:
    """The next step for the first finding of this kernel, which is of that kind."""
    found = run(body, grid=grid, shared=256, workers=1).findings[0]
    assert found.kind == kind, found
    return next_step(found.kind, found.message)


@pytest.mark.parametrize(("kind", "other"), MBARRIER)
def test_a_stuck_or_misused_mbarrier_is_counted(kind: Kind, other: int) -> None:
    step = next_step("barrier-divergence", asynchronous.message(kind, WHO, "bar[0]", other, 7))
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
    assert step.startswith("Within a block: a __syncthreads()")
    assert "atomics" not in step


@pytest.mark.parametrize("body", ["out[0] = blockIdx.x;", "if (blockIdx.x) out[t] = 1; else state[t] = out[t] = 2;"])
def test_a_race_between_blocks_wants_no_barrier(body: str) -> None:
    step = advised("race", f"if (t == 0) {{ {body} }}", grid=2)
    assert "one block alone" in step
    assert "__syncthreads" not in step


@pytest.mark.parametrize(
    "reader", ["if (blockIdx.x) out[t] = state[t]; else state[t] = 1;", "if (t == 0) state[0] += 1;"]
)
def test_who_reads_what_another_block_stores_wants_a_signal_or_an_atomic(reader: str) -> None:
    step = advised("race", reader, grid=2)
    assert "atomicAdd" in step
    assert "__threadfence() and __syncthreads()" in step


def test_a_kernel_with_barriers_of_its_own_is_not_sent_to_syncthreads() -> None:
    some = 'if (t < 32) asm volatile("bar.sync 1, 32;" ::: "memory");'
    step = advised("race", f"__shared__ int s[64]; s[t] = t; {some} out[t] = s[63 - t];")
    assert "how many threads it counts" in step
    assert "__syncthreads" not in step


@pytest.mark.parametrize(
    "loop", ["while (atomicAdd(state, 0) == 0) {}", "volatile int* s = state; while (*s == 0) {}"]
)
def test_a_loop_that_waits_for_others_is_told_from_one_without_an_end(loop: str) -> None:
    assert "who should store" in advised("did-not-finish", loop)
    assert "its counter" in advised("did-not-finish", "for (int i = 0; i >= 0; i = (i + 1) % 9) out[t] = i;")


COPY = """
    __shared__ __align__(16) int s[64];
    unsigned to = (unsigned)__cvta_generic_to_shared(s + 4 * (t % 16));
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16; cp.async.commit_group; cp.async.wait_group 1;"
                 :: "r"(to), "l"(in + 4 * (t % 16)) : "memory");
    __syncthreads(); out[t] = s[t];"""


def test_who_reads_before_a_copy_has_arrived_is_told_to_wait_for_it() -> None:
    found = run(COPY, workers=1).findings[0]
    assert title(found.kind, found.message) == "Read before its copy has arrived"
    assert "cp.async.wait_group" in next_step(found.kind, found.message)


def test_a_wait_without_an_end_at_an_mbarrier_is_called_so() -> None:
    message = asynchronous.message(Kind.STUCK_PHASE, WHO, "bar[0]", 2 << 32, 7)
    assert title("barrier-divergence", message) == "Waits for ever at an mbarrier"
    assert title("barrier-divergence", "32 threads of the block never reach this barrier").startswith("Not every")


def test_a_race_within_a_block_is_told_before_one_between_blocks() -> None:
    found = run("__shared__ int s[64]; s[t] = t; out[t] = s[63 - t] + blockIdx.x;", grid=2, workers=1).findings
    assert ["blocks run in any order" in one.message for one in found] == [False, True]


def test_an_atomic_of_block_scope_is_one_of_too_few() -> None:
    assert "without _block" in advised("race", "atomicAdd_block(state, 1);", grid=2)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("out[t + 1] = 0;", "grow past the end"),
        ("out[t - 1] = 0;", "fall below 0"),
        ("extern __shared__ int s[]; out[t] = s[t - 32768];", "fall below 0"),
        ("*(int*)(in[t] * 8L + 8) = 0;", "where this pointer comes from"),
    ],
)
def test_an_index_is_looked_for_on_the_side_where_it_leaves(body: str, says: str) -> None:
    assert says in advised("out-of-bounds", body)


def test_a_null_pointer_that_is_followed_is_what_the_compiler_makes_a_trap() -> None:
    assert "null pointer" in advised("trap", "int* p = nullptr; if (t == 3) out[0] = *p;")
