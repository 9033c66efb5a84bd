"""Order between blocks: one verdict and one set of findings, on any number of workers.

Every kernel gets `in` (64 ints, read-only, 0..63), `out` (64 ints, uninitialised) and `state` (1024 ints, zeroed);
`t` is its thread, `b` its block. The guilty lines of a wrong one end in `// <-- here`.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

import numpy as np
import pytest

from grader import ptx
from grader.compile.compiler import compile_text
from grader.compile.recipe import PTX_ARCH

HEAD = textwrap.dedent("""
    #include <cuda/atomic>
    using Device = cuda::atomic_ref<int, cuda::thread_scope_device>;
    __device__ double add(double* to, double value) {
      unsigned long long* bits = (unsigned long long*)to;
      unsigned long long old = *bits, assumed;
      do {
        assumed = old;
        old = atomicCAS(bits, assumed, __double_as_longlong(value + __longlong_as_double(assumed)));
      } while (assumed != old);
      return __longlong_as_double(old);
    }
    __device__ void lock(int* at) { while (atomicCAS(at, 0, 1) != 0) {} __threadfence(); }
    __device__ void unlock(int* at) { __threadfence(); atomicExch(at, 0); }
    extern "C" __global__ void k(const int* in, int* out, int* state) {
      const int t = threadIdx.x, b = blockIdx.x, last = gridDim.x - 1; (void)t; (void)b; (void)last;
""")
RUNS = [*((workers, seed) for seed in (1, 2, 3) for workers in (1, 2, 4)), (64, 1)]


@dataclass(frozen=True)
class Ran:
    findings: tuple[ptx.Report, ...]
    out: bytes
    state: bytes


class Kernel:
    def __init__(self, body: str) -> None:
        head = (
            HEAD
            if "Device" in body or "cuda::" in body
            else HEAD.replace("#include <cuda/atomic>\n", "").replace(
                "using Device = cuda::atomic_ref<int, cuda::thread_scope_device>;\n", ""
            )
        )  # the header takes its time
        source = head + textwrap.dedent(body) + "\n}\n"
        compiled = compile_text(source, PTX_ARCH)
        assert compiled.compilation.ok, compiled.compilation.findings
        self._program = ptx.Program(ptx.parse(compiled.ptx))
        self.guilty = [i for i, line in enumerate(source.splitlines(), 1) if line.endswith("// <-- here")]

    def run(self, workers: int = 2, seed: int = 1, *, grid: int = 6, block: int = 64) -> Ran:
        out, state = np.full(64, -1, np.int32), np.zeros(1024, np.int32)
        arguments = [
            ptx.Buffer("in", np.arange(64, dtype=np.int32)),
            ptx.Buffer("out", out, writable=True, initialised=False),
            ptx.Buffer("state", state, writable=True),
        ]
        limits = ptx.Limits(1_000_000, 200_000, 20.0)
        size = {"grid": (grid, 1, 1), "block": (block, 1, 1)}
        ran = self._program.run("k", **size, arguments=arguments, workers=workers, limits=limits, seed=seed)
        return Ran(ran.findings, out.tobytes(), state.tobytes())


RACES = {
    "a volatile store, and a volatile load that polls nothing": """
        volatile int* half = state + t;
        if (b == 0) *half = in[t];
        if (b == 1) out[t] = *half;  // <-- here""",
    "the reader comes first": """
        if (b == 0) out[t] = state[t];  // <-- here
        if (b == last) state[t] = in[t];""",
    "the reader of a volatile comes first": """
        if (b == 0) out[t] = *(volatile int*)(state + t);  // <-- here
        if (b == 3) *(volatile int*)(state + t) = in[t];""",
    "many read, and one in the middle writes": """
        int sum = state[t];
        if (b == 3) state[t] = sum + 1;  // <-- here
        if (b == 5) out[t] = sum;""",
    "one thread polls, and the others do not wait for it": """
        if (b == 0) { state[t] = in[t]; __threadfence(); __syncthreads(); if (t == 0) atomicExch(state + 99, 1); }
        if (b == 1) {
          if (t == 0) while (*(volatile int*)(state + 99) == 0) {}
          out[t] = state[t];  // <-- here
        }""",
    "one thread polls, and the others read a volatile": """
        volatile int* v = state;
        if (b == 0) { v[t] = in[t]; __threadfence(); __syncthreads(); if (t == 0) v[99] = 1; }
        if (b == 1) {
          if (t == 0) while (v[99] == 0) {}
          out[t] = v[t];  // <-- here
        }""",
    "one lane polls and __syncwarp hands it to its own warp alone": """
        if (b == 0) { state[t] = in[t]; __threadfence(); __syncthreads(); if (t == 0) atomicExch(state + 99, 1); }
        if (b == 1) {
          if (t == 0) while (atomicAdd(state + 99, 0) == 0) {}
          __syncwarp();
          out[t] = state[t];  // <-- here
        }""",
    "a volatile flag without a fence": """
        if (b == 0) { state[t] = in[t]; __syncthreads(); if (t == 0) *(volatile int*)(state + 99) = 1; }
        if (b == 1) {
          if (t == 0) while (*(volatile int*)(state + 99) == 0) {}
          __syncthreads();
          out[t] = state[t];  // <-- here
        }""",
    "a fence for the block alone": """
        if (b == 0) {
          state[t] = in[t]; __threadfence_block(); __syncthreads();
          if (t == 0) atomicExch(state + 99, 1);
        }
        if (b == 1) {
          if (t == 0) while (atomicAdd(state + 99, 0) == 0) {}
          __syncthreads();
          out[t] = state[t];  // <-- here
        }""",
    "a fence of the last thread, in front of the barrier": """
        if (b == 0) {
          state[t] = in[t];
          if (t == 63) __threadfence();
          __syncthreads();
          if (t == 0) atomicExch(state + 99, 1);
        }
        if (b == 1) {
          if (t == 0) while (atomicAdd(state + 99, 0) == 0) {}
          __syncthreads();
          out[t] = state[t];  // <-- here
        }""",
    "a fence in front of the data": """
        if (b == 0) { __threadfence(); state[t] = in[t]; __syncthreads(); if (t == 0) atomicExch(state + 99, 1); }
        if (b == 1) {
          if (t == 0) while (atomicAdd(state + 99, 0) == 0) {}
          __syncthreads();
          out[t] = state[t];  // <-- here
        }""",
    "a flag in front of its fence": """
        if (b == 0) { state[t] = in[t]; __syncthreads(); if (t == 0) { atomicExch(state + 99, 1); __threadfence(); } }
        if (b == 1) {
          if (t == 0) while (atomicAdd(state + 99, 0) == 0) {}
          __syncthreads();
          out[t] = state[t];  // <-- here
        }""",
    "data that is written again behind the flag": """
        if (b == 0) {
          state[t] = in[t]; __threadfence(); __syncthreads();
          if (t == 0) atomicExch(state + 99, 1);
          state[t] = 2 * in[t];
        }
        if (b == 1) {
          if (t == 0) while (atomicAdd(state + 99, 0) == 0) {}
          __syncthreads();
          out[t] = state[t];  // <-- here
        }""",
    "the flag of another block": """
        int* data = state + 64 * b; int* flag = state + 512;
        data[t] = in[t]; __threadfence(); __syncthreads();
        if (t == 0) atomicExch(flag + b, 1);
        if (b == last) {
          if (t == 0) while (atomicAdd(flag + b - 1, 0) == 0) {}
          __syncthreads();
          out[t] = (data - 128)[t];  // <-- here
        }""",
    "a flag of this block's own": """
        state[64 * b + t] = in[t]; __threadfence(); __syncthreads();
        if (t == 0) { atomicExch(state + 512 + b, 1); while (atomicAdd(state + 512 + b, 0) == 0) {} }
        __syncthreads();
        if (b == last) out[t] = state[t];  // <-- here""",
    "a wait for one arrival too few": """
        if (b < last && t == 0) { state[b] = in[b]; __threadfence(); atomicAdd(state + 99, 1); }
        if (b == last && t == 0) {
          while (*(volatile int*)(state + 99) < last - 1) {}
          int sum = 0;
          for (int i = 0; i < last; ++i) sum += state[i];  // <-- here
          out[0] = sum;
        }""",
    "a wait for any arrival": """
        Device count(state[99]);
        if (b < last && t == 0) { state[b] = in[b]; count.fetch_add(1, cuda::std::memory_order_release); }
        if (b == last && t == 0) {
          while (count.load(cuda::std::memory_order_acquire) == 0) {}
          for (int i = 0; i < last; ++i) out[i] = state[i];  // <-- here
        }""",
    "a look that decides nothing": """
        if (b == 0 && t == 0) { state[0] = 5; __threadfence(); atomicExch(state + 99, 1); }
        if (b == 1 && t == 0) { int seen = atomicAdd(state + 99, 0); out[0] = state[0] + seen; }  // <-- here""",
    "an acquiring load that decides nothing": """
        Device flag(state[99]);
        if (b == 0 && t == 0) { state[0] = 5; flag.store(1, cuda::std::memory_order_release); }
        if (b == 1 && t == 0) {
          out[1] = flag.load(cuda::std::memory_order_acquire);
          out[0] = state[0];  // <-- here
        }""",
    "a plain flag that is polled": """
        if (b == 0) { state[t] = in[t]; __threadfence(); __syncthreads(); if (t == 0) state[99] = 1; }
        if (b == 1) {
          if (t == 0) while (*(volatile int*)(state + 99) == 0) {}  // <-- here
          __syncthreads();
          out[t] = state[t];
        }""",
    "an exchange that others' sums do not wait for": """
        if (b == 0) atomicExch(out + t, in[t]);
        else atomicAdd(out + t, in[t]);  // <-- here""",
    "a maximum that an exchange overwrites": """
        if (b == last) atomicExch(state + t, 1);  // <-- here
        else atomicMax(state + t, b + 1);""",
    "two blocks that store another number each, volatile": """
        *(volatile int*)(state + t) = b;  // <-- here""",
    "an element that two draws have": """
        __shared__ int drawn;
        while (true) {
          if (t == 0) drawn = atomicAdd(state + 99, 1);
          __syncthreads();
          const int i = drawn;
          if (i >= 24) break;
          if (t == 0) out[i / 2] = i;  // <-- here
          __syncthreads();
        }""",
    "a lock that is given back without a fence": """
        if (t == 0) {
          while (atomicCAS(state + 99, 0, 1) != 0) {}
          state[0] = state[0] + in[b];  // <-- here
          atomicExch(state + 99, 0);
        }""",
    "a read outside of the lock": """
        if (t == 0) {
          lock(state + 99); state[0] = state[0] + in[b]; unlock(state + 99);
          out[b] = state[0];  // <-- here
        }""",
    "two locks for one sum": """
        if (t == 0) {
          lock(state + 98 + b % 2);
          state[0] = state[0] + in[b];  // <-- here
          unlock(state + 98 + b % 2);
        }""",
    "a swap that is not tried again": """
        int old = *(volatile int*)state;
        if (t == 0 && old < b + 1) atomicCAS(state, old, b + 1);  // <-- here""",
    "a first guess that is stored": """
        int old = state[0], first = old, assumed;  // <-- here
        if (t == 0) {
          do { assumed = old; old = atomicCAS(state, assumed, assumed + b); } while (old != assumed);
          out[b] = first;
        }""",
    "a counter that everybody counts up plainly": "if (t == 0) state[0] += 1;  // <-- here",
    "a counter that everybody counts up as a volatile": "if (t == 0) (*(volatile int*)state)++;  // <-- here",
    "a volatile counter between fences": """
        if (t == 0) {
          __threadfence();
          (*(volatile int*)state)++;  // <-- here
          __threadfence();
        }""",
    "a volatile ticket": """
        __shared__ bool ends;
        state[64 * b + 64 + t] = in[t]; __threadfence(); __syncthreads();
        if (t == 0) { volatile int* count = state; int old = (*count)++; ends = old == last; }  // <-- here
        __syncthreads();
        if (ends) out[t] = state[64 + t];""",
    "the edge of the next block": """
        state[64 * b + t] = in[t]; __threadfence(); __syncthreads();
        out[t] = state[64 * ((b + 1) % 6) + t];  // <-- here""",
    "a buffer that is filled again before it was read": """
        volatile int* flag = state + 900;
        for (int i = 0; i < 2; ++i) {
          if (b == 0) {
            state[t] = in[t] + i;  // <-- here
            __threadfence(); __syncthreads();
            if (t == 0) flag[i] = 1;
          }
          if (b == 1) {
            if (t == 0) while (flag[i] == 0) {}
            __syncthreads();
            if (t < 32) out[32 * i + t] = state[t];
            __syncthreads();
          }
        }""",
    "a reader that does not take the lock": """
        if (t == 0 && b % 2) { lock(state + 99); state[0] = b; unlock(state + 99); }
        if (t == 0 && b % 2 == 0) out[b] = state[0];  // <-- here""",
    "tiles that are taken by a plain test": """
        if (t == 0)
          for (int i = 0; i < 12; ++i)
            if (state[i] == 0) { state[i] = 1; out[i] = b; }  // <-- here""",
    "a ticket that a shuffle tells, with no fence before it": """
        state[64 * b + t] = in[t];
        if (t < 32) {
          int ticket = t == 0 ? atomicAdd(state + 999, 1) : 0;
          ticket = __shfl_sync(~0u, ticket, 0);
          __threadfence();
          if (ticket == last) for (int i = 0; i <= last; ++i) out[t] = state[64 * i + t];  // <-- here
        }""",
    "a sum that the last block reads at once": """
        atomicAdd(state + t, in[t]);
        if (b == last) out[t] = state[t];  // <-- here""",
    "a ticket without a fence": """
        __shared__ bool ends;
        state[64 * b + t] = in[t]; __syncthreads();
        if (t == 0) ends = atomicAdd(state + 999, 1) == last;
        __syncthreads();
        if (ends) for (int i = 0; i <= last; ++i) out[t] = state[64 * i + t];  // <-- here""",
    "a ticket of block scope": """
        __shared__ bool ends;
        state[64 * b + t] = in[t]; __threadfence(); __syncthreads();
        if (t == 0) ends = atomicAdd_block(state + 999, 1) == last;  // <-- here
        __syncthreads();
        if (ends) out[t] = state[t];""",
    "relaxed on both sides": """
        Device flag(state[99]);
        if (b == 0) { state[t] = in[t]; __syncthreads(); if (t == 0) flag.store(1, cuda::std::memory_order_relaxed); }
        if (b == 1) {
          if (t == 0) while (flag.load(cuda::std::memory_order_relaxed) == 0) {}
          __syncthreads();
          out[t] = state[t];  // <-- here
        }""",
    "a prefix that is taken over without a fence": """
        volatile int* flag = state; int* sum = state + 100;
        if (t == 0) {
          int before = 0;
          if (b > 0) { while (flag[b - 1] == 0) {} before = sum[b - 1]; }  // <-- here
          sum[b] = before + in[b]; flag[b] = 1;
        }""",
    "a warp that relies on volatile": """
        __shared__ volatile int s[64];
        s[t] = in[t]; __syncthreads();
        if (t < 16) { s[t] += s[t + 16]; s[t] += s[t + 8]; s[t] += s[t + 4]; }  // <-- here
        if (t == 0) out[b] = s[0];""",
    "a warp that relies on volatile in global memory": """
        volatile int* s = state + 64 * b;
        s[t] = in[t];
        if (t < 16) out[t + 16 * (b % 4)] = s[t + 16];  // <-- here""",
}


@pytest.mark.parametrize("name", RACES)
def test_a_race_between_blocks_is_found_in_every_run(name: str) -> None:
    kernel = Kernel(RACES[name])
    ran = [kernel.run(workers, seed) for workers, seed in RUNS]
    for found in ran:
        races = [r for r in found.findings if r.kind == "race"]
        noted = {int(line) for r in races for note in r.notes for line in re.findall(r"line (\d+)", note)}
        lines = {r.line for r in races} | noted
        assert lines & set(kernel.guilty), found.findings
    assert len({one.findings for one in ran[:3]}) == 1
    assert len({frozenset((r.kind, r.line) for r in one.findings) for one in ran}) == 1


FLAG = """
    if (b == 0) {{ {release} }}
    if (b == 1) {{ {acquire} out[t] = state[63 - t]; }}"""
RELEASES = {
    "all fence": "state[t] = in[t]; __threadfence(); __syncthreads(); if (t == 0) atomicExch(state + 99, 1);",
    "one fences": "state[t] = in[t]; __syncthreads(); if (t == 0) { __threadfence(); atomicExch(state + 99, 1); }",
    "volatile": "state[t] = in[t]; __syncthreads(); if (t == 9) { __threadfence(); ((volatile int*)state)[99] = 1; }",
    "released": """state[t] = in[t]; __syncthreads();
        if (t == 40) Device(state[99]).store(1, cuda::std::memory_order_release);""",
    "each warp": """state[t] = in[t]; __syncwarp(); if (t % 32 == 0) __threadfence(); __syncthreads();
        if (t == 0) atomicOr(state + 99, 1);""",
    "numbered": """state[t] = in[t]; asm volatile("bar.sync 3, 64;" ::: "memory");
        if (t == 32) { __threadfence_system(); atomicAdd(state + 99, 1); }""",
}
ACQUIRES = {
    "atomic": "if (t == 0) while (atomicAdd(state + 99, 0) == 0) {} __syncthreads();",
    "volatile": "if (t == 0) { while (((volatile int*)state)[99] == 0) {} __threadfence(); } __syncthreads();",
    "sleeping": "if (t == 3) while (*(volatile int*)(state + 99) != 1) __nanosleep(40); __syncthreads();",
    "all": "while (*(volatile int*)(state + 99) == 0) {} __threadfence();",
    "acquired": "if (t == 0) while (!Device(state[99]).load(cuda::std::memory_order_acquire)) {} __syncthreads();",
    "each warp": "if (t % 32 == 5) while (atomicCAS(state + 99, 1, 1) != 1) {} __syncwarp(~0u);",
    "by vote": "while (__any_sync(~0u, *(volatile int*)(state + 99) == 0)) {} __syncthreads();",
    "through shared memory": """__shared__ int seen; do { if (t == 0) seen = *(volatile int*)(state + 99);
        __syncthreads(); if (seen) break; __syncthreads(); } while (true);""",
}
RIGHT = {
    **{
        f"{r}, {a}": FLAG.format(release=RELEASES[r], acquire=ACQUIRES[a])
        for r, a in [
            *zip(RELEASES, ACQUIRES, strict=False),
            ("all fence", "by vote"),
            ("one fences", "through shared memory"),
            ("released", "volatile"),
            ("each warp", "atomic"),
        ]
    },
    "turns": """
        volatile int* turn = state + 99;
        if (t == 0) {
          while (*turn != b) {}
          __threadfence();
          state[0] = state[0] + in[b];
          __threadfence();
          *turn = b + 1;
        }""",
    "what the block before the last one wrote, through the last one's flag": """
        if (t == 0) {
          if (b > 0) while (atomicAdd(state + b - 1, 0) == 0) {}
          state[100 + b] = in[b]; __threadfence(); atomicExch(state + b, 1);
          if (b > 1) out[b] = state[100 + b - 2];
        }""",
    "looking back": """
        volatile int* flag = state; volatile int* own = state + 100; volatile int* all = state + 200;
        if (t == 0) {
          own[b] = in[b]; __threadfence(); flag[b] = 1;
          int sum = in[b];
          for (int i = b - 1; i >= 0;) {
            int seen;
            while ((seen = flag[i]) == 0) {}
            __threadfence();
            if (seen == 2) { sum += all[i]; break; }
            sum += own[i--];
          }
          all[b] = sum; __threadfence(); flag[b] = 2;
          out[b] = sum;
        }""",
    "looking back from drawn tiles": """
        __shared__ int drawn;
        if (t == 0) drawn = atomicAdd(state + 99, 1);
        __syncthreads();
        const int tile = drawn; volatile int* flag = state; int* sum = state + 100;
        if (t == 0) {
          int before = 0;
          if (tile > 0) { while (flag[tile - 1] == 0) __nanosleep(20); __threadfence(); before = sum[tile - 1]; }
          sum[tile] = before + in[tile]; __threadfence(); flag[tile] = 1;
          out[tile] = before;
        }""",
    "a value and its flag in one word": """
        volatile unsigned long long* word = (volatile unsigned long long*)(state + 2 * b);
        if (t == 0) {
          unsigned long long before = 0;
          if (b > 0) do before = word[-1]; while (before >> 32 == 0);
          *word = 1ull << 32 | (unsigned)(before + in[b]);
          out[b] = (int)before;
        }""",
    "the last block by its ticket": """
        __shared__ bool ends;
        state[64 * b + t] = in[t]; __threadfence(); __syncthreads();
        if (t == 0) { ends = atomicAdd(state + 999, 1) == last; if (ends) state[999] = 0; }
        __syncthreads();
        int sum = 0;
        if (ends) { for (int i = 0; i <= last; ++i) sum += state[64 * i + t]; out[t] = sum; }""",
    "a ticket that a shuffle tells to the warp": """
        if (t < 32) {
          atomicAdd(state + t, in[t]); __threadfence(); __syncwarp();
          int ticket = t == 0 ? atomicAdd(state + 999, 1) : 0;
          ticket = __shfl_sync(~0u, ticket, 0);
          if (ticket == last) { __threadfence(); out[t] = state[31 - t]; }
        }""",
    "a ticket that a shuffle tells, between fences": """
        state[64 * b + t] = in[t]; __threadfence(); __syncthreads();
        if (t < 32) {
          int ticket = t == 0 ? atomicAdd(state + 999, 1) : 0;
          ticket = __shfl_sync(~0u, ticket, 0);
          __threadfence();
          if (ticket == last) for (int i = 0; i <= last; ++i) out[t] = state[64 * i + t];
        }""",
    "a ticket that a barrier tells": """
        state[64 * b + t] = in[t]; __threadfence(); __syncthreads();
        const bool mine = t == 0 && atomicAdd(state + 999, 1) == last;
        if (__syncthreads_or(mine)) for (int i = 0; i <= last; ++i) out[t] = state[64 * i + t];""",
    "tiles that are taken by an exchange": """
        __shared__ bool mine;
        for (int i = 0; i < 12; ++i) {
          if (t == 0) mine = atomicExch(state + i, 1) == 0;
          __syncthreads();
          if (mine && t == 0) out[i] = i;
          __syncthreads();
        }""",
    "a lock for each thread of a warp": """
        for (bool done = false; !done;)
          if (atomicCAS(state + 99, 0, 1) == 0) {
            __threadfence(); state[0] += 1; __threadfence();
            atomicExch(state + 99, 0); done = true;
          }""",
    "fences that a vote waits for": """
        state[64 * b + t] = in[t]; __threadfence();
        const bool all = __all_sync(~0u, in[t] >= 0);
        if (t % 32 == 0 && all) atomicAdd(state + 999, 1);
        if (b == last && t < 32) {
          if (t == 0) while (atomicAdd(state + 999, 0) < 2 * last) {}
          __syncwarp();
          out[t] = state[63 - t] + state[64 + 63 - t];
        }""",
    "a ticket that wraps": """
        __shared__ bool ends;
        if (t == 0) {
          state[b] = in[b]; __threadfence();
          ends = atomicInc((unsigned*)state + 999, last) == last;
        }
        __syncthreads();
        if (ends && t <= last) out[t] = state[t];""",
    "the last block waits until all have counted": """
        state[64 * b + t] = in[t]; __syncthreads();
        if (t == 0 && b < last) { __threadfence(); atomicAdd(state + 999, 1); }
        if (b == last) {
          if (t == 0) while (*(volatile int*)(state + 999) < last) {}
          __syncthreads();
          for (int i = 0; i <= last; ++i) out[t] = state[64 * i + t];
          if (t == 0) state[999] = 0;
        }""",
    "the last block of each pair adds": """
        __shared__ bool second;
        int* part = state + 64 * (b / 2);
        atomicAdd(part + t, in[t]); __threadfence(); __syncthreads();
        if (t == 0) second = atomicAdd(state + 900 + b / 2, 1) == 1;
        __syncthreads();
        if (second && t < 8) out[b / 2 * 8 + t] = __ldcg(part + t);""",
    "a queue for blocks": """
        __shared__ int drawn;
        while (true) {
          if (t == 0) drawn = atomicAdd(state + 99, 1);
          __syncthreads();
          const int i = drawn;
          __syncthreads();
          if (i >= 24) break;
          if (t == 0) out[i] = i;
        }""",
    "a queue for threads": "for (int i; (i = atomicAdd(state + 99, 1)) < 64;) out[i] = i;",
    "a queue that turns into a last block": """
        __shared__ int drawn; __shared__ bool ends;
        while (true) {
          if (t == 0) drawn = atomicAdd(state + 999, 1);
          __syncthreads();
          const int i = drawn;
          if (i >= 8) break;
          state[64 * i + t] = in[t] + i;
          __threadfence(); __syncthreads();
        }
        if (t == 0) ends = atomicAdd(state + 998, 1) == last;
        __syncthreads();
        if (ends) for (int i = 0; i < 8; ++i) out[t] = state[64 * i + 63 - t];""",
    "a lock": "if (t == 0) { lock(state + 99); state[0] = state[0] + in[b]; unlock(state + 99); }",
    "a lock for the whole block": """
        if (t == 0) lock(state + 999);
        __syncthreads();
        state[t] = state[t] + in[t];
        __syncthreads();
        if (t == 0) unlock(state + 999);""",
    "a lock by exchanges": """
        if (t == 0) {
          while (atomicExch(state + 99, 1) != 0) {}
          __threadfence(); state[0] = state[0] + in[b]; __threadfence();
          atomicExch(state + 99, 0);
        }""",
    "a lock that a volatile store gives back": """
        if (t == 0) {
          lock(state + 99); state[0] = state[0] + in[b]; __threadfence();
          *(volatile int*)(state + 99) = 0;
        }""",
    "a sum of doubles by compare and swap": """
        __shared__ bool ends;
        add((double*)state, in[t]); __threadfence(); __syncthreads();
        if (t == 0) ends = atomicAdd(state + 99, 1) == last;
        __syncthreads();
        if (ends && t == 0) out[0] = (int)*(double*)state;""",
    "a maximum of floats by compare and swap": """
        int old = state[0], assumed; float mine = in[t] + b;
        while (__int_as_float(old) < mine) {
          assumed = old;
          old = atomicCAS(state, assumed, __float_as_int(mine));
          if (old == assumed) break;
        }""",
    "a look before a maximum": "if (state[0] < in[t] + b) atomicMax(state, in[t] + b);",
    "a mark that is set once": "atomicCAS(state + t, 0, 1);",
    "fences and relaxed flags": """
        Device flag(state[99]);
        if (b == 0) {
          state[t] = in[t]; __syncthreads();
          if (t == 0) {
            cuda::atomic_thread_fence(cuda::std::memory_order_release, cuda::thread_scope_device);
            flag.store(1, cuda::std::memory_order_relaxed);
          }
        }
        if (b == 1) {
          if (t == 0) {
            while (flag.load(cuda::std::memory_order_relaxed) == 0) {}
            cuda::atomic_thread_fence(cuda::std::memory_order_acquire, cuda::thread_scope_device);
          }
          __syncthreads();
          out[t] = state[63 - t];
        }""",
    "one look at a flag that may not be there yet": """
        Device flag(state[99]);
        if (b == 0 && t == 0) { state[0] = 7; flag.store(1, cuda::std::memory_order_release); }
        if (b == 1 && t == 0) out[0] = flag.load(cuda::std::memory_order_acquire) ? state[0] : 0;""",
    "a wait for each arrival in turn": """
        Device count(state[99]);
        if (b < last && t == 0) { state[b] = in[b]; count.fetch_add(1, cuda::std::memory_order_release); }
        if (b == last && t == 0)
          for (int got = 0, now; got < last; got = now) {
            while ((now = count.load(cuda::std::memory_order_acquire)) == got) {}
            out[now] = now;
          }""",
    "a flag of one byte": """
        cuda::atomic_ref<unsigned char, cuda::thread_scope_device> flag(((unsigned char*)state)[399]);
        if (b == 0 && t == 0) { state[0] = 5; flag.store(1, cuda::std::memory_order_release); }
        if (b == 1 && t == 0) { while (!flag.load(cuda::std::memory_order_acquire)) {} out[0] = state[0]; }""",
    "an atomic look at a sum": """
        atomicAdd(state + 99, t);
        if (t == 0) out[b] = Device(state[99]).load(cuda::std::memory_order_relaxed);""",
    "a look that decides by a selection": """
        if (b == 0 && t == 0) { state[0] = 5; __threadfence(); atomicExch(state + 99, 1); }
        if (b == 1 && t == 0) {
          int seen = atomicAdd(state + 99, 0);
          out[0] = seen ? state[0] : -1;
        }""",
    "sums of whole numbers": "atomicAdd(state + in[t] % 8, in[t]);",
    "the carry of a split tile": """
        volatile int* flag = state + 900;
        int sum = in[t] + b;
        if (b % 2 == 1) {
          if (t == 0) { while (flag[b - 1] == 0) __nanosleep(20); __threadfence(); }
          __syncthreads();
          out[t / 32 + 2 * b] = sum + __ldcg(state + 64 * (b - 1) + t) - sum + 0 * t;
        } else {
          state[64 * b + t] = t / 32;
          __threadfence(); __syncthreads();
          if (t == 0) flag[b] = 1;
        }""",
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_ordered_between_blocks_raises_nothing(name: str) -> None:
    kernel = Kernel(RIGHT[name])
    ran = [kernel.run(workers, seed) for workers, seed in RUNS]
    assert [one.findings for one in ran] == [()] * len(ran)
    assert len(set(ran[:3])) == 1


WAITS = {
    "for a flag of the next block": """
        if (t == 0) { if (b < last) while (*(volatile int*)(state + b + 1) == 0) {}  // <-- here
          *(volatile int*)(state + b) = 1; }""",
    "for a count of all blocks": """
        if (t == 0) { atomicAdd(state, 1); while (*(volatile int*)state <= last) {} }  // <-- here
        __syncthreads(); out[t] = 1;""",
    "for a count that it looks at": """
        if (t == 0) { if (atomicAdd(state, 1) < last) while (atomicAdd(state, 0) <= last) {} }  // <-- here
        __syncthreads(); if (b == 0) out[t] = 1;""",
}


@pytest.mark.parametrize("grid", [2, 3, 40])
@pytest.mark.parametrize("name", WAITS)
def test_no_block_may_wait_for_a_later_one(name: str, grid: int) -> None:
    kernel = Kernel(WAITS[name])
    ran = [kernel.run(workers, grid=grid) for workers in (1, 2, 4)]
    assert {(r.kind, r.line) for one in ran for r in one.findings if r.kind == "did-not-finish"} == {
        ("did-not-finish", kernel.guilty[0])
    }
    assert len({one.findings for one in ran}) == 1


def test_blocks_that_draw_from_one_counter_share_the_work() -> None:
    kernel = Kernel("""
        __shared__ int drawn;
        while (true) {
          if (t == 0) drawn = atomicAdd(state + 99, 1);
          __syncthreads();
          if (drawn >= 64) break;
          if (t == 0) out[drawn] = b;
          __syncthreads();
        }""")
    shares = [np.frombuffer(kernel.run(seed=seed).out, np.int32) for seed in range(4)]
    assert all(len(set(share)) > 2 for share in shares)
    assert len({share.tobytes() for share in shares}) > 1


@pytest.mark.parametrize(
    "body",
    [
        "out[70 + t] = b;",
        "if (b >= 2) while (in[0] == 0) {}",
        "__shared__ int s[64]; if (b % 3) s[t] = in[t]; __syncthreads(); state[64 * b + t] = s[t];",
        "if (t == 0) assert_here(b); if (b == 4) asm volatile(\"trap;\"); state[64 * b + t] = b;",
    ],
    ids=["out of bounds", "endless from the third block on", "uninitialised", "a trap"],
)  # fmt: skip
def test_findings_that_are_no_races_are_the_same_on_any_number_of_workers(body: str) -> None:
    kernel = Kernel(body.replace("if (t == 0) assert_here(b); ", ""))
    ran = [kernel.run(workers, grid=12) for workers in (1, 2, 4)]
    assert ran[0].findings
    assert len(set(ran)) == 1


def test_what_a_kernel_sees_of_the_machine_follows_from_the_seed() -> None:
    kernel = Kernel("""
        unsigned sm; asm volatile("mov.u32 %0, %%smid;" : "=r"(sm));
        const long long start = clock64();
        while (clock64() - start < 1000) {}
        if (t == 0) {
          state[8 * b] = sm; state[8 * b + 1] = (int)(clock64() - start);
          state[8 * b + 2] = (int)((size_t)in >> 32); state[8 * b + 3] = (int)(size_t)in;
        }""")
    seen = {seed: kernel.run(1, seed) for seed in range(4)}
    assert all(kernel.run(4, seed) == ran for seed, ran in seen.items())
    table = np.array([np.frombuffer(ran.state, np.int32)[:48].reshape(6, 8) for ran in seen.values()])
    assert len({tuple(sm) for sm in table[:, :, 0]}) == 4
    assert (table[:, :, 0] < 132).all()
    assert (table[:, :, 1] >= 1000).all()
    assert len(set(table[:, 0, 3])) == 4
    assert (table[:, 0, 3] % 512 == 0).all()
