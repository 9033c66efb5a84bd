"""Small whole kernels, compiled by NVRTC: generated code against the interpreter, bit for bit."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from grader import ptx
from grader.compile import nvrtc, recipe
from grader.launching.plan import LAUNCH_BYTES
from grader.ptx.definition import interpreter
from grader.ptx.definition.interpreter import InterpreterError
from grader.ptx.definition.semantics import UnknownInstruction

THREADS = 32
BLOCKS = 2
N = THREADS * BLOCKS

# Bodies of `k(const float* x, const int* n, float* y)` on arrays of N elements; `i` is the thread's index in
# the grid, `t` in its block; there are 4 bytes of dynamic shared memory per thread.
SOURCES = {
    "shared memory between barriers": """
        __shared__ float tile[32];
        for (int round = 0; round < 3; ++round) {
            tile[t] = x[i] + round;
            __syncthreads();
            y[i] += tile[31 - t] * tile[(t + round) % 32];
            __syncthreads();
        }""",
    "a tree reduction in dynamic shared memory": """
        extern __shared__ float sums[];
        sums[t] = x[i];
        for (int half = blockDim.x / 2; half > 0; half /= 2) {
            __syncthreads();
            if (t < half) sums[t] += sums[t + half];
        }
        __syncthreads();
        y[i] = sums[0] - i;""",
    "a local array behind a call": "y[i] = pick(x[i], n[i]) + pick(x[i], 3);",
    "calls within calls": "y[i] = twice(x[i], n[i] & 3) - twice(pick(x[i], 2), 1);",
    "a constant table and a module variable": "y[i] = table[n[i] & 3] * x[i] + lut[i % 3];",
    "a switch": """
        switch (n[i] & 7) {
            case 0: y[i] = x[i] + 1; break;
            case 1: y[i] = x[i] * 3; break;
            case 2: y[i] = -x[i]; break;
            case 3: y[i] = fabsf(x[i]); break;
            case 4: y[i] = x[i] * x[i]; break;
            case 5: y[i] = sqrtf(fabsf(x[i])); break;
            default: y[i] = 7;
        }""",
    "atomics in global and in shared memory": """
        __shared__ unsigned counts[4];
        if (t < 4) counts[t] = 0;
        __syncthreads();
        atomicAdd(&counts[n[i] & 3], 1u);
        atomicMax(&counts[3], (unsigned)(n[i] & 31));
        __syncthreads();
        atomicAdd(&y[i % 7], x[i]);
        atomicAdd(&y[8], (float)counts[t & 3]);
        atomicMin((int*)&y[9], -n[i]);
        atomicInc((unsigned*)&y[10], 20u);
        atomicCAS((unsigned*)&y[11], 0u, (unsigned)i + 1u);
        unsigned seen = atomicXor((unsigned*)&y[13 + 32], 1u << t);
        if (blockIdx.x == 0) atomicExch(&y[12 + t], (float)seen);""",
    "a function chosen by a table": "y[i] = choices[n[i] & 1](x[i], n[i]) + choices[t & 1](x[i], 2);",
    "virtual functions": """
        Twice two; Half half;
        const Shape* shape = n[i] & 1 ? (const Shape*)&two : (const Shape*)&half;
        y[i] = measure(shape, x[i]);""",
    "new and delete": """
        float* own = new float[4];
        for (int k = 0; k < 4; ++k) own[k] = x[i] * k;
        y[i] = own[n[i] & 3] + (own == nullptr);
        delete[] own;""",
    "a cluster of one block": """
        __shared__ float tile[32];
        unsigned rank, ranks, mine = (unsigned)__cvta_generic_to_shared(tile + (31 - t)), other;
        tile[t] = x[i];
        asm volatile("barrier.cluster.arrive.release; barrier.cluster.wait.acquire;" ::: "memory");
        asm volatile("mov.u32 %0, %%cluster_ctarank; mov.u32 %1, %%cluster_nctarank;" : "=r"(rank), "=r"(ranks));
        asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(other) : "r"(mine), "r"(rank));
        asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(y[i]) : "r"(other) : "memory");
        y[i] += ranks;""",
    "16 bytes in one register": """
        __shared__ alignas(16) float tile[32];
        tile[t] = x[i];
        __syncthreads();
        unsigned long long low, high;
        const unsigned at = (unsigned)__cvta_generic_to_shared(tile + (t & ~3));
        asm volatile("{ .reg .b128 q; ld.shared.b128 q, [%2]; mov.b128 {%0, %1}, q; }"
                     : "=l"(low), "=l"(high) : "r"(at));
        if (t % 4 == 0)
            asm volatile("{ .reg .b128 q; mov.b128 q, {%1, %2}; st.global.b128 [%0], q; }"
                         :: "l"(y + i), "l"(high), "l"(low) : "memory");""",
    "the address of a parameter": """
        const float* const* where;
        asm("{ .reg .u64 a; mov.b64 a, k_param_0; cvta.param.u64 %0, a; }" : "=l"(where));
        y[i] = (*where)[i] * 2;""",
    "atomics on halves, on vectors and on 16 bits": """
        __half2* pairs = (__half2*)y;
        __nv_bfloat162* brain = (__nv_bfloat162*)(y + 8);
        atomicAdd(&pairs[i % 5], __floats2half2_rn(x[i], (float)n[i]));
        atomicAdd((__half*)&pairs[5 + (i & 1)], __float2half(x[i]));
        atomicAdd(&brain[i % 3], __floats2bfloat162_rn(x[i], (float)n[i]));
        atomicAdd((__nv_bfloat16*)&brain[4], __float2bfloat16(x[i]));
        atomicAdd((float4*)&y[16], make_float4(x[i], 1, 2, -x[i]));
        float2 before = atomicAdd((float2*)&y[32], make_float2(x[i], 3));
        if (i == 5) y[20] = before.y;
        atomicCAS((unsigned short*)&y[34] + (i & 1), (unsigned short)0, (unsigned short)(i + 1));""",
    "integer arithmetic": """
        unsigned u = (unsigned)n[i] * 2654435761u;
        long long w = (long long)n[i] * u;
        int d = n[i] / ((int)(u >> 28) - 7 | 1) + n[i] % 13 + (int)(w >> 33) + (int)(w / 1000003);
        d += __popc(u) + __clz(n[i]) + __ffs(u) + __mulhi(n[i], (int)u) + __brev(u) % 1000;
        d ^= __byte_perm(u, n[i], 0x3175) + __funnelshift_l(u, n[i], 9) + min(n[i], 5) + abs(n[i]);
        y[i] = __int_as_float((d & 0x007fffff) | 0x3f800000);""",
    "single and double precision": """
        double d = x[i];
        d = d * d / (1.0 + fabs(d)) + sqrt(fabs(d)) - fma(d, 3.0, 0.1);
        float f = x[i] / (n[i] | 1) + __fmul_rz(x[i], 3.3f) + __fadd_ru(x[i], 1e-9f) + rintf(x[i] * 10);
        y[i] = f + (float)d + fminf(x[i], 0.25f) + fmodf(x[i] * 100, 3.0f) + truncf(x[i] * 7)
             + (x[i] > 0.1f ? (int)(x[i] * 1e10f) : (unsigned char)(n[i])) + 1.0f / x[i];""",
    "vector loads and stores": """
        float4 v = ((const float4*)x)[i % (blockDim.x * gridDim.x / 4)];
        if (i < 16) ((float4*)y)[i] = make_float4(v.w, v.z + 1, v.y * 2, v.x - n[i]);""",
    "bytes that are discarded": """
        y[i] = x[i];
        __syncthreads();
        if (t == 0) asm volatile("discard.global.L2 [%0], 128;" ::"l"(y + i) : "memory");
        __syncthreads();
        if (n[i] & 1) y[i] = n[i];""",
    "which space an address lies in": """
        __shared__ float here;
        float own = x[i];
        float* p = (n[i] & 1) ? &here : (n[i] & 2) ? &own : y + i;
        *p = 3;
        y[i] = __isShared(p) + 2 * __isGlobal(p) + 4 * __isLocal(p) + own;""",
    "a loop with a data-dependent end": """
        int steps = n[i] & 31;
        float sum = 0;
        while (steps-- > 0) { if (steps % 5 == 2) continue; sum = sum * 0.5f + x[(i + steps) % 64]; }
        y[i] = sum;""",
    "threads that leave early": "if (n[i] & 1) return; y[i] = x[i];",
    "shuffles": """
        float v = x[i];
        v += __shfl_xor_sync(~0u, v, 5) + __shfl_up_sync(~0u, v, 3, 8) * 2 + __shfl_down_sync(~0u, v, 7, 16) * 3;
        v += __shfl_sync(~0u, v, n[i] & 31) + (float)__shfl_sync(~0u, (double)v, 30, 4);
        if (t % 4 < 2) v -= __shfl_xor_sync(0x33333333u, v, 1);
        y[i] = v;""",
    "a shuffle in each branch": """
        if (n[i] & 1) y[i] = __shfl_xor_sync(~0u, x[i], 9) + 1;
        else y[i] = __shfl_xor_sync(~0u, x[i] * 2, 9);""",
    "votes, matches and reductions": """
        unsigned ballot = __ballot_sync(~0u, n[i] & 1), same = __match_any_sync(~0u, n[i] % 3);
        int all = 0;
        unsigned agree = __match_all_sync(~0u, (long long)(n[i] % 3 == 7), &all);
        unsigned sum = __reduce_add_sync(~0u, (unsigned)n[i]) + __reduce_xor_sync(~0u, (unsigned)n[i]);
        int most = __reduce_max_sync(~0u, n[i]) - __reduce_min_sync(~0u, n[i]);
        if (t < 12) same ^= __ballot_sync(0xfffu, t % 5 == 0) ^ __activemask();
        int uniform = __all_sync(~0u, n[i] > -2000) + 2 * __any_sync(~0u, n[i] == 12345);
        uniform += 4 * __uni_sync(~0u, t > 50);
        y[i] = (float)(ballot ^ same ^ agree) + all + (float)(sum % 1000003u) + most + uniform;""",
    "lanes that wait for some others": """
        __shared__ int box[32];
        box[t] = n[i];
        if (t < 16) {
            __syncwarp(0xffffu);
            y[i] = box[15 - t];
        } else {
            __syncwarp(0xffff0000u);
            y[i] = box[47 - t];
        }""",
    "barriers with numbers": """
        __shared__ float box[32];
        box[t] = x[i];
        asm volatile("bar.sync 3, 32;" ::: "memory");
        y[i] = box[31 - t];
        asm volatile("barrier.sync 2, 32;" ::: "memory");
        y[i] += __syncthreads_count(n[i] & 1);""",
    "a match and a vote in each branch": """
        int same, sum;
        if (t % 3 == 1) { same = __match_any_sync(~0u, n[i] % 4); sum = __reduce_add_sync(~0u, n[i]); }
        else { same = __match_any_sync(~0u, n[i] % 5); sum = __reduce_add_sync(~0u, t) - __any_sync(~0u, t == 99); }
        y[i] = (float)same + sum;""",
    "a barrier with a count, when some lanes have left": """
        __shared__ float box[32];
        box[t] = x[i];
        __syncwarp();
        if (t >= 20) return;
        asm volatile("bar.sync 3, 32;" ::: "memory");
        y[i] = box[31 - t];""",
    "asynchronous copies": """
        __shared__ __align__(16) float tile[2][128];
        unsigned to = (unsigned)__cvta_generic_to_shared(&tile[0][4 * t]);
        const float* from = &x[4 * (t % 16)];
        asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(t & 12) : "memory");
        asm volatile("cp.async.commit_group;" ::: "memory");
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to + 512), "l"(from) : "memory");
        asm volatile("cp.async.commit_group; cp.async.wait_group 1;" ::: "memory");
        y[i] = tile[0][4 * t + t % 4];
        asm volatile("cp.async.wait_all;" ::: "memory");
        y[i] += tile[1][4 * t];""",
    "ldmatrix, stmatrix and movmatrix": """
        __shared__ __align__(16) unsigned tile[32][4];
        for (int j = 0; j < 4; ++j) tile[t][j] = n[(i + j) % 64] * 2654435761u;
        __syncwarp();
        unsigned a, b, c, d, row = (unsigned)__cvta_generic_to_shared(tile[31 - t]);
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(a), "=r"(b), "=r"(c), "=r"(d) : "r"(row) : "memory");
        asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %0;" : "+r"(a));
        __syncwarp();
        asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(row), "r"(a), "r"(d)
                     : "memory");
        __syncwarp();
        y[i] = (float)((tile[t][0] ^ tile[t][1] ^ b) % 1000003u);
        y[i] += (float)((tile[t][2] + tile[t][3] + c) % 1000003u);""",
    "a product of halves, and wmma": """
        unsigned a[2] = {0x3c003800u + t, 0x35554000u - n[i]}, b = 0x3c01b800u ^ t;
        float c[4] = {x[i], 1, 2, 3};
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
                     "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(b));
        __shared__ __align__(32) float from[16 * 16], to[16 * 16];
        for (int j = 0; j < 8; ++j) from[t + 32 * j] = x[(i + 5 * j) % 64];
        __syncwarp();
        nvcuda::wmma::fragment<nvcuda::wmma::matrix_a, 16, 16, 8, nvcuda::wmma::precision::tf32,
                               nvcuda::wmma::col_major> left;
        nvcuda::wmma::fragment<nvcuda::wmma::matrix_b, 16, 16, 8, nvcuda::wmma::precision::tf32,
                               nvcuda::wmma::row_major> right;
        nvcuda::wmma::fragment<nvcuda::wmma::accumulator, 16, 16, 8, float> sum;
        nvcuda::wmma::load_matrix_sync(left, from, 16);
        nvcuda::wmma::load_matrix_sync(right, from + 128, 16);
        nvcuda::wmma::load_matrix_sync(sum, from, 16, nvcuda::wmma::mem_col_major);
        nvcuda::wmma::mma_sync(sum, left, right, sum);
        nvcuda::wmma::store_matrix_sync(to, sum, 16, nvcuda::wmma::mem_row_major);
        __syncwarp();
        y[i] = c[0] + c[1] * 2 + c[2] * 3 + c[3] * 4 + to[t * 8] + to[t * 8 + 5];""",
}
PREAMBLE = """
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>
__constant__ float table[4] = {0.5f, -2.0f, 3.25f, 1e-3f};
__device__ const int lut[3] = {7, -8, 9};
__device__ __noinline__ float pick(float x, int k) {
    float values[6];
    for (int j = 0; j < 6; ++j) values[j] = x * j + k;
    return values[(k & 0x7fffffff) % 6];
}
__device__ __noinline__ float twice(float x, int k) { return pick(pick(x, k) + 1, k + 1); }
typedef float (*Choice)(float, int);
__device__ Choice choices[2] = {pick, twice};
struct Shape { __device__ virtual float area(float) const = 0; };
struct Twice : Shape { __device__ float area(float x) const override { return 2 * x; } };
struct Half : Shape { __device__ float area(float x) const override { return x / 2; } };
__device__ __noinline__ float measure(const Shape* shape, float x) { return shape->area(x); }
__device__ __noinline__ int collatz(int n, int steps) {
    if (n == 1 || steps == 0) return steps;
    return collatz(n % 2 ? 3 * n + 1 : n / 2, steps - 1) + n;
}
"""


@cache
def compiled(body: str) -> ptx.Module:
    source = (
        PREAMBLE + 'extern "C" __global__ void k(const float* x, const int* n, float* y) {\n'
        "    const int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;\n" + body + "\n}"
    )
    built = nvrtc.build(source, recipe.PTX_ARCH)
    assert built.ok, built.log
    return ptx.parse(built.ptx)


def inputs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(7)
    x = random.uniform(-1, 1, N).astype(np.float32)
    return x, random.integers(-1000, 1000, N).astype(np.int32), np.zeros(N, np.float32)


def interpreted(module: ptx.Module, threads: int = THREADS) -> np.ndarray:
    x, n, y = inputs()
    interpreter.run(module, "k", (N // threads, 1, 1), (threads, 1, 1), [x, n, y], shared_bytes=4 * threads)
    return y


@pytest.mark.parametrize("body", SOURCES.values(), ids=list(SOURCES))
def test_generated_code_gives_the_same_bits(body: str) -> None:
    compare(compiled(body), THREADS)


def test_generated_code_gives_the_same_bits_where_one_warp_waits_for_another() -> None:
    body = """
        __shared__ float box[32];
        if (t < 32) {
            box[t] = x[i];
            asm volatile("bar.arrive 3, 64;" ::: "memory");
            y[i] = 1;
        } else {
            asm volatile("bar.sync 3, 64;" ::: "memory");
            y[i] = box[t - 32];
        }
        asm volatile("barrier.sync 2, 64;" ::: "memory");
        y[i] += __syncthreads_count(n[i] & 1);"""
    compare(compiled(body), 2 * THREADS)


def compare(module: ptx.Module, threads: int) -> None:
    """Generated code with the interpreter."""
    x, n, y = inputs()
    execution = ptx.Program(module).run(
        "k",
        grid=(N // threads, 1, 1),
        block=(threads, 1, 1),
        shared_bytes=4 * threads,
        arguments=[ptx.Buffer("x", x), ptx.Buffer("n", n), ptx.Buffer("y", y, writable=True)],
        workers=1,
    )
    expected = interpreted(module, threads)
    assert execution.findings == ()
    assert y.view(np.uint32).tolist() == expected.view(np.uint32).tolist()
    assert y.any()


def test_a_tree_reduction_is_numpys_sum() -> None:
    x, _, _ = inputs()
    y = interpreted(compiled(SOURCES["a tree reduction in dynamic shared memory"]))
    sums = np.repeat(x.reshape(BLOCKS, THREADS).sum(axis=1, dtype=np.float64), THREADS)
    assert np.allclose(y, sums - np.arange(N), atol=1e-5)


def test_recursion() -> None:
    """Against the same function in Python."""

    def collatz(n: int, steps: int) -> int:
        if n == 1 or steps == 0:
            return steps
        return collatz(3 * n + 1 if n % 2 else n // 2, steps - 1) + n

    _, n, _ = inputs()
    y = interpreted(compiled("y[i] = collatz(1 + (n[i] & 15), 12);"))
    assert y.tolist() == [collatz(1 + (int(k) & 15), 12) for k in n]


def test_barriers_that_count_and_combine() -> None:
    body = """
        int few = __syncthreads_count(t < 5), all = __syncthreads_and(t < 31), any = __syncthreads_or(t == 3);
        y[i] = few + 100 * all + 1000 * any;"""
    assert set(interpreted(compiled(body)).tolist()) == {1005.0}


def test_a_struct_by_value_and_a_scalar() -> None:
    source = """
        struct P { int a; float b; };
        extern "C" __global__ void k(P p, long long s, float* y) { *y = p.a * p.b + s; }"""
    built = nvrtc.build(source, recipe.PTX_ARCH)
    y = np.zeros(1, np.float32)
    struct = np.array([(6, 0.5)], dtype=[("a", np.int32), ("b", np.float32)]).tobytes()
    interpreter.run(ptx.parse(built.ptx), "k", (1, 1, 1), (1, 1, 1), [struct, -5, y])
    assert y[0] == -2.0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("y[i + 1] = 1;", "access of 4 bytes at offset 256"),
        ("*(int*)((char*)y + 1) = 1;", "misaligned"),
        ('if (t < 7) __syncthreads(); else asm volatile("bar.sync 1;"); y[i] = 1;', "will not complete"),
        (
            "if (t < 7) y[i] = __shfl_sync(~0u, x[i], 0); else y[i] = __shfl_up_sync(~0u, x[i], 1);",
            "will not complete",
        ),
        ('asm volatile("brkpt;"); y[i] = 1;', "brkpt"),
        ("*(volatile int*)0 = 1;", "no allocation"),
        ("__trap(); y[i] = 1;", "trap"),
    ],
    ids=["out of bounds", "misaligned", "split barrier", "split shuffle", "unknown instruction", "null", "trap"],
)
def test_what_has_no_result_raises(body: str, message: str) -> None:
    with pytest.raises((InterpreterError, UnknownInstruction), match=message):
        interpreted(compiled(body))


# Whole kernels of an exercise, in the smallest problem that they take.
KERNELS = ("cp_async_pipeline", "mma_bf16_three_terms", "mma_ldmatrix_tf32", "wmma_int8_digits")


@pytest.mark.parametrize("name", KERNELS)
def test_whole_kernels_give_the_same_bits(name: str) -> None:
    text = (Path(__file__).parents[1] / "kernels" / "correct" / f"{name}.cu").read_text(encoding="utf-8")
    built = nvrtc.build(text, recipe.PTX_ARCH)
    module = ptx.parse(built.ptx)
    rows, k, n = np.array([3], np.int32), 16, 16
    launch = np.zeros(LAUNCH_BYTES // 4, np.uint32)
    interpreter.run(module, "launch_grouped_gemm", (1, 1, 1), (1, 1, 1), [rows, k, n, 1, launch])
    grid, block = tuple(launch[:3].tolist()), tuple(launch[3:6].tolist())
    random = np.random.default_rng(3)
    a, b = (random.uniform(-1, 1, shape).astype(np.float32) for shape in ((3, k), (k, n)))
    c, expected = np.zeros((3, n), np.float32), np.zeros((3, n), np.float32)
    offsets = np.array([0, 3], np.int32)
    interpreter.run(module, "grouped_gemm_kernel", grid, block, [a, b, expected, offsets, rows, k, n, 1])
    given = [
        ptx.Buffer("A", a),
        ptx.Buffer("B", b),
        ptx.Buffer("C", c, writable=True),
        ptx.Buffer("offsets", offsets),
    ]
    arguments = [*given, ptx.Buffer("rows", rows), k, n, 1]
    execution = ptx.Program(module).run("grouped_gemm_kernel", grid=grid, block=block, arguments=arguments, workers=1)
    assert execution.findings == ()
    assert c.view(np.uint32).tolist() == expected.view(np.uint32).tolist()
    assert np.allclose(c, a.astype(np.float64) @ b, atol=1e-4)
