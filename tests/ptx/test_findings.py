"""What the engine says of small kernels: the wrong ones at the right line, nothing of the right ones.

Every kernel gets `in` (64 ints, read-only, 0..63), `out` (64 ints, uninitialised) and `state` (64 ints, zeroed).
The guilty line of a wrong one ends in `// <-- here`.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import numpy as np
import pytest

from grader import ptx
from grader.compile.compiler import compile_text
from grader.compile.recipe import PTX_ARCH

SECONDS = 20.0
HEAD = 'extern "C" __global__ void k(const int* in, int* out, int* state) {\n  int t = threadIdx.x; (void)t;\n'


@dataclass(frozen=True)
class Ran:
    findings: tuple[ptx.Report, ...]
    out: np.ndarray
    state: np.ndarray
    printed: str
    guilty: list[int]


def run(
    body: str,
    *,
    before: str = "",
    grid: int = 1,
    block: int = 64,
    shared: int = 0,
    workers: int = 2,
    seconds: float = SECONDS,
    instructions: int = 20_000_000,
    barriers: int = 200_000,
    stale: int = 100_000,
) -> Ran:
    source = textwrap.dedent(before) + HEAD + textwrap.dedent(body) + "\n}\n"
    compiled = compile_text(source, PTX_ARCH)
    assert compiled.compilation.ok, compiled.compilation.findings
    out, state = np.full(64, -1, np.int32), np.zeros(64, np.int32)
    execution = ptx.Program(ptx.parse(compiled.ptx)).run(
        "k",
        grid=(grid, 1, 1),
        block=(block, 1, 1),
        shared_bytes=shared,
        arguments=[
            ptx.Buffer("in", np.arange(64, dtype=np.int32)),
            ptx.Buffer("out", out, writable=True, initialised=False),
            ptx.Buffer("state", state, writable=True),
        ],
        workers=workers,
        limits=ptx.Limits(instructions, barriers, seconds, stale),
    )
    guilty = [i for i, line in enumerate(source.splitlines(), 1) if line.endswith("// <-- here")]
    return Ran(execution.findings, out, state, execution.printed, guilty)


def guilty_lines(report: ptx.Report) -> set[int]:
    """Its own, and for a race the other access's."""
    return {report.line, *(one.line for one in report.related if one.role == "other-access")}


WRONG = {
    "out-of-bounds": {
        "one past the end": "out[t + 1] = in[t];  // <-- here",
        "before the start": "out[t] = in[t - 1];  // <-- here",
        "a null pointer": "const int* nowhere = (const int*)(size_t)in[0]; out[t] = nowhere[t];  // <-- here",
        "one row too far in a shared array": """
            __shared__ int a[8][8]; __shared__ int b[64];
            b[t] = t; a[t / 8][t % 8] = t; __syncthreads();
            out[t] = a[t / 8 + 1][t % 8] + b[t];  // <-- here""",
        "dynamic shared memory that was not asked for": """
            extern __shared__ int s[];
            s[t] = t;  // <-- here
            __syncthreads(); out[t] = s[63 - t];""",
        "a local array": """
            int a[4] = {1, 2, 3, 4};
            for (int i = 0; i < 4; ++i) a[in[i]] += in[t];
            out[t] = a[in[t] + 1];  // <-- here""",
        "a constant table": "out[t] = table[t];  // <-- here",
    },
    "uninitialised-read": {
        "an output that is only added to": "out[t] += in[t];  // <-- here",
        "atomics on an output that nobody cleared": "atomicMax(&out[t % 4], in[t]);  // <-- here",
        "atomics on a shared cell that nobody cleared": """
            __shared__ int s[2];
            if (t == 0) s[0] = 0;
            __syncthreads();
            atomicAdd(&s[t % 2], in[t]);  // <-- here
            __syncthreads(); out[t] = s[0];""",
        "a shared cell that nobody wrote": """
            __shared__ int s[64];
            if (t < 32) s[t] = t;
            __syncthreads();
            out[t] = s[t];  // <-- here""",
        "a shared scalar that this block does not have": """
            __shared__ int prefix;
            if (blockIdx.x > 0 && t == 0) prefix = in[blockIdx.x];
            __syncthreads();
            out[t] = in[t] > 5 ? prefix : 0;  // <-- here""",
        "a shared flag that nobody set": """
            __shared__ bool last;
            bool split = in[1] > 0;
            if (!split && t == 0) last = in[2];
            __syncthreads();
            if (split && !last) return;  // <-- here
            out[t] = 1;""",
        "bits set in a word that nobody wrote": """
            __shared__ int s[64];
            s[t] |= 1 << in[t] % 32;  // <-- here
            __syncthreads(); out[t] = s[63 - t];""",
        "the low half of a sum that nobody started": """
            __shared__ int s[64];
            s[t] = (s[t] + in[t]) & 0xffff;  // <-- here
            __syncthreads(); out[t] = s[63 - t];""",
        "what the block before left in shared memory": """
            __shared__ int s[64];
            if (blockIdx.x == 0) s[t] = t;
            __syncthreads();
            if (blockIdx.x == 1) out[t] = s[t];  // <-- here""",
        "a copy that nobody waited for": """
            __shared__ __align__(16) int s[64];
            unsigned at = (unsigned)__cvta_generic_to_shared(s + t);
            asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(at), "l"(in + t));
            asm volatile("cp.async.commit_group;");
            __syncthreads();
            out[t] = s[t];  // <-- here""",
    },
    "misaligned-access": {
        "a vector of which three elements are looked at": """
            float4 v = *(const float4*)(in + t % 8);  // <-- here
            out[t] = v.x + v.y + v.z;""",
        "int4 from an odd place": "int4 v = *(const int4*)(in + 1); out[t] = v.x + v.y + v.z + v.w;  // <-- here",
        "int2 in shared memory": """
            __shared__ __align__(16) int s[65];
            s[t] = t; __syncthreads();
            int2 v = *(int2*)(s + (t | 1) - (t > 61) * 2);  // <-- here
            out[t] = v.x + v.y;""",
    },
    "race": {
        "no barrier after the write": """
            __shared__ int s[64];
            s[t] = in[t];
            out[t] = s[63 - t];  // <-- here""",
        "no barrier before the next write": """
            __shared__ int s[64];
            s[t] = in[t]; __syncthreads();
            int mine = s[63 - t];
            s[t] = mine + 1;  // <-- here
            __syncthreads(); out[t] = s[t];""",
        "all write one cell": "__shared__ int s; s = t; __syncthreads(); out[t] = s;  // <-- here",
        "two threads write one output": "out[t / 2] = t;  // <-- here",
        "a global exchange without a barrier": "state[t] = t; out[t] = state[63 - t];  // <-- here",
        "a plain read beside an atomic": """
            __shared__ int s;
            if (t == 0) s = 0;
            __syncthreads();
            atomicAdd(&s, 1);
            out[t] = s;  // <-- here""",
        "a warp that relies on lockstep": """
            __shared__ int s[64];
            s[t] = in[t];
            out[t] = s[t ^ 1];  // <-- here""",
        "__syncwarp is not for other warps": """
            __shared__ int s[64];
            s[t] = in[t]; __syncwarp();
            out[t] = s[63 - t];  // <-- here""",
        "a shuffle orders no memory": """
            __shared__ int s[64];
            s[t] = in[t];
            int other = __shfl_xor_sync(~0u, t, 1);
            out[t] = s[other];  // <-- here""",
        "the tile of eight next to its own": """
            __shared__ int s[64];
            s[t] = in[t]; __syncwarp(0xffu << (t & 24));
            out[t] = s[t ^ 8];  // <-- here""",
        "a lane that met one who knew, but before that one did": """
            __shared__ int s[32];
            if (t >= 8 && t < 24) __syncwarp(0xffff00u);
            if (t < 8) s[t] = in[t];
            if (t < 16) __syncwarp(0xffffu);
            if (t >= 16 && t < 24) out[t] = s[t - 16];  // <-- here""",
        "a lane that reads its neighbour's cell of the turn before": """
            __shared__ int s[65];
            int sum = s[t] = s[64] = 0; __syncthreads();
            for (int i = 0; i < 4; ++i) {
              s[t] = in[t] + i; __syncwarp();
              if (t % 32 < 31) sum += s[t + 1];  // <-- here
            }
            out[t] = sum;""",
        "one barrier that each warp passes alone": """
            __shared__ int s[64];
            s[t] = in[t]; asm volatile("bar.sync 1, 32;" ::: "memory");
            out[t] = s[63 - t];  // <-- here""",
        "a barrier for other warps": """
            __shared__ int s[32];
            if (t < 32) s[t] = in[t];
            if (t >= 32) {
              asm volatile("bar.sync 1, 32;" ::: "memory");
              out[t] = s[t - 32];  // <-- here
            }""",
        "a producer that does not wait until its buffer is free": """
            __shared__ int buffer[32]; int sum = 0;
            for (int i = 0; i < 6; ++i) {
              if (t < 32) buffer[t] = in[t] + i;
              asm volatile("bar.sync 1;" ::: "memory");
              if (t >= 32) sum += buffer[63 - t];  // <-- here
            }
            out[t] = sum;""",
        "a flag without a fence": """
            __shared__ int data; __shared__ volatile int flag;
            if (t == 0) flag = 0;
            __syncthreads();
            if (t == 0) { data = in[7]; flag = 1; }
            if (t == 40) { while (flag == 0) {} out[t] = data; }  // <-- here""",
        "a plain zero before everybody's atomics": """
            __shared__ int s;
            if (t == 0) s = 0;
            atomicAdd(&s, 1);  // <-- here
            __syncthreads(); out[t] = s;""",
        "a scale in a loop that the other warp uses in its last turn": """
            __shared__ float scale;
            if (t < 32) { if (t == 0) scale = in[3]; __syncwarp(); }
            float sum = 0;
            for (int i = 0; i < in[8]; ++i) if (t < 32 || i == 7) sum += in[t] * scale;  // <-- here
            out[t] = sum;""",
        "a total that its writer's neighbour reads": """
            __shared__ double total;
            double v = in[t], x = 0;
            for (int d = 16; d; d /= 2) v += __shfl_xor_sync(~0u, v, d);
            if (t == 0) total = v;
            if (t == 1) x = total * 2;  // <-- here
            out[t] = x;""",
        "a volatile scalar that is read before all have met": """
            __shared__ volatile int group;
            if (t == 0) group = in[5];
            out[t] = group;  // <-- here""",
        "a flag that nobody lowered": """
            __shared__ volatile int flag;
            if (t == 0) out[0] = flag;  // <-- here
            if (t == 40) flag = 1;""",
        "a volatile scalar that is set again while others read it": """
            __shared__ volatile int group;
            if (t == 0) group = in[5];
            __syncthreads();
            int sum = group;
            if (t == 0) group = in[6];  // <-- here
            out[t] = sum + group * 0;""",
        "an atomic start that others may come before": """
            __shared__ int count;
            if (t == 0) atomicExch(&count, in[0]);
            if (t >= 32) atomicAdd(&count, 1);  // <-- here
            __syncthreads(); out[t] = count;""",
        "a scalar that its own warp alone has": """
            __shared__ int a, b;
            if (t == 0) a = in[3];
            if (t == 32) b = in[4];
            __syncwarp();
            out[t] = t < 16 ? a : b;  // <-- here""",
        "the first reader of a cell writes it, a shuffle after its neighbour read it": """
            __shared__ int s[64];
            s[t] = in[t]; __syncthreads();
            int mine = s[t & ~1], other = __shfl_xor_sync(~0u, t, 1);
            if (t % 2 == 0) s[t] = other;  // <-- here
            __syncthreads(); out[t] = s[t] + mine;""",
        "the first reader of a global element writes it, a vote after all read it": """
            int mine = state[t & ~31];
            if (__any_sync(~0u, t == 40) && t % 32 == 0) state[t] = 5;  // <-- here
            out[t] = mine;""",
        "a warp writes what it read first, past a barrier that is not for the other readers": """
            __shared__ int s[32];
            if (t < 32) s[t] = in[t];
            __syncthreads();
            out[t] = s[t % 32];
            if (t < 32) { asm volatile("bar.sync 1, 32;" ::: "memory"); s[t] = 1; }  // <-- here""",
        "one exchange between warps without a barrier, whose reader comes first": """
            __shared__ int a[2];
            if (t % 32 == 0) a[t / 32] = in[t];
            if (t == 0) out[0] = a[0] + a[1];  // <-- here""",
        "the thread that adds last reads what others may still add to": """
            __shared__ int s;
            if (t == 0) s = 0;
            __syncthreads(); atomicAdd(&s, in[t]);
            if (t == 63) out[t] = s;  // <-- here""",
        "the warp that adds last reads behind a barrier of its own": """
            __shared__ int s;
            if (t == 0) s = 0;
            __syncthreads(); atomicAdd(&s, in[t]);
            asm volatile("bar.sync %0, 32;" ::"r"(1 + t / 32) : "memory");
            if (t == 63) out[t] = s;  // <-- here""",
        "a fenced zero that the adder's own atomic does not order": """
            __shared__ int s;
            if (t == 0) { s = 0; __threadfence_block(); }
            if (t == 40) atomicAdd(&s, in[t]);  // <-- here
            __syncthreads(); out[t] = s;""",
        "half a word each, in one byte": """
            __shared__ unsigned char s[32];
            s[t / 2] = t;  // <-- here
            __syncthreads(); out[t] = s[t / 2];""",
    },
    "read-only-write": {
        "an input": "((int*)in)[t] = 1;  // <-- here",
        "a module global": "counter = t;  // <-- here",
        "an atomic on a module global": "out[t] = atomicAdd(&counter, 1);  // <-- here",
    },
    "barrier-divergence": {
        "some have left": "if (t >= 32) return; __syncthreads(); out[t] = t;  // <-- here",
        "only some enter": "if (in[t] & 1) __syncthreads(); out[t] = t;  // <-- here",
        "a loop of unequal length": "for (int i = 0; i < in[t]; ++i) __syncthreads();  // <-- here",
        "a count that never comes": 'asm volatile("bar.sync 1, 96;"); out[t] = t;  // <-- here',
        "a count that is no multiple of 32": 'asm volatile("bar.sync 1, 40;"); out[t] = t;  // <-- here',
        "a count of half a warp": 'if (t < 16) asm volatile("bar.sync 1, %0;" ::"r"(in[16]));  // <-- here',
        "an arrival of part of a warp": 'if (t < 32) asm volatile("bar.arrive 1, 48;");  // <-- here',
        "both branches of an if that splits a warp": """
            if (t % 2) {
              out[t] = 1; __syncthreads();
            } else {
              __syncthreads(); out[t] = in[t] + 2;  // <-- here
            }""",
        "both branches of an if that splits a warp, with a vote": """
            int any;
            if (t % 2) any = __syncthreads_or(t == 5) + 1;
            else any = __syncthreads_or(t == 7);  // <-- here
            out[t] = any;""",
        "half a warp at a barrier for some": """
            if (t % 32 < 16) asm volatile("bar.sync 1, 32;");  // <-- here
            __syncthreads(); out[t] = t;""",
        "a warp that leaves a barrier out": """
            __shared__ int s[64];
            s[t] = in[t];
            if (t < 32) __syncthreads();  // <-- here
            out[t] = s[t];
            __syncthreads();
            out[t] += s[63 - t];""",
    },
    "collective-mismatch": {
        "a full mask in a branch": """
            if (t < 16) out[t] = __shfl_down_sync(~0u, t, 1);  // <-- here
            __syncthreads();""",
        "a lane outside the mask is read": """
            if (t < 16) out[t] = __shfl_sync(0xffffu, t, 20);  // <-- here""",
        "a mask that does not name its own lane": "out[t] = __shfl_sync(0xffffu, t, 3);  // <-- here",
        "another operation in the other branch": """
            if (t % 2) out[t] = __shfl_xor_sync(~0u, t, 2);  // <-- here
            else { __syncwarp(); out[t] = t; }  // <-- here""",
        "a turn that half of the lanes leave out": """
            int sum = t;
            if (t % 32 < 16) sum += __shfl_down_sync(~0u, sum, 16);  // <-- here
            if (t % 32 < 8) sum += __shfl_down_sync(~0u, sum, 8);  // <-- here
            out[t] = sum + __shfl_down_sync(~0u, sum, 4);  // <-- here""",
        "another mask in the other branch": """
            if (t % 2) out[t] = __shfl_xor_sync(~0u, t, 2);  // <-- here
            else out[t] = __shfl_xor_sync(0x55555555u, t, 2);
            __syncthreads();""",
        "a matrix product in each branch": """
            unsigned a = 0, b = 0; float d = 0;
            if (t % 2)
              asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%0,%0,%0}, "
                           "{%1,%1,%1,%1}, {%2,%2}, {%0,%0,%0,%0};" : "+f"(d) : "r"(a), "r"(b));  // <-- here
            else
              asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%0,%0,%0}, "
                           "{%1,%1,%1,%1}, {%2,%2}, {%0,%0,%0,%0};" : "+f"(d) : "r"(a), "r"(b));  // <-- here
            out[t] = d;""",
        "a ballot that some never reach": """
            if (in[t] % 3) out[t] = __ballot_sync(~0u, 1);  // <-- here
            __syncthreads();""",
        "another kind of shuffle in the other branch": """
            if (t % 32 < 16) out[t] = __shfl_xor_sync(~0u, t, 16);  // <-- here
            else out[t] = __shfl_sync(~0u, t, 3);""",
        "a shuffle in two branches, and a third without": """
            if (t % 32 < 8) out[t] = __shfl_xor_sync(~0u, t, 16);  // <-- here
            else if (t % 32 < 16) out[t] = __shfl_xor_sync(~0u, 2 * t, 16);
            else __syncthreads();""",
    },
    "did-not-finish": {
        "a loop of barriers for each warp alone": """
            do asm volatile("bar.sync 1, 32;"); while (in[0] == 0);  // <-- here""",
        "a loop of __syncwarp for each tile of four": """
            do __syncwarp(0xfu << (t & 28)); while (in[0] == 0);  // <-- here
            out[t] = t;""",
        "a flag that nobody sets, with a fence in the loop": """
            volatile int* flag = state;
            while (flag[0] == 0) __threadfence();  // <-- here""",
        "a loop that goes nowhere": """
            volatile int* s = state;
            for (int i = 0; i < 10; i += s[t]) out[t] = i;  // <-- here""",
        "a flag that nobody sets": "while (atomicAdd(state, 0) == 0) {}  // <-- here",
        "a loop of shuffles": """
            int v = t;
            for (int d = 16; d >= 0; d /= 2) v += __shfl_down_sync(~0u, v, d);  // <-- here
            out[t] = v;""",
        "a loop of barriers": "do __syncthreads(); while (in[0] == 0);  // <-- here",
    },
    "trap": {
        "an assertion": "assert(in[t] < 63); out[t] = t;  // <-- here",
    },
}
BEFORE = "#include <cassert>\n__constant__ int table[8] = {1, 2, 3};\n__device__ int counter;\n"


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, kernels in WRONG.items() for name in kernels], ids=lambda v: str(v)
)
def test_a_wrong_kernel_is_caught_at_its_line(kind: str, name: str) -> None:
    grid = 2 if "block before" in name else 1
    ran = run(WRONG[kind][name], before=BEFORE, grid=grid, workers=1)
    said = [r for r in ran.findings if r.kind == kind]
    assert any(set(ran.guilty) & guilty_lines(r) for r in said), ran.findings


@pytest.mark.parametrize("workers", [1, 2])
def test_two_blocks_that_write_one_element_race(workers: int) -> None:
    ran = run("if (t == 0) out[0] = blockIdx.x;  // <-- here", grid=8, workers=workers)
    assert [(r.kind, r.line) for r in ran.findings] == [("race", ran.guilty[0])]
    assert ran.findings[0].detail == "between-blocks"
    assert ran.findings[0].message.endswith(f"which line {ran.guilty[0]} also writes, and blocks run in any order")


@pytest.mark.parametrize(
    "body",
    [
        "int i = blockIdx.x * 16 + t, v = state[i] + state[i < 63 ? i + 1 : i]; __syncthreads(); state[i] = v + 1;",
        "int i = blockIdx.x * 16 + t, v = state[i] + state[i > 0 ? i - 1 : i]; __syncthreads(); state[i] = v + 1;",
        "if (blockIdx.x == 0) out[t] = 0; atomicAdd(&out[t], in[t]);",
        "atomicAdd_block(&state[t], in[t]);",
        "out[t + 16 * blockIdx.x] = atomicMax_block(&state[t], in[t]);",
        "atomicAdd_block(&state[t], 1); atomicAdd(&state[t], 1);",
    ],
    ids=[
        "the element after",
        "the element before",
        "zeros for other blocks' atomics",
        "atomics of block scope",
        "atomics of block scope whose result is used",
        "atomics of block scope before those of the device",
    ],
)
def test_what_one_block_reads_or_clears_another_may_not_change(body: str) -> None:
    ran = run(body + "  // <-- here", grid=4, block=16, workers=1)
    assert {(r.kind, r.line) for r in ran.findings} == {("race", ran.guilty[0])}


def test_atomics_of_block_scope_are_atomic_within_their_block() -> None:
    right = """
        __shared__ int s;
        if (t == 0) s = 0;
        __syncthreads();
        atomicAdd_block(&s, in[t]); atomicAdd_block(&state[blockIdx.x], in[t]); atomicAdd(&state[8], 1);
        __syncthreads();
        if (t == 0) out[blockIdx.x] = s;"""
    assert run(right, grid=4).findings == ()
    wrong = run("atomicAdd_block(&state[0], 1);", grid=2, block=1, workers=1)
    assert wrong.findings[0].message == (
        "thread (0,0,0) of block (1,0,0) writes state[0], which line 3 also writes, "
        "and an atomic of block scope is atomic only within its own block"
    )


BETWEEN_BLOCKS = {
    "a fenced zero that the adder's own atomic does not order": """
        if (blockIdx.x == 0) out[t] = 0;
        __threadfence();
        atomicAdd(&out[t], in[t]);  // <-- here""",
    "a fence behind the ticket": """
        __shared__ bool last;
        state[blockIdx.x * 8 + t % 8] = in[t % 8];
        __syncthreads();
        if (t == 0) last = atomicAdd(&state[63], 1) == 3;
        __threadfence(); __syncthreads();
        if (last && t < 32) out[t] = state[t];  // <-- here""",
    "a ticket of the last thread, without a barrier for the other warps": """
        __shared__ bool last;
        if (t < 8) state[blockIdx.x * 8 + t] = in[t];
        __threadfence();
        if (t == 63) last = atomicAdd(&state[63], 1) == 3;
        __syncthreads();
        if (last && t < 32) out[t] = state[t];  // <-- here""",
    "a ticket behind a barrier for other warps": """
        __shared__ bool last;
        if (t < 32) state[blockIdx.x * 8 + t % 8] = in[t % 8];
        __threadfence();
        if (t >= 32) asm volatile("bar.sync 1, 32;" ::: "memory");
        if (t == 63) last = atomicAdd(&state[63], 1) == 3;
        __syncthreads();
        if (last && t < 32) out[t] = state[t];  // <-- here""",
    "the last block by its index, whose own ticket nobody looks at": """
        __shared__ bool last;
        if (t < 8) state[blockIdx.x * 8 + t] = in[t];
        __threadfence(); __syncthreads();
        if (t == 0) { atomicAdd(&state[63], 1); last = blockIdx.x == gridDim.x - 1; }
        __syncthreads();
        if (last && t < 8) out[t] = state[t];  // <-- here""",
    "a flag of one's own as if it were the others'": """
        if (t != 0) return;
        state[32 + blockIdx.x] = 5;
        __threadfence();
        *(volatile int*)&state[blockIdx.x] = 1;
        if (blockIdx.x == gridDim.x - 1) out[0] = state[32];  // <-- here""",
    "the block that adds last reads what others may still add to": """
        atomicAdd(&state[0], in[t]);
        __syncthreads();
        if (t == 0) out[blockIdx.x] = state[0];  // <-- here""",
    "a sum behind a ticket without a fence": """
        __shared__ bool last;
        atomicAdd(&state[0], in[t]);
        __syncthreads();
        if (t == 0) last = atomicAdd(&state[63], 1) == 3;
        __syncthreads();
        if (last && t == 0) out[0] = state[0];  // <-- here""",
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", BETWEEN_BLOCKS)
def test_what_nothing_orders_between_blocks_is_a_race_at_its_line(name: str, workers: int) -> None:
    ran = run(BETWEEN_BLOCKS[name], grid=4, workers=workers)
    said = [r for r in ran.findings if r.kind == "race"]
    assert any(set(ran.guilty) & guilty_lines(r) for r in said), ran.findings


LAST_BLOCK = """
    __shared__ bool last;
    for (int i = t; i < 8; i += 64) state[blockIdx.x * 8 + i] = in[i];
    {signal}
    __syncthreads();
    if (last && t < 32) out[t] = __ldcg(&state[t]);
    if (last && t == 0) state[63] = 0;"""
SIGNALS = {
    "all fence, a barrier, thread 0 draws": """
        __threadfence(); __syncthreads();
        if (t == 0) last = atomicAdd(&state[63], 1) == 3;""",
    "a barrier, thread 0 fences and draws": """
        __syncthreads();
        if (t == 0) { __threadfence(); last = atomicInc((unsigned*)&state[63], 9) == 3; __threadfence(); }""",
    "a barrier, the last thread fences and draws": """
        __syncthreads();
        if (t == 63) { __threadfence(); last = atomicAdd(&state[63], 1) == 3; }""",
    "all fence, a barrier for all by number, a thread of another warp draws": """
        __threadfence(); asm volatile("bar.sync 2, 64;" ::: "memory");
        if (t == 40) last = atomicAdd(&state[63], 1) == 3;""",
    "a barrier that the other warp only arrives at": """
        if (t < 32) { asm volatile("bar.arrive 1, 64;" ::: "memory"); }
        else {
          asm volatile("bar.sync 1, 64;" ::: "memory");
          if (t == 40) { __threadfence(); last = atomicAdd(&state[63], 1) == 3; }
        }""",
    "each warp fences and draws for itself": """
        __shared__ int drawn;
        if (t == 0) drawn = 0;
        __syncwarp(); __threadfence(); __syncthreads();
        if (t % 32 == 0) atomicAdd(&drawn, atomicAdd(&state[63], 1) == 7);
        __syncthreads();
        if (t == 0) last = drawn;""",
    "every thread fences and draws": """
        __shared__ int drawn;
        if (t == 0) drawn = 0;
        __syncthreads(); __threadfence();
        if (atomicAdd(&state[63], 1) == 255) atomicExch(&drawn, 1);
        __syncthreads();
        if (t == 0) last = drawn;""",
    "a count in shared memory, then one of all blocks": """
        __shared__ int count;
        if (t == 0) { count = 0; last = false; }
        __syncthreads(); __threadfence();
        if (atomicAdd(&count, 1) == 63) { __threadfence(); last = atomicAdd(&state[63], 1) == 3; }""",
    "a release and an acquire of the draw itself": """
        __syncthreads();
        if (t == 0) {
          cuda::atomic_ref<int, cuda::thread_scope_device> ticket(state[63]);
          last = ticket.fetch_add(1, cuda::std::memory_order_acq_rel) == 3;
        }""",
    "flags, one after the other": """
        __threadfence(); __syncthreads();
        if (t == 0) {
          volatile int* turn = &state[62];
          while (*turn != blockIdx.x) __nanosleep(20);
          __threadfence(); last = blockIdx.x == 3; *turn = *turn + 1;
        }""",
    "a flag that is stored with a release, by another thread than the one that waits": """
        __syncthreads();
        cuda::atomic_ref<int, cuda::thread_scope_device> turn(state[62]);
        if (t == 0) { while (turn.load(cuda::std::memory_order_acquire) != blockIdx.x) {} last = blockIdx.x == 3; }
        __syncthreads();
        if (t == 63) turn.store(blockIdx.x + 1, cuda::std::memory_order_release);""",
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", SIGNALS)
def test_the_last_block_may_read_what_was_signalled_to_it(name: str, workers: int) -> None:
    body = LAST_BLOCK.replace("{signal}", SIGNALS[name])
    before = "#include <cuda/atomic>\n" if "cuda::" in body else ""
    ran = run(body, before=before, grid=4, workers=workers)
    assert ran.findings == ()
    assert (ran.out[:32] == np.arange(32) % 8).all()


@pytest.mark.parametrize("workers", [1, 2])
def test_sums_of_all_blocks_may_be_read_behind_their_tickets(workers: int) -> None:
    body = """
        __shared__ bool last;
        for (int round = 0; round < 3; ++round) {
          atomicAdd(&state[round], in[t]);
          __threadfence(); __syncthreads();
          if (t == 63) last = atomicAdd(&state[32 + round], 1) == 3;
          __syncthreads();
          if (last && t == 0) { __threadfence(); out[round] = state[round]; }
        }"""
    ran = run(body, grid=4, workers=workers)
    assert ran.findings == ()
    assert (ran.out[:3] == 4 * np.arange(64).sum()).all()


def test_a_flag_that_one_block_polls_while_another_sets_it_is_no_race() -> None:
    body = """
        volatile int* flag = state;
        if (blockIdx.x == 0) for (int i = 0; i < 200000; ++i) flag[t] = i;
        else { int i = 0; while (flag[t] < 7 && i < 200000) ++i; out[t] = i; }"""
    assert run(body, grid=2, block=1).findings == ()


def test_a_read_that_comes_too_soon_names_the_write() -> None:
    ran = run(
        "__shared__ int a[4];\nif (t % 32 == 0) a[t / 32] = t;\nif (t == 0) out[0] = a[1] + a[2] + a[3];", block=128
    )
    assert [(r.kind, r.line) for r in ran.findings] == [("race", 5)]
    assert "reads a[" in ran.findings[0].message
    assert "which line 4 also writes, with no barrier in between" in ran.findings[0].message


def test_reading_what_another_block_wrote_needs_a_fence() -> None:
    last_block = """
        __shared__ bool last;
        if (blockIdx.x < 4) state[1 + blockIdx.x * 8 + t % 8] = 1;
        {fence}
        __syncthreads();
        if (t == 0) last = atomicAdd(state, 1) == 3;
        __syncthreads();
        if (last && t < 32) out[t] = state[1 + t];  // <-- here
    """
    right = run(last_block.replace("{fence}", "__threadfence();"), grid=4, block=8)
    assert right.findings == ()
    wrong = run(last_block.replace("{fence}", ""), grid=4, block=8)
    assert {(r.kind, r.line) for r in wrong.findings} == {("race", wrong.guilty[0])}


RIGHT = {
    "bytes of one word, each written by another thread": """
        __shared__ unsigned char s[64];
        s[t] = t; __syncthreads(); out[t] = s[63 - t];""",
    "half words side by side": """
        __shared__ unsigned short s[64];
        s[t] = t; __syncthreads(); out[t] = s[t ^ 1];""",
    "__syncwarp orders a warp's memory": """
        __shared__ int s[64];
        s[t] = in[t]; __syncwarp(); out[t] = s[t ^ 1];""",
    "readers and writers of one cell with __syncwarp between": """
        __shared__ int s[64];
        s[t] = in[t]; __syncthreads();
        int mine = s[t & ~1], other = __shfl_xor_sync(~0u, t, 1);
        __syncwarp();
        if (t % 2 == 0) s[t] = other;
        __syncthreads(); out[t] = s[t] + mine;""",
    "each warp's sum in place, by shuffles": """
        __shared__ float s[64];
        s[t] = in[t]; __syncthreads();
        float sum = s[t];
        for (int d = 16; d; d /= 2) sum += __shfl_down_sync(~0u, sum, d);
        if (t % 32 == 0) s[t] = sum;
        __syncthreads(); out[t] = s[0] + s[32];""",
    "__syncwarp for half a warp": """
        __shared__ int s[64];
        s[t] = in[t];
        unsigned half = t % 32 < 16 ? 0xffffu : 0xffff0000u;
        __syncwarp(half); out[t] = s[t ^ 1];""",
    "a tile that is filled again and again": """
        __shared__ int s[64]; int sum = 0;
        for (int i = 0; i < 5; ++i) {
          s[t] = in[t] + i; __syncthreads(); sum += s[(t + i) % 64]; __syncthreads();
        }
        out[t] = sum;""",
    "two buffers with one barrier": """
        __shared__ int s[2][64]; int sum = 0;
        s[0][t] = in[t]; __syncthreads();
        for (int i = 0; i < 6; ++i) {
          s[(i + 1) & 1][t] = in[t] + i; sum += s[i & 1][63 - t]; __syncthreads();
        }
        out[t] = sum;""",
    "atomicExch is the first to write": """
        __shared__ int s[64];
        atomicExch(&s[t], in[t]); atomicExch(&out[t], 0); __syncthreads(); atomicAdd(&out[t], s[63 - t]);""",
    "a neighbour that has left is read and dropped": """
        if (t >= 50) return;
        const int next = __shfl_down_sync(~0u, in[t], 1);
        out[t] = t < 49 ? next : 0;""",
    "shared atomics": """
        __shared__ int s;
        if (t == 0) s = 0;
        __syncthreads(); atomicAdd(&s, in[t]); __syncthreads(); out[t] = s;""",
    "a sum that the thread which counts last reads": """
        __shared__ int s, count;
        if (t == 0) s = count = 0;
        __syncthreads();
        atomicAdd(&s, in[t]); __threadfence_block();
        if (atomicAdd(&count, 1) == 63) { __threadfence_block(); out[0] = s; count = 0; }""",
    "each warp's own sum with atomics and __syncwarp": """
        __shared__ int s[2];
        if (t % 32 == 0) s[t / 32] = 0;
        __syncwarp(); atomicAdd(&s[t / 32], in[t]); __syncwarp();
        out[t] = s[t / 32];""",
    "a lock in shared memory": """
        __shared__ int lock, sum;
        if (t == 0) { lock = 0; sum = 0; }
        __syncthreads();
        for (bool done = false; !done;) {
          if (atomicCAS(&lock, 0, 1) == 0) {
            atomicAdd(&sum, in[t]); __threadfence_block(); atomicExch(&lock, 0); done = true;
          }
        }
        __syncthreads(); out[t] = sum;""",
    "a lock around plain accesses": """
        __shared__ int lock, sum;
        if (t == 0) lock = sum = 0;
        __syncthreads();
        for (bool done = false; !done;) {
          if (atomicCAS(&lock, 0, 1) == 0) {
            sum = sum + in[t]; __threadfence_block(); atomicExch(&lock, 0); done = true;
          }
        }
        __syncthreads(); out[t] = sum;""",
    "one warp hands data to another, with a fence and a flag": """
        __shared__ int data[32]; __shared__ volatile int flag;
        if (t == 0) flag = 0;
        __syncthreads();
        if (t < 32) {
          data[t] = in[t]; out[t] = 0; __syncwarp();
          if (t == 0) { __threadfence_block(); flag = 1; }
        } else {
          while (flag == 0) {}
          __threadfence_block(); out[t] = data[63 - t];
        }""",
    "a ring between a producer and a consumer": """
        __shared__ int ring[2][32]; int sum = 0;
        for (int i = 0; i < 6; ++i) {
          int full = 1 + i % 2, empty = 3 + i % 2;
          if (t < 32) {
            if (i >= 2) asm volatile("bar.sync %0, 64;" ::"r"(empty) : "memory");
            ring[i % 2][t] = in[t] + i;
            asm volatile("bar.arrive %0, 64;" ::"r"(full) : "memory");
          } else {
            asm volatile("bar.sync %0, 64;" ::"r"(full) : "memory");
            sum += ring[i % 2][63 - t];
            if (i < 4) asm volatile("bar.arrive %0, 64;" ::"r"(empty) : "memory");
          }
        }
        out[t] = sum;""",
    "more copies in flight than anybody counts": """
        __shared__ __align__(16) int s[200 * 64];
        unsigned at = (unsigned)__cvta_generic_to_shared(s + t);
        for (int i = 0; i < 200; ++i)
          asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(at + 256 * i), "l"(in + t));
        asm volatile("cp.async.wait_all;");
        __syncthreads(); out[t] = s[199 * 64 + 63 - t];""",
    "the tail of a row with cp.async": """
        __shared__ __align__(16) int s[64];
        unsigned at = (unsigned)__cvta_generic_to_shared(s + t * 4);
        const short* from = (const short*)in + 4 + t * 8;
        int bytes = t < 15 ? 16 : 8;
        if (t < 16) asm volatile("cp.async.ca.shared.global [%0], [%1], 8, 8;" ::"r"(at), "l"(from));
        if (t < 16) asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(at + 8), "l"(from + 4),
                                 "r"(bytes - 8));
        asm volatile("cp.async.wait_all;");
        __syncthreads(); out[t] = s[63 - t];""",
    "a block-wide counter cleared, used and cleared again": """
        __shared__ int s; int sum = 0;
        for (int i = 0; i < 3; ++i) {
          if (t == 0) s = 0;
          __syncthreads(); atomicAdd(&s, 1); __syncthreads(); sum += s; __syncthreads();
        }
        out[t] = sum;""",
    "half precision from the header": "out[t] = (int)__half2float(hexp(__float2half((float)(in[t] % 4))));",
    "named barriers, one half after the other": """
        __shared__ int s[64];
        if (t < 32) { s[t] = in[t]; asm volatile("bar.arrive 1, 64;" ::: "memory"); out[t] = 1; }
        else { asm volatile("bar.sync 1, 64;" ::: "memory"); out[t] = s[63 - t]; }""",
    "a barrier for one half of the block": """
        __shared__ int s[64];
        if (t < 32) return;
        s[t] = in[t]; asm volatile("bar.sync 2, 32;" ::: "memory"); out[t] = s[95 - t];""",
    "barriers that count": """
        int odd = __syncthreads_count(t & 1), all = __syncthreads_and(t < 64), any = __syncthreads_or(t == 64);
        out[t] = odd * 100 + all * 10 + any;""",
    "threads that leave, and no barrier after": "if (t >= 40) return; out[t] = in[t];",
    "a block-wide copy with cp.async": """
        __shared__ __align__(16) int s[64];
        unsigned at = (unsigned)__cvta_generic_to_shared(s + t);
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(at), "l"(in + t));
        asm volatile("cp.async.commit_group;\\n cp.async.wait_group 0;");
        __syncthreads(); out[t] = s[63 - t];""",
    "votes, matches and reductions": """
        unsigned odd = __ballot_sync(~0u, t & 1), same = __match_any_sync(~0u, t % 4);
        int sum = __reduce_add_sync(~0u, t), all = __all_sync(~0u, t >= 0);
        int right = sum == (t < 32 ? 496 : 1520);
        out[t] = (odd == 0xaaaaaaaau) + 2 * (same == 0x11111111u << t % 4) + 4 * all + 8 * right;""",
    "the lanes that are here": """
        if (t % 4 == 1) {
          unsigned here = __activemask();
          out[t] = __popc(here) == 8 ? __shfl_sync(here, t, 1) : -2;
        }""",
    "a partial warp": "out[t] = __shfl_down_sync(~0u, t, 0) + __popc(__ballot_sync(~0u, 1));",
    "volatile flags between the threads of a block": """
        volatile int* flag = state;
        if (t == 0) { out[0] = 1; __threadfence(); flag[0] = 1; }
        else if (t == 40) { while (flag[0] == 0) {} __threadfence(); out[40] = 2; }""",
    "a generic pointer to either memory": """
        __shared__ int s[64];
        s[t] = in[t]; __syncthreads();
        const int* from = in[63 - t] % 2 ? s : in;
        out[t] = from[t];""",
    "a local array with moving indices": """
        int a[8];
        for (int i = 0; i < 8; ++i) a[i] = in[i] * t;
        int sum = 0;
        for (int i = 0; i < 8; ++i) sum += a[(i + t) % 8];
        out[t] = sum;""",
    "a barrier inside a function that is not inlined": """
        __shared__ int s[64];
        s[t] = in[t]; meet(); out[t] = s[63 - t];""",
    "all threads write the same": """
        __shared__ int group;
        group = in[5]; __syncthreads(); out[t] = group + t;""",
    "all lanes write the sum that they share": """
        int sum = t;
        for (int d = 16; d; d /= 2) sum += __shfl_xor_sync(~0u, sum, d);
        out[t / 32] = sum;""",
    "one block that does everything": """
        __shared__ int s[64];
        int sum = 0;
        for (int i = 0; i < 5000; ++i) { s[t] = i; __syncthreads(); sum += s[63 - t]; __syncthreads(); }
        out[t] = sum;""",
    "bit fields, written one after the other": """
        struct Tile { unsigned first : 1, kind : 3, row : 12, none : 4, column : 12; };
        __shared__ Tile s[64];
        s[t].first = 1; __syncthreads();
        s[t].kind = in[t]; __syncthreads();
        s[t].row = 0; __syncthreads();
        s[t].column = 2 * in[t]; __syncthreads();
        out[t] = s[63 - t].first + s[63 - t].kind + s[63 - t].row + s[63 - t].column;""",
    "two nibbles of one byte, one after the other": """
        __shared__ unsigned char s[64];
        s[t] = (s[t] & 0xf0) | (in[t] & 15); __syncthreads();
        s[t] = (s[t] & 0x0f) | (in[t] << 4); __syncthreads();
        out[t] = s[63 - t];""",
    "one barrier that each warp passes alone, for its own cells": """
        __shared__ int s[64];
        for (int i = 0; i < 3; ++i) {
          s[t] = in[t] + i; asm volatile("bar.sync 1, 32;" ::: "memory");
          out[t] = s[t ^ 31]; asm volatile("bar.sync 1, 32;" ::: "memory");
        }""",
    "a barrier in either branch, each for whole warps": """
        __shared__ int s[64];
        if (t < 32) { s[t] = in[t]; __syncthreads(); out[t] = s[63 - t]; }
        else { s[t] = 2 * in[t]; __syncthreads(); out[t] = s[t ^ 32] + 1; }
        __syncthreads(); s[t] = 0;""",
    "a vote in either branch, each for whole warps": """
        int any;
        if (t < 32) any = __syncthreads_or(t == 5);
        else any = __syncthreads_or(t == 70) + 1;
        out[t] = any;""",
    "unaligned barriers in either branch": """
        __shared__ int s[64];
        s[t] = in[t];
        if (t % 2) { asm volatile("barrier.sync 0;" ::: "memory"); out[t] = s[63 - t]; }
        else { asm volatile("barrier.sync 0;" ::: "memory"); out[t] = 2 * s[t ^ 32]; }""",
    "an unaligned barrier with a count in either branch": """
        __shared__ int s[64];
        s[t] = in[t];
        if (t % 2) { asm volatile("barrier.sync 1, 64;" ::: "memory"); out[t] = s[63 - t]; }
        else { asm volatile("barrier.sync 1, 64;" ::: "memory"); out[t] = 2 * s[t ^ 32]; }""",
    "a count of threads of which some have left": """
        __shared__ int s[64];
        if (t >= 50) return;
        s[t] = in[t]; asm volatile("bar.sync 1, 64;" ::: "memory"); out[t] = s[49 - t];""",
    "a partial warp at a barrier with a count": """
        __shared__ int s[64];
        s[t] = in[t]; asm volatile("bar.sync 1, 64;" ::: "memory"); out[t] = s[39 - t];""",
    "a partial warp that arrives": """
        __shared__ int s[64];
        s[t] = in[t];
        if (t >= 32) asm volatile("bar.arrive 1, 64;" ::: "memory");
        else { asm volatile("bar.sync 1, 64;" ::: "memory"); out[t] = s[39 - t]; }""",
    "a full barrier among named ones": """
        __shared__ int s[64];
        s[t] = in[t]; asm volatile("bar.sync 3;" ::: "memory"); int mine = s[63 - t]; __syncthreads();
        s[t] = mine; __syncthreads(); out[t] = s[t];""",
    "printf with a width from an argument": 'if (t == 3) printf("%*d|%.*f\\n", 5, t, 2, 1.0f / 3); out[t] = t;',
    "a reduction over half a warp that drops what it reads beyond": """
        int sum = t;
        if (t % 32 < 16) {
          for (int d = 8; d; d /= 2) sum += __shfl_down_sync(0xffffu, sum, d);
          if (t % 32 == 0) out[t] = sum;
        }""",
    "partial syncs within wider ones": """
        __shared__ int s[64];
        s[t] = in[t];
        __syncwarp(0xffffu << (t & 16));
        __syncwarp(0xffu << (t & 24));
        out[t] = s[t ^ 15];""",
    "partial syncs, one handing on to the next": """
        __shared__ int s[64];
        if (t < 8) s[t] = in[t];
        if (t < 16) __syncwarp(0x0000ffffu);
        if (t >= 8 && t < 24) __syncwarp(0x00ffff00u);
        if (t >= 16 && t < 32) __syncwarp(0xffff0000u);
        out[t] = t >= 8 && t < 32 ? s[t & 7] : 0;""",
    "what half a warp knows goes to the other half by a fence and a flag": """
        __shared__ int s[32]; __shared__ volatile int flag;
        if (t == 0) flag = 0;
        __syncthreads();
        if (t < 8) s[t] = in[t];
        if (t < 16) __syncwarp(0xffffu);
        if (t == 15) { __threadfence_block(); flag = 1; }
        if (t == 16) { while (flag == 0) {} __threadfence_block(); }
        if (t >= 16 && t < 24) { __syncwarp(0xff0000u); out[t] = s[t - 16]; }""",
    "a lane that fences again after another has looked at its flag": """
        __shared__ int s; __shared__ volatile int flag, again;
        if (t == 0) flag = again = 0;
        __syncthreads();
        if (t == 0) {
          s = in[7]; __threadfence_block(); flag = 1;
          while (again == 0) {}
          __threadfence_block(); again = 2;
        }
        if (t == 1) {
          while (flag == 0) {}
          again = 1;
          for (int i = 0; i < 100 && flag != 7; ++i) __nanosleep(1);
          out[0] = s;
        }""",
    "some lanes wait at an mbarrier and tell others of their warp": """
        __shared__ int s[64]; __shared__ unsigned long long bar;
        unsigned at = (unsigned)__cvta_generic_to_shared(&bar), done = 0;
        if (t == 0) asm volatile("mbarrier.init.shared.b64 [%0], 32;" ::"r"(at) : "memory");
        __syncthreads();
        if (t >= 32) { s[t] = in[t]; asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(at) : "memory"); }
        if (t < 16) {
          while (!done)
            asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], 0; selp.u32 %0, 1, 0, p; }"
                         : "=r"(done) : "r"(at) : "memory");
          s[t] = s[t + 32];
        }
        if (t >= 8 && t < 24) { __syncwarp(0xffff00u); out[t] = s[(t & 7) + 8] + s[(t & 7) + 40]; }""",
    "a named barrier for a warp, between tiles of it": """
        __shared__ int s[64];
        s[t] = in[t]; __syncwarp(0xfu << (t & 28));
        asm volatile("bar.sync 1, 32;" ::: "memory");
        out[t] = s[t ^ 31]; __syncwarp(0xfu << (t & 28));
        out[t] += s[t ^ 16];""",
    "a vote, a match and a reduction in each branch": """
        int v;
        if (t % 2) v = __ballot_sync(~0u, t < 9) + __reduce_add_sync(~0u, 1) + __match_any_sync(~0u, t % 4);
        else v = __ballot_sync(~0u, t > 9) + __reduce_add_sync(~0u, 2) + __match_any_sync(~0u, t % 8);
        out[t] = v;""",
    "a shuffle in each branch": """
        int v = in[t];
        if (t % 32 < 16) out[t] = __shfl_xor_sync(~0u, v, 16);
        else out[t] = __shfl_xor_sync(~0u, v * 2, 16);""",
    "a __syncwarp in each branch": """
        __shared__ int s[64];
        if (t % 2) { s[t] = in[t]; __syncwarp(); }
        else { __syncwarp(); s[t] = 2 * in[t]; }
        __syncwarp();
        out[t] = s[t ^ 1];""",
    "a shared flag behind a condition of the block": """
        __shared__ bool last;
        bool split = in[blockIdx.x] > 0;
        if (split && t == 0) last = atomicAdd(&state[0], 1) == 1;
        __syncthreads();
        if (split && !last) return;
        out[t] = 1;""",
    "a shared scalar that only some blocks have": """
        __shared__ int prefix;
        if (blockIdx.x > 0 && t == 0) prefix = in[blockIdx.x];
        __syncthreads();
        out[t] = (blockIdx.x > 0 ? prefix : 0) + in[t];""",
    "fields of a task that is not there": """
        __shared__ struct { int tile; bool valid; } task;
        if (t == 0) { task.valid = in[0]; if (task.valid) task.tile = in[1]; }
        __syncthreads();
        out[t] = task.valid ? task.tile : -1;""",
    "a scalar of each warp's own": """
        __shared__ int a, b;
        if (t == 0) a = in[3];
        if (t == 32) b = in[4];
        __syncwarp();
        out[t] = t < 32 ? a : b;""",
    "a running best that one thread keeps": """
        __shared__ float best;
        if (t == 0) best = 0;
        for (int i = 0; i < 4; ++i) {
          float v = __shfl_sync(~0u, (float)in[t], i);
          if (t == 0 && v > best) best = v;
        }
        __syncthreads();
        out[t] = best;""",
    "what its writer alone reads": "__shared__ int s; if (t == 3) s = in[5]; out[t] = t == 3 ? s : 7;",
    "a scale in a loop, if there is one": """
        __shared__ float scale;
        bool has = blockIdx.x > 0;
        if (has && t == 0) scale = in[blockIdx.x];
        __syncthreads();
        float sum = 0;
        for (int i = 0; i < in[8]; ++i) { float v = in[(i + t) % 64]; if (has) v *= scale; sum += v; }
        out[t] = sum;""",
    "an atomic start, and atomics behind a barrier of the warp": """
        __shared__ int count[2]; int w = t / 32;
        if (t % 32 == 0) atomicExch(&count[w], 0);
        __syncwarp();
        atomicAdd(&count[w], 1); atomicAdd(&count[w], 1);
        __syncwarp(); out[t] = atomicAdd(&count[w], 0);""",
    "a volatile scalar that is set twice": """
        __shared__ volatile int group;
        if (t == 0) group = in[5];
        __syncthreads();
        int sum = group;
        __syncthreads();
        if (t == 0) group = in[6];
        __syncthreads();
        out[t] = sum + group * 0;""",
    "a scale in a loop, from some turn on, for the warp that has it": """
        __shared__ float scale;
        if (t < 32) { if (t == 0) scale = in[3]; __syncwarp(); }
        float sum = 0;
        for (int i = 0; i < in[8]; ++i) { float v = in[(i + t) % 64]; if (t < 32 && i > 2) v *= scale; sum += v; }
        out[t] = sum;""",
    "three of four words that are aligned": """
        struct __align__(16) P { float x, y, z; };
        __shared__ P s[64];
        s[t].x = in[t]; s[t].y = 2; s[t].z = 3; __syncthreads();
        out[t] = s[63 - t].x + s[63 - t].y * s[63 - t].z;""",
    "three of four words, shared or not": """
        __shared__ float4 s[64];
        s[t].x = in[t]; s[t].y = 1; s[t].z = 2; __syncthreads();
        const float4* p = in[0] == 0 ? s : (const float4*)in;
        out[t] = p[63 - t].x + p[63 - t].y + p[63 - t].z;""",
    "a member that is written while others read its neighbours": """
        __shared__ struct __align__(16) { int tile, row, col, next; } job;
        if (t == 0) { job.tile = in[1]; job.row = in[2]; job.col = in[3]; job.next = 0; }
        __syncthreads();
        if (t == 0) job.next = in[4];
        out[t] = job.tile + job.row + job.col;""",
    "the last three words of an aligned array": """
        __shared__ __align__(16) int p[19];
        if (t < 19) p[t] = t;
        __syncthreads(); out[t] = p[16] + p[17] + p[18];""",
    "bytes that are even, while their neighbours are written": """
        __shared__ __align__(16) unsigned char b[512];
        int other = 63 - t, sum = 0;
        for (int i = 0; i < 4; ++i) b[8 * t + 2 * i] = t;
        __syncthreads();
        for (int i = 0; i < 4; ++i) b[8 * t + 2 * i + 1] = 0;
        for (int i = 0; i < 4; ++i) sum += b[8 * other + 2 * i];
        out[t] = sum;""",
    "a vector that one thread has, and a number of its bits": """
        __shared__ int2 best; __shared__ int mask;
        if (t == 0) { best = make_int2(in[1], in[2]); mask = in[7]; }
        int2 v = t == 0 ? best : make_int2(7, 8);
        out[t] = v.x + v.y + (t == 0 ? __popc(mask) : 7);""",
    "a total that its writer alone reads": """
        __shared__ double total;
        double v = in[t], x = 0;
        for (int d = 16; d; d /= 2) v += __shfl_xor_sync(~0u, v, d);
        if (t == 0) total = v;
        if (t == 0) x = total * 2;
        out[t] = x;""",
    "printf": 'if (t == 3) printf("t=%d %s %5.2f|\\n", t, "three", 3.0f); out[t] = t;',
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_kernel_raises_nothing(name: str) -> None:
    before = "#include <cstdio>\n#include <cuda_fp16.h>\n__noinline__ __device__ void meet() { __syncthreads(); }\n"
    block = 40 if name.startswith("a partial warp") else 64
    assert run(RIGHT[name], before=before, block=block).findings == ()


def test_collectives_compute_what_they_should() -> None:
    t = np.arange(64)
    assert (run(RIGHT["votes, matches and reductions"]).out == 15).all()
    assert (run(RIGHT["barriers that count"]).out == 3210).all()
    assert (run(RIGHT["a lock in shared memory"]).out == t.sum()).all()
    assert (run(RIGHT["a block-wide copy with cp.async"]).out == 63 - t).all()
    branches = run(RIGHT["a shuffle in each branch"]).out
    assert (branches == np.where(t % 32 < 16, (t ^ 16) * 2, t ^ 16)).all()
    lanes = run(RIGHT["the lanes that are here"]).out
    assert (lanes[1::4] == np.where(t[1::4] < 32, 1, 33)).all()


def test_printf_is_formatted() -> None:
    assert run(RIGHT["printf"], before="#include <cstdio>\n").printed == "t=3 three  3.00|\n"
    starred = RIGHT["printf with a width from an argument"]
    assert run(starred, before="#include <cstdio>\n").printed == "    3|0.33\n"


def test_a_block_may_wait_for_a_block_of_lower_index() -> None:
    ran = run(
        """
        volatile int* flag = state;
        if (blockIdx.x > 0) while (flag[blockIdx.x - 1] == 0) {}
        __threadfence();
        if (t == 0) { out[blockIdx.x] = blockIdx.x; __threadfence(); flag[blockIdx.x] = 1; }
        """,
        grid=16,
        block=32,
    )
    assert ran.findings == ()
    assert (ran.out[:16] == np.arange(16)).all()


def test_a_block_may_wait_long_for_another_that_gets_on() -> None:
    ran = run(
        """
        volatile int* flag = state;
        if (blockIdx.x == 0) {
          int sum = in[t];
          for (int round = 0; round < 100; ++round) {
            for (int i = 0; i < 100000; ++i) sum = sum * 3 + (sum >> 5);
            __syncthreads();
          }
          out[t] = sum; __threadfence(); __syncthreads();
          if (t == 0) flag[0] = 1;
        } else if (t == 0) while (flag[0] == 0) __threadfence();
        """,
        grid=2,
        instructions=10_000_000,
    )
    assert ran.findings == ()


@pytest.mark.parametrize("body", ["out[t] = in[t];", "__shared__ int a[64]; a[t] = in[t]; out[t] = a[t];"])
def test_dynamic_shared_memory_without_an_array_of_it_is_asked_for_in_vain(body: str) -> None:
    ran = run(body, shared=200_000)
    assert ran.findings == ()
    assert (ran.out == np.arange(64)).all()


def test_past_a_shared_array_is_out_of_bounds_whatever_the_launch_asks_for() -> None:
    ran = run("__shared__ int a[64]; a[t + in[8]] = t; __syncthreads(); out[t] = a[63 - t];", shared=200_000)
    assert "out-of-bounds" in {report.kind for report in ran.findings}


@pytest.mark.parametrize(
    ("body", "grid"),
    [
        ("if (blockIdx.x == 0) out[t] = in[t];", 8_000_000),
        ("for (int i = 0; i < 1000000; i++) { out[t] = i; __syncthreads(); }", 1),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_slow_here_is_neither_clean_nor_endless(body: str, grid: int, workers: int) -> None:
    with pytest.raises(ptx.OutOfTime, match=f"too slow for this CPU: .* of {grid} blocks started"):
        run(body, grid=grid, workers=workers, seconds=0.3, barriers=2_000_000)


@pytest.mark.parametrize("end", ["", "__shfl_xor_sync(~0u, t, 1);"])
def test_what_ran_long_enough_is_endless_though_the_time_is_up(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grader.ptx.engine.MANY_INSTRUCTIONS", 100_000)
    ran = run(
        f"volatile int* s = state;\nwhile (s[t] == 0) {{ {end} }}  // <-- here",
        seconds=0.5,
        instructions=1 << 50,
    )
    assert [(report.kind, report.line) for report in ran.findings] == [("did-not-finish", ran.guilty[0])]


GOES_ROUND = """
    __shared__ int s[64]; __shared__ int drawn;
    int tile = 0;
    do {{
        {draw}
        s[t] = in[t]; __syncthreads();  // <-- here
        int sum = s[63 - t] + tile; __syncthreads();  // <-- here
        out[t] = sum - tile;
    }} while (tile < 9 + in[0]);"""
DRAWS = {
    "the tile stays": "",
    "what is drawn is dropped": "if (t == 0) atomicAdd(state, 1);",
    "what is drawn is not taken over": """
        if (t == 0) drawn = atomicAdd(state, 1);
        __syncthreads();
        if (drawn < 0) tile = 9;""",
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", DRAWS)
def test_a_loop_that_gives_the_same_again_and_again_is_named_soon(name: str, workers: int) -> None:
    ran = run(GOES_ROUND.format(draw=DRAWS[name]), grid=1, workers=workers, stale=500, barriers=1 << 40)
    assert [report.kind for report in ran.findings] == ["did-not-finish"]


@pytest.mark.parametrize(
    "body",
    [
        "for (int i = 0; i < 900; ++i) { __syncthreads(); if (t == 0 && i % 90 == 0) state[0] = i; }",
        "for (int i = 0; i < 900; ++i) { __syncthreads(); if (t == 0 && i % 90 == 0) atomicMax(state, i); }",
        "for (int i = 0; i < 900; ++i) { __syncthreads(); if (t == 0 && i % 90 == 0) atomicAdd((float*)state, 1); }",
    ],
)
def test_a_long_loop_that_brings_something_new_is_none(body: str) -> None:
    assert run(body, stale=100).findings == ()


def test_more_syncwarps_than_stamps_can_tell_apart_are_not_judged() -> None:
    body = "__shared__ int s[32]; for (int i = 0; i < 2100000; ++i) { s[t] = i; __syncwarp(); } out[t] = s[t];"
    with pytest.raises(ptx.Unsupported, match="__syncwarp"):
        run(body, block=32, instructions=1 << 50)


@pytest.mark.parametrize(
    "body",
    [
        "for (int i = 0; i < 4000; ++i) { s[t] = i; __syncwarp(0xfu << (t & 28)); }",
        "for (int i = 0; i < 1000; ++i) { s[t] = i; __threadfence_block(); }",
    ],
    ids=["__syncwarp", "fences"],
)
def test_only_barriers_count_as_barriers(body: str) -> None:
    ran = run(f"__shared__ int s[64]; {body} __syncthreads();", barriers=10)
    assert ran.findings == ()


def test_what_is_found_before_the_time_is_up_is_said() -> None:
    ran = run("if (blockIdx.x == 0 && t == 5) out[70] = in[0];", grid=8_000_000, seconds=0.3)
    assert [report.kind for report in ran.findings] == ["out-of-bounds"]


def test_the_message_names_the_array_the_thread_and_the_other_side() -> None:
    ran = run("if (t == 5) out[70] = in[0];")
    assert ran.findings[0].message == (
        "thread (5,0,0) of block (0,0,0) writes out[70], 24 bytes past the end (the array has 64 elements)"
    )
    ran = run("__shared__ int tile[64];\ntile[t] = in[t];\nout[t] = tile[63 - t];")
    race = next(r for r in ran.findings if r.kind == "race")
    assert race.message.endswith(", which line 4 also writes, with no barrier in between")
    assert "reads tile[" in race.message
    assert race.notes[0].endswith("wrote it on line 4")


# By the detail: a kernel whose first report has it.
DETAILS = {
    "before-start": "out[t] = in[t - 1];",
    "stray-pointer": "*(int*)(in[t] * 8L + 8) = 0;",
    "dynamic-shared": "extern __shared__ int s[]; s[t + 1] = t;",
    "global-memory": "out[t] += 1;",
    "between-blocks": "if (t == 0) out[0] = blockIdx.x;",
    "read-between-blocks": "if (blockIdx.x) out[t] = state[t]; else state[t] = 1;",
    "block-scope": "atomicAdd_block(state, 1);",
    "own-barriers": """
        __shared__ int s[64]; s[t] = t;
        if (t < 32) asm volatile("bar.sync 1, 32;" ::: "memory");
        out[t] = s[63 - t];""",
    "thread-count": 'asm volatile("bar.sync 1, 96;");',
    "own-lane": "out[t] = __shfl_sync(1u << (t + 1) % 32, t, 0);",
    "absent-lane": "if (t % 32 < 24) out[t] = __shfl_sync(0xffffffu, t, 24 + t % 2);",
    "waits-for-others": "volatile int* s = state; while (*s == 0) {}",
    "assertion": "assert(in[t] < 63); out[t] = t;",
}


@pytest.mark.parametrize("detail", DETAILS)
def test_what_tells_faults_of_one_kind_apart_is_data(detail: str) -> None:
    ran = run(DETAILS[detail], before=BEFORE, grid=2 if "block" in detail else 1, shared=256, workers=1)
    assert ran.findings[0].detail == detail, ran.findings[0]


@pytest.mark.parametrize(
    "body", ["out[t + 1] = 0;", "if (t < 32) return; __syncthreads();", "for (;;) out[t] = (out[t] = t) + 1;"]
)
def test_the_plain_form_of_a_kind_has_no_detail(body: str) -> None:
    assert run(body, workers=1).findings[0].detail == ""


def test_a_report_holds_the_array_the_access_and_the_other_side_as_data() -> None:
    ran = run("__shared__ int tile[64];\ntile[t] = in[t];\nout[t] = tile[63 - t];", workers=1)
    (race,) = {(r.array, r.space, r.access, r.related) for r in ran.findings if r.line == 5}
    assert race == (
        "tile",
        "shared",
        "read",
        (ptx.Related("other-access", "/nonexistent/submission.cu", 4, "write"),),
    )


def test_what_the_launch_did_not_ask_for_is_said_to_be_missing() -> None:
    (finding,) = run("extern __shared__ int s[]; s[t] = t;", block=1).findings
    assert finding.detail == "shared-not-requested"
    assert finding.message.endswith(
        "writes dynamic shared memory[0], but the launch asks for no dynamic shared memory"
    )


def test_a_barrier_for_part_of_a_warp_is_named_with_its_number() -> None:
    ran = run('asm volatile("bar.sync 1, 40;");')
    assert [r.message for r in ran.findings] == [
        "this barrier is for 40 threads, but whole warps arrive: use a multiple of 32"
    ]


def test_a_barrier_that_waits_for_more_threads_than_there_are_says_so() -> None:
    ran = run('asm volatile("bar.sync 1, 96;");')
    assert [r.message for r in ran.findings] == ["this barrier waits for 96 threads, but the block has only 64"]


def test_a_warp_that_leaves_a_barrier_out_shows_where_the_others_wait_instead() -> None:
    body = "int v = in[t];\nif (t < 32) __syncthreads();\nstate[t] = v;\n__syncthreads();\nout[t] = state[63 - t];"
    messages = {r.line: r.message for r in run(body).findings if r.kind == "barrier-divergence"}
    who = "thread (32,0,0) of block (0,0,0)"
    assert messages == {
        4: f"32 threads of the block do not wait here: {who} waits at the barrier on line 6",
        6: f"32 threads of the block never reach this barrier: {who} has already returned",
    }


def test_findings_are_counted_not_repeated() -> None:
    ran = run("out[t + 32] = in[t];")
    assert [(r.kind, r.count) for r in ran.findings] == [("out-of-bounds", 32)]


@pytest.mark.parametrize("largest", ["fmaxf(v, other)", "v > other ? v : other", "v + other"])
@pytest.mark.parametrize("shuffle", ["__shfl_xor_sync", "__shfl_down_sync"])
def test_a_reduction_that_reads_lanes_that_have_left_shows_it(shuffle: str, largest: str) -> None:
    """Right where all lanes are there; with some gone, what it reads is no number that the input holds."""
    reduce = f"""
        if (t >= {{lanes}}) return;
        float v = in[t];
        for (int d = 16; d > 0; d /= 2) {{{{ float other = {shuffle}(~0u, v, d); v = {largest}; }}}}
        if (t == 0) out[0] = __float_as_int(v);
    """
    assert np.isinf(run(reduce.format(lanes=20)).out[:1].view(np.float32))
    assert np.isfinite(run(reduce.format(lanes=32)).out[:1].view(np.float32))


def test_what_an_earlier_launch_wrote_may_be_read_and_nothing_else() -> None:
    source = HEAD + "if (t < in[0]) out[t] = t; else if (t >= in[1]) state[t - in[1]] = out[t - in[1]];\n}\n"
    program = ptx.Program(ptx.parse(compile_text(source, PTX_ARCH).ptx))
    out, filled = np.full(64, -1, np.int32), np.zeros(256, np.uint8)

    def launch(write: int, read_from: int) -> list[str]:
        arguments = [
            ptx.Buffer("in", np.array([write, read_from], np.int32)),
            ptx.Buffer("out", out, writable=True, initialised=False, filled=filled),
            ptx.Buffer("state", np.zeros(64, np.int32), writable=True),
        ]
        return [r.kind for r in program.run("k", grid=(1, 1, 1), block=(64, 1, 1), arguments=arguments).findings]

    assert launch(write=40, read_from=64) == []
    assert launch(write=0, read_from=24) == []  # out[0] to out[39]
    assert launch(write=0, read_from=23) == ["uninitialised-read"]
    assert np.flatnonzero(filled).size == 160


def test_an_index_into_a_local_array_counts_elements() -> None:
    ran = run("int own[4] = {}; own[in[t] % 5] = t; out[t] = own[in[1]];")
    assert "writes a local array[4], just past the end (the array has 4 elements)" in ran.findings[0].message


def test_a_shared_array_that_the_compiler_renamed_keeps_its_name() -> None:
    ran = run("__shared__ int a[1]; a[0] = in[t]; __syncthreads(); out[t] = a[0];")
    assert "writes a[0], which line 3" in ran.findings[0].message


def test_a_stray_pointer_is_shown_as_an_address() -> None:
    ran = run("out[t] = ((const int*)(size_t)in[16])[t];")
    assert "reads address 0x10, which lies in no array (a null or stray pointer)" in ran.findings[0].message


def test_who_calls_the_function_of_a_race_is_not_guilty_of_it() -> None:
    put = "__device__ void put(int* to, int at) {\n  to[at] = 2 * at;\n}\n"
    body = """
        __shared__ int s[64]; s[t] = t; __syncthreads();
        if (t < 32) out[t] = s[63 - t];
        else put(s, t);
        __syncthreads(); state[t] = s[t];"""
    (race,) = run(body, before=put, workers=1).findings
    assert guilty_lines(race) == {2, 8}
    assert [(one.role, one.line) for one in race.related] == [("other-access", 8), ("call", 9)]


def test_a_line_in_a_function_of_ones_own_is_told_with_the_line_that_calls_it() -> None:
    put = "__device__ void put(int* to, int at) {\n  to[at] = 1;\n}\n"
    ran = run("if (t < 4) out[t] = 0;\nput(out, 64 + in[t]);  // <-- here", before=put)
    (finding,) = ran.findings
    assert (finding.kind, finding.line) == ("out-of-bounds", 2)
    assert [(one.role, one.line) for one in finding.related] == [("call", ran.guilty[0])]
    assert finding.notes == (f"called from line {ran.guilty[0]}",)
