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
CONVERT = "cvt.rn.satfinite.e4m3x2.f32"
SPELLINGS = {
    "no blank before the operand": f"{CONVERT}%0, %1, %2;",
    "a comment before a modifier": "cvt.rn/**/.satfinite.e4m3x2.f32 %0, %1, %2;",
    "a blank before a modifier": "cvt .rn.satfinite .e4m3x2 /* */ .f32 %0, %1, %2;",
    "a line's end within": r"cvt// ;\n.rn.satfinite.e4m3x2.f32\n%0, %1, %2;",
    "a pragma that looks like a comment": rf".pragma \"//\"; {CONVERT} %0, %1, %2;",
    "a pragma that seems to go on": rf".pragma \"\\\"; {CONVERT} %0, %1, %2; .pragma \"b\";",
    "behind a .loc": f".loc 1 4 0 {CONVERT} %0, %1, %2;",
    "behind a label": f"{{ A: B: {CONVERT} %0, %1, %2; }}",
    "a blank after the @": f"{{ .reg .pred p; setp.eq.u32 p, 1, 0; @ ! p {CONVERT} %0, %1, %2; }}",
    "a comment that seems to open another": f"/* /* */ {CONVERT} %0, %1, %2;",
}
UNREAD = r"\\\ncvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;"  # ptxas skips a backslash before a statement


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


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=list(SPELLINGS))
def test_no_spelling_that_the_assembler_takes_hides_it(spelling: str) -> None:
    body = f'short q; asm volatile("{spelling}" : "=h"(q) : "f"(x[0]), "f"(x[1])); *y = q;'
    compilation = compile_text(KERNEL.format(top="", body=body)).compilation  # with ptxas
    assert compilation.ok, compilation.log
    assert compilation.opcodes.get(CONVERT) == 4


def test_what_cannot_be_read_is_not_judged() -> None:
    body = f'short q; asm volatile("{UNREAD}" : "=h"(q) : "f"(x[0]), "f"(x[1])); *y = q;'
    compilation = compile_text(KERNEL.format(top="", body=body)).compilation
    assert compilation.ok
    assert compilation.unread
