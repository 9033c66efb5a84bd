"""What all matrix instructions of a warp share. The definition is definition/matrix.py."""

from __future__ import annotations

from grader.ptx.ir import Value
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.lowering.mail import lane_of, own, report_absent

ROW_BYTES = 16  # eight halves: what one lane reads or writes at once


def must_be_whole(u: KernelBuilder, leader: Value) -> None:
    """Matrix instructions need all 32 lanes; report one that has exited or never existed."""
    f, members = u.f, own(u, "members")
    with f.when(members.ne(-1) & leader, likely=False):
        report_absent(u, f.call("i32", "llvm.cttz.i32", members ^ -1, f.const("i1", 0)))


def leads(u: KernelBuilder) -> Value:
    """Is this the first lane to continue? Lanes do so in ascending order."""
    f = u.f
    return f.call("i32", "llvm.cttz.i32", own(u, "members"), f.const("i1", 0)).eq(lane_of(u))
