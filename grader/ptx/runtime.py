"""Everything that a generated kernel calls, as LLVM IR: the access checks and the scheduler."""

from __future__ import annotations

from grader.ptx import scheduler, shadow
from grader.ptx.shapes import Frame, SharedMap

DECLARATIONS = """
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.memcpy.p0.p0.i32(ptr, ptr, i32, i1)
declare void @llvm.memmove.p0.p0.i32(ptr, ptr, i32, i1)
declare i32 @llvm.cttz.i32(i32, i1)
!0 = !{!"branch_weights", i32 4000, i32 1}
!1 = !{!"branch_weights", i32 1, i32 4000}
"""


def runtime_ir(kernel: str, shared: SharedMap, frame: Frame, global_granule: int, kinds: int) -> str:
    """For a kernel function `kernel` (worker, frame, pc, tid) -> status."""
    checks = shadow.functions(shared, frame, global_granule, kinds)
    schedule = scheduler.functions(kernel, shared, frame)
    return DECLARATIONS + "\n".join(f.text() for f in (*checks, *schedule))
