"""Which PTX instructions a submission uses, however it hides them."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from grader.compile.compiler import compile_text

BODY = "y[threadIdx.x] = {};"
KERNEL = """{top}
extern "C" __global__ void kernel(const float* x, unsigned char* y)
{{
    {body}
}}
"""

HIDDEN = {
    "a header": ("#include <cuda_fp8.h>", "y[0] = __nv_cvt_float_to_fp8(x[0], __NV_SATFINITE, __NV_E4M3);"),
    "assembly": (
        "",
        'short q; asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(q) : "f"(x[0]), "f"(x[1])); *y = q;',
    ),
    "braces and a label": (
        "",
        'short q; asm volatile("{ .reg .f32 t; mov.f32 t, %1; L1: cvt.rn.satfinite.e4m3x2.f32 %0, t, %2; }" '
        ': "=h"(q) : "f"(x[0]), "f"(x[1])); *y = q;',
    ),
    "a guard": (
        "",
        'short q = 0; asm("{ .reg .pred p; setp.gt.f32 p, %1, %1; @p cvt.rn.satfinite.e4m3x2.f32 %0, %1, %1; }" '
        ': "+h"(q) : "f"(x[0])); *y = q;',
    ),
    "a comment within": (
        "",
        'short q; asm("cvt.rn.satfinite.e4m3x2.f32/* */ %0, %1, %2;" : "=h"(q) : "f"(x[0]), "f"(x[1])); *y = q;',
    ),
}


def opcodes(top: str, body: str) -> dict[str, int]:
    compilation = compile_text(KERNEL.format(top=top, body=body)).compilation
    assert compilation.ok, compilation.log
    return compilation.opcodes


@pytest.mark.parametrize("way", HIDDEN)
def test_a_hardware_conversion_is_seen_at_its_line(way: str) -> None:
    found = {line for opcode, line in opcodes(*HIDDEN[way]).items() if fnmatchcase(opcode, "cvt*e4m3x2*")}
    assert found == {4}


def test_what_is_not_used_is_not_seen() -> None:
    used = opcodes("// cvt.rn.satfinite.e4m3x2.f32 is not for today", "y[0] = (unsigned char)x[0];")
    assert not any("e4m3" in opcode for opcode in used)
    assert used["ld.global.f32"] == 4
