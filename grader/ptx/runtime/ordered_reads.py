"""The usual read after an mbarrier: of what another warp or a copy wrote, known to be ordered before it."""

from __future__ import annotations

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import STAMP_STEP, STRONG, WORKER
from grader.ptx.runtime.faults import leave
from grader.ptx.runtime.order import is_own, known_row
from grader.ptx.runtime.shadow import ACCESS, COLD, cells_of, of_program, shared_shadow
from grader.ptx.runtime.shared_memory import note_read


def functions() -> list[Fn]:
    return [ordered_read()]


def ordered_read() -> Fn:
    """1 if this read is certainly right; 0 if shared_read must check it."""
    f = Fn("ordered_read", "i32", ACCESS, COLD)
    shadow, address, width = shared_shadow(f), f["address"], f["width"].zext("i64")
    fits = address.ule(of_program(f["w"], "arena") - width) & (address & (width - 1)).eq(0)
    with f.when(fits ^ 1, likely=False):
        leave(f, f.const("i32", 0))
    mine = (f["me"] & (STAMP_STEP - 1)) >> 5
    known, barrier = known_row(f["w"], mine), WORKER.get(f["w"], "barrier")

    def follows(stamp: Value) -> Value:
        warp = (stamp & (STAMP_STEP - 1)) >> 5
        return warp.ne(mine) & stamp.ult(known.index("i32", warp).load("i32"))

    first, count = cells_of(f, address, "shared_shift")
    with f.count(count) as k:
        written = shadow.write.index("i32", first + k).load("i32")
        plain = shadow.write_site.index("i32", first + k).load("i32").ult(STRONG)
        good = written.uge(WORKER.get(f["w"], "base")) & plain & (written.ult(barrier) | follows(written))
        with f.when(good ^ 1, likely=False):
            leave(f, f.const("i32", 0))
        note_read(f, shadow, first + k, lambda seen: is_own(f, seen) | follows(seen))
    f.ret(f.const("i32", 1))
    return f
