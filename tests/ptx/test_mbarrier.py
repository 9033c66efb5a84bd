"""mbarriers and the copies that they wait for: right kernels raise nothing, wrong ones are found at their line.

The kernels get what those of test_findings get. The guilty line of a wrong one ends in `// <-- here`.
"""

from __future__ import annotations

import numpy as np
import pytest

from grader import ptx
from grader.compile.compiler import compile_text
from grader.compile.recipe import PTX_ARCH
from grader.ptx.definition import interpreter
from tests.ptx.test_findings import HEAD, Ran, guilty_lines
from tests.ptx.test_findings import run as run_kernel

# Macros, so that a finding names the line that uses them.
MACROS = r"""
#include <cuda_fp16.h>
#define AT(p) ((unsigned)__cvta_generic_to_shared(p))
#define ASM(...) asm volatile(__VA_ARGS__ : "memory")
#define INIT(bar, n) ASM("mbarrier.init.shared.b64 [%0], %1;" :: "r"(AT(bar)), "r"(n))
#define INVAL(bar) ASM("mbarrier.inval.shared.b64 [%0];" :: "r"(AT(bar)))
#define ARRIVE(bar) ASM("{ .reg .b64 s; mbarrier.arrive.shared::cta.b64 s, [%0]; }" :: "r"(AT(bar)))
#define ARRIVE_N(bar, n) ASM("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0], %1;" :: "r"(AT(bar)), "r"(n))
#define ARRIVE_RELAXED(bar) ASM("mbarrier.arrive.relaxed.cta.shared::cta.b64 _, [%0];" :: "r"(AT(bar)))
#define STATE(s, bar) asm volatile("mbarrier.arrive.shared.b64 %0, [%1];" : "=l"(s) : "r"(AT(bar)) : "memory")
#define NO_COMPLETE(s, bar, n) \
    asm volatile("mbarrier.arrive.noComplete.shared.b64 %0, [%1], %2;" : "=l"(s) : "r"(AT(bar)), "r"(n) : "memory")
#define DROP(bar) ASM("mbarrier.arrive_drop.shared.b64 _, [%0];" :: "r"(AT(bar)))
#define EXPECT(bar, n) \
    ASM("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [%0], %1;" :: "r"(AT(bar)), "r"(n))
#define EXPECT_ONLY(bar, n) ASM("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" :: "r"(AT(bar)), "r"(n))
#define COMPLETE(bar, n) ASM("mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%0], %1;" :: "r"(AT(bar)), "r"(n))
#define TRY(p, what, ...) \
    asm volatile("{ .reg .pred q; mbarrier." what ".b64 q, [%1], %2; selp.u32 %0, 1, 0, q; }" \
                 : "=r"(p) : __VA_ARGS__ : "memory")
#define WAIT(bar, parity) \
    for (unsigned p = 0; !p;) TRY(p, "try_wait.parity.shared::cta", "r"(AT(bar)), "r"((unsigned)(parity)))
#define SPIN(bar, parity) \
    for (unsigned p = 0; !p;) TRY(p, "test_wait.parity.shared", "r"(AT(bar)), "r"((unsigned)(parity)))
#define WAIT_RELAXED(bar, parity) \
    for (unsigned p = 0; !p;) TRY(p, "try_wait.parity.relaxed.cta.shared::cta", "r"(AT(bar)), "r"((unsigned)(parity)))
#define WAIT_FOR(bar, s) for (unsigned p = 0; !p;) TRY(p, "try_wait.shared", "r"(AT(bar)), "l"(s))
#define COPY4(to, from) ASM("cp.async.ca.shared.global [%0], [%1], 4;" :: "r"(AT(to)), "l"(from))
#define COPIES_ARRIVE(bar, how) ASM("cp.async.mbarrier.arrive" how ".shared.b64 [%0];" :: "r"(AT(bar)))
#define LOAD(to, from, n, bar) \
    ASM("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" \
        :: "r"(AT(to)), "l"(from), "r"((unsigned)(n)), "r"(AT(bar)))
#define STORE(to, from, n) \
    ASM("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" :: "l"(to), "r"(AT(from)), "r"((unsigned)(n)))
#define REDUCE(how, to, from, n) \
    ASM("cp.reduce.async.bulk.global.shared::cta.bulk_group." how " [%0], [%1], %2;" \
        :: "l"(to), "r"(AT(from)), "r"((unsigned)(n)))
#define COMMIT() asm volatile("cp.async.bulk.commit_group;" ::: "memory")
#define BULK_WAIT() asm volatile("cp.async.bulk.wait_group 0;" ::: "memory")
#define BULK_WAIT_READ(n) asm volatile("cp.async.bulk.wait_group.read " #n ";" ::: "memory")
#define PROXY_FENCE() asm volatile("fence.proxy.async.shared::cta;" ::: "memory")
#define LDMATRIX(r, p) \
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" \
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(AT(p)) : "memory")
#define SHARED __shared__ __align__(128)
using u64 = unsigned long long;
"""
ONE = "SHARED int s[64]; __shared__ u64 bar; if (t == 0) INIT(&bar, {count}); __syncthreads();\n"


def run(body: str, *, before: str = "", grid: int = 1, block: int = 64) -> Ran:
    return run_kernel(body, before=MACROS + before, grid=grid, block=block, workers=1)


RIGHT = {
    "everybody arrives and waits for the parity": ONE.format(count=64)
    + "s[t] = in[t]; ARRIVE(&bar); WAIT(&bar, 0); out[63 - t] = s[63 - t];",
    "everybody arrives and waits for the state, twice": ONE.format(count=64)
    + """
        u64 token; s[t] = in[t]; STATE(token, &bar); WAIT_FOR(&bar, token);
        int v = s[63 - t]; STATE(token, &bar); WAIT_FOR(&bar, token);
        s[t] = v; out[63 - t] = s[t];""",
    "test_wait in a loop lets others run": ONE.format(count=64)
    + "s[t] = in[t]; ARRIVE(&bar); SPIN(&bar, 0); out[63 - t] = s[63 - t];",
    "one warp arrives for the other": ONE.format(count=1)
    + """
        if (t < 32) { s[t] = in[t]; s[t + 32] = in[t + 32]; __syncwarp(); if (t == 0) ARRIVE(&bar); }
        WAIT(&bar, 0); out[t] = s[t];""",
    "an arrival counts for several": ONE.format(count=64)
    + "s[t] = in[t]; __syncwarp(); if (t % 32 == 0) ARRIVE_N(&bar, 32); WAIT(&bar, 0); out[63 - t] = s[63 - t];",
    "many turns between producers and consumers of two slots": """
        __shared__ int s[2][32]; __shared__ u64 full[2], empty[2];
        if (t < 2) { INIT(&full[t], 32); INIT(&empty[t], 32); }
        __syncthreads();
        if (t < 32)
            for (int i = 0; i < 8; ++i) {
                WAIT(&empty[i & 1], (i >> 1 & 1) ^ 1);
                s[i & 1][t] = in[t] + i; ARRIVE(&full[i & 1]);
            }
        else {
            int sum = 0;
            for (int i = 0; i < 8; ++i) {
                WAIT(&full[i & 1], i >> 1 & 1);
                sum += s[i & 1][63 - t]; ARRIVE(&empty[i & 1]);
            }
            out[t] = (sum - 28) / 8 + 2 * t - 63; out[t - 32] = t - 32;
        }""",
    "who drops out is waited for no more": ONE.format(count=64)
    + """
        s[t] = in[t];
        if (t >= 32) { DROP(&bar); out[t] = t; return; }
        ARRIVE(&bar); WAIT(&bar, 0); int v = s[63 - t];
        ARRIVE(&bar); WAIT(&bar, 1); out[63 - v] = 63 - v;""",
    "a fence before an arrival that releases nothing by itself": ONE.format(count=64)
    + """
        s[t] = in[t]; asm volatile("fence.acq_rel.cta;" ::: "memory");
        ARRIVE_RELAXED(&bar); WAIT_RELAXED(&bar, 0); asm volatile("fence.acq_rel.cta;" ::: "memory");
        out[63 - t] = s[63 - t];""",
    "noComplete before the arrival that counts": ONE.format(count=128)
    + "u64 token; s[t] = in[t]; NO_COMPLETE(token, &bar, 1); ARRIVE(&bar); WAIT(&bar, 0); out[63 - t] = s[63 - t];",
    "the pending count before an arrival": ONE.format(count=64)
    + """
        u64 token; unsigned n; STATE(token, &bar);
        asm("mbarrier.pending_count.b64 %0, %1;" : "=r"(n) : "l"(token));
        atomicAdd(&state[0], n); WAIT_FOR(&bar, token); __syncthreads();
        out[t] = t + state[0] - 64 * 65 / 2;""",
    "bytes that a thread completes itself": ONE.format(count=1)
    + "if (t == 0) { s[0] = 7; EXPECT(&bar, 32); COMPLETE(&bar, 32); } WAIT(&bar, 0); out[t] = t + s[0] - 7;",
    "the memory of a barrier is used again": ONE.format(count=64)
    + """
        ARRIVE(&bar); WAIT(&bar, 0); __syncthreads();
        if (t == 0) { INVAL(&bar); INIT(&bar, 64); }
        __syncthreads(); s[t] = in[t]; ARRIVE(&bar); WAIT(&bar, 0); out[63 - t] = s[63 - t];""",
    "generic addresses": """
        __shared__ u64 bar; __shared__ int s[64];
        if (t == 0) ASM("mbarrier.init.b64 [%0], %1;" :: "l"(&bar), "r"(64));
        __syncthreads(); s[t] = in[t];
        ASM("mbarrier.arrive.b64 _, [%0];" :: "l"(&bar));
        for (unsigned p = 0; !p;) TRY(p, "test_wait.parity", "l"(&bar), "r"(0));
        out[63 - t] = s[63 - t];""",
    "copies of all threads, one arrival more each": ONE.format(count=64)
    + 'COPY4(s + t, in + t); COPIES_ARRIVE(&bar, ""); ARRIVE(&bar); WAIT(&bar, 0); out[63 - t] = s[63 - t];',
    "copies of all threads, arrivals that are counted on": ONE.format(count=64)
    + 'COPY4(s + t, in + t); COPIES_ARRIVE(&bar, ".noinc"); WAIT(&bar, 0); out[63 - t] = s[63 - t];',
    "copies that a thread waits for itself as well": ONE.format(count=64)
    + """
        COPY4(s + t, in + t); COPIES_ARRIVE(&bar, ".noinc"); asm volatile("cp.async.wait_all;" ::: "memory");
        int mine = s[t]; WAIT(&bar, 0); out[t] = s[63 - t] - 63 + 2 * mine;""",
    "a bulk load": ONE.format(count=1)
    + "if (t == 0) { EXPECT(&bar, 256); LOAD(s, in, 256, &bar); } WAIT(&bar, 0); out[t] = s[t];",
    "a bulk load of bytes": """
        SHARED unsigned char s[256]; __shared__ u64 bar;
        if (t == 0) { INIT(&bar, 1); s[255] = 0; }
        __syncthreads();
        if (t == 0) { EXPECT(&bar, 256); LOAD(s, in, 256, &bar); }
        WAIT(&bar, 0); out[t] = s[4 * t] + s[4 * t + 1];""",
    "a bulk load in two halves, expected apart": ONE.format(count=64)
    + """
        if (t == 0) { LOAD(s, in, 128, &bar); EXPECT_ONLY(&bar, 256); LOAD(s + 32, in + 32, 128, &bar); }
        ARRIVE(&bar); WAIT(&bar, 0); out[t] = s[t];""",
    "one warp waits and tells the rest at the block's barrier": ONE.format(count=1)
    + """
        if (t == 0) { EXPECT(&bar, 256); LOAD(s, in, 256, &bar); }
        if (t < 32) WAIT(&bar, 0);
        __syncthreads(); out[t] = s[t];""",
    "bulk loads in a ring": """
        SHARED int s[2][16]; __shared__ u64 full[2], empty[2];
        if (t < 2) { INIT(&full[t], 1); INIT(&empty[t], 64); }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        __syncthreads();
        int mine = 0;
        for (int i = 0; i < 4; ++i) {
            if (t == 0) {
                WAIT(&empty[i & 1], (i >> 1 & 1) ^ 1);
                EXPECT(&full[i & 1], 64); LOAD(s[i & 1], in + 16 * i, 64, &full[i & 1]);
            }
            WAIT(&full[i & 1], i >> 1 & 1);
            if (t / 16 == i) mine = s[i & 1][t % 16];
            ARRIVE(&empty[i & 1]);
        }
        out[t] = mine;""",
    "a bulk store": """
        SHARED int s[64]; s[t] = in[t]; PROXY_FENCE(); __syncthreads();
        if (t == 0) { STORE(out, s, 256); COMMIT(); BULK_WAIT(); }""",
    "bulk stores from a ring, of which one may still read": """
        SHARED int s[2][16];
        for (int i = 0; i < 4; ++i) {
            if (t == 0) BULK_WAIT_READ(1);
            __syncthreads();
            if (t < 16) s[i & 1][t] = in[16 * i + t];
            PROXY_FENCE(); __syncthreads();
            if (t == 0) { STORE(out + 16 * i, s[i & 1], 64); COMMIT(); }
        }
        if (t == 0) BULK_WAIT_READ(0);""",
    "a matrix that came by bulk copy": """
        SHARED __half a[16][16]; __shared__ u64 bar; unsigned r[4];
        if (t == 0) INIT(&bar, 1);
        __syncthreads();
        if (t == 0) { EXPECT(&bar, 512); LOAD(a, in, 256, &bar); LOAD(a + 8, in, 256, &bar); }
        if (t < 32) {
            WAIT(&bar, 0); LDMATRIX(r, &a[t % 16][t / 16 * 8]);
            out[t] = t + r[0] - r[1]; out[t + 32] = t + 32 + r[2] - r[3];
        }""",
    "lanes of one warp, with shuffles between their steps": """
        __shared__ int s[2][64]; __shared__ u64 bar[2];
        if (t < 2) INIT(&bar[t], 64);
        __syncthreads();
        int sum = 0;
        for (int i = 0; i < 4; ++i) {
            s[i & 1][t] = in[t] + i; ARRIVE(&bar[i & 1]); WAIT(&bar[i & 1], i >> 1);
            int other = __shfl_xor_sync(~0u, s[i & 1][t ^ 5], 5);
            sum += __shfl_xor_sync(~0u, other + s[i & 1][63 - t], 3) - __shfl_xor_sync(~0u, 63 - t + i, 3);
        }
        out[t] = sum + t - 4 * (t ^ 3) - 6;""",
    "bulk reductions": """
        SHARED int s[64]; s[t] = in[t] / 2; out[t] = in[t] - in[t] / 2; state[t] = 99;
        __threadfence(); PROXY_FENCE(); __syncthreads();
        if (t == 0) { REDUCE("add.s32", out, s, 256); REDUCE("min.u32", state, s, 256); COMMIT(); BULK_WAIT(); }
        __syncthreads(); out[t] += state[t] - in[t] / 2;""",
    "a bulk reduction of halves": """
        SHARED __half s[64]; __half* sums = (__half*)state; s[t] = in[t]; sums[t] = 1;
        PROXY_FENCE(); __syncthreads();
        if (t == 0) { REDUCE("add.noftz.f16", sums, s, 128); COMMIT(); BULK_WAIT(); }
        __syncthreads(); out[t] = (int)(float)sums[t] - 1;""",
    "a bulk load that a bulk store passes on": ONE.format(count=1)
    + """
        if (t == 0) {
            EXPECT(&bar, 256); LOAD(s, in, 256, &bar); WAIT(&bar, 0);
            STORE(out, s, 256); COMMIT(); BULK_WAIT_READ(0);
        }""",
}


WRONG = {
    "race": {
        "a matrix is loaded before its bulk copy is there": """
            SHARED __half a[16][16]; __shared__ u64 bar; unsigned r[4];
            if (t == 0) INIT(&bar, 1);
            __syncthreads();
            if (t == 0) { EXPECT(&bar, 512); LOAD(a, in, 256, &bar); LOAD(a + 8, in, 256, &bar); }
            if (t < 32) {
                LDMATRIX(r, &a[t % 16][t / 16 * 8]);  // <-- here
                out[t] = r[0];
            }""",
        "no wait for the arrivals": ONE.format(count=64)
        + """
            s[t] = in[t]; ARRIVE(&bar);
            out[t] = s[63 - t];  // <-- here""",
        "a wait for the phase before": ONE.format(count=64)
        + """
            s[t] = in[t]; ARRIVE(&bar); WAIT(&bar, 1);
            out[t] = s[63 - t];  // <-- here""",
        "the write comes after the arrival": ONE.format(count=64)
        + """
            ARRIVE(&bar); s[t] = in[t]; WAIT(&bar, 0);
            out[t] = s[63 - t];  // <-- here""",
        "an arrival that releases nothing": ONE.format(count=64)
        + """
            s[t] = in[t]; ARRIVE_RELAXED(&bar); WAIT(&bar, 0);
            out[t] = s[63 - t];  // <-- here""",
        "a wait that acquires nothing": ONE.format(count=64)
        + """
            s[t] = in[t]; ARRIVE(&bar); WAIT_RELAXED(&bar, 0);
            out[t] = s[63 - t];  // <-- here""",
        "only one warp waits": ONE.format(count=64)
        + """
            s[t] = in[t]; ARRIVE(&bar); if (t < 32) WAIT(&bar, 0);
            out[t] = s[63 - t];  // <-- here""",
        "a slot is filled again before its readers have arrived": """
            __shared__ int s[32]; __shared__ u64 full[2];
            if (t < 2) INIT(&full[t], 32);
            __syncthreads();
            if (t < 32)
                for (int i = 0; i < 2; ++i) { s[t] = in[t] + i; ARRIVE(&full[i]); }
            else { WAIT(&full[0], 0); out[t] = s[63 - t]; WAIT(&full[1], 0); }  // <-- here""",
        "an mbarrier that others use with no barrier after its start": """
            __shared__ u64 bar;
            if (t == 0) INIT(&bar, 32);
            if (t >= 32) ARRIVE(&bar);  // <-- here
            """,
        "a bulk load without a wait": ONE.format(count=1)
        + """
            if (t == 0) { EXPECT(&bar, 256); LOAD(s, in, 256, &bar); }
            out[t] = s[t];  // <-- here""",
        "a bulk load for which only the thread that started it waits": ONE.format(count=1)
        + """
            if (t == 0) { EXPECT(&bar, 256); LOAD(s, in, 256, &bar); WAIT(&bar, 0); }
            out[t] = s[t];  // <-- here""",
        "a wait for the bulk load before": ONE.format(count=1)
        + """
            for (int i = 0; i < 2; ++i) {
                if (t == 0) { EXPECT(&bar, 128); LOAD(s + 32 * i, in + 32 * i, 128, &bar); }
                WAIT(&bar, 0);
            }
            out[t] = s[t];  // <-- here""",
        "a bulk load into what others still read": ONE.format(count=1)
        + """
            s[t] = in[t]; __syncthreads();
            out[t] = s[63 - t];
            if (t == 0) { EXPECT(&bar, 256); LOAD(s, in, 256, &bar); }  // <-- here
            WAIT(&bar, 0);""",
        "a store into a bulk load that is on its way": ONE.format(count=1)
        + """
            if (t == 0) { EXPECT(&bar, 256); LOAD(s, in, 256, &bar); }  // <-- here
            s[t] = 0; WAIT(&bar, 0); out[t] = 1;""",
        "shared memory changes while a bulk store reads it": """
            SHARED int s[64]; s[t] = in[t]; PROXY_FENCE(); __syncthreads();
            if (t == 0) { STORE(out, s, 256); COMMIT(); }
            s[t] = 0;  // <-- here
            if (t == 0) BULK_WAIT();""",
        "a bulk store of which the last may still read": """
            SHARED int s[64]; s[t] = in[t]; PROXY_FENCE(); __syncthreads();
            if (t == 0) { STORE(out, s, 256); COMMIT(); BULK_WAIT_READ(1); }
            __syncthreads(); s[t] = 0;  // <-- here
            if (t == 0) BULK_WAIT();""",
        "no proxy fence before a bulk store": """
            SHARED int s[64]; s[t] = in[t]; __syncthreads();
            if (t == 0) { STORE(out, s, 256); COMMIT(); BULK_WAIT(); }  // <-- here""",
        "a proxy fence before the stores": """
            SHARED int s[64]; PROXY_FENCE(); s[t] = in[t]; __syncthreads();
            if (t == 0) { STORE(out, s, 256); COMMIT(); BULK_WAIT(); }  // <-- here""",
        "a block that ends while a bulk store reads": """
            SHARED int s[64]; s[t] = in[t]; PROXY_FENCE(); __syncthreads();
            if (t == 0) { STORE(out, s, 256); COMMIT(); }  // <-- here""",
        "a bulk store in no group": """
            SHARED int s[64]; s[t] = in[t]; PROXY_FENCE(); __syncthreads();
            if (t == 0) { STORE(out, s, 256); BULK_WAIT(); }  // <-- here""",
        "shared memory changes while a bulk reduction reads it": """
            SHARED int s[64]; s[t] = in[t]; PROXY_FENCE(); __syncthreads();
            if (t == 0) { REDUCE("add.s32", state, s, 256); COMMIT(); }
            s[t] = 0;  // <-- here
            if (t == 0) BULK_WAIT();""",
        "no proxy fence before a bulk reduction": """
            SHARED int s[64]; s[t] = in[t]; __syncthreads();
            if (t == 0) { REDUCE("add.s32", state, s, 256); COMMIT(); BULK_WAIT(); }  // <-- here""",
        "a sum that is read before the block knows of its bulk reduction": """
            SHARED int s[64]; s[t] = in[t]; PROXY_FENCE(); __syncthreads();
            if (t == 0) { REDUCE("add.s32", state, s, 256); COMMIT(); BULK_WAIT(); }
            out[t] = state[t];  // <-- here""",
        "two threads fill one place by bulk store": """
            SHARED int s[64]; s[t] = in[t]; PROXY_FENCE(); __syncthreads();
            if (t % 32 == 0) { STORE(out, s, 256); COMMIT(); BULK_WAIT(); }  // <-- here""",
    },
    "barrier-divergence": {
        "an arrival that never comes": ONE.format(count=64)
        + """
            if (t > 0) ARRIVE(&bar);
            WAIT(&bar, 0);  // <-- here""",
        "a spin on an arrival that never comes": ONE.format(count=65)
        + """
            ARRIVE(&bar);
            SPIN(&bar, 0);  // <-- here""",
        "bytes that never come": ONE.format(count=1)
        + """
            if (t == 0) { EXPECT(&bar, 256); LOAD(s, in, 128, &bar); }
            WAIT(&bar, 0);  // <-- here""",
        "bytes that nobody expected": ONE.format(count=1)
        + """
            if (t == 0) { EXPECT(&bar, 64); LOAD(s, in, 128, &bar); }
            WAIT(&bar, 0);  // <-- here""",
        "two threads that wait for each other": """
            __shared__ u64 a, b;
            if (t == 0) { INIT(&a, 1); INIT(&b, 1); }
            __syncthreads();
            if (t == 0) { WAIT(&a, 0); ARRIVE(&b); }  // <-- here
            if (t == 32) { WAIT(&b, 0); ARRIVE(&a); }  // <-- here""",
        "some wait for a phase, the rest at the block's barrier": ONE.format(count=64)
        + """
            if (t < 32) { ARRIVE(&bar); WAIT(&bar, 0); }  // <-- here
            __syncthreads();""",
        "more arrivals than the phase waits for": ONE.format(count=32)
        + """
            if (t == 0) EXPECT_ONLY(&bar, 16);
            __syncthreads();
            ARRIVE(&bar);  // <-- here
            """,
        "a count of zero": """
            __shared__ u64 bar;
            if (t == 0) INIT(&bar, 0);  // <-- here""",
        "noComplete that completes": """
            __shared__ u64 bar; u64 token;
            if (t == 0) {
                INIT(&bar, 1);
                NO_COMPLETE(token, &bar, 1);  // <-- here
            }""",
        "more bytes than an mbarrier can count": ONE.format(count=1)
        + """
            if (t == 0) EXPECT_ONLY(&bar, 1 << 20);  // <-- here""",
        "initialised twice": ONE.format(count=1)
        + """
            if (t == 0) INIT(&bar, 1);  // <-- here""",
    },
    "uninitialised-read": {
        "an mbarrier that nobody initialised": """
            __shared__ u64 bar; ARRIVE(&bar);  // <-- here""",
        "an mbarrier that is only zeroed": """
            __shared__ u64 bar; if (t == 0) bar = 0;
            __syncthreads(); ARRIVE(&bar);  // <-- here""",
        "an mbarrier after its end": ONE.format(count=1)
        + """
            if (t == 0) { INVAL(&bar); ARRIVE(&bar); }  // <-- here""",
        "an mbarrier that a store went over": ONE.format(count=64)
        + """
            if (t == 0) *(volatile int*)&bar = 3;
            __syncthreads(); ARRIVE(&bar);  // <-- here""",
        "copies that nobody waits for": ONE.format(count=64)
        + """
            COPY4(s + t, in + t); COPIES_ARRIVE(&bar, ".noinc");
            __syncthreads();
            out[t] = s[63 - t];  // <-- here""",
        "a bulk reduction of an output that nobody cleared": """
            SHARED int s[64]; s[t] = in[t]; PROXY_FENCE(); __syncthreads();
            if (t == 0) { REDUCE("max.s32", out, s, 256); COMMIT(); BULK_WAIT(); }  // <-- here""",
        "a bulk store of what nobody wrote": """
            SHARED int s[64]; if (t < 60) s[t] = 1; PROXY_FENCE(); __syncthreads();
            if (t == 0) { STORE(out, s, 256); COMMIT(); BULK_WAIT(); }  // <-- here""",
    },
    "misaligned-access": {
        "a bulk load of an odd size": ONE.format(count=1)
        + """
            if (t == 0) { EXPECT(&bar, 100); LOAD(s, in, 100, &bar); }  // <-- here
            WAIT(&bar, 0); out[t] = t;""",
        "a bulk load from an odd place": ONE.format(count=1)
        + """
            if (t == 0) { EXPECT(&bar, 64); LOAD(s, in + 1, 64, &bar); }  // <-- here
            WAIT(&bar, 0); out[t] = t;""",
        "a bulk load to an odd place": ONE.format(count=1)
        + """
            if (t == 0) { EXPECT(&bar, 64); LOAD(s + 2, in, 64, &bar); }  // <-- here
            WAIT(&bar, 0); out[t] = t;""",
        "a bulk store to an odd place": """
            SHARED int s[64]; s[t] = in[t]; PROXY_FENCE(); __syncthreads();
            if (t == 0) { STORE(out + 1, s, 64); COMMIT(); BULK_WAIT(); }  // <-- here""",
        "an mbarrier at an odd place": """
            __shared__ __align__(8) unsigned bar[3];
            if (t == 0) INIT(bar + 1, 1);  // <-- here""",
    },
    "out-of-bounds": {
        "a bulk load past the input": ONE.format(count=1)
        + """
            if (t == 0) { EXPECT(&bar, 256); LOAD(s, in + 32, 256, &bar); }  // <-- here
            WAIT(&bar, 0); out[t] = t;""",
        "a bulk load past a shared array": ONE.format(count=1)
        + """
            if (t == 0) { EXPECT(&bar, 256); LOAD(s + 32, in, 256, &bar); }  // <-- here
            WAIT(&bar, 0); out[t] = t;""",
        "a bulk reduction past the array": """
            SHARED int s[64]; s[t] = in[t]; PROXY_FENCE(); __syncthreads();
            if (t == 0) { REDUCE("add.s32", state + 32, s, 256); COMMIT(); BULK_WAIT(); }  // <-- here""",
        "a bulk store past the output": """
            SHARED int s[64]; s[t] = in[t]; PROXY_FENCE(); __syncthreads();
            if (t == 0) { STORE(out + 32, s, 256); COMMIT(); BULK_WAIT(); }  // <-- here""",
        "one mbarrier too far": """
            __shared__ u64 bars[2];
            if (t < 3) INIT(&bars[t], 1);  // <-- here""",
    },
    "read-only-write": {
        "a bulk store into an input": """
            SHARED int s[64]; s[t] = in[t]; PROXY_FENCE(); __syncthreads();
            if (t == 0) { STORE((int*)in, s, 256); COMMIT(); BULK_WAIT(); }  // <-- here""",
    },
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_kernel_raises_nothing(name: str) -> None:
    ran = run(RIGHT[name])
    assert ran.findings == ()
    assert (ran.out == np.arange(64)).all()


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, kernels in WRONG.items() for name in kernels])
def test_a_wrong_kernel_is_caught_at_its_line(kind: str, name: str) -> None:
    ran = run(WRONG[kind][name])
    said = [r for r in ran.findings if r.kind == kind]
    assert any(set(ran.guilty) & guilty_lines(r) for r in said), ran.findings


@pytest.mark.parametrize("name", RIGHT)
def test_the_interpreter_computes_the_same(name: str) -> None:
    source = MACROS + HEAD + RIGHT[name] + "\n}\n"
    given, out, state = np.arange(64, dtype=np.int32), np.full(64, -1, np.int32), np.zeros(64, np.int32)
    module = ptx.parse(compile_text(source, PTX_ARCH).ptx)
    interpreter.run(module, "k", (1, 1, 1), (64, 1, 1), [given, out, state])
    assert (out == np.arange(64)).all()


@pytest.mark.parametrize("grid", [2, 7])
def test_every_block_has_mbarriers_of_its_own(grid: int) -> None:
    body = ONE.format(count=1) + "if (t == 0) { EXPECT(&bar, 256); LOAD(s, in, 256, &bar); } WAIT(&bar, 0);"
    ran = run(body + "if (blockIdx.x + 1 == gridDim.x) out[t] = s[t];", grid=grid)
    assert ran.findings == ()
    assert (ran.out == np.arange(64)).all()


def test_a_wait_for_ever_says_what_is_missing() -> None:
    ran = run(WRONG["barrier-divergence"]["bytes that never come"])
    said, counted = ran.findings[0].message.split("; ")
    assert said == "thread (0,0,0) of block (0,0,0) waits here forever: 128 bytes are missing at bar[0]"
    assert counted.startswith("it expects 256 and got 128, the last from the copy on line ")
    assert ran.findings[0].count == 64
    ran = run(
        "__shared__ u64 bars[2]; INIT(bars + 1, 3); __syncthreads(); WAIT(bars + 1, 0);",
        block=1,
    )
    assert "3 arrivals are missing at bars[1]" in ran.findings[0].message


def test_a_read_too_soon_names_the_copy() -> None:
    ran = run(WRONG["race"]["a bulk load without a wait"])
    start = ran.guilty[0] - 1
    assert f"reads s[0], but the copy that starts on line {start} has not been waited for" in ran.findings[0].message
    assert [(one.role, one.line) for one in ran.findings[0].related] == [("copy", start)]
    ran = run(WRONG["race"]["a bulk load for which only the thread that started it waits"])
    assert f"the copy that starts on line {ran.guilty[0] - 1} wrote it" in ran.findings[0].notes


def test_a_bulk_store_without_a_proxy_fence_names_the_store() -> None:
    (finding,) = run(WRONG["race"]["no proxy fence before a bulk store"]).findings
    assert "with no fence.proxy.async in between" in finding.message
    assert finding.notes == (f"thread (0,0,0) of block (0,0,0) wrote it on line {finding.line - 1}",)


REFUSED = {
    "cp.reduce.async.bulk.shared::cluster": """
        SHARED int s[64]; __shared__ u64 bar;
        ASM("cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.add.u32"
            " [%0], [%1], 16, [%2];" :: "r"(AT(s)), "r"(AT(s + 16)), "r"(AT(&bar)));""",
    "cp.async.bulk.shared::cluster.shared::cta": """
        SHARED int s[64]; __shared__ u64 bar;
        ASM("cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%0], [%1], 16, [%2];"
            :: "r"(AT(s)), "r"(AT(s + 16)), "r"(AT(&bar)));""",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known_is_named(name: str) -> None:
    with pytest.raises(ptx.Unsupported, match=name):
        run(REFUSED[name])


def test_copies_in_a_block_with_no_thread_to_spare_are_named() -> None:
    with pytest.raises(ptx.Unsupported, match="asynchronous copies in a block of 1024 threads"):
        run(RIGHT["a bulk load"], block=1024)
    assert (
        run(
            RIGHT["a bulk load"].replace("out[t]", "if (t < 64) out[t]").replace("s[t];", "s[t % 64];"), block=992
        ).findings
        == ()
    )


def test_ordinary_accesses_to_a_clusters_memory_are_this_blocks() -> None:
    ran = run("""
        SHARED int s[64];
        ASM("st.shared::cluster.u32 [%0], %1;" :: "r"(AT(s + t)), "r"(in[t]));
        __syncthreads(); int v;
        asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(v) : "r"(AT(s + t)));
        out[t] = v;""")
    assert ran.findings == ()
    assert (ran.out == np.arange(64)).all()


def test_waiting_for_a_thread_that_works_long_is_not_for_ever() -> None:
    ran = run(
        ONE.format(count=1)
        + """
        if (t == 63) {
            int n = 0;
            for (int i = 0; i < 20000; ++i) { __nanosleep(1); n += state[i & 63]; }
            s[0] = n; ARRIVE(&bar);
        }
        WAIT(&bar, 0); out[t] = t + s[0];"""
    )
    assert ran.findings == ()
    assert (ran.out == np.arange(64)).all()


def test_phases_without_end_end() -> None:
    ran = run(ONE.format(count=64) + "for (int i = 0;; ++i) { ARRIVE(&bar); WAIT(&bar, i & 1); }  // <-- here")
    assert [(f.kind, f.line) for f in ran.findings] == [("did-not-finish", ran.guilty[0])]
