"""Faults in what only some kernels use: pointers to functions, the device heap, clusters, grid.sync()."""

from __future__ import annotations

import pytest

from grader import ptx
from tests.ptx import test_findings
from tests.ptx.test_findings import Ran

BEFORE = "#include <cooperative_groups.h>\n"


def run(body: str) -> Ran:
    return test_findings.run(body, before=BEFORE)


def kinds(body: str) -> list[tuple[str, str]]:
    return [(report.kind, report.array) for report in run(body).findings]


def test_a_write_past_the_device_heap() -> None:
    assert kinds("int* own = (int*)malloc(16); own[20000000] = t; out[t] = 1; free(own);") == [
        ("out-of-bounds", "the device heap")
    ]


def test_what_malloc_gives_is_not_set() -> None:
    assert ("uninitialised-read", "the device heap") in kinds("int* own = (int*)malloc(16); out[t] = own[1];")


def test_two_threads_race_on_the_device_heap() -> None:
    body = """
        __shared__ int* shared;
        if (t == 0) shared = (int*)malloc(16);
        __syncthreads();
        shared[0] = t;
        __syncthreads();
        out[t] = 1;"""
    assert kinds(body) == [("race", "the device heap")]


def test_more_than_the_heap_holds_is_not_judged() -> None:
    with pytest.raises(ptx.Unsupported, match="MiB of malloc"):
        run("out[t] = malloc(40000000) != nullptr;")


def test_a_call_through_a_pointer_to_no_function() -> None:
    body = """
        int (*f)(int);
        *(unsigned long long*)&f = (unsigned long long)in[t] * 1000 + 4096;
        out[t] = f(3);"""
    assert [report.kind for report in run(body).findings] == ["trap"]


def test_grid_sync_needs_a_cooperative_launch() -> None:
    (report,) = run("cooperative_groups::this_grid().sync(); out[t] = 1;").findings
    assert (report.kind, report.detail) == ("trap", "cooperative-launch")


def test_tiles_of_more_than_a_warp() -> None:
    body = """
        __shared__ int s[64];
        auto part = cooperative_groups::tiled_partition<64>(cooperative_groups::this_thread_block());
        s[t] = in[t];
        part.sync();
        out[t] = s[63 - t];"""
    assert run(body).findings == ()


def test_threads_of_a_tile_of_several_warps_exchange_values() -> None:
    before = """
        #include <cooperative_groups.h>
        #include <cooperative_groups/reduce.h>
        namespace cg = cooperative_groups;
        template <int SIZE> __device__ int check(int t) {
            auto part = cg::tiled_partition<SIZE>(cg::this_thread_block());
            bool right = part.shfl(t, 5) == t / SIZE * SIZE + 5;
            right &= cg::reduce(part, 1, cg::plus<int>()) == SIZE;
            right &= part.any(t == SIZE + 1) == (t / SIZE == 1);
            part.sync();
            return right;
        }
    """
    body = "atomicAdd(&state[t % 64], check<64>(t) + check<128>(t) + check<256>(t));"
    ran = test_findings.run(body, before=before, block=512)
    assert ran.findings == ()
    assert (ran.state == 3 * 8).all()


def test_a_tile_of_several_warps_orders_nothing_without_its_barrier() -> None:
    body = """
        __shared__ int s[64];
        auto part = cooperative_groups::tiled_partition<64>(cooperative_groups::this_thread_block());
        s[t] = part.shfl(t, 5);
        out[t] = s[63 - t];"""
    assert kinds(body) == [("race", "s")]


def test_a_parameter_cannot_be_written() -> None:
    body = """
        asm volatile("{ .reg .u64 a; mov.b64 a, k_param_0; cvta.param.u64 a, a; st.u64 [a], a; }" ::: "memory");
        out[t] = 1;"""
    assert kinds(body) == [("read-only-write", "the parameters")]
