"""Time within a block: it moves on where accesses are ordered, and each warp knows what is ordered before it."""

from __future__ import annotations

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import LAUNCH, MAIL, RELEASED_ROW, STAMP_STEP, WARPS, WORKER
from grader.ptx.order import known_row
from grader.ptx.shadow import COLD
from grader.ptx.threads import NOINLINE, launch_of, mail_of


def functions() -> list[Fn]:
    return [fence(), acquire()]


def advance_time(f: Fn) -> Value:
    now = WORKER.get(f["w"], "now") + STAMP_STEP
    WORKER.set(f["w"], "now", now)
    return now


def join(f: Fn, into: Value, row: Value) -> None:
    """What is known in `row` is known in `into` too."""
    times = f"<{WARPS} x i32>"
    newest = f.call(times, f"llvm.umax.v{WARPS}i32", into.load(times, 4), row.load(times, 4))
    into.store(newest, 4)


def fence() -> Fn:
    """A fence of thread `me`: releases what its warp did so far; `wide`: to other blocks too. Returns the time."""
    f = Fn("fence", "i32", {"w": "ptr", "me": "i32", "wide": "i32"}, COLD)
    now = advance_time(f)
    with f.when(f["wide"].ne(0)):
        LAUNCH.get(launch_of(f), "fenced").index("i32", WORKER.get(f["w"], "block")).store(now)
    MAIL.set(mail_of(f, f["me"]), "released", now)
    WORKER.set(f["w"], "released", f.const("i32", 1))
    warp, released = f["me"] >> 5, known_row(f["w"], f.const("i32", RELEASED_ROW))
    join(f, released, known_row(f["w"], warp))
    released.index("i32", warp).store(now)
    f.ret(now)
    return f


def acquire() -> Fn:
    """Thread `me` looks at what another may have changed atomically.

    Which variable carried which signal is not tracked: everything that was released before is ordered.
    """
    f = Fn("acquire", "void", {"w": "ptr", "me": "i32"}, NOINLINE)
    with f.when(WORKER.get(f["w"], "released").ne(0)):
        MAIL.set(mail_of(f, f["me"]), "acquired", WORKER.get(f["w"], "now"))
        join(f, known_row(f["w"], f["me"] >> 5), known_row(f["w"], f.const("i32", RELEASED_ROW)))
    f.ret()
    return f
