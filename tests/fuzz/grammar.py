"""Small kernels for exercise 01 that a grammar makes: nearly all compile, and few compute anything sensible."""

from __future__ import annotations

import re
from random import Random

DEEPEST = 6  # from there on, the first alternative is taken, which ends soon

# Alternatives of each symbol; `<name>` in one of them stands for a symbol.
GRAMMAR: dict[str, tuple[str, ...]] = {
    "kernel": (
        """#include "grader.cuh"
__device__ int table[64] = {1, 2, 3};
__device__ <inlined> float helper(float x, int n) {
    <help>
}
extern "C" __global__ void grouped_gemm_kernel(const float* A, const float* B, float* C, const int* offsets,
                                               const int* M_sizes, int K, int N, int groups) {
    __shared__ float tile[<size>];
    extern __shared__ int dynamic[];
    int own[<size>];
    int i = threadIdx.x, j = blockIdx.x, k<start>;
    unsigned u = threadIdx.y, v = 7;
    float x = 1, y<start>;
    long long l = K;
    double d = 3;
<statements><statements><statements>
    C[<element>] = x;
}
extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups, Launch* launch) {
    launch->grid = <grid>;
    launch->block = <block>;
    launch->shared_bytes = <bytes>;
}
""",
    ),
    "inlined": ("__noinline__", "__forceinline__"),
    "help": ("return x * n;", "return n > 0 ? helper(x, n - 1) + x : x;", "return __shfl_sync(~0u, x, n);"),
    "size": ("32", "1", "64", "1000"),
    "start": ("", " = 0"),
    "element": ("i", "i * N + j", "i + j * blockDim.x", "i * 4"),
    "grid": ("dim3(1)", "dim3(2)", "dim3(3, 2)", "dim3(num_groups)", "dim3(2, 1, 2)"),
    "block": ("dim3(32)", "dim3(64)", "dim3(33)", "dim3(8, 4, 2)", "dim3(1)", "dim3(256)", "dim3(1024)"),
    "bytes": ("0", "64", "4096", "232448"),
    "statements": ("    <statement>\n", "    <statement>\n    <statement>\n", "    <statement>\n<statements>"),
    "statement": (
        "<place> = <value>;",
        "<place> <assigns> <value>;",
        "<meeting>",
        "<meeting>",
        "<meeting>",
        "if (<condition>) {\n<statements>    }",
        "if (<condition>) {\n<statements>    } else {\n<statements>    }",
        "for (int n = 0; n < <bound>; ++n) {\n<statements>    }",
        "while (<condition>) {\n    if (++k > <bound>) break;\n<statements>    }",
        "do {\n    if (<condition>) <leave>;\n<statements>    } while (++k < 4);",
        "switch (<integer> & 3) {\n    case 0: case 2:\n<statements>    }",
    ),
    "assigns": ("=", "+=", "-=", "*="),
    "bound": ("3", "K", "i", "40", "groups", "1000"),
    "leave": ("break", "continue", "return"),
    "meeting": (
        "__syncthreads();",
        "__syncwarp(<mask>);",
        "x = __shfl_sync(<mask>, x, <integer>, <width>);",
        "x += __shfl_xor_sync(<mask>, x, <width>);",
        "u = __ballot_sync(<mask>, <condition>);",
        "k = __any_sync(<mask>, <condition>) + __all_sync(<mask>, <condition>);",
        "u = __reduce_add_sync(<mask>, u);",
        "u = __match_any_sync(<mask>, u);",
        "k = __syncthreads_count(<condition>);",
        "atomicAdd(<address>, <value>);",
        "atomicMax((int*)<address>, <integer>);",
        "atomicCAS((unsigned*)<address>, u, v);",
        "k = atomicExch((int*)<address>, i);",
        "__threadfence();",
        "y = helper(x, <integer> & 7);",
        "*(float4*)<address> = make_float4(x, y, 1, 2);",
        "*(volatile short*)<address> = 1;",
    ),
    "mask": ("~0u", "0xffffffffu", "0xffffu", "__activemask()", "1u << (i & 31)", "0", "u"),
    "width": ("32", "16", "8", "1", "40"),
    "place": ("<name>", "<name>", "*<address>"),
    "name": tuple("ijkuvxyld"),
    "address": ("(<array> + <integer><inside>)",),
    "array": ("tile", "(float*)dynamic", "(float*)own", "C", "C", "(float*)table", "(float*)A"),
    "inside": ("", " % 16", " % 1000"),
    "condition": ("(<value> <compares> <value>)",),
    "compares": ("<", ">", "==", "!=", "<=", "&&", "||"),
    "integer": ("<whole>", "<whole>", "(<integer> <combines> <integer>)"),
    "whole": (*"ijkuv", "(int)threadIdx.x", "K", "N", "3", "0", "31", "(-1)", "0x7fffffff"),
    "combines": ("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"),
    "value": (
        "<simple>",
        "<simple>",
        "<simple>",
        "(<value> <calculates> <value>)",
        "(<value> <calculates> <value>)",
        "fmaf(<value>, <value>, x)",
        "(<converts>)(<value>)",
        "(<condition> ? <value> : <value>)",
        "min((float)(<value>), (float)(<value>))",
        "<function>((float)<value>)",
        "__popc(<integer>)",
        "__float2int_rn(<value>)",
        "(float)*<address>",
        "<integer>",
    ),
    "simple": (*"ijkuvxyld", "1.5f", "0", "1e30f", "2.0", "-1"),
    "calculates": ("+", "-", "*", "/"),
    "converts": ("float", "int", "unsigned char", "long long", "bool"),
    "function": ("sqrtf", "expf", "__logf", "rsqrtf", "fabsf", "rintf"),
}
RECURSIVE = ("statements", "statement", "value", "integer")
SYMBOL = re.compile(r"<([a-z]+)>")


def written(rng: Random) -> str:
    return _expanded("kernel", rng, 0)


def _expanded(symbol: str, rng: Random, depth: int) -> str:
    alternatives = GRAMMAR[symbol]
    chosen = alternatives[0] if depth > DEEPEST and symbol in RECURSIVE else rng.choice(alternatives)
    return SYMBOL.sub(lambda found: _expanded(found[1], rng, depth + 1), chosen)
