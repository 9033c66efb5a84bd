"""What generated kernels call, as LLVM IR, the same for all of them: the access checks and the scheduler."""

from __future__ import annotations

from functools import cache

from grader.ptx.ir import Fn
from grader.ptx.runtime import (
    barriers,
    bulk_copies,
    clusters,
    copies,
    crossings,
    faults,
    flights,
    generic_memory,
    global_memory,
    order,
    ordered_reads,
    phases,
    scheduler,
    shared_memory,
    signals,
    tensor_copies,
    times,
    turns,
    unwritten,
    warpgroups,
    warps,
)

PARTS = (
    faults,
    order,
    signals,
    crossings,
    shared_memory,
    ordered_reads,
    global_memory,
    generic_memory,
    unwritten,
    copies,
    times,
    warps,
    barriers,
    turns,
    scheduler,
    phases,
    flights,
    bulk_copies,
    clusters,
    tensor_copies,
    warpgroups,
)
INTRINSICS = """
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.memcpy.p0.p0.i32(ptr, ptr, i32, i1)
declare void @llvm.memmove.p0.p0.i32(ptr, ptr, i32, i1)
declare i32 @sem_wait(ptr)
declare i32 @sem_post(ptr)
declare i32 @llvm.cttz.i32(i32, i1)
declare <32 x i32> @llvm.umax.v32i32(<32 x i32>, <32 x i32>)
!0 = !{!"branch_weights", i32 4000, i32 1}
!1 = !{!"branch_weights", i32 1, i32 4000}
"""


def runtime_ir() -> tuple[str, list[str]]:
    """The module's text, and the names of its functions."""
    functions = _functions()
    return INTRINSICS + "\n".join(f.text() for f in functions), [f.name for f in functions]


@cache
def declarations() -> str:
    """What a kernel's module needs to call the runtime."""
    return INTRINSICS + "\n".join(f.declaration() for f in _functions()) + "\n"


def _functions() -> list[Fn]:
    return [function for part in PARTS for function in part.functions()]
