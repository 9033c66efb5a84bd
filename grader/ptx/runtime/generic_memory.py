"""The checks of local memory, and of generic pointers, which may lead to any memory."""

from __future__ import annotations

from grader.ptx.ir import Fn
from grader.ptx.machine import (
    FIRST_WINDOW,
    LOCAL_WINDOW,
    SHARED_WINDOW,
    WINDOW,
    WINDOW_BITS,
    WORKER,
    Kind,
    kernel_address,
    window_base,
)
from grader.ptx.runtime.faults import check_alignment, fault, leave
from grader.ptx.runtime.shadow import ACCESS, COLD, PEEK, STORE, of_program


def functions() -> list[Fn]:
    return [local_access(), generic("read"), generic("write"), generic("update"), generic_peek(), generic_room()]


def local_access() -> Fn:
    """Host address of an access to the thread's own local memory; `address` is an offset into it."""
    f = Fn("local_access", "ptr", {**ACCESS, "frame": "ptr"}, COLD)
    check_alignment(f)
    limit = of_program(f["w"], "local_bytes") - f["width"].zext("i64")
    with f.when(f["address"].ugt(limit) | limit.icmp("slt", 0), likely=False):
        fault(f, Kind.OUT_OF_BOUNDS, f["address"] + window_base(LOCAL_WINDOW))
        leave(f, WORKER.get(f["w"], "sink"))
    f.ret(f["frame"].at(f["address"] + of_program(f["w"], "local_start")))
    return f


def generic(direction: str) -> Fn:
    """Host address of an access through a generic pointer: shared, local or global."""
    f = Fn(f"generic_{direction}", "ptr", {**(ACCESS if direction == "read" else STORE), "frame": "ptr"}, COLD)
    bytes_ = (f["bytes"],) if direction != "read" else ()
    window = (f["address"] >> WINDOW_BITS) - FIRST_WINDOW
    with f.when(window.eq(SHARED_WINDOW)):
        address = f["address"] - kernel_address(SHARED_WINDOW)
        stamp = (f["me"],) if direction != "read" else ()
        ok = f.call("i32", f"shared_{direction}", f["w"], f["me"], address, f["width"], f["site"], *bytes_, *stamp)
        host = WORKER.get(f["w"], "shared").at(address)
        leave(f, f.select(ok.ne(0), host, WORKER.get(f["w"], "sink")))
    with f.when(window.eq(LOCAL_WINDOW)):
        address = f["address"] - kernel_address(LOCAL_WINDOW)
        leave(f, f.call("ptr", "local_access", f["w"], f["me"], address, f["width"], f["site"], f["frame"]))
    f.ret(f.call("ptr", f"global_{direction}", f["w"], f["me"], f["address"], f["width"], f["site"], *bytes_))
    return f


def generic_peek() -> Fn:
    """Host address of what an atomic operation may change; nothing is noted."""
    f = Fn("generic_peek", "ptr", PEEK, COLD)
    window = (f["address"] >> WINDOW_BITS) - FIRST_WINDOW
    with f.when(window.eq(SHARED_WINDOW)):
        leave(f, f.call("ptr", "shared_peek", f["w"], f["address"] - kernel_address(SHARED_WINDOW), f["width"]))
    f.ret(f.call("ptr", "global_peek", *(f[name] for name in PEEK)))
    return f


def generic_room() -> Fn:
    """Bytes from a generic address to the end of its array; 0 outside."""
    f = Fn("generic_room", "i64", {"w": "ptr", "address": "i64"}, COLD)
    window = (f["address"] >> WINDOW_BITS) - FIRST_WINDOW
    record = f.call("ptr", "locate", f["w"], f["address"])
    base, size = WINDOW.get(record, "base"), WINDOW.get(record, "size")
    for own, name in ((SHARED_WINDOW, "arena"), (LOCAL_WINDOW, "local_bytes")):
        base = f.select(window.eq(own), f.const("i64", kernel_address(own)), base)
        size = f.select(window.eq(own), of_program(f["w"], name), size)
    offset = f["address"] - base
    f.ret(f.select(offset.ult(size), size - offset, f.const("i64", 0)))
    return f
