"""One mistake often has several effects: the report that leads names the cause, its detail the right next step."""

from __future__ import annotations

import pytest

from tests.ptx.test_findings import guilty_lines, run
from tests.ptx.test_mbarrier import MACROS

COPY = 'asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(at), "l"(in + (t + n) % 64)); '

# (kind, detail): what leads.
LEADS = {
    "a flag that is read plainly": (
        "race", "plain-read", """
        if (blockIdx.x == 0) {
            out[t] = in[t]; __threadfence(); __syncthreads();
            if (t == 0) atomicExch(state, 1);  // <-- here
        } else if (t == 0) {
            while (state[0] == 0) {}  // <-- here
        }"""),
    "a value that another block stores": (
        "race", "read-between-blocks", """
        if (blockIdx.x == 0 && t == 0) state[1] = in[5];  // <-- here
        if (blockIdx.x == 0) out[t] = 0;
        if (t > 31) state[32 + t % 32 + 0 * blockIdx.x] += 0 * in[t];
        if (in[t] < 0) out[t] = state[2];
        if (t < 32 && state[1] == 77) out[63] = 1;  // <-- here"""),
    "two threads with one index": (
        "race", "both-write", """
        __shared__ int s[64];
        s[t / 2] = t;  // <-- here
        __syncthreads();
        out[t] = s[t / 2];"""),
    "a count without an atomic": (
        "race", "update", """
        __shared__ int count[4];
        if (t < 4) count[t] = 0;
        __syncthreads();
        for (int i = t; i < 200; i += 64) count[in[i % 64] % 4]++;  // <-- here
        __syncthreads(); out[t] = count[t % 4];"""),
    "blocks that add to one sum": (
        "race", "update", """
        if (t == 0) state[0] += in[blockIdx.x];  // <-- here
        if (blockIdx.x == 0) out[t] = in[t];"""),
    "a reduction without barriers": (
        "race", "", """
        __shared__ int s[64];
        s[t] = in[t];
        __syncthreads();
        for (int n = 32; n > 0; n /= 2)
            if (t < n) s[t] += s[t + n];  // <-- here
        __syncthreads(); out[t] = s[0];"""),
    "a shift to the left without a barrier": (
        "race", "", """
        __shared__ int s[65];
        s[t] = in[t];
        if (t == 0) s[64] = 0;
        __syncthreads();
        s[t] = s[t + 1];  // <-- here
        __syncthreads(); out[t] = s[t];"""),
    "a compare-and-swap that is not tried again": (
        "race", "swap-not-tried-again", """
        __shared__ int most;
        if (t == 0) most = 0;
        __syncthreads();
        int old = *(volatile int*)&most;  // <-- here
        if (in[t] > old) atomicCAS(&most, old, in[t]);  // <-- here
        __syncthreads(); out[t] = most;"""),
    "a counter that is read while the next one is drawn": (
        "race", "", """
        __shared__ int next;
        for (;;) {
            if (t == 0) next = atomicAdd(state, 1);  // <-- here
            __syncthreads();
            if (next >= 4) return;  // <-- here
            out[(16 * next + t) % 64] = t;
        }"""),
    "an early return": (
        "barrier-divergence", "", """
        __shared__ int s[64];
        if (t >= 40) return;
        s[t] = in[t];
        __syncthreads();  // <-- here
        out[t] = s[39 - t];"""),
    "half of the block has a barrier more": (
        "barrier-divergence", "", """
        __shared__ int s[64];
        s[t] = in[t];
        if (t < 32) __syncthreads();  // <-- here
        s[t] += s[63 - t];
        __syncthreads();
        out[t] = s[t];"""),
    "a copy into what is still read": (
        "race", "", """
        __shared__ int s[2][64];
        int n = 0;
        auto copy = [&](int i) {
            ++n;
            unsigned at = (unsigned)__cvta_generic_to_shared(&s[i][t]);
            COPY  // <-- here
            asm volatile("cp.async.commit_group;" ::: "memory");
        };
        copy(0); copy(1);
        int sum = 0;
        for (int i = 0; i < 6; ++i) {
            asm volatile("cp.async.wait_group 1;" ::: "memory");
            __syncthreads();
            copy(i % 2);
            for (int k = 0; k < 64; ++k) sum += s[i % 2][k];  // <-- here
        }
        out[t] = sum;"""),
    "a copy that nobody waits for": (
        "uninitialised-read", "copy-in-flight", """
        __shared__ int s[64];
        for (int n = 0; n < 2; ++n) {
            unsigned at = (unsigned)__cvta_generic_to_shared(&s[t]);
            COPY
            asm volatile("cp.async.commit_group;" ::: "memory");
            __syncthreads();
            out[t] = s[63 - t];  // <-- here
            __syncthreads();
        }"""),
    "a barrier with two counts": (
        "barrier-divergence", "counts-differ", """
        __shared__ int s[32];
        for (int i = 0; i < 3; ++i) {
            if (t >= 64) { s[t - 64] = in[t - 64] + i; asm volatile("bar.arrive 1, 96;" ::: "memory"); }
            else { asm volatile("bar.sync 1, 64;" ::: "memory"); out[t] = s[t % 32]; }  // <-- here
        }"""),
    "two waits at one barrier with two counts": (
        "barrier-divergence", "counts-differ", """
        if (t < 32) asm volatile("bar.sync 2, 96;" ::: "memory");
        else asm volatile("bar.sync 2, 64;" ::: "memory");  // <-- here
        out[t % 64] = 1;"""),
    "a wait whose parity never changes": (
        "barrier-divergence", "passed-early", """
        SHARED int s[64]; SHARED unsigned long long full;
        if (t == 0) { INIT(&full, 1); PROXY_FENCE(); }
        __syncthreads();
        int sum = 0;
        for (int i = 0; i < 4; ++i) {
            if (t == 0) { EXPECT(&full, 256); LOAD(s, in, 256, &full); }
            WAIT(&full, 0);  // <-- here
            sum += s[t];
            __syncthreads();
        }
        out[t] = sum;"""),
}  # fmt: skip


@pytest.mark.parametrize("name", LEADS)
def test_the_cause_leads(name: str) -> None:
    kind, detail, body = LEADS[name]
    threads = 96 if detail == "counts-differ" else 64
    blocks = 2 if "blockIdx" in body else 1
    ran = run(body.replace("COPY", COPY), before=MACROS, block=threads, grid=blocks)
    lead = ran.findings[0]
    assert (lead.kind, lead.detail) == (kind, detail)
    assert guilty_lines(lead) & set(ran.guilty)


def test_both_counts_of_a_barrier_are_named() -> None:
    _, _, body = LEADS["a barrier with two counts"]
    lead = run(body, block=96).findings[0]
    assert lead.message.startswith("this barrier is for 64 threads here, and for 96 on line ")


def test_a_matrix_in_shared_memory_is_named() -> None:
    """Fragments are loaded through generic pointers."""
    ran = run(
        """
        __shared__ __align__(32) __half a[16 * 24];
        for (int i = t; i < 16 * 24; i += 32) a[i] = __half(0.0f);
        __syncwarp();
        wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> f;
        wmma::load_matrix_sync(f, a, 17);  // <-- here
        out[t] = (int)(float)f.x[0];""",
        before="#include <mma.h>\nusing namespace nvcuda;\n",
        block=32,
    )
    lead = ran.findings[0]
    assert (lead.kind, lead.detail, lead.array, [lead.line]) == ("misaligned-access", "fragment", "a", ran.guilty)


def test_an_array_that_its_type_does_not_align() -> None:
    ran = run(
        """
        __shared__ int some[3]; __shared__ int tile[64];
        some[t % 3] = 1; tile[t] = in[t];
        __syncthreads();
        int4 v;
        asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
            : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(AT(&tile[t / 4 * 4])));  // <-- here
        out[t] = v.x + some[t % 3];""",
        before=MACROS,
    )
    lead = ran.findings[0]
    assert (lead.kind, lead.detail, [lead.line]) == ("misaligned-access", "own-alignment", ran.guilty)
    assert "tile itself may begin" in lead.message


def test_printing_without_end_is_an_endless_loop() -> None:
    lead = run('while (in[1]) printf("x");  // <-- here', before="#include <cstdio>\n").findings[0]
    assert lead.kind == "did-not-finish"


def test_what_is_printed_beyond_the_limit_costs_nothing_and_changes_nothing() -> None:
    body = 'int n = 0; for (int i = 0; i < 20000; ++i) n += printf("%d %d\\n", i, t); out[t] = n;'
    ran = run(body, before="#include <cstdio>\n")
    assert ran.findings == ()
    assert (ran.out == 2 * 20000).all()
    assert ran.printed.endswith("(more was printed)\n")
