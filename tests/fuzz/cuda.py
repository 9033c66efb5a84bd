"""CUDA sources: every kernel of the tests and exercises, right and wrong, with mistakes of every kind put in."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from random import Random

from tests.fuzz import tokens
from tests.fuzz.assembly import SNIPPETS
from tests.fuzz.grammar import written

ROOT = Path(__file__).parents[2]
KERNELS = {"01": "correct", "02": "fp8_conversion", "03": "fp8_quantization"}

TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|\s+"""
    r"""|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|\.?\d(?:[eEpP][+-]|[\w.'])*|[A-Za-z_]\w*"""
    r"""|<<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|::|\#\#|.""",
    re.S,
)
NAME = re.compile(
    r"(?!(?:void|bool|char|short|int|unsigned|long|float|double|const|static|extern|if|else|for|while|do|return|struct"
    r"|template|typename|namespace|auto|__global__|__device__|__shared__|asm|volatile|__asm__|inline|define|include)\b)"
    r"[A-Za-z_]\w*"
)
NUMBER = re.compile(r"\.?\d.*", re.S)
TYPE = re.compile(r"void|bool|char|short|int|unsigned|signed|long|float|double|size_t|float4|dim3|auto|__half")
OPERATOR = re.compile(r"[-+*/%&|^<>=!~]|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|<<=|>>=|\+\+|--|\?|:|,|\.|->")
SEMICOLON = re.compile(r"[;{}]")

LITERALS = """
    0 1 -1 2 3 4 7 8 15 16 17 31 32 33 63 64 127 128 129 255 256 257 448 511 512 1023 1024 1025 4095 4096 65535 65536
    1048576 16777216 2147483647 (-2147483647-1) 0x80000000u 0xffffffffu 4294967296 0x7fffffffffffffffll
    0xffffffffffffffffull 1ull<<40 0b1011 0777 1'000 'a' 0.0f -0.0f 1e-45f 1.17549435e-38f 3.40282347e38f 1e39 1e-400
    1e308 (0.0f/0.0f) (1.0f/0.0f) 448.0f 57344.0f 0x1p-9f true nullptr sizeof(int) K N num_groups
    threadIdx.x threadIdx.y blockIdx.x blockDim.x gridDim.x (int)clock() warpSize
""".split()
TYPES = """
    void bool char short int unsigned long float double size_t float2 float4 int4 dim3 auto __half __nv_bfloat16
    volatile const int* float* void* double2 __int128 wchar_t float& uint8_t uint64_t
""".split()
OPERATORS = "+ - * / % & | ^ << >> < > <= >= == != && || = += -= *= /= %= <<= >>= ++ -- ! ~ ? : , . ->".split()

STATEMENTS = r"""
__syncthreads();
__syncwarp();
__threadfence();
__threadfence_block();
return;
__trap();
if (threadIdx.x < 7) __syncthreads();
if (threadIdx.x & 1) return;
for (;;) {}
break;
continue;
if (threadIdx.x == 0) for (;;) __syncthreads();
while (true) __syncwarp();
__brkpt();
assert(0);
__syncwarp(0x55555555);
__syncthreads_or(threadIdx.x);
__shfl_sync(0xffffffffu, 1.0f, 40);
__shfl_down_sync(1u << threadIdx.x, 1, 1);
__ballot_sync(0xffffu, threadIdx.x);
__activemask();
{ __shared__ int fuzz; atomicAdd(&fuzz, 1); }
{ __shared__ float fuzz[40000]; fuzz[threadIdx.x] = 0; }
{ extern __shared__ int fuzz_dynamic[]; fuzz_dynamic[threadIdx.x * 1000] = 1; }
goto fuzz; fuzz:;
{ int fuzz[1000]; fuzz[threadIdx.x * 77] = 1; }
{ static __shared__ double d; d += 1; }
printf("%d\n", 1);
printf("%s %n %*d %lld %f\n", 1, 2);
*(volatile int*)0 = 1;
*(float*)0x7fffffffffff0001ull = 1;
{ int* p = new int[1 << 20]; p[0] = 1; delete[] p; }
{ void* p = malloc(64); free(p); free(p); }
{ int n = threadIdx.x; int z = 0; n /= z; n %= z; }
__nanosleep(1000000000);
{ long long t = clock64(); }
{ auto f = [&](auto self, int n) -> int { return n ? self(self, n - 1) : 0; }; f(f, 100000); }
if (blockIdx.x == 0) while (clock64()) {}
{ volatile int v = 0; while (!v) {} }
asm volatile("");
{ union { float f; int i; char c[9]; } u; u.i = 1; u.c[8] = 2; }
switch (threadIdx.x) { case 3: ; }
{ double d = sin(1e300) + pow(-2.0, 0.5) + lgamma(-1.0); }
""".strip().splitlines()
LAUNCHES = r"""
launch->grid = dim3(0, 0, 0);
launch->grid = dim3(4294967295u, 65535, 65535);
launch->grid.x = 16777217;
launch->block = dim3(1024, 1024, 64);
launch->block = dim3(33, 3, 2);
launch->shared_bytes = 4294967295u;
launch->variant = 2147483647;
launch->variant = -1;
launch->workspace_bytes = 18446744073709551615ull;
launch->workspace_bytes = 1 << 26;
launch->shared_bytes = 232448;
((char*)launch)[100000] = 1;
launch->grid = dim3(70000, 3);
launch->block = 1;
launch->block = 1024;
for (;;) ;
__syncthreads();
""".strip().splitlines()
LINES = r"""
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cub/cub.cuh>
#include <stdio.h>
#include <cstdint>
#include "/etc/passwd"
#include __FILE__
#include "grader.cuh"
#include <cooperative_groups.h>
#include
#define int long
#define float double
#define for while
#define K N
#define N 0
#undef __CUDA_ARCH__
#line 7 "other.cu"
#line 4000000000
#line 1 "starter.cu"
# 1 "<built-in>" 3
#error words
#warning words
#if 0
#else
#endif
#ifdef __CUDACC__
#pragma unroll 0
#pragma unroll 100000
#pragma once
#pragma nv_diag_suppress 177
__device__ int fuzz_global = 3;
__constant__ float fuzz_table[9000];
__managed__ int fuzz_managed;
__device__ int* fuzz_pointer = &fuzz_counter;
template <int I> struct T { T<I + 1> t; };
extern "C" __global__ void other_kernel(int) {}
extern "C" __global__ void grouped_gemm_kernel_2() {}
struct V { virtual __device__ int f() { return 1; } };
__device__ void r(int n) { if (n) r(n - 1); }
__launch_bounds__(64)
__cluster_dims__(2, 1, 1)
__maxnreg__(8)
namespace n {
}
{
??=define a
\
R"(
"
/*
*/
//\
_Pragma("once")
asm(".global .u32 fuzz;");
static_assert(false);
""".strip().splitlines()

MUTATIONS: tuple[tokens.Mutation, ...] = (
    *(tokens.same_kind(NAME),) * 4,
    *(tokens.one_of(NUMBER, LITERALS), tokens.same_kind(NUMBER)) * 4,
    *(tokens.same_kind(TYPE), tokens.same_kind(TYPE), tokens.one_of(TYPE, TYPES)),
    *(tokens.same_kind(OPERATOR), tokens.one_of(OPERATOR, OPERATORS)) * 2,
    *(tokens.insert(STATEMENTS), tokens.insert(SNIPPETS)) * 5,
    *(tokens.insert(LAUNCHES, near="launch"),) * 2,
    *(tokens.statement(SEMICOLON),) * 4,
    *(tokens.insert(LINES, end=""), tokens.delete, tokens.duplicate, tokens.swap, tokens.replace),
    *(tokens.cut, tokens.character),
)
GRAMMAR_SHARE = 0.15  # of the sources, those that no kernel was the model for


def source(rng: Random) -> tuple[str, str, str]:
    """What it was made from, the number of its exercise, and the text."""
    if rng.random() < GRAMMAR_SHARE:
        text = written(rng)
        if rng.random() < 0.3:
            text = tokens.mutated(text, TOKEN, MUTATIONS, rng)
        return "grammar", "01", text
    number, file = rng.choice(bases())
    text = tokens.mutated(file.read_text(encoding="utf-8"), TOKEN, MUTATIONS, rng)
    return str(file.relative_to(ROOT)), number, text


@cache
def bases() -> tuple[tuple[str, Path], ...]:
    """Every kernel, with the number of its exercise."""
    found = []
    for number, folder in KERNELS.items():
        (exercise,) = (ROOT / "exercises").glob(f"{number}_*")
        files = [
            *exercise.glob("*.cu"),
            *exercise.glob("wrong/*.cu"),
            *(ROOT / "tests/kernels" / folder).glob("*.cu"),
        ]
        found += [(number, file) for file in sorted(files)]
    return tuple(found)
