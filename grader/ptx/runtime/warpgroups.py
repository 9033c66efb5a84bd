"""wgmma at run time: reading its matrices from shared memory, in groups that end when they are waited for.

PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions". Values are computed at once; that the tensor cores may
still read is known until the group was waited for, as of a bulk store.
"""

from __future__ import annotations

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import FLIGHT, HEADER, NO_MBARRIER, OF_WARPGROUP, STAMP_STEP, WORKER
from grader.ptx.runtime.bulk_copies import note_reads, stop_reading
from grader.ptx.runtime.flights import ending, knows_copies
from grader.ptx.runtime.shadow import COLD

PIECE = 16  # bytes that lie together, however a matrix is stored
ADDRESS = (1 << 14) - 1  # of a field of a descriptor, in units of 16 bytes
SPANS = sum(span << 8 * i for i, span in enumerate((0, 128, 64, 32)))  # by the descriptor's highest two bits


def functions() -> list[Fn]:
    return [matrix_read(by_row=True), matrix_read(by_row=False), group_wait()]


def _field(descriptor: Value, at: int) -> Value:
    return ((descriptor >> at) & ADDRESS) << 4


def element_place(base: Value, descriptor: Value, row: Value, k: Value, element: int, *, by_row: bool) -> Value:
    """Offset in shared memory of an element; all i64. `base`: of the block's part. As Matrix.address defines it."""
    f = base.fn
    start, leading, stride = base + _field(descriptor, 0), _field(descriptor, 16), _field(descriptor, 32)
    span = (f.const("i64", SPANS) >> ((descriptor >> 62) << 3)) & 0xFF
    lines, inside = (row, k * element) if by_row else (k, row * element)
    between = (stride, leading) if by_row else (leading, stride)
    plain = start + (lines >> 3) * between[0] + ((lines & 7) << 4) + (inside >> 4) * between[1] + (inside & 15)
    at = start + (lines >> 3) * stride + (lines & 7) * span
    if by_row:
        at = at + inside
    else:
        some = f.select(span.eq(0), f.const("i64", 1), span)
        at = at + inside.udiv(some) * leading + inside.urem(some)
    swizzled = at ^ ((at >> 3) & (span - PIECE) & 0x70)
    return f.select(span.eq(0), plain, swizzled)


def matrix_read(*, by_row: bool) -> Fn:
    """Check that `rows` rows from `first` on, of 32 bytes along k, are good to read; they are being read from now on.

    Returns 1 if they are.
    """
    name = "matrix_read_by_row" if by_row else "matrix_read_by_column"
    f = Fn(
        name,
        "i32",
        {"w": "ptr", "me": "i32", "base": "i64", "descriptor": "i64", "first": "i64", "rows": "i64", "site": "i32",
         "frame": "ptr"},
        COLD,
    )  # fmt: skip
    good, low, high = f.alloca("i32"), f.alloca("i64"), f.alloca("i64")
    good.store(f.const("i32", 1))
    low.store(f.const("i64", -1))
    high.store(f.const("i64", 0))
    lines = f["rows"] if by_row else f.const("i64", 16)
    pieces = f.const("i64", 2) if by_row else f["rows"] >> 3
    element = 1 if by_row else 2
    with f.count(lines) as line, f.count(pieces) as piece:
        row, k = (f["first"] + line, piece << 4) if by_row else (f["first"] + (piece << 3), line)
        at = element_place(f["base"], f["descriptor"], row, k, element, by_row=by_row)
        ok = f.call("i32", "shared_read", f["w"], f["me"], at, f.const("i32", PIECE), f["site"])
        good.store(good.load("i32") & ok)
        with f.when(ok.ne(0)):
            note_reads(f, at, f["site"])
            end = at + PIECE
            low.store(f.select(at.ult(low.load("i64")), at, low.load("i64")))
            high.store(f.select(end.ugt(high.load("i64")), end, high.load("i64")))
    with f.when(low.load("i64").ult(high.load("i64"))):
        size = (high.load("i64") - low.load("i64")).trunc("i32")
        nowhere, null, zero = f.const("i64", NO_MBARRIER), f.const("ptr", "null"), f.const("i32", OF_WARPGROUP)
        thread, group = f["me"] & (STAMP_STEP - 1), HEADER.get(f["frame"], "product_group")
        flight = (nowhere, low.load("i64"), null, size, f["site"], thread, zero, group)
        f.call("void", "flight_start", f["w"], *flight)
    f.ret(good.load("i32"))
    return f


def group_wait() -> Fn:
    """All groups of thread `me` but the last `keep` have ended."""
    f = Fn("group_wait", "void", {"w": "ptr", "me": "i32", "keep": "i32", "frame": "ptr"}, COLD)
    groups, thread = HEADER.get(f["frame"], "product_group"), f["me"] & (STAMP_STEP - 1)

    def has_ended(entry: Value) -> Value:
        mine = FLIGHT.get(entry, "mbarrier").eq(NO_MBARRIER) & FLIGHT.get(entry, "thread").eq(thread)
        mine = mine & FLIGHT.get(entry, "mark").eq(OF_WARPGROUP)
        return mine & (groups - FLIGHT.get(entry, "group")).ugt(f["keep"])

    with ending(f, has_ended) as entry:
        stop_reading(f, entry, WORKER.get(f["w"], "now") | (STAMP_STEP - 1))
    done = f.select(groups.ugt(f["keep"]), groups - f["keep"], f.const("i32", 0))
    known = HEADER.get(f["frame"], "products_done")
    HEADER.set(f["frame"], "products_done", f.select(done.ugt(known), done, known))
    knows_copies(f, thread)
    f.ret()
    return f
