"""What is known of the lanes of a warp before it runs: what is the same for all, where they part, how far addresses
are apart; and how scalar code becomes code for all of them."""

from __future__ import annotations

import pytest

from grader import ptx
from grader.ptx.analysis.flow import blocks_of
from grader.ptx.analysis.strides import HALF, indices_of, strides
from grader.ptx.analysis.uniformity import Uniformity, uniformity
from grader.ptx.analysis.work import ROUNDS, times_run
from grader.ptx.lowering.warps.lanes import LaneFn, NotTaken
from grader.ptx.pace import Pace
from grader.ptx.syntax import Function

TEXT = """.version 9.0
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 in, .param .u32 n)
{{
    .reg .pred %p<9>; .reg .b32 %r<20>; .reg .b64 %rd<9>; .reg .f32 %f<9>;
    .shared .align 4 .b8 s[256];
    {body}
}}
"""


def function(body: str) -> Function:
    return ptx.parse(TEXT.format(body=body)).kernels["k"]


def lanes_of(body: str) -> Uniformity:
    return uniformity(blocks_of(function(body)))


def test_what_follows_from_parameters_and_the_block_is_the_same_for_all_lanes() -> None:
    found = lanes_of("""
        ld.param.u32 %r1, [n]; mov.u32 %r2, %ctaid.x; mad.lo.s32 %r3, %r1, %r2, 5; mov.u64 %rd1, s;
        mov.u32 %r4, %tid.x; add.s32 %r5, %r4, %r3; cvt.u64.u32 %rd2, %r5; add.s64 %rd2, %rd1, %rd2;
        ld.shared.u32 %r6, [%rd1]; ld.shared.u32 %r7, [%rd2]; setp.lt.s32 %p1, %r7, 3; mov.u32 %r8, %laneid; ret;""")
    assert found.varying == {"%r4", "%r5", "%rd2", "%r7", "%p1", "%r8"}
    assert not found.masked


def test_lanes_part_at_a_branch_and_meet_behind_it() -> None:
    found = lanes_of("""
        mov.u32 %r1, %tid.x; setp.lt.s32 %p1, %r1, 3; mov.u32 %r2, 1; mov.u32 %r3, 1;
        @%p1 bra other;
        mov.u32 %r2, 2;
        bra meet;
    other:
        mov.u32 %r4, 7;
    meet:
        add.s32 %r3, %r3, 1; ret;""")
    assert found.divergent == {0} and found.masked == {1, 2}
    assert {"%r2", "%r4"} < found.varying and "%r3" not in found.varying


def test_all_of_a_loop_that_lanes_leave_one_by_one_is_for_some_of_them() -> None:
    found = lanes_of("""
        mov.u32 %r1, %tid.x; mov.u32 %r2, 0;
    again:
        add.s32 %r2, %r2, 1; setp.lt.s32 %p1, %r2, %r1;
        @%p1 bra again;
        mov.u32 %r3, 1; ret;""")
    assert found.masked == {1} and "%r2" in found.varying and "%r3" not in found.varying


def test_lanes_that_leave_the_kernel_do_not_part_the_others() -> None:
    found = lanes_of("""
        mov.u32 %r1, %tid.x; setp.lt.s32 %p1, %r1, 3;
        @%p1 bra end;
        mov.u32 %r2, 2; bar.sync 0;
    end:
        ret;""")
    assert found.divergent == {0} and not found.masked and "%r2" not in found.varying


INDEX = "mov.u32 %r1, %tid.x; mov.u32 %r2, %tid.y; mov.u32 %r3, %ctaid.x; mov.u64 %rd1, s;"


@pytest.mark.parametrize(
    ("block", "body", "step"),
    [
        ((16, 16, 1), "mad.lo.s32 %r9, %r3, 16, %r1;", 1),
        ((16, 16, 1), "mad.lo.s32 %r9, %r3, 16, %r2;", 0),
        ((8, 8, 1), "add.s32 %r9, %r1, %r3;", None),
        ((256, 1, 1), "shr.u32 %r9, %r1, 4;", 0),
        ((256, 1, 1), "shr.s32 %r4, %r1, 31; shr.u32 %r5, %r4, 28; add.s32 %r6, %r1, %r5; and.b32 %r7, %r6, -16; "
                      "sub.s32 %r9, %r1, %r7;", 1),
        ((256, 1, 1), "mul.lo.s32 %r9, %r1, %r3;", None),
        ((256, 1, 1), "mul.lo.s32 %r9, %r2, %r3;", 0),
        ((32, 1, 1), "mov.u32 %r9, %r1; add.s32 %r9, %r9, 256;", 1),
        ((32, 1, 1), "mov.u32 %r9, %r1; mov.u32 %r9, %r3;", None),
        ((32, 1, 1), "mul.wide.u32 %rd2, %r1, 4; add.s64 %rd3, %rd1, %rd2; cvt.u32.u64 %r9, %rd3;", 4),
        ((32, 1, 1), "mul.wide.u32 %rd2, %r1, 4; add.s64 %rd3, %rd1, %rd2; ld.shared.u32 %r9, [%rd3];", None),
    ],
)  # fmt: skip
def test_how_far_lanes_are_apart(block: tuple[int, int, int], body: str, step: int | None) -> None:
    assert strides(function(INDEX + body + " ret;"), indices_of(block))["%r9"].step == step
    assert len(indices_of(block)["%tid.x"].values) == HALF


def test_what_lies_in_loops_counts_for_more() -> None:
    once = "mov.u32 %r1, 0; ret;"
    inner = "a: b: add.s32 %r1, %r1, 1; setp.lt.s32 %p1, %r1, 3; @%p1 bra b; @%p2 bra a; ret;"
    assert [n for _, n in times_run(function(once))] == [1, 1]
    assert [n for _, n in times_run(function(inner))] == [ROUNDS**2] * 3 + [ROUNDS, 1]


def test_a_second_compilation_pays_where_it_takes_long() -> None:
    pace, kernel = Pace(), function("a: add.s32 %r1, %r1, 1; setp.lt.s32 %p1, %r1, 3; @%p1 bra a; ret;")
    assert not pace.pays(kernel, threads=1000, workers=2)
    assert pace.pays(kernel, threads=100_000_000, workers=2)
    pace.note(kernel, threads=1000, seconds=0.5)  # so slow it is
    assert pace.pays(kernel, threads=1000, workers=2)
    pace.note(kernel, threads=1000, seconds=0.001)  # says nothing
    assert pace.pays(kernel, threads=1000, workers=2)


# Scalar code for all lanes ----------------------------------------------------------------------------------------


def lane_function() -> tuple[LaneFn, dict[str, str]]:
    declared: dict[str, str] = {}
    f = LaneFn("k", "void", {"x": "i32"}, declared.__setitem__)
    f.named["tid"] = f.lanes("i32", "add <32 x i32> zeroinitializer, zeroinitializer")
    return f, declared


def test_an_instruction_is_widened_only_where_an_operand_varies() -> None:
    f, declared = lane_function()
    x, lane = f["x"], f["tid"]
    assert not f.varies(x + 1)
    assert f.varies(x + lane) and f.lines[-1].endswith(f"add <32 x i32> {f.vector(x)}, {lane}")
    assert f.varies(f.select(lane.ult(3), lane, x)) and "select <32 x i1>" in f.lines[-1]
    assert f.varies(lane.zext("i64")) and f.lines[-1].endswith("to <32 x i64>")
    f.emit("float", f"call float @llvm.fma.f32(float {lane.bitcast('float')}, float 1.0, float 2.0)")
    assert "@llvm.fma.v32f32(" in f.lines[-1] and "llvm.fma.v32f32" in declared
    f.call("i32", "helper", lane, x)
    assert sum("call i32 @helper(" in line for line in f.lines) == 32


def test_what_has_no_form_for_all_lanes_is_not_taken() -> None:
    f, _ = lane_function()
    for make in (lambda: f["tid"].load("i32"), lambda: f.branch(f["tid"].eq(0), "a", "b"), lambda: f.ret(f["tid"])):
        with pytest.raises(NotTaken):
            make()
