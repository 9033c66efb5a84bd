"""Time within a block: it advances where accesses are ordered, and each warp knows what is ordered before it."""

from __future__ import annotations

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import (
    LANES_RELEASED_ROW,
    LAST_FENCE,
    LAST_TIME,
    LAUNCH,
    RELEASED_ROW,
    STAMP_STEP,
    WARPS,
    WORKER,
)
from grader.ptx.runtime.order import known_row, lanes_row
from grader.ptx.runtime.shadow import COLD
from grader.ptx.runtime.threads import NOINLINE, launch_of

TIMES = f"<{WARPS} x i32>"  # a row of them


def functions() -> list[Fn]:
    return [fence(), acquire()]


def advance_time(f: Fn, last: int = LAST_TIME) -> Value:
    """Returns a time that is later than every access so far.

    From `last` on, time stops. Later accesses then count as earlier ones too: races are missed, but none is invented.
    """
    now = WORKER.get(f["w"], "now")
    later = now + STAMP_STEP
    WORKER.set(f["w"], "now", f.select(now.ult(last), later, now))
    return later


def join(f: Fn, into: Value, row: Value) -> None:
    """Add to `into` everything that `row` knows."""
    learn(f, into, row.load(TIMES, 4))


def learn(f: Fn, into: Value, times: Value) -> None:
    into.store(f.call(TIMES, f"llvm.umax.v{WARPS}i32", into.load(TIMES, 4), times), 4)


def everywhere(f: Fn, time: Value) -> Value:
    """A row with `time` for every warp."""
    one = f.emit(TIMES, f"insertelement {TIMES} poison, i32 {time}, i64 0")
    return f.emit(TIMES, f"shufflevector {one.typed}, {TIMES} poison, {TIMES} zeroinitializer")


def fence() -> Fn:
    """A fence of thread `me` releases what its warp did so far. Time advances.

    `wide`: to other blocks too, with this or another thread's next signal.
    """
    f = Fn("fence", "void", {"w": "ptr", "me": "i32", "wide": "i32"}, COLD)
    now = advance_time(f, LAST_FENCE)
    with f.when(f["wide"].ne(0) & LAUNCH.get(launch_of(f), "signals").ne(0)):
        f.call("void", "note_fence", f["w"], f["me"] & (STAMP_STEP - 1))
    WORKER.set(f["w"], "released", f.const("i32", 1))
    warp, released = f["me"] >> 5, known_row(f["w"], f.const("i32", RELEASED_ROW))
    join(f, released, known_row(f["w"], warp))
    released.index("i32", warp).store(now)
    to_lanes = known_row(f["w"], warp + LANES_RELEASED_ROW)
    join(f, to_lanes, lanes_row(f["w"], f["me"]))
    to_lanes.index("i32", f["me"] & 31).store(now)
    f.ret()
    return f


def acquire() -> Fn:
    """Thread `me` looks at an element that another thread may have changed atomically.

    Which variable carried which signal is not tracked: everything that was released before is ordered.
    """
    f = Fn("acquire", "void", {"w": "ptr", "me": "i32"}, NOINLINE)
    with f.when(WORKER.get(f["w"], "released").ne(0)):
        warp = f["me"] >> 5
        join(f, known_row(f["w"], warp), known_row(f["w"], f.const("i32", RELEASED_ROW)))
        join(f, lanes_row(f["w"], f["me"]), known_row(f["w"], warp + LANES_RELEASED_ROW))
    f.ret()
    return f
