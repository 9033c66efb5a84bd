"""Warp by warp a kernel gives what the scalar engine gives: the same bits, and the same findings."""

from __future__ import annotations

import platform
import textwrap
from collections import Counter
from functools import cache

import llvmlite.binding as llvm
import numpy as np
import pytest

from grader import ptx
from grader.compile.compiler import compile_text
from grader.compile.recipe import PTX_ARCH
from grader.ptx import jit
from grader.ptx.launch import Launch
from grader.ptx.lowering.warps.lower import lower_warps
from grader.ptx.runs import Runs
from grader.ptx.runtime.lanes import parts_for
from tests.ptx.generated_kernels import Generated, generated

Outcome = tuple[tuple[ptx.Report, ...], bytes]


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How launches came to their end: warp by warp, or left to the scalar engine."""
    counted: Counter[str] = Counter()
    original = Runs.run_warps

    def run_warps(self: Runs, kernel: jit.NativeKernel) -> Launch | None:
        launch = original(self, kernel)
        counted["left" if launch is None else "finished"] += 1
        return launch

    monkeypatch.setattr(Runs, "run_warps", run_warps)
    return counted


def outcome(kernel: Generated, warps: ptx.Warps, workers: int = 1) -> Outcome:
    arguments = kernel.arguments()
    program = ptx.Program(ptx.parse(kernel.text), warps=warps)
    ran = program.run("k", grid=kernel.grid, block=kernel.block, arguments=arguments, workers=workers)
    (out,) = (a for a in arguments if isinstance(a, ptx.Buffer) and a.writable)
    return ran.findings, out.data.tobytes()


# Seeds of kernels without and with mistakes.
SEEDS = range(12)


def test_generated_kernels_give_the_same_either_way(ways: Counter[str]) -> None:
    found = 0
    for seed in SEEDS:
        kernel = generated(seed)
        scalar, warps = (outcome(kernel, how) for how in (ptx.Warps.NEVER, ptx.Warps.ALWAYS))
        assert scalar == warps, seed
        found += bool(scalar[0])
    assert ways["finished"] > 3
    assert ways["left"] >= found > 3


# Narrower vectors, as of CPUs without AVX-512, and of NEON.
NARROW = {"x86-64-v3": 256, "x86-64-v2": 128}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="these are CPUs of x86")
@pytest.mark.parametrize("cpu", NARROW)
def test_the_width_of_the_cpus_vectors_makes_no_difference(
    cpu: str, ways: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ptx.prepare()
    monkeypatch.setattr(jit, "host", lambda: jit.Machine(cpu, ""))
    for seed in (2, 3):
        kernel = generated(seed)
        assert outcome(kernel, ptx.Warps.NEVER) == outcome(kernel, ptx.Warps.ALWAYS)
    assert ways["finished"]


def test_the_code_for_warps_can_be_generated_for_arm() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    arm = llvm.Target.from_triple("aarch64-linux-gnu").create_target_machine(cpu="neoverse-v2", opt=1)
    kernel = generated(2)
    module = ptx.parse(kernel.text)
    lowered = lower_warps(module, module.kernels["k"], frozenset({0, 1}), kernel.block, even_if_slow=True)
    assert lowered
    for text in (lowered.ir, *(text for text, _ in parts_for(lowered.ir).values())):
        assert arm.emit_object(llvm.parse_assembly(text))


# Kernels that are easy to say in CUDA -----------------------------------------------------------------------------

LIMITS = ptx.Limits(instructions=20_000_000)
HEAD = 'extern "C" __global__ void k(const int* in, int* out, int* state) {\n  const int t = threadIdx.x;\n'


@cache
def module_of(body: str) -> ptx.Module:
    compiled = compile_text(HEAD + textwrap.dedent(body) + "\n}\n", PTX_ARCH)
    assert compiled.compilation.ok, compiled.compilation.findings
    return ptx.parse(compiled.ptx)


def ran(body: str, warps: ptx.Warps, block: tuple[int, int, int] = (64, 1, 1)) -> tuple[Outcome, np.ndarray]:
    """Findings and `out`, and `state`, which counts from 0 to 63 at first."""
    out, state = np.full(64, -1, np.int32), np.arange(64, dtype=np.int32)
    given = [
        ptx.Buffer("in", np.arange(64, dtype=np.int32)),
        ptx.Buffer("out", out, writable=True, initialised=False),
        ptx.Buffer("state", state, writable=True),
    ]
    program = ptx.Program(module_of(body), warps=warps)
    execution = program.run("k", grid=(1, 1, 1), block=block, arguments=given, limits=LIMITS)
    return (execution.findings, out.tobytes()), state


def test_what_is_run_again_starts_with_the_buffers_as_they_were(ways: Counter[str]) -> None:
    race = "__shared__ int s[64]; state[t] += 100; s[t] = t; out[t] = s[63 - t];"
    (findings, _), state = ran(race, ptx.Warps.ALWAYS)
    assert {f.kind for f in findings} == {"race"}
    assert list(state) == [100 + t for t in range(64)]
    assert ways == {"left": 1}


LEFT = {
    "a race in one warp": "__shared__ int s[64]; s[t] = t; __syncwarp(); out[t] = s[t ^ 32];",
    "two lanes that store one cell": "__shared__ int s[2]; s[t / 32] = t; __syncthreads(); out[t] = s[t / 32];",
    "two halves that store one row": "__shared__ int s[64]; s[t % 16] = t; __syncthreads(); out[t] = s[t % 16];",
    "a lane that reads what another reads and writes": """
        __shared__ int s[64]; s[t] = t; __syncthreads();
        int v = s[t / 2]; if (t == 5) s[2] = v + 1; __syncthreads(); out[t] = v + s[t];""",
    "a neighbour's cell": """
        __shared__ int s[65]; s[t] = t; s[64] = 0; __syncthreads();
        int v = s[t + 1]; s[t] = v; __syncthreads(); out[t] = s[t];""",
    "one past a shared array": "__shared__ int s[64]; s[t + 1] = t; __syncthreads(); out[t] = s[t + 1];",
    "a cell that nobody wrote": "__shared__ int s[64]; if (t != 9) s[t] = t; __syncthreads(); out[t] = s[63 - t];",
    "past an input": "out[t] = in[t + (t == 63)];",
    "past an input, from one place": "out[t] = in[64 + state[0]];",
    "past an output": "out[t + 1] = in[t];",
    "an output before it is written": "out[t] += in[t];",
    "two threads, one element": "out[t / 2] = t;",
    "a neighbour's element": "out[t] = t; state[t] = out[63 - t];",
    "half of the threads at a barrier": "if (t < 32) __syncthreads(); out[t] = in[t];",
    "some lanes at a barrier": "if (t % 2) __syncthreads(); out[t] = in[t];",
    "lanes that left before a barrier": "if (t == 40) return; __syncthreads(); out[t] = in[t];",
    "a misaligned vector": """
        const int4 v = *(const int4*)(in + t % 8); out[t] = v.x + v.w;""",
    "a loop without end": "volatile int n = 0; while (in[t] < 64) n = n + 1; out[t] = n;",
}


@pytest.mark.parametrize("body", LEFT.values(), ids=LEFT.keys())
def test_a_mistake_is_left_to_the_scalar_engine(body: str, ways: Counter[str]) -> None:
    scalar, warps = (ran(body, how)[0] for how in (ptx.Warps.NEVER, ptx.Warps.ALWAYS))
    assert scalar == warps
    assert scalar[0]
    assert ways["finished"] == 0


FINISHED = {
    "lanes that part and meet": "int v = in[t]; if (t % 3) v = v * 5; else v = v - 7; out[t] = v;",
    "a loop of another length in each lane": "int v = 0; for (int i = 0; i < in[t]; i++) v += i * t; out[t] = v;",
    "lanes that leave": "if (t % 5 == 1) return; out[t] = in[63 - t];",
    "division by what is 0 in some lanes": "out[t] = t == 0 ? 3 : 100 / in[t] + 100 % in[t];",
    "a cell that its own thread uses": """
        __shared__ int s[64]; s[t] = in[t]; s[t] += 3; int v = s[t]; s[t] = v * 2; __syncthreads();
        out[t] = s[63 - t];""",
    "a tree": """
        __shared__ int s[64]; s[t] = in[t]; __syncthreads();
        for (int n = 32; n > 0; n /= 2) { if (t < n) s[t] += s[t + n]; __syncthreads(); }
        out[t] = s[0];""",
    "bytes": """
        __shared__ unsigned char s[64]; s[t] = in[t] * 3; __syncthreads(); out[t] = s[63 - t] + s[t / 16];""",
    "shuffles and votes": """
        int v = in[t]; for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(~0u, v, d);
        v += __shfl_up_sync(~0u, t, 3, 8) + __shfl_sync(~0u, t, t / 2) + __shfl_down_sync(~0u, v, t % 4 ? 4 : 4, 16);
        v += __ballot_sync(~0u, t % 3 == 0) + __any_sync(~0u, t == 70) + 2 * __all_sync(~0u, t < 64);
        out[t] = v + __reduce_max_sync(~0u, t ^ 5);""",
    "a barrier that lanes come to by ways of their own": """
        __shared__ int s[64]; if (t % 2) s[t] = 1; else s[t] = in[t]; __syncthreads(); out[t] = s[t ^ 1];""",
}


@pytest.mark.parametrize("threads", [64, 40])
@pytest.mark.parametrize("body", FINISHED.values(), ids=FINISHED.keys())
def test_what_is_right_is_run_warp_by_warp(body: str, threads: int, ways: Counter[str]) -> None:
    body = body.replace("s[63 - t]", "s[blockDim.x - 1 - t]")
    (scalar, _), (warps, _) = (ran(body, how, (threads, 1, 1)) for how in (ptx.Warps.NEVER, ptx.Warps.ALWAYS))
    if scalar[0]:  # a mistake in a block of this size
        assert ways == {"left": 1}
    assert scalar == warps
    assert threads < 64 or ways == {"finished": 1}
