"""Recording what goes wrong: at each instruction and kind, the first fault is kept whole and the rest are counted."""

from __future__ import annotations

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import ENOUGH, FAULT, LAUNCH, SITE_MASK, STAMP_STEP, WORKER, Kind
from grader.ptx.runtime.shadow import COLD


def functions() -> list[Fn]:
    return [record()]


def record() -> Fn:
    """Count a fault at its site; the first one of a worker is kept whole."""
    f = Fn(
        "record",
        "void",
        {"w": "ptr", "kind": "i32", "site": "i32", "thread": "i32", "address": "i64", "other": "i64", "osite": "i32"},
        COLD,
    )
    index = (f["site"] & SITE_MASK) * len(Kind) + f["kind"]
    entry = WORKER.get(f["w"], "faults").at(index.zext("i64") * FAULT.size)
    count = FAULT.get(entry, "count")
    FAULT.set(entry, "count", count + 1)
    total = WORKER.get(f["w"], "fault_count") + 1
    WORKER.set(f["w"], "fault_count", total)
    launch = WORKER.get(f["w"], "launch")
    with f.when(total.ugt(LAUNCH.get(launch, "fault_limit"))):
        LAUNCH.set(launch, "stop", f.const("i32", ENOUGH))
    with f.when(count.eq(0)):
        FAULT.set(entry, "block", WORKER.get(f["w"], "block"))
        FAULT.set(entry, "address", f["address"])
        FAULT.set(entry, "other", f["other"])
        FAULT.set(entry, "thread", f["thread"])
        FAULT.set(entry, "other_site", f["osite"] & SITE_MASK)
        FAULT.set(entry, "tile", WORKER.get(f["w"], "tile_bytes"))
    f.ret()
    return f


def fault(f: Fn, kind: Kind, address: Value, other: Value | None = None, other_site: Value | None = None) -> None:
    other = other if other is not None else f.const("i64", 0)
    other_site = other_site if other_site is not None else f.const("i32", 0)
    thread = f["me"] & (STAMP_STEP - 1)
    f.call("void", "record", f["w"], f.const("i32", int(kind)), f["site"], thread, address, other, other_site)


def leave(f: Fn, result: Value) -> None:
    """Return in the middle of a function; what follows goes on in a block that nothing reaches."""
    f.ret(result)
    f.label(f.fresh("dead"))


def check_alignment(f: Fn) -> None:
    with f.when((f["address"].trunc("i32") & (f["width"] - 1)).ne(0), likely=False):
        fault(f, Kind.MISALIGNED, f["address"])
