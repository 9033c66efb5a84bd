"""Reads of memory that nothing has written: told where the value matters, with the line of the read."""

from __future__ import annotations

import pytest

from tests.ptx.test_order import Kernel

FILLED = "__shared__ int s[80]; s[t] = in[t]; __syncthreads(); int far = t + in[16];"  # 16 threads read past the 64
DROPPED = {
    "a prefetch that the last turn does not use": """
        __shared__ int s[65]; s[t] = in[t]; __syncthreads();
        int next = s[0], sum = 0;
        #pragma unroll 1
        for (int i = 0; i < 64; ++i) { sum += next; next = s[i + 1]; }
        out[t] = sum;""",
    "a value that a selection drops": FILLED + "int v = s[far] * 3; out[t] = t < 48 ? v : 7;",
    "a comparison that another condition decides": FILLED
    + "bool less = s[far] < t; out[t] = (t < 48) & less ? 1 : 2;",
    "a copy in shared memory that nobody takes out": FILLED + """
        __shared__ int copy[64];
        copy[t] = s[far]; __syncthreads();
        out[t] = t < 48 ? copy[t] : 0;""",
    "a register that is written anew": FILLED + """
        int v = s[far];
        #pragma unroll 1
        for (int i = 0; i < in[2]; ++i) { if (i > 0) out[t] = v; v = i; }""",
    "an element of global memory that a selection drops": """
        if (t < 48) out[t] = t;
        __syncthreads();
        int v = out[t] + 1; state[t] = t < 48 ? v : 0;""",
    "a merge of two runs": """
        __shared__ int s[65]; s[t] = in[t % 32]; __syncthreads();
        if (t == 0) {
          int i = 0, j = 32, a = s[0], b = s[32];
          for (int n = 0; n < 64; ++n) {
            const bool first = j >= 64 || (i < 32 && a <= b);
            out[n] = first ? a : b;
            if (first) a = s[++i]; else b = s[++j];
          }
        }""",
}  # fmt: skip
READ = FILLED + "\nint v = s[far];  // <-- here\n"
MATTERS = {
    "in a sum that is stored": READ + "out[t] = v * 2 + 1;",
    "in a decision": READ + "if (v > 3) out[t] = 1; else out[t] = 2;",
    "in a choice": READ + "out[t] = v > 3 ? t : 2 * t;",
    "as an index": READ + "out[t] = in[v & 63];",
    "as an operand of an atomic": READ + "atomicAdd(&state[0], v);",
    "in a shuffle": READ + "out[t] = __shfl_xor_sync(~0u, v, 1);",
    "by way of shared memory": READ + "__shared__ int copy[64]; copy[t] = v; __syncthreads(); out[t] = copy[t ^ 1];",
    "in a condition that the other one leaves open": READ + "bool less = v < t; out[t] = (t > 40) & less ? 1 : 2;",
    "in the last turn of a loop": """
        __shared__ int s[65]; s[t] = in[t]; __syncthreads();
        int next = s[0], sum = 0;
        #pragma unroll 1
        for (int i = 0; i < 65; ++i) {
          sum += next;
          if (i < 64) next = s[i + 1];  // <-- here
        }
        out[t] = sum;""",
    "in an element of global memory": """
        if (t < 48) out[t] = t;
        __syncthreads();
        int v = out[t] + 1;  // <-- here
        state[t] = v;""",
}


@pytest.mark.parametrize("name", DROPPED)
def test_what_nothing_wrote_is_no_mistake_while_it_is_dropped(name: str) -> None:
    kernel = Kernel(DROPPED[name])
    assert [kernel.run(workers, grid=1).findings for workers in (1, 2)] == [(), ()]


@pytest.mark.parametrize("name", MATTERS)
def test_what_nothing_wrote_is_told_with_the_line_of_its_read(name: str) -> None:
    kernel = Kernel(MATTERS[name])
    ran = [kernel.run(workers, grid=1) for workers in (1, 2)]
    assert [(r.kind, r.line) for r in ran[0].findings] == [("uninitialised-read", kernel.guilty[0])]
    assert ran[0] == ran[1]
