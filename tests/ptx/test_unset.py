"""A variable that nothing has set holds what gives no right number by luck, and its line is known."""

from __future__ import annotations

import numpy as np
import pytest

from grader import ptx
from grader.compile.compiler import compile_text
from grader.compile.recipe import PTX_ARCH

HEAD = 'extern "C" __global__ void k(const float* in, float* out, int n) {\nint t = threadIdx.x;\n'


def run(body: str) -> tuple[np.ndarray, frozenset[int]]:
    """The output of 32 threads and the lines that may read what nothing has set; the body begins in line 3."""
    compiled = compile_text(HEAD + body + "\n}\n", PTX_ARCH)
    out = np.zeros(32, np.float32)
    arguments = [ptx.Buffer("in", np.arange(64, dtype=np.float32)), ptx.Buffer("out", out, writable=True), 3]
    execution = ptx.Program(ptx.parse(compiled.ptx)).run("k", grid=(1, 1, 1), block=(32, 1, 1), arguments=arguments)
    assert execution.findings == ()
    return out, execution.unset


SUM = "{} sum;\nfor (int i = 0; i < n; ++i)\n  sum += in[t + i];\nout[t] = sum;"


@pytest.mark.parametrize("type_", ["float", "double"])
def test_a_sum_that_starts_nowhere_is_infinite_and_its_line_known(type_: str) -> None:
    out, unset = run(SUM.format(type_))
    assert np.isinf(out).all()
    assert min(unset) == 5


@pytest.mark.parametrize(
    "body",
    [
        "float m;\nfor (int i = 0; i < n; ++i) m = fmaxf(m, in[t + i]);\nout[t] = m;",
        "float m;\nfor (int i = 0; i < n; ++i) if (in[t + i] > m) m = in[t + i];\nout[t] = m;",
        "unsigned m;\nfor (int i = 0; i < n; ++i) m = max(m, (unsigned)in[t + i]);\nout[t] = m;",
        "float m;\nfor (int i = 0; i < n; ++i) { __syncthreads(); m = fmaxf(m, in[t + i]); }\nout[t] = m;",
        "float a[8];\nfor (int i = 0; i < n; ++i) a[(int)in[i] & 7] += in[t];\nout[t] = a[(int)in[1]];",
    ],
    ids=["maximum", "comparison", "integers", "across barriers", "a local array"],
)
def test_what_starts_nowhere_never_comes_out_right(body: str) -> None:
    out, _ = run(body)
    assert (out > 1e9).all()


@pytest.mark.parametrize(
    "body",
    [
        "float v;\nif (t < n) v = in[t];\nout[t] = t < n ? v : 0;",
        "float sum = 0;\nfor (int i = 0; i < n; ++i) { __syncthreads(); sum += in[i]; }\nout[t] = t < n ? sum : 0;",
    ],
)
def test_what_is_set_where_it_matters_comes_out_right(body: str) -> None:
    out, _ = run(body)
    assert np.isfinite(out).all()


@pytest.mark.parametrize(
    "address",
    ["add.u64 %at, %at, 8;", "mov.u64 %other, %at; mov.u64 %at, %other;"],
    ids=["moved on from nowhere", "a copy of its own copy"],
)
@pytest.mark.parametrize("access", ["ld.global.u32 %v, [%at];", "atom.global.cas.b32 %v, [%at], 0, 1;"])
def test_an_address_that_nothing_sets_is_followed_no_further(address: str, access: str) -> None:
    """Its only definition is itself."""
    loop = f"$again: {access} {address} add.u32 %i, %i, 1; setp.lt.u32 %p, %i, 3; @%p bra $again;"
    registers = ".reg .u64 %at, %other; .reg .u32 %v, %i; .reg .pred %p; mov.u32 %i, 0;"
    text = f".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry k() {{ {registers} {loop} ret; }}"
    (found,) = ptx.Program(ptx.parse(text)).run("k", grid=(1, 1, 1), block=(1, 1, 1), arguments=[]).findings
    assert found.kind == "out-of-bounds"
