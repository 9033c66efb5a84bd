"""wgmma at run time: reading its matrices from shared memory, in groups that end when they are waited for.

PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions". Values are computed at once; that the tensor cores may
still read is known until the group was waited for, as of a bulk store.
"""

from __future__ import annotations

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import (
    FLIGHT,
    HEADER,
    LAUNCH,
    LONG_ROWS,
    NO_MBARRIER,
    NUMBER_SHIFTS,
    OF_WARPGROUP,
    PRODUCT,
    SITE_MASK,
    STAMP_STEP,
    STARTS_INSIDE,
    STRIDE_DIFFERS,
    SWIZZLE_DIFFERS,
    TILE,
    WORKER,
    Kind,
)
from grader.ptx.runtime.bulk_copies import note_reads, stop_reading
from grader.ptx.runtime.flights import ending, knows_copies
from grader.ptx.runtime.shadow import COLD, of_program, shared_shadow
from grader.ptx.runtime.tensor_copies import tile_at
from grader.ptx.runtime.threads import frame_of, launch_of

GROUP_THREADS = 128
PIECE = 16  # bytes that lie together, however a matrix is stored
ADDRESS = (1 << 14) - 1  # of a field of a descriptor, in units of 16 bytes
SPANS = sum(span << 8 * i for i, span in enumerate((0, 128, 64, 32)))  # by the descriptor's highest two bits


def functions() -> list[Fn]:
    return [matrix_read(by_row=True), matrix_read(by_row=False), group_wait(), descriptor_check(), warpgroups_end()]


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
    WORKER.set(f["w"], "tile_bytes", f.const("i32", 0))
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


# How a tile was written -----------------------------------------------------------------------------------------

ROWS_TOGETHER = 8  # that the swizzle, and the strides of a descriptor, count together


def descriptor_check() -> Fn:
    """Does the descriptor agree with how a tensor copy brought the tile that it starts in? The worker is at that now.

    `more`: 1 if it reads more than eight rows of that tile. `turned`: 1 if these are no rows of the matrix, but lie
    along k (element_place with `by_row` false).
    """
    f = Fn("descriptor_check", "void", {"w": "ptr", "me": "i32", "base": "i64", "descriptor": "i64", "more": "i32",
                                        "turned": "i32", "site": "i32"}, COLD)  # fmt: skip
    span = (f.const("i64", SPANS) >> ((f["descriptor"] >> 62) << 3)) & 0xFF
    start, leading, stride = f["base"] + _field(f["descriptor"], 0), *(_field(f["descriptor"], at) for at in (16, 32))
    stride = f.select(f["turned"].ne(0) & span.eq(0), leading, stride)
    low = start & ((span << 3) - 1)
    with f.when(span.ne(0) & low.uge(span), likely=False):
        _report(f, STARTS_INSIDE, start, low.udiv(span), span, f.const("i32", 0))
    shadow, by = shared_shadow(f), of_program(f["w"], "shared_shift")
    writer = shadow.write_site.index("i32", start >> by)
    with f.count(WORKER.get(f["w"], "tile_count")) as i:
        tile = tile_at(f, i)
        target, site = TILE.get(tile, "target"), TILE.get(tile, "site")
        inside = (start - target).ult(TILE.get(tile, "bytes").zext("i64"))
        with f.when(inside), f.when(((writer.load("i32") ^ site) & SITE_MASK).eq(0)):
            WORKER.set(f["w"], "tile_bytes", TILE.get(tile, "bytes"))
            _compare(f, tile, start, stride, span)
    f.ret()
    return f


def _compare(f: Fn, tile: Value, start: Value, stride: Value, span: Value) -> None:
    site, row, of_tile = (TILE.get(tile, name) for name in ("site", "row", "span"))
    row, of_tile = row.zext("i64"), of_tile.zext("i64")
    differs = of_tile.ne(span)
    with f.when(differs, likely=False):
        _report(f, SWIZZLE_DIFFERS, start, of_tile, span, site)
    plain = differs ^ 1
    long = plain & span.eq(0) & row.ne(PIECE)
    with f.when(long, likely=False):
        _report(f, LONG_ROWS, start, row, f.const("i64", PIECE), site)
    together = row * ROWS_TOGETHER
    end = TILE.get(tile, "target") + TILE.get(tile, "bytes").zext("i64")
    continues = f["more"].ne(0) & (start + together).ult(end)
    with f.when(plain & (long ^ 1) & continues & stride.ne(together), likely=False):
        _report(f, STRIDE_DIFFERS, start, together, stride, site)


def _report(f: Fn, what: int, start: Value, of_tile: Value, of_descriptor: Value, tile_site: Value) -> None:
    number = (of_tile << NUMBER_SHIFTS[0]) | (of_descriptor << NUMBER_SHIFTS[1]) | what
    kind, who = f.const("i32", int(Kind.WRONG_DESCRIPTOR)), f["me"] & (STAMP_STEP - 1)
    f.call("void", "record", f["w"], kind, f["site"], who, start, number, tile_site)


# Whole warpgroups -----------------------------------------------------------------------------------------------


def warpgroups_end() -> Fn:
    """All four warps of a warpgroup must have run each wgmma equally often."""
    f = Fn("warpgroups_end", "void", {"w": "ptr"}, COLD)
    products, start = of_program(f["w"], "products"), of_program(f["w"], "products_start")
    with f.when(products.eq(0)):
        f.ret()
        f.label(f.fresh("dead"))
    threads = LAUNCH.get(launch_of(f), "block_threads")
    ranks, groups = of_program(f["w"], "blocks").trunc("i32"), threads.udiv(GROUP_THREADS)
    with f.count(ranks) as rank, f.count(groups) as group, f.count(products) as product:
        _compare_warps(f, rank * threads + group * GROUP_THREADS, start + product * PRODUCT.size)
    f.ret()
    return f


def _compare_warps(f: Fn, first: Value, offset: Value) -> None:
    """`offset`: of a PRODUCT in a frame."""
    runs = [PRODUCT.get(frame_of(f, first + 32 * warp).at(offset), "times") for warp in range(4)]
    sites = [PRODUCT.get(frame_of(f, first + 32 * warp).at(offset), "site") for warp in range(4)]
    most, least, often, seldom, site = runs[0], runs[0], first, first, sites[0]
    for warp, times in enumerate(runs[1:], 1):
        thread = first + 32 * warp
        often, most = f.select(times.ugt(most), thread, often), f.select(times.ugt(most), times, most)
        seldom, least = f.select(times.ult(least), thread, seldom), f.select(times.ult(least), times, least)
        site = f.select(site.eq(0), sites[warp], site)
    with f.when(most.ne(least), likely=False):
        counts = (most.zext("i64") << NUMBER_SHIFTS[0]) | (least.zext("i64") << NUMBER_SHIFTS[1])
        kind = f.const("i32", int(Kind.SPLIT_WARPGROUP))
        number = counts | (often.zext("i64") & (STAMP_STEP - 1))
        f.call("void", "record", f["w"], kind, site, seldom, f.const("i64", 0), number, f.const("i32", 0))
