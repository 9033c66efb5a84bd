"""PTX text is read as ptxas reads it: every spelling below was tried with ptxas 13.0."""

from __future__ import annotations

import random

import numpy as np
import pytest

from grader import ptx
from grader.ptx.opcodes.rows import INSERTED, ROWS

TEXT = """.version 9.0
.target sm_90a
.address_size 64
{top}
.visible .entry k(.param .u64 out)
{{
    .reg .pred %p<9>; .reg .b16 %h<9>; .reg .b32 %r<9>; .reg .f32 %f<9>; .reg .b64 %rd<9>; .reg .f64 %d<9>;
    mov.b32 %r1, 0; mov.b32 %r2, 0; mov.b32 %f1, 0; mov.b32 %f2, 0;
    ld.param.u64 %rd1, [out];
    cvta.to.global.u64 %rd1, %rd1;
    .loc 1 7 3
    {body}
    ret;
}}
.file 1 "a.cu"
"""


def module(body: str, top: str = "") -> ptx.Module:
    return ptx.parse(TEXT.format(body=body, top=top))


def run(body: str, top: str = "") -> tuple[np.ndarray, ptx.Execution]:
    out = np.zeros(16, np.uint32)
    program = ptx.Program(module(body, top))
    ran = program.run(
        "k", grid=(1, 1, 1), block=(1, 1, 1), arguments=[ptx.Buffer("out", out, writable=True)], workers=1
    )
    return out, ran


def stored(body: str, top: str = "") -> int:
    out, ran = run(body, top)
    assert ran.findings == ()
    return int(out[0])


INTEGERS = {
    "(3+4*2)": 11, "3+4": 7, "4U": 4, "010": 8, "0b101": 5, "0b101U": 5, "0x1FU": 31, "-5": 2**32 - 5,
    "-010": 2**32 - 8,
    "(-3)": 2**32 - 3, "~1": 2**32 - 2, "!1": 0, "(1<2)": 1, "(1?2:3)": 2, "1?2:3": 2, "-(3)": 2**32 - 3,
    "(.s64)3": 3,
    "+3": 3, "(5&3|1^2)": 3, "(1<<3)": 8, "WARP_SZ": 32, "(WARP_SZ+1)": 33, "- 3": 2**32 - 3, "(.u64)(3)": 3,
    "0xFFFFFFFFFFFFFFFF": 2**32 - 1, "-7/2": 2**32 - 3, "(-7 >> 1)": 2**32 - 4, "(-1 < 1U)": 0, "2+3*4==14&&1": 1,
    "7 % 3": 1, "(1.0<2.0)": 1, "1<<40>>40": 1, "1<<64": 1, "(1<<-1)": 0, "!0x5": 0, "1|2": 3,
    "0777777777777777777777": 2**32 - 1,
}  # fmt: skip
FLOATS = {"1E1": 10.0, "1e1": 10.0, "1.5": 1.5, ".5": 0.5, "1.": 1.0, "(1.0+2.0)": 3.0, "-1.5": -1.5, "1E+1": 10.0,
          "0d3FF0000000000000": 1.0, "0f3F800000": 1.0, "0F3f800000": 1.0, "1.5e-3": 1.5e-3, "(0f3F800000)": 1.0,
          "-(1.5)": -1.5, "-1.5+0.5": -1.0, "0.1": 0.1}  # fmt: skip
OFFSETS = {"010": 8, "(3+1)*4": 16, "4U": 4, "0x8": 8, "4+4": 8, "0b100": 4, "WARP_SZ": 32, "(1-2)*4+8": 4}
# What ptxas refuses is not for us to give a meaning.
NO_CONSTANTS = (
    "08",
    "0x",
    "5u",
    "4L",
    "(5,3)",
    "99999999999999999999",
    "0f3F80",
    "1.5f",
    "5/0",
    "(2+1.5)",
    "(",
    "1 2",
)


@pytest.mark.parametrize("text", INTEGERS)
def test_an_integer_constant(text: str) -> None:
    assert stored(f"mov.u32 %r1, {text}; st.global.u32 [%rd1], %r1;") == INTEGERS[text]


@pytest.mark.parametrize("text", FLOATS)
def test_a_float_constant(text: str) -> None:
    bits = stored(f"mov.f32 %f1, {text}; st.global.f32 [%rd1], %f1;")
    assert np.uint32(bits).view(np.float32) == np.float32(FLOATS[text])


@pytest.mark.parametrize("text", OFFSETS)
def test_an_offset(text: str) -> None:
    out, _ = run(f"st.global.u32 [%rd1+{text}], 5;")
    assert out.nonzero()[0].tolist() == [OFFSETS[text] // 4]


@pytest.mark.parametrize("text", NO_CONSTANTS)
def test_what_is_no_constant_is_not_judged(text: str) -> None:
    with pytest.raises((ptx.Unsupported, ptx.PtxError)) as caught:
        run(f"mov.u32 %r1, {text}; st.global.u32 [%rd1], %r1;")
    assert caught.value.line == 7


ADD = "add.u32 %r1, %r1, 1;"
SPELLINGS = [
    "add.u32%r1,%r1,1;", "add /**/ .u32 %r1, %r1, 1;", "add.u32/* */%r1,%r1,1;", "add .u32 %r1, %r1, 1;",
    "add// x\n.u32 %r1, %r1, 1;", "add\n.u32\n%r1\n,%r1,1\n;", ".loc 1 3 0 add.u32 %r1, %r1, 1;",
    ".loc 1\n3\n0\nadd.u32 %r1, %r1, 1;", ".loc 1 0x3 010 add.u32 %r1, %r1, 1;", ".loc/**/1 3 0 add.u32 %r1, %r1, 1;",
    ".loc 1 3 0 L: add.u32 %r1, %r1, 1;", '.loc 1 3 0 .pragma "nounroll"; add.u32 %r1, %r1, 1;',
    '.pragma "//"; add.u32 %r1, %r1, 1;', '.pragma "a;b}"; add.u32 %r1, %r1, 1;',
    '.pragma "a\\"; add.u32 %r1, %r1, 1; .pragma "b";', '.pragma "x\ny"; add.u32 %r1, %r1, 1;',
    '.pragma "/*"; add.u32 %r1, %r1, 1; .pragma "*/";', "/* /* */ add.u32 %r1, %r1, 1;",
    '/* " */ add.u32 %r1, %r1, 1; /* " */', "L: M: add.u32 %r1, %r1, 1;", "L: { add.u32 %r1, %r1, 1; }",
    "add: add.u32 %r1, %r1, 1;", '# 5 "b.cu"\nadd.u32 %r1, %r1, 1;', "add.u32 %r1,\n# 5 \"b.cu\"\n%r1, 1;",
    "// */ // x\nadd.u32 %r1, %r1, 1;", "\f\radd.u32 %r1, %r1, 1;",
    "setp.eq.u32 %p1, %r2, 0; @ %p1 add.u32 %r1, %r1, 1;", "setp.ne.u32 %p1, %r2, 0; @ ! %p1\nadd.u32 %r1, %r1, 1;",
    "setp.ne.u32 %p1, %r2, 0; @!%p1/**/add.u32 %r1, %r1, 1;",
    ".reg .b32 add; mov.b32 add, 1; add.u32 %r1, %r1, add;",
    ".reg .v2 .b32 v; mov.b32 v.x, 1; add.u32 %r1, %r1, v.r;",
    ".reg .b32 x<3>, y; mov.b32 y, 1; mov.b32 x2, y; add.u32 %r1, x2, %r1;",
    "{ .reg .b32 %r1; mov.b32 %r1, 8; } add.u32 %r1, %r1, 1;",
    "bra L; { L: add.u32 %r1, %r1, 7; } L: add.u32 %r1, %r1, 1;",
    "{ bra M; { M: add.u32 %r1, %r1, 7; } M: add.u32 %r1, %r1, 1; }", "{ { bra L; } L: add.u32 %r1, %r1, 1; }",
    "{ L: add.u32 %r1, %r1, 1; } { bra L; add.u32 %r1, %r1, 7; L: }",
    "setp.eq.u32 %p1|%p2, %r2, 0; @%p2 add.u32 %r1, %r1, 7; @%p1 add.u32 %r1, %r1, 1;",
    "setp.eq.u32 %p1 | _, %r2, 0; @%p1 add.u32 %r1, %r1, 1;", "mov.u32 %r3, %tid .w; add.u32 %r1, %r3, 1;",
]  # fmt: skip


@pytest.mark.parametrize("text", SPELLINGS)
def test_every_spelling_of_an_instruction_is_executed(text: str) -> None:
    assert stored(f"{text} st.global.u32 [%rd1], %r1;") == 1


DIGITS = "9" * 5000


@pytest.mark.parametrize(
    "text",
    [
        "add. u32 %r1, %r1, 1;", ".loc 1 99999999999999999999 7\n", ".loc 1 3; ret;", ".loc 1 (3) 4 ret;", "\\\nret;",
        "#define X 1\n", "#if 0\nret;\n#endif\n", "é", "ret\v;", "ret; /* open", ".pragma 'x'; ret;", "@%p1 L: ret;",
        "@true ret;", "{ L: ret; } bra L;", ".target sm_90a", ";", "[%rd1];", "@%p1;", ".loc 1 08 1\nret;",
        pytest.param(f".loc 1 {DIGITS} 1\nret;", id=".loc of thousands of digits"),
        pytest.param(f".reg .b32 %many<{DIGITS}>;", id="registers"),
        pytest.param(f"mov.u32 %r1, {DIGITS};", id="mov"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_never_skipped(text: str) -> None:
    with pytest.raises((ptx.PtxError, ptx.Unsupported)):
        run(text)


@pytest.mark.parametrize(
    ("body", "top", "says"),
    [
        (".local .b8 a[524289]; st.local.u8 [a], 1;", "", "524288"),
        (".shared .b8 a[1000000000000]; st.shared.u8 [a], 1;", "", "232448"),
        ("st.global.u8 [a], 1;", ".global .b8 a[1000000000000];", "256 MiB"),
        ("st.global.u8 [a], 1;", ".global .b8 a[1000000000000] = {1};", "256 MiB"),
    ],
)
def test_sizes_are_judged_before_memory_is_asked_for(body: str, top: str, says: str) -> None:
    with pytest.raises(ptx.Unsupported, match=says):
        run(body, top)


def test_a_variable_is_as_long_as_declared() -> None:
    out, _ = run("ld.global.u32 %r1, [a+396]; st.global.u32 [%rd1], %r1;", ".global .u32 a[100] = {1, 2};")
    assert out[0] == 0


TABLES = {
    ".global .u32 a[2][2] = {{1}, {3}};": (1, 0, 3, 0),
    ".global .u32 a[2][2] = {1, (2+1), 010};": (1, 3, 8, 0),
    ".const .align 4 .b8 a[16] = {1, 2, 3};": (0x030201, 0, 0, 0),
    ".global .v2 .u32 a[2] = {{1}, {3, ~0}};": (1, 0, 3, 2**32 - 1),
    ".global .f32 b, a[4] = {1.0, 1e1};": (0x3F800000, 0x41200000, 0, 0),
}


@pytest.mark.parametrize("top", TABLES)
def test_the_initialiser_of_a_table(top: str) -> None:
    space = "const" if ".const" in top else "global"
    copies = (f"ld.{space}.u32 %r1, [a+{4 * i}]; st.global.u32 [%rd1+{4 * i}], %r1;" for i in range(4))
    out, _ = run(" ".join(copies), top)
    assert tuple(out[:4]) == TABLES[top]


def test_a_parameter_of_the_new_dialect() -> None:
    text = TEXT.format(body="st.global.u32 [%rd1], 3;", top="").replace(".u64 out", ".u64 .ptr .global .align 4 out")
    out = np.zeros(1, np.uint32)
    buffer = ptx.Buffer("out", out, writable=True)
    ptx.Program(ptx.parse(text)).run("k", grid=(1, 1, 1), block=(1, 1, 1), arguments=[buffer])
    assert out[0] == 3


UNKNOWN = [
    "brkpt;", "tex.2d.v4.f32.f32 {%f1, %f2, %f3, %f4}, [t, {%f1, %f2}];", "multimem.red.add.u32 [%rd1], %r1;",
    "frobnicate.u32 %r1, %r2;", "mov.u32 %r1, %nosuch;", "call f, (%r1);",
    "mma.sync.aligned.m5n5k5.row.col.f32 {%f1}, {%f2}, {%f2}, {%f1};", "ld.global.b99 %r1, [%rd1];",
    "add.u32 %r1, %r1, 08;", "wgmma.frobnicate.sync.aligned;",
]  # fmt: skip


@pytest.mark.parametrize("text", UNKNOWN)
def test_an_unknown_instruction_matters_only_if_a_thread_reaches_it(text: str) -> None:
    guarded = f"setp.eq.u32 %p1, %r1, VALUE; @!%p1 bra OVER; {text} OVER: st.global.u32 [%rd1], 1;"
    out, ran = run(guarded.replace("VALUE", "1"))
    assert (out[0], ran.findings) == (1, ())
    with pytest.raises(ptx.Unsupported) as caught:
        run(guarded.replace("VALUE", "0"))
    assert (caught.value.file, caught.value.line) == ("a.cu", 7)


@pytest.mark.parametrize("text", [text for text in UNKNOWN if not text.startswith("mma")])
def test_an_unknown_instruction_behind_a_guard(text: str) -> None:
    out, ran = run(f"setp.eq.u32 %p1, %r1, 1; @%p1 {text} st.global.u32 [%rd1], 1;")
    assert (out[0], ran.findings) == (1, ())


def test_what_no_thread_reaches_does_not_hide_a_fault() -> None:
    _, ran = run("setp.eq.u32 %p1, %r1, 1; @%p1 brkpt; st.global.u32 [%rd1+64], 1;")
    assert [report.kind for report in ran.findings] == ["out-of-bounds"]


def test_a_barrier_that_a_block_does_not_have() -> None:
    _, ran = run("mov.u32 %r1, 16; bar.sync %r1;")
    assert [(report.kind, report.detail, report.line) for report in ran.findings] == [
        ("barrier-divergence", "barrier-number", 7)
    ]


@pytest.mark.parametrize(("index", "value"), [(0, 7), (1, 9), (2, None), (-1, None)])
def test_an_index_past_the_labels_of_brx(index: int, value: int | None) -> None:
    jump = f"mov.u32 %r1, {index}; T: .branchtargets A, B; brx.idx %r1, T;"
    out, ran = run(f"{jump} A: st.global.u32 [%rd1], 7; ret; B: st.global.u32 [%rd1], 9;")
    if value:
        assert (out[0], ran.findings) == (value, ())
    else:
        assert [(report.kind, report.detail) for report in ran.findings] == [("trap", "branch-index")]


SPECIAL = [
    *(f"%{name}.{axis}" for name in ("tid", "ntid", "ctaid", "nctaid", "clusterid", "nclusterid", "cluster_ctaid",
                                     "cluster_nctaid") for axis in "xyzwrgba"),
    "%laneid", "%warpid", "%nwarpid", "%smid", "%nsmid", "%gridid", "%is_explicit_cluster", "%cluster_ctarank",
    "%cluster_nctarank", *(f"%lanemask_{name}" for name in ("eq", "le", "lt", "ge", "gt")), "%clock", "%clock_hi",
    "%clock64", *(f"%pm{i}" for i in range(8)), *(f"%pm{i}_64" for i in range(8)),
    *(f"%envreg{i}" for i in range(33)),
    "%globaltimer", "%globaltimer_lo", "%globaltimer_hi", "%total_smem_size", "%aggr_smem_size", "%dynamic_smem_size",
    *(f"%reserved_smem_offset_{name}" for name in ("begin", "end", "cap", "0", "1", "2")), "%current_graph_exec",
    "%tid", "%ctaid", "WARP_SZ", "%nosuch", "%", "%tid.", "%tid.q",
]  # fmt: skip
OPERANDS = [
    "%r1", "%rd1", "%p1", "!%p1", "%f1", "_", "!_", "5", "-5", "1.5", "0f3F800000", "(3+4)", "[%rd1]", "[%rd1+4]",
    "[%rd1+-4]", "[%r1]", "[out]", "[out+4]", "[g]", "[g+4]", "[nosuch]", "[4]", "[]", "[%tid.x]",
    "[%rd1, {%r1, %r2}]",
    "[%rd1+%rd2]", "{%r1, %r2}", "{%r1, _}", "{}", "{%r1, {%r2}}", "%p1|%p2", "%r1|%p1", "%r1|_", "1|2", "g", "g+4",
    "g[1]", "g[%r1]", "k", "f", "(%r1)", "(%r1, %r2)", "()", "%r1.x", "-%r1", "~%r1", "%r1+4", "L", "T", "%nosuch",
    ".x",
    "{g, 3}", "v", "v.x", "v.w", "v.q", "%tid", *SPECIAL[::7],
]  # fmt: skip
MODIFIERS = ["", ".u32", ".b64", ".f32", ".f16x2", ".s32", ".pred", ".b8", ".shared.u32", ".global.v4.f32",
".sync.b32",
             ".sync.aligned.b32", ".param.b32", ".local.u8", ".v2.b128", ".cta", ".add.u32", ".eq.and.f32",
             ".wide.u32",
             ".idx", ".1d", ".shared::cta.b64", ".rn.f32.f64", ".L2::cache_hint.u32"]  # fmt: skip
TOP = ".global .u32 g[4]; .func (.param .b32 r) f (.param .b32 x) { ret; }"
AROUND = ".reg .v2 .b32 v; T: .branchtargets L; setp.eq.u32 %p1, %r1, 1; @!%p1 bra L; {} L: st.global.u32 [%rd1], 1;"


@pytest.mark.parametrize(
    ("name", "value"),
    [("%total_smem_size", 256), ("%aggr_smem_size", 1172), ("%dynamic_smem_size", 100), ("%cluster_nctarank", 1),
     ("%reserved_smem_offset_cap", 1024), ("%envreg1", 0), ("%nclusterid.x", 1), ("%tid.w", 0)],
)  # fmt: skip
def test_special_registers_have_an_h200s_values(name: str, value: int) -> None:
    """Of a launch with 40 bytes of static and 100 of dynamic shared memory."""
    out = np.zeros(1, np.uint32)
    text = (
        f".shared .b8 s[40]; mov.u32 %r1, s; st.shared.u8 [%r1], %r2; mov.u32 %r1, {name}; st.global.u32 [%rd1], %r1;"
    )
    ptx.Program(module(text)).run(
        "k", grid=(1, 1, 1), block=(1, 1, 1), shared_bytes=100, arguments=[ptx.Buffer("out", out, writable=True)]
    )
    assert out[0] == value


@pytest.mark.parametrize("name", SPECIAL)
def test_a_special_register_has_a_value_or_is_named(name: str) -> None:
    kind = "pred" if name == "%is_explicit_cluster" else "u32"
    try:
        run(f"mov.{kind} {'%p1' if kind == 'pred' else '%r1'}, {name};")
    except (ptx.Unsupported, ptx.PtxError) as lacking:
        assert lacking.line == 7
        assert name in str(lacking) or "instruction mov" in str(lacking)


@pytest.mark.parametrize("seed", range(12))
def test_no_operand_ends_in_a_python_error(seed: int) -> None:
    """Forms of operands for every instruction of the table, where no thread gets and where one does."""
    dice = random.Random(seed)
    bases = [*sorted(ROWS.keys() - INSERTED.keys()), "tex", "suld", "wgmma.mma_async", "tcgen05.ld", "frobnicate"]
    for _ in range(12):
        base, modifiers = dice.choice(bases), dice.choice(MODIFIERS)
        operands = ", ".join(dice.choices(OPERANDS, k=dice.randrange(5)))
        guard = dice.choice(["", "", "@%p1 ", "@ !%p2 "])
        text = AROUND.format(f"{guard}{base}{modifiers} {operands};")
        try:
            out, _ = run(text, TOP)
            assert out[0] == 1, text
        except (ptx.Unsupported, ptx.PtxError) as lacking:
            assert lacking.args, text
