"""A pipeline as Hopper's kernels have it: one warp loads tiles by tensor map, a warpgroup multiplies them with wgmma.

Tiles of 64 halves along k are swizzled by 128 bytes; two stages take turns. Each wrong kernel has one fault; the
guilty line ends in `// <-- here`.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from grader import ptx
from grader.compile.compiler import compile_text
from grader.compile.recipe import PTX_ARCH

ROWS, COLUMNS, STEP, STEPS, STAGES = 64, 16, 64, 4, 2
HEAD = r"""
#include "grader.cuh"
#include <cuda_fp16.h>
#define AT(p) ((unsigned)__cvta_generic_to_shared(p))
#define ASM(...) asm volatile(__VA_ARGS__ : "memory")
#define INIT(bar, n) ASM("mbarrier.init.shared.b64 [%0], %1;" :: "r"(AT(bar)), "r"(n))
#define ARRIVE(bar) ASM("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(AT(bar)))
#define EXPECT(bar, n) ASM("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(AT(bar)), "r"(n))
#define WAIT(bar, parity) \
    for (unsigned p = 0; !p;) \
    asm volatile("{ .reg .pred q; mbarrier.try_wait.parity.shared::cta.b64 q, [%1], %2; selp.u32 %0, 1, 0, q; }" \
                 : "=r"(p) : "r"(AT(bar)), "r"((unsigned)(parity)) : "memory")
#define LOAD(to, map, c0, bar) \
    ASM("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes" \
        " [%0], [%1, {%2, %3}], [%4];" :: "r"(AT(to)), "l"(map), "r"(c0), "r"(0), "r"(AT(bar)))
#define FENCE() asm volatile("wgmma.fence.sync.aligned;" ::: "memory")
#define COMMIT() asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory")
#define WAIT_GROUP(n) asm volatile("wgmma.wait_group.sync.aligned " #n ";" ::: "memory")
#define MMA(da, db) \
    asm volatile("{ .reg .pred p; setp.ne.b32 p, 1, 0; wgmma.mma_async.sync.aligned.m64n16k16.f32.f16.f16" \
                 " {%0, %1, %2, %3, %4, %5, %6, %7}, %8, %9, p, 1, 1, 0, 0; }" \
                 : "+f"(s[0]), "+f"(s[1]), "+f"(s[2]), "+f"(s[3]), "+f"(s[4]), "+f"(s[5]), "+f"(s[6]), "+f"(s[7]) \
                 : "l"(da), "l"(db))
using u64 = unsigned long long;
// Eight rows of 128 bytes are 1024 bytes; swizzled by 128 bytes.
__device__ __forceinline__ u64 described(const void* p) { return AT(p) >> 4 | (u64)(1024 >> 4) << 32 | 1ull << 62; }
extern "C" __global__ void k(const __half* a, const __half* b, float* d, int steps,
                             const __grid_constant__ CUtensorMap of_a, const __grid_constant__ CUtensorMap of_b) {
  alignas(1024) __shared__ __half sa[2][64 * 64]; alignas(1024) __shared__ __half sb[2][16 * 64];
  __shared__ u64 full[2], empty[2];
  const int t = threadIdx.x;
  if (t == 0) {
    for (int i = 0; i < 2; ++i) { INIT(&full[i], 1); INIT(&empty[i], 4); }
    asm volatile("fence.proxy.async;" ::: "memory");
  }
  __syncthreads();
"""
LOADS = """
  if (t >= 128) {
    if (t == 128)
      for (int k = 0; k < steps; ++k) {
        const int i = k & 1;
        WAIT(&empty[i], (k >> 1 & 1) ^ 1);
        EXPECT(&full[i], 10240);
        LOAD(sa[i], &of_a, 64 * k, &full[i]);
        LOAD(sb[i], &of_b, 64 * k, &full[i]);
      }
    return;
  }
"""
MULTIPLIES = """
  float s[8] = {0, 0, 0, 0, 0, 0, 0, 0};
  for (int k = 0; k < steps; ++k) {
    const int i = k & 1;
    WAIT(&full[i], k >> 1 & 1);
    FENCE();
    for (int j = 0; j < 4; ++j) MMA(described(sa[i]) + 2 * j, described(sb[i]) + 2 * j);
    COMMIT();
    WAIT_GROUP(0);
    if (t % 32 == 0) ARRIVE(&empty[i]);
  }
"""
LATER = """
  float s[8] = {0, 0, 0, 0, 0, 0, 0, 0};
  for (int k = 0; k < steps; ++k) {
    const int i = k & 1;
    WAIT(&full[i], k >> 1 & 1);
    FENCE();
    for (int j = 0; j < 4; ++j) MMA(described(sa[i]) + 2 * j, described(sb[i]) + 2 * j);
    COMMIT();
    WAIT_GROUP(1);
    if (k > 0 && t % 32 == 0) ARRIVE(&empty[i ^ 1]);
  }
  WAIT_GROUP(0);
"""
STORES = """
  const int row = t / 32 * 16 + t % 32 / 4, column = t % 4 * 2;
  for (int i = 0; i < 8; ++i) d[(row + 8 * (i / 2 % 2)) * 16 + i / 4 * 8 + column + i % 2] = s[i];
}
"""
HERE = "  // <-- here"


def changed(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


RIGHT = {"one group at a time": LOADS + MULTIPLIES, "the next group is started first": LOADS + LATER}
WRONG = {
    "released before it was read": (
        "race",
        changed(LOADS, "LOAD(sa[i], &of_a, 64 * k, &full[i]);", f"LOAD(sa[i], &of_a, 64 * k, &full[i]);{HERE}")
        + changed(
            changed(MULTIPLIES, "    if (t % 32 == 0) ARRIVE(&empty[i]);\n", ""),
            "    WAIT_GROUP(0);",
            "    if (t % 32 == 0) ARRIVE(&empty[i]);\n    WAIT_GROUP(0);",
        ),
    ),
    "the last group is released": (
        "race",
        changed(LOADS, "LOAD(sa[i], &of_a, 64 * k, &full[i]);", f"LOAD(sa[i], &of_a, 64 * k, &full[i]);{HERE}")
        + changed(LATER, "if (k > 0 && t % 32 == 0) ARRIVE(&empty[i ^ 1]);", "if (t % 32 == 0) ARRIVE(&empty[i]);"),
    ),
    "nobody waits for the tile": (
        "uninitialised-read",
        LOADS
        + changed(
            changed(MULTIPLIES, "    WAIT(&full[i], k >> 1 & 1);\n", ""),
            "described(sb[i]) + 2 * j);",
            f"described(sb[i]) + 2 * j);{HERE}",
        ),
    ),
    "too few bytes expected": (
        "race",
        changed(LOADS, "EXPECT(&full[i], 10240);", "EXPECT(&full[i], 8192);")
        + changed(MULTIPLIES, "described(sb[i]) + 2 * j);", f"described(sb[i]) + 2 * j);{HERE}"),
    ),
    "sums are used while they may change": (
        "race",
        LOADS
        + changed(LATER, "  WAIT_GROUP(0);\n", "")
        + changed(STORES, "+ i % 2] = s[i];\n}", f"+ i % 2] = s[i];{HERE}\n}}"),
    ),
}


@cache
def program(body: str) -> tuple[list[int], ptx.Program]:
    source = HEAD + body + ("" if "d[(row" in body else STORES)
    built = compile_text(source, PTX_ARCH)
    assert built.compilation.ok, built.compilation.log
    guilty = [n for n, line in enumerate(source.splitlines(), 1) if line.endswith(HERE.strip())]
    return guilty, ptx.Program(ptx.parse(built.ptx))


def run(body: str) -> tuple[tuple[ptx.Report, ...], np.ndarray, np.ndarray]:
    """The findings, `d`, and what it should be."""
    random = np.random.default_rng(5)
    a, b = (random.integers(-3, 4, (rows, STEP * STEPS)).astype(np.float16) for rows in (ROWS, COLUMNS))
    d = np.zeros((ROWS, COLUMNS), np.float32)

    def tiles(array: int, rows: int) -> ptx.TensorMap:
        dim, stride = (STEP * STEPS, rows), (2 * STEP * STEPS,)
        return ptx.TensorMap(array, 6, 0, dim, stride, (STEP, rows), (1, 1), swizzle=3)

    given = [ptx.Buffer("a", a), ptx.Buffer("b", b), ptx.Buffer("d", d, writable=True)]
    arguments = [*given, STEPS, tiles(0, ROWS), tiles(1, COLUMNS)]
    execution = program(body)[1].run("k", grid=(1, 1, 1), block=(160, 1, 1), arguments=arguments)
    return execution.findings, d, a.astype(np.float32) @ b.astype(np.float32).T


@pytest.mark.parametrize("name", RIGHT)
def test_right_pipelines_raise_nothing(name: str) -> None:
    findings, d, expected = run(RIGHT[name])
    assert [(f.kind, f.line, f.message) for f in findings] == []
    assert (d == expected).all()


@pytest.mark.parametrize("name", WRONG)
def test_wrong_pipelines_are_found_at_their_line(name: str) -> None:
    kind, body = WRONG[name]
    findings, _, _ = run(body)
    assert findings, "nothing was found"
    first = findings[0]
    lines = {first.line, *(one.line for one in first.related if one.role in ("other-access", "copy"))}
    assert first.kind == kind, [(f.kind, f.line, f.message) for f in findings]
    assert set(program(body)[0]) & lines, [(f.kind, f.line, f.message) for f in findings]
