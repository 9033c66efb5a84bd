"""Memory that nothing has written, for loads whose values are followed (analysis/unwritten.py)."""

from __future__ import annotations

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import (
    FIRST_WINDOW,
    GUARD_STAMP,
    INITIALISED,
    SHARED_WINDOW,
    WINDOW,
    WINDOW_BITS,
    WORKER,
    WRITABLE,
    kernel_address,
)
from grader.ptx.runtime.faults import leave
from grader.ptx.runtime.shadow import COLD, PEEK, GlobalCell, cells_of, of_program, shared_shadow


def functions() -> list[Fn]:
    return [is_unwritten(), unwrite()]


def _leave_if_outside(f: Fn, address: Value, end: Value) -> None:
    with f.when(address.ugt(end - f["width"].zext("i64")), likely=False):
        f.ret(f.const("i64", 0)) if f.result == "i64" else f.ret()
        f.label(f.fresh("dead"))


def _origin(f: Fn, cell: Value) -> Value:
    return WORKER.get(f["w"], "origins").index("i64", cell)


def is_unwritten() -> Fn:
    """Not 0 if nothing has written some of the bytes at `address`, in `shared` or any memory.

    1, or the record kept with the value that was stored there.
    """
    f = Fn("is_unwritten", "i64", {**PEEK, "shared": "i32"}, COLD)
    zero, one = f.const("i64", 0), f.const("i64", 1)
    generic = ((f["address"] >> WINDOW_BITS) - FIRST_WINDOW).eq(SHARED_WINDOW)
    with f.when(f["shared"].ne(0) | generic):
        address = f.select(generic, f["address"] - kernel_address(SHARED_WINDOW), f["address"])
        _leave_if_outside(f, address, of_program(f["w"], "arena"))
        first, count = cells_of(f, address, "shared_shift")
        with f.count(count) as k:
            shadow, base = shared_shadow(f), WORKER.get(f["w"], "base")
            written = shadow.write.index("i32", first + k).load("i32")
            site = shadow.write_site.index("i32", first + k).load("i32")
            with f.when(written.eq(0) & site.eq(base)):
                leave(f, _origin(f, first + k).load("i64"))
            with f.when(written.ult(base) & written.ne(GUARD_STAMP)):
                leave(f, one)
        leave(f, zero)
    window = f.call("ptr", "locate", f["w"], f["address"])
    with f.when((WINDOW.get(window, "flags") & (WRITABLE | INITIALISED)).ne(WRITABLE)):
        leave(f, zero)
    offset = f["address"] - WINDOW.get(window, "base")
    _leave_if_outside(f, offset, WINDOW.get(window, "size"))
    first, count = cells_of(f, offset, "global_shift")
    with f.count(count) as k, f.when(GlobalCell(window, first + k).write.stamp.eq(0)):
        leave(f, one)
    f.ret(zero)
    return f


def unwrite() -> Fn:
    """What was stored in shared memory counts as nothing: no one wrote that value. `value`: which load read it."""
    f = Fn("unwrite", "void", {**PEEK, "value": "i64"}, COLD)
    _leave_if_outside(f, f["address"], of_program(f["w"], "arena"))
    first, count = cells_of(f, f["address"], "shared_shift")
    with f.count(count) as k:
        write = shared_shadow(f).write.index("i32", first + k)
        with f.when(write.load("i32").ne(GUARD_STAMP)):
            write.store(f.const("i32", 0))
            shared_shadow(f).write_site.index("i32", first + k).store(WORKER.get(f["w"], "base"))  # of this block
            _origin(f, first + k).store(f["value"])
    f.ret()
    return f
