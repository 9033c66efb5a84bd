"""Clusters of several blocks: right kernels raise nothing and agree with the interpreter, wrong ones are found.

Each kernel runs in two blocks of 32 threads, which are one cluster, and gets `in` (64 ints, 0..63), `out` (64 ints)
and `state` (64 ints, zeroed). `t` is the thread, `i` its index in the grid, `r` its block's rank, `o` the other's.
The guilty line of a wrong one ends in `// <-- here`.
"""

from __future__ import annotations

import textwrap
from functools import cache

import numpy as np
import pytest

from grader import ptx
from grader.compile.compiler import compile_text
from grader.compile.recipe import PTX_ARCH
from grader.ptx.definition import interpreter

# Macros, so that a finding names the line that uses them.
HEAD = r"""
#include <cooperative_groups.h>
#define AT(p) ((unsigned)__cvta_generic_to_shared(p))
#define ASM(...) asm volatile(__VA_ARGS__ : "memory")
#define ARRIVE_ALL() asm volatile("barrier.cluster.arrive.release;" ::: "memory")
#define ARRIVE_RELAXED() asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory")
#define WAIT_ALL() asm volatile("barrier.cluster.wait.acquire;" ::: "memory")
#define SYNC_ALL() asm volatile("barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;" ::: "memory")
#define INIT_FENCE() asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory")
#define INIT(bar, n) ASM("mbarrier.init.shared.b64 [%0], %1;" :: "r"(AT(bar)), "r"(n))
#define EXPECT(bar, n) ASM("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(AT(bar)), "r"(n))
#define ARRIVE_AT(bar) ASM("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" :: "r"(bar))
#define EXPECT_AT(bar, n) \
    ASM("mbarrier.arrive.expect_tx.release.cluster.shared::cluster.b64 _, [%0], %1;" :: "r"(bar), "r"(n))
#define WAIT(bar, parity) \
    for (unsigned p = 0; !p;) \
    asm volatile("{ .reg .pred q; mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 q, [%1], %2;" \
                 " selp.u32 %0, 1, 0, q; }" : "=r"(p) : "r"(AT(bar)), "r"((unsigned)(parity)) : "memory")
#define STORE(to, value) ASM("st.shared::cluster.s32 [%0], %1;" :: "r"(to), "r"(value))
#define ADD(to, value) ASM("red.relaxed.cluster.shared::cluster.add.s32 [%0], %1;" :: "r"(to), "r"(value))
#define STORE_ASYNC(to, value, bar) \
    ASM("st.async.shared::cluster.mbarrier::complete_tx::bytes.s32 [%0], %1, [%2];" :: "r"(to), "r"(value), "r"(bar))
#define MULTICAST(to, from, n, bar, mask) \
    ASM("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster" \
        " [%0], [%1], %2, [%3], %4;" \
        :: "r"(AT(to)), "l"(from), "r"(n), "r"(AT(bar)), "h"((unsigned short)(mask)))
#define LOAD(to, from) \
    do { int v; asm volatile("ld.shared::cluster.s32 %0, [%1];" : "=r"(v) : "r"(from) : "memory"); to = v; } while (0)
using u64 = unsigned long long;
__device__ __forceinline__ unsigned mapped(const void* p, unsigned rank) {
    unsigned to;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(to) : "r"(AT(p)), "r"(rank));
    return to;
}
"""
KERNEL = """
extern "C" __global__ void __cluster_dims__(2) k{number}(const int* in, int* out, int* state) {
  auto cluster = cooperative_groups::this_cluster(); (void)cluster;
  const int t = threadIdx.x, i = blockIdx.x * 32 + t; const unsigned r = cluster.block_rank(), o = r ^ 1;
  (void)t; (void)i; (void)r; (void)o;
"""
TILE = "__shared__ int s[32];\n"
BAR = "__shared__ u64 bar; if (t == 0) INIT(&bar, {count}); INIT_FENCE(); ARRIVE_RELAXED(); WAIT_ALL();\n"


RIGHT = {
    "each block reads the other's tile": TILE
    + "s[t] = in[i]; cluster.sync(); LOAD(out[i ^ 32], mapped(s + t, o)); cluster.sync();",
    "through a pointer": TILE
    + "s[t] = in[i]; cluster.sync(); out[i ^ 32] = *cluster.map_shared_rank(s + t, o); cluster.sync();",
    "each block writes the other's tile": TILE
    + "cluster.sync(); STORE(mapped(s + t, o), in[i]); cluster.sync(); out[i ^ 32] = s[t];",
    "sums in one block's tile": TILE
    + """
        s[t] = 0; cluster.sync();
        ADD(mapped(s + t, 0), in[i]); cluster.sync();
        out[i] = r == 0 ? s[t] - in[i] - 32 : in[i]; if (r == 0) out[i] = in[i];""",
    "atomics through a pointer": TILE
    + """
        s[t] = 0; cluster.sync();
        atomicAdd(cluster.map_shared_rank(s, 0) + t, 1); cluster.sync();
        out[i] = r ? i : in[i] + s[t] - 2;""",
    "split: what is done between arriving and waiting is one's own": TILE
    + """
        s[t] = in[i]; cluster.barrier_arrive(); state[i] = in[i] * 2;
        cluster.barrier_wait(); LOAD(out[i ^ 32], mapped(s + t, o));
        cluster.barrier_arrive(); cluster.barrier_wait();""",
    "barriers of the blocks are their own": TILE
    + """
        if (r == 0) { s[t] = in[i]; __syncthreads(); out[i] = s[31 - t]; __syncthreads(); }
        else for (int n = 0; n < 3; ++n) { s[t] = in[i]; __syncthreads(); out[i] = s[31 - t]; __syncthreads(); }
        out[i] = i;""",
    "a remote arrival": TILE
    + BAR.format(count=32)
    + """
        STORE(mapped(s + t, o), in[i]); ARRIVE_AT(mapped(&bar, o));
        WAIT(&bar, 0); out[i ^ 32] = s[t]; SYNC_ALL();""",
    "stores that complete a remote mbarrier": TILE
    + BAR.format(count=1)
    + """
        if (t == 0) EXPECT(&bar, 128);
        STORE_ASYNC(mapped(s + t, o), in[i], mapped(&bar, o));
        WAIT(&bar, 0); out[i ^ 32] = s[t]; SYNC_ALL();""",
    "bytes that a remote arrival expects": TILE
    + BAR.format(count=1)
    + """
        if (t == 0) EXPECT_AT(mapped(&bar, o), 128);
        STORE_ASYNC(mapped(s + t, o), in[i], mapped(&bar, o));
        WAIT(&bar, 0); out[i ^ 32] = s[t]; SYNC_ALL();""",
    "a bulk copy to both blocks": "__shared__ alignas(16) int s[64];"
    + BAR.format(count=1)
    + """
        if (t == 0) { EXPECT(&bar, 256); MULTICAST(s + 32 * r, in + 32 * r, 128, &bar, 3); }
        WAIT(&bar, 0); out[i] = s[i]; SYNC_ALL();""",
    "ranks and sizes": """
        unsigned rank, ranks, mine, theirs; __shared__ int s[32]; s[t] = t;
        asm("mov.u32 %0, %%cluster_ctarank; mov.u32 %1, %%cluster_nctarank;" : "=r"(rank), "=r"(ranks));
        asm("getctarank.shared::cluster.u32 %0, %1;" : "=r"(mine) : "r"(AT(s)));
        asm("getctarank.shared::cluster.u32 %0, %1;" : "=r"(theirs) : "r"(mapped(s, o)));
        out[i] = i + (rank != r) + (ranks != 2) + (mine != r) + (theirs != o) + (cluster.num_blocks() != 2);
        cluster.sync();""",
    "threads that have left are not waited for": TILE
    + """
        s[t] = in[i]; out[i] = i; cluster.sync();
        if (t >= 16) return;
        LOAD(out[i ^ 32], mapped(s + t, o)); SYNC_ALL();""",
}


WRONG = {
    "race": {
        "no barrier before the other's tile is read": TILE
        + """
            s[t] = in[i]; __syncthreads();
            LOAD(out[i], mapped(s + t, o));  // <-- here
            cluster.sync();""",
        "the tile is overwritten while the other reads it": TILE
        + """
            s[t] = in[i]; cluster.sync();
            LOAD(out[i], mapped(s + t, o));
            s[t] = 0;  // <-- here
            cluster.sync();""",
        "a split barrier, and a store after arriving": TILE
        + """
            s[t] = in[i]; cluster.barrier_arrive();
            s[t] = in[i] + 1;  // <-- here
            cluster.barrier_wait();
            LOAD(out[i], mapped(s + t, o)); cluster.sync();""",
        "a relaxed arrival orders nothing": TILE
        + """
            s[t] = in[i]; ARRIVE_RELAXED(); WAIT_ALL();
            LOAD(out[i], mapped(s + t, o));  // <-- here
            cluster.sync();""",
        "both write one element": TILE
        + """
            s[t] = 0; cluster.sync();
            STORE(mapped(s, 0), i);  // <-- here
            cluster.sync(); out[i] = s[t];""",
        "nothing waits before the block returns": TILE
        + """
            s[t] = in[i]; cluster.sync();
            LOAD(out[i], mapped(s + t, o));  // <-- here""",
        "a store to a block that may have returned": TILE
        + """
            s[t] = in[i]; cluster.sync(); out[i] = s[t];
            STORE(mapped(s + t, o), 1);  // <-- here""",
        "an arrival at a block that may have returned": BAR.format(count=1)
        + """
            out[i] = i;
            if (t == 0 && r == 0) ARRIVE_AT(mapped(&bar, 1));  // <-- here""",
        "a store that nobody waited for": TILE
        + BAR.format(count=1)
        + """
            if (t == 0) EXPECT(&bar, 128);
            STORE_ASYNC(mapped(s + t, o), in[i], mapped(&bar, o));
            out[i] = s[t];  // <-- here
            WAIT(&bar, 0); SYNC_ALL();""",
    },
    "barrier-divergence": {
        "some threads wait for their block": """
            out[i] = i;
            if (r == 0 || t < 16) { ARRIVE_ALL(); WAIT_ALL(); }
            else __syncthreads();  // <-- here""",
        "arrives twice": """
            out[i] = i; ARRIVE_ALL();
            ARRIVE_ALL();  // <-- here
            WAIT_ALL();""",
        "waits without arriving": """
            out[i] = i;
            WAIT_ALL();  // <-- here""",
        "a remote mbarrier that gets too few arrivals": TILE
        + BAR.format(count=32)
        + """
            if (t < 31) ARRIVE_AT(mapped(&bar, o));
            out[i] = i;
            WAIT(&bar, 0);  // <-- here
            SYNC_ALL();""",
    },
    "uninitialised-read": {
        "a tile that the other block has not written": TILE
        + """
            if (r == 0) s[t] = in[i];
            cluster.sync();
            LOAD(out[i], mapped(s + t, o));  // <-- here
            cluster.sync();""",
    },
    "out-of-bounds": {
        "past the end of the other's tile": TILE
        + """
            s[t] = in[i]; cluster.sync();
            LOAD(out[i], mapped(s + t, o) + 4);  // <-- here
            cluster.sync();""",
    },
}
CASES = {name: kind for kind, kernels in WRONG.items() for name in kernels}
BODIES = RIGHT | {name: body for kernels in WRONG.values() for name, body in kernels.items()}
NUMBERS = {name: number for number, name in enumerate(BODIES)}


@cache
def program() -> tuple[list[str], ptx.Program]:
    """The lines of one source with all kernels, and what NVRTC makes of it: the headers take longer than the rest."""
    kernels = (KERNEL.replace("{number}", str(n)) + textwrap.dedent(b) for n, b in enumerate(BODIES.values()))
    source = HEAD + "\n}\n".join(kernels) + "\n}\n"
    built = compile_text(source, PTX_ARCH)
    assert built.compilation.ok, built.compilation.log
    return source.splitlines(), ptx.Program(ptx.parse(built.ptx))


def run(name: str) -> tuple[tuple[ptx.Report, ...], np.ndarray]:
    """The findings, and `out`."""
    out, state = np.full(64, -1, np.int32), np.zeros(64, np.int32)
    execution = program()[1].run(
        f"k{NUMBERS[name]}",
        grid=(2, 1, 1),
        block=(32, 1, 1),
        arguments=[
            ptx.Buffer("in", np.arange(64, dtype=np.int32)),
            ptx.Buffer("out", out, writable=True, initialised=False),
            ptx.Buffer("state", state, writable=True),
        ],
        limits=ptx.Limits(20_000_000, 200_000, 20.0),
    )
    return execution.findings, out


def guilty(name: str) -> set[int]:
    lines, _ = program()
    start = next(n for n, line in enumerate(lines) if f"k{NUMBERS[name]}(" in line)
    end = next((n for n in range(start + 1, len(lines)) if "__global__" in lines[n]), len(lines))
    return {n + 1 for n in range(start, end) if lines[n].endswith("// <-- here")}


@pytest.mark.parametrize("name", RIGHT)
def test_right_kernels_raise_nothing_and_agree_with_the_interpreter(name: str) -> None:
    findings, out = run(name)
    assert [(f.kind, f.line, f.message) for f in findings] == []
    assert (out == np.arange(64)).all()
    expected, state = np.full(64, -1, np.int32), np.zeros(64, np.int32)
    arguments = [np.arange(64, dtype=np.int32), expected, state]
    interpreter.run(program()[1].module, f"k{NUMBERS[name]}", (2, 1, 1), (32, 1, 1), arguments)
    assert out.tolist() == expected.tolist()


@pytest.mark.parametrize("name", CASES)
def test_wrong_kernels_are_found_at_their_line(name: str) -> None:
    findings, _ = run(name)
    assert findings, "nothing was found"
    first = findings[0]
    lines = {first.line, *(one.line for one in first.related if one.role == "other-access")}
    assert first.kind == CASES[name], [(f.kind, f.line, f.message) for f in findings]
    assert guilty(name)
    assert guilty(name) <= lines, [(f.kind, f.line, f.message) for f in findings]


def test_a_race_names_both_blocks_and_whose_memory_it_is() -> None:
    findings, _ = run("no barrier before the other's tile is read")
    assert any(" of block 1 of the cluster" in f.message for f in findings)
    notes = " ".join(note for f in findings for note in f.notes)
    assert "of block (0,0,0)" in notes + findings[0].message
    assert "of block (1,0,0)" in notes + findings[0].message


def test_a_block_that_may_have_returned_is_said() -> None:
    (finding,) = run("nothing waits before the block returns")[0]
    assert finding.detail == "left-block"
    assert "that block may have ended by then" in finding.message


def test_who_waits_elsewhere_is_said_of_the_whole_cluster() -> None:
    findings, _ = run("some threads wait for their block")
    assert [(f.detail, f.message.partition(":")[0]) for f in findings] == [
        ("", "16 threads of the block do not wait here"),
        ("cluster-barrier", "16 threads of the cluster do not wait here"),
    ]


PLAIN = """
#include <cooperative_groups.h>
extern "C" __global__ void k(int* out) {
  auto cluster = cooperative_groups::this_cluster();
  __shared__ int s[1024]; s[threadIdx.x] = threadIdx.x; cluster.sync();
  const unsigned n = cluster.num_blocks(), next = (cluster.block_rank() + 1) % n;
  out[blockIdx.x * blockDim.x + threadIdx.x] = cluster.map_shared_rank(s, next)[threadIdx.x] + 100 * n + 1000 * next;
  cluster.sync();
}"""


@cache
def plain() -> ptx.Program:
    return ptx.Program(ptx.parse(compile_text(PLAIN, PTX_ARCH).ptx))


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_a_launch_decides_the_size_of_a_cluster(size: int) -> None:
    out = np.zeros(8 * 32, np.int32)
    given = [ptx.Buffer("out", out, writable=True)]
    execution = plain().run("k", grid=(8, 1, 1), block=(32, 1, 1), cluster=(size, 1, 1), arguments=given)
    block, thread = np.divmod(np.arange(8 * 32), 32)
    assert execution.findings == ()
    assert (out == thread + 100 * size + 1000 * ((block + 1) % size)).all()
    interpreted = np.zeros_like(out)
    interpreter.run(plain().module, "k", (8, 1, 1), (32, 1, 1), [interpreted], cluster=(size, 1, 1))
    assert (interpreted == out).all()


@pytest.mark.parametrize(("block", "says"), [(512, "a cluster of 2048 threads"), (48, "no whole warps")])
def test_clusters_that_are_not_supported_are_named(block: int, says: str) -> None:
    given = [ptx.Buffer("out", np.zeros(4 * block, np.int32), writable=True)]
    with pytest.raises(ptx.Unsupported, match=says):
        plain().run("k", grid=(4, 1, 1), block=(block, 1, 1), cluster=(4, 1, 1), arguments=given)


CUDA = """
#include <cuda/barrier>
#include <cuda/ptx>
#include <cooperative_groups.h>
namespace ptx = cuda::ptx;
extern "C" __global__ void __cluster_dims__(2) k(const int* in, int* out) {
  __shared__ alignas(16) int s[32]; __shared__ uint64_t bar;
#pragma nv_diag_suppress static_var_with_dynamic_init
  __shared__ cuda::barrier<cuda::thread_scope_block> own;
  const int t = threadIdx.x, i = blockIdx.x * 32 + t;
  const unsigned o = ptx::get_sreg_cluster_ctarank() ^ 1;
  if (t == 0) {
    init(&own, 32);
    ptx::mbarrier_init(&bar, 1); ptx::fence_mbarrier_init(ptx::sem_release, ptx::scope_cluster);
    ptx::mbarrier_arrive_expect_tx(ptx::sem_release, ptx::scope_cta, ptx::space_shared, &bar, 128);
  }
  ptx::barrier_cluster_arrive(); ptx::barrier_cluster_wait();
  auto cluster = cooperative_groups::this_cluster();
  ptx::st_async(cluster.map_shared_rank(s, o) + t, in[i], cluster.map_shared_rank(&bar, o));
  while (!ptx::mbarrier_try_wait_parity(&bar, 0)) {}
  int v = s[31 - t]; own.arrive_and_wait(); s[31 - t] = v + 1; own.arrive_and_wait();
  out[i ^ 32] = s[t] - 1;
  ptx::barrier_cluster_arrive(); ptx::barrier_cluster_wait();
}"""


def test_cudas_own_headers_run() -> None:
    module, numbers = ptx.parse(compile_text(CUDA, PTX_ARCH).ptx), np.arange(64, dtype=np.int32)
    out = np.full(64, -1, np.int32)
    given = [ptx.Buffer("in", numbers), ptx.Buffer("out", out, writable=True, initialised=False)]
    execution = ptx.Program(module).run("k", grid=(2, 1, 1), block=(32, 1, 1), arguments=given)
    assert execution.findings == ()
    assert (out == np.arange(64)).all()
