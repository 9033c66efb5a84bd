"""Which products are fused into sums: those that ptxas 13.0 fuses, as its machine code for sm_90 shows."""

from __future__ import annotations

import numpy as np
import pytest

from grader import ptx
from tests.ptx.one_instruction import HEADER

A, B = np.float32(1 + 2.0**-12), np.float32(1 + 2.0**-12)
ROUNDED = np.float32(A * B)  # the last bit of the product is lost
LOST = np.float32(2.0**-24)
MUL = "mul.f32 %p, %a, %b;"


def run(body: str) -> list[float]:
    text = f"""{HEADER}.visible .entry k(.param .u64 in, .param .u64 out)
{{
    .reg .pred %q; .reg .b64 %i, %o; .reg .f32 %a, %b, %c, %d, %n, %p, %r, %s, %x;
    ld.param.u64 %i, [in]; ld.param.u64 %o, [out];
    ld.global.f32 %a, [%i]; ld.global.f32 %b, [%i+4]; ld.global.f32 %c, [%i+8]; ld.global.f32 %d, [%i+12];
    mov.f32 %r, 0f00000000; mov.f32 %s, 0f00000000; setp.gt.f32 %q, %a, 0f00000000;
    {body}
    st.global.f32 [%o], %r; st.global.f32 [%o+4], %s;
    ret;
}}
"""
    given = np.array([A, B, -ROUNDED, ROUNDED], np.float32)
    got = np.zeros(2, np.float32)
    arguments = [ptx.Buffer("in", given), ptx.Buffer("out", got, writable=True)]
    assert ptx.Program(ptx.parse(text)).run("k", grid=(1, 1, 1), block=(1, 1, 1), arguments=arguments).findings == ()
    return [float(x) for x in got]


FUSED = {
    "a sum": (f"{MUL} add.f32 %r, %p, %c;", [LOST, 0]),
    "the other way round": (f"{MUL} add.f32 %r, %c, %p;", [LOST, 0]),
    "two sums": (f"{MUL} add.f32 %r, %p, %c; add.f32 %s, %c, %p;", [LOST, LOST]),
    "a difference": (f"{MUL} sub.f32 %r, %p, %d;", [LOST, 0]),
    "a difference from something": (f"{MUL} sub.f32 %r, %d, %p;", [-LOST, 0]),
    "a saturating sum": (f"{MUL} add.sat.f32 %r, %p, %c;", [LOST, 0]),
    "flushing both": ("mul.ftz.f32 %p, %a, %b; add.ftz.f32 %r, %p, %c;", [LOST, 0]),
    "a guarded sum": (f"{MUL} @%q add.f32 %r, %p, %c;", [LOST, 0]),
    "behind a barrier": (f"{MUL} bar.sync 0; add.f32 %r, %p, %c;", [LOST, 0]),
    "the first of two products": (f"{MUL} mul.f32 %x, %c, 0f3F800000; add.f32 %r, %p, %x;", [LOST, 0]),
}
APART = {
    "rounded before": "mul.rn.f32 %p, %a, %b; add.f32 %r, %p, %c;",
    "rounded behind": f"{MUL} add.rn.f32 %r, %p, %c;",
    "used otherwise": f"{MUL} add.f32 %r, %p, %c; st.global.f32 [%o+4], %p;",
    "one of two is rounded": f"{MUL} add.f32 %r, %p, %c; add.rn.f32 %s, %p, %c;",
    "another block": f"{MUL} @!%q bra ELSE; add.f32 %r, %p, %c; ELSE:",
    "flushing one": "mul.ftz.f32 %p, %a, %b; add.f32 %r, %p, %c;",
    "a product that is added to itself": f"{MUL} add.f32 %x, %p, %p; fma.rn.f32 %r, %x, 0f3F000000, %c;",
    "a guarded product": f"mov.f32 %p, %c; @%q {MUL} add.f32 %r, %p, %c;",
    "the second of two products": "mul.f32 %x, %c, 0f3F800000; mul.f32 %p, %a, %b; add.f32 %r, %x, %p;",
}


@pytest.mark.parametrize("name", FUSED)
def test_what_ptxas_fuses_is_fused(name: str) -> None:
    body, expected = FUSED[name]
    assert run(body) == expected


@pytest.mark.parametrize("name", APART)
def test_what_ptxas_does_not_fuse_is_rounded_in_between(name: str) -> None:
    assert run(APART[name])[0] == 0


def test_halves_are_fused_too() -> None:
    a, rounded = np.float16(1 + 2.0**-6), np.float16(np.float16(1 + 2.0**-6) ** 2)
    text = f"""{HEADER}.visible .entry k(.param .u64 in, .param .u64 out)
{{
    .reg .b64 %i, %o; .reg .b32 %a, %c, %p, %r;
    ld.param.u64 %i, [in]; ld.param.u64 %o, [out]; ld.global.b32 %a, [%i]; ld.global.b32 %c, [%i+4];
    mul.f16x2 %p, %a, %a; add.f16x2 %r, %p, %c; st.global.b32 [%o], %r; ret;
}}
"""
    given, got = np.array([a, a, -rounded, -rounded], np.float16), np.zeros(2, np.float16)
    arguments = [ptx.Buffer("in", given), ptx.Buffer("out", got, writable=True)]
    assert ptx.Program(ptx.parse(text)).run("k", grid=(1, 1, 1), block=(1, 1, 1), arguments=arguments).findings == ()
    assert (got == np.float16(float(a) ** 2 - float(rounded))).all()
    assert got[0] != 0
