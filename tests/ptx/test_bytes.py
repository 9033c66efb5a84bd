"""Atomics of one or two bytes, which work on the word around them: what lies beside is nobody's fault.

Every kernel gets `bytes` (67 unsigned chars, zeroed) and `out` (64 ints, uninitialised); `t` is its thread. The
guilty line of a wrong one ends in `// <-- here`. All are compiled together: the header takes its time.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from grader import ptx
from grader.compile.compiler import compile_text
from grader.compile.recipe import PTX_ARCH
from grader.ptx.lowering.lower import lower

HEAD = textwrap.dedent("""
    #include <cuda/atomic>
    typedef unsigned char Byte;
    using Ref = cuda::atomic_ref<Byte, cuda::thread_scope_device>;
    using Half = cuda::atomic_ref<unsigned short, cuda::thread_scope_block>;
    __device__ void add_by_hand(Byte* at, unsigned x) {
      unsigned* word = (unsigned*)((size_t)at & ~(size_t)3), shift = ((size_t)at & 3) * 8, old = *word, assumed;
      do {
        assumed = old;
        old = atomicCAS(word, assumed, (old & ~(255u << shift)) | (((old >> shift) + x & 255u) << shift));
      } while (old != assumed);
    }
""")
KERNEL = """
extern "C" __global__ void k{number}(Byte* bytes, int* out) {{
  const int t = threadIdx.x; (void)t;
  {body}
}}
"""


@dataclass(frozen=True)
class Ran:
    findings: tuple[ptx.Report, ...]
    bytes: np.ndarray
    out: np.ndarray
    guilty: set[int]


RIGHT = {
    "the last byte of an array": "Ref(bytes[66]).fetch_add(1); __syncthreads(); out[t] = bytes[66];",
    "a shared byte alone": """
        __shared__ Byte one;
        if (t == 0) one = 0;
        __syncthreads(); Ref(one).fetch_add(1); __syncthreads(); out[t] = one;""",
    "a shared byte at an odd place": """
        __shared__ Byte s[5];
        if (t == 3) s[3] = 0;
        __syncthreads(); Ref(s[3]).fetch_add(1); __syncthreads(); out[t] = s[3];""",
    "a byte between those that others store plainly": """
        __shared__ Byte s[67];
        if (t == 0) s[0] = 0;
        __syncthreads();
        s[t + 1] = 1;
        Ref(s[0]).fetch_add(1); __syncthreads(); out[t] = s[0];""",
    "halves": """
        __shared__ unsigned short s[3];
        if (t < 3) s[t] = 0;
        __syncthreads(); Half(s[t % 2 * 2]).fetch_add(2); __syncthreads(); out[t] = s[0];""",
    "by hand": "add_by_hand(bytes + 65, 1); __syncthreads(); out[t] = bytes[65];",
    "an exchange and a look": """
        Ref r(bytes[66]);
        r.store(64); __syncthreads(); out[t] = r.load(); __syncthreads(); r.exchange(3);""",
    "swaps": """
        Byte seen = 0;
        while (!Ref(bytes[65]).compare_exchange_weak(seen, seen + 1)) {}
        __syncthreads(); out[t] = bytes[65];""",
}
WRONG = {
    ("out-of-bounds", "one past the end"): "Ref(bytes[67]).fetch_add(1);  // <-- here",
    ("out-of-bounds", "one past the end by hand"): "unsigned* w = (unsigned*)((size_t)(bytes + 67) & ~(size_t)3);"
    " atomicCAS(w, 0u, 1u << 24);  // <-- here",
    ("uninitialised-read", "a byte that nobody cleared"): """
        __shared__ Byte s[8];
        if (t < 7) s[t] = 0;
        __syncthreads();
        Ref(s[7]).fetch_add(1);  // <-- here
        __syncthreads(); out[t] = s[0];""",
    ("race", "a plain store to the same byte"): """
        Ref(bytes[5]).fetch_add(1);
        if (t == 0) bytes[5] = 3;  // <-- here""",
    ("race", "a plain read before the barrier"): "Ref(bytes[5]).fetch_add(1); out[t] = bytes[5];  // <-- here",
    ("race", "bytes of one word without atomics"): "add_by_hand(bytes + t, 1); out[t] = bytes[63 - t];  // <-- here",
}


COUNTER = "if (t < 2) Ref(bytes[66]).fetch_add(1);"
BODIES = [*RIGHT.values(), *WRONG.values(), COUNTER]


@cache
def compiled() -> tuple[str, ptx.Program]:
    kernels = (KERNEL.format(number=i, body=textwrap.dedent(body)) for i, body in enumerate(BODIES))
    source = HEAD + "".join(kernels)
    found = compile_text(source, PTX_ARCH)
    assert found.compilation.ok, found.compilation.findings
    return source, ptx.Program(ptx.parse(found.ptx))


def run(body: str, grid: int = 1) -> Ran:
    source, program = compiled()
    name = f"k{BODIES.index(body)}"
    data, out = np.zeros(67, np.uint8), np.full(64, -1, np.int32)
    arguments = [ptx.Buffer("bytes", data, writable=True), ptx.Buffer("out", out, writable=True, initialised=False)]
    limits = ptx.Limits(5_000_000, 10_000, 20.0)
    ran = program.run(name, grid=(grid, 1, 1), block=(64, 1, 1), arguments=arguments, workers=2, limits=limits)
    lines, start = source.splitlines(), source[: source.index(f" {name}(")].count("\n")
    end = start + body.count("\n") + 4
    guilty = {i for i, line in enumerate(lines, 1) if start < i <= end and line.endswith("// <-- here")}
    return Ran(ran.findings, data, out, guilty)


@pytest.mark.parametrize("name", RIGHT)
def test_what_lies_beside_a_byte_is_no_fault(name: str) -> None:
    ran = run(RIGHT[name])
    assert ran.findings == ()
    assert (ran.out == 64).all()


@pytest.mark.parametrize(("kind", "name"), WRONG)
def test_a_wrong_use_of_a_byte_is_found(kind: str, name: str) -> None:
    ran = run(WRONG[kind, name])
    lines = {one.line for r in ran.findings if r.kind == kind for one in (r, *r.related)}
    assert lines & ran.guilty, ran.findings


def test_blocks_count_in_one_byte() -> None:
    ran = run(COUNTER, grid=100)
    assert ran.findings == ()
    assert ran.bytes[66] == 200


def test_atomics_through_generic_addresses_of_shared_memory_are_between_no_blocks() -> None:
    """So blocks run side by side."""
    _, program = compiled()
    number = BODIES.index(RIGHT["a shared byte alone"])
    lowered = lower(program.module, program.module.kernels[f"k{number}"], frozenset())
    assert not lowered.between_blocks.meet
    number = BODIES.index(RIGHT["the last byte of an array"])
    assert lower(program.module, program.module.kernels[f"k{number}"], frozenset()).between_blocks.meet
