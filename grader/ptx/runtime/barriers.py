"""The barriers of a block: which threads have arrived, which may continue, and which wait forever.

PTX ISA, "Parallel Synchronization and Communication Instructions: bar, barrier": warps arrive as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import (
    ARRIVED,
    ARRIVED_ROW,
    AT_BARRIER,
    AT_CLUSTER,
    AT_NAMED,
    AT_WARP,
    ENOUGH,
    EXITED,
    HEADER,
    LAUNCH,
    MAIL,
    MAX_CLUSTER,
    NAMED_BARRIERS,
    RUNNABLE,
    UNALIGNED,
    WORKER,
    Kind,
)
from grader.ptx.runtime.faults import leave
from grader.ptx.runtime.order import known_row, lanes_row
from grader.ptx.runtime.shadow import COLD
from grader.ptx.runtime.threads import (
    NOINLINE,
    frame_of,
    lanes_of,
    launch_of,
    mail_of,
    rank_of,
    record_at,
    threads_of,
    warps_of,
    warps_of_block,
)
from grader.ptx.runtime.times import advance_time, everywhere, join

# At what threads may wait for good, and whether it must not be for the whole of their warp.
STUCK_AT = ((AT_WARP, False), (AT_BARRIER | AT_NAMED, True), (AT_BARRIER | AT_NAMED, False), (AT_CLUSTER, False))


def functions() -> list[Fn]:
    return [arrive(), release(), has_arrived(), resolve_named(), compare_counts(), note_split(), stuck()]


def arrive() -> Fn:
    """bar.arrive: thread `me` counts at barrier `id`, of `asked` threads, and does not wait. Time advances."""
    f = Fn("arrive", "void", {"w": "ptr", "me": "i32", "id": "i32", "asked": "i32", "site": "i32"}, NOINLINE)
    count = WORKER.get(f["w"], "arrived").index("i32", f["id"])
    _of_arrivals(f, 1).store(f["asked"])
    _of_arrivals(f, 2).store(f["site"])
    threads = LAUNCH.get(launch_of(f), "threads")
    absent = (warps_of(f) << 5) - threads  # of the block's last warp, which arrives as a whole
    last = f["me"].eq(threads - 1)
    count.store(count.load("i32") + 1 + f.select(last, absent, f.const("i32", 0)))
    now, warp = advance_time(f), f["me"] >> 5
    row = known_row(f["w"], f["id"] + ARRIVED_ROW)
    join(f, row, known_row(f["w"], warp))
    row.index("i32", warp).store(now)
    f.ret()
    return f


def _of_arrivals(f: Fn, row: int) -> Value:
    """1: the number of threads that the last arrival at barrier `id` gave, 2: its site."""
    return WORKER.get(f["w"], "arrived").index("i32", f["id"] + row * MAX_CLUSTER * NAMED_BARRIERS)


def release() -> Fn:
    """All threads, or those at named barrier `id`, go on; everything before is ordered before everything after."""
    f = Fn("release", "void", {"w": "ptr"}, NOINLINE)
    with threads_of(f) as (_, at):
        at.store(f.const("i32", RUNNABLE))
    WORKER.set(f["w"], "barrier", _pass(f))
    f.ret()
    return f


def _pass(f: Fn) -> Value:
    """A barrier completes. Returns the time."""
    WORKER.set(f["w"], "passed", WORKER.get(f["w"], "passed") + 1)
    return advance_time(f)


def has_arrived() -> Fn:
    """Threads that barrier `id` is for if warp `warp` waits at it, else 0.

    All threads of the warp must wait there; where a number is given, all that have not left. At an aligned barrier
    all stand at the same instruction.
    """
    f = Fn("has_arrived", "i32", {"w": "ptr", "id": "i32", "warp": "i32"}, NOINLINE)
    alive, here, at, differs, asked = (f.alloca("i32") for _ in range(5))
    for variable in (alive, here, at, differs, asked):
        variable.store(f.const("i32", 0))
    first = f["warp"] << 5
    lanes = lanes_of(f, first)
    with f.count(lanes) as lane:
        t = first + lane
        now, frame = WORKER.get(f["w"], "status").index("i32", t).load("i32"), frame_of(f, t)
        alive.store(alive.load("i32") + now.ne(EXITED).zext("i32"))
        waits = now.icmp("sgt", 0) & (now & (AT_NAMED | AT_BARRIER)).ne(0)
        with f.when(waits & HEADER.get(frame, "barrier").eq(f["id"])):
            with f.when(here.load("i32").eq(0)):
                at.store(now)
            here.store(here.load("i32") + 1)
            differs.store(differs.load("i32") | (now ^ at.load("i32")))
            asked.store(HEADER.get(frame, "count"))
    count, aligned = asked.load("i32") & (UNALIGNED - 1), (asked.load("i32") & UNALIGNED).eq(0)
    wanted = f.select(count.ne(0), alive.load("i32"), lanes)
    split = aligned & differs.load("i32").ne(0)
    arrived = here.load("i32").ne(0) & here.load("i32").eq(wanted) & (split ^ 1)
    f.ret(f.select(arrived, f.select(count.ne(0), count, warps_of_block(f) << 5), f.const("i32", 0)))
    return f


def resolve_named() -> Fn:
    """Release barrier `id` if enough warps have arrived, and of these no more than it is for. Returns 1 if so."""
    f = Fn("resolve_named", "i32", {"w": "ptr", "id": "i32"}, NOINLINE)
    here, waiting, have, needed, there, trues = (f.alloca("i32") for _ in range(6))
    arrived = WORKER.get(f["w"], "arrived").index("i32", f["id"])
    have.store(arrived.load("i32"))
    for variable in (here, waiting, needed, there, trues):
        variable.store(f.const("i32", 0))
    with f.count(warps_of(f)) as warp:
        asked = f.call("i32", "has_arrived", f["w"], f["id"], warp)
        before = (needed.load("i32"), there.load("i32"), have.load("i32"))
        f.call("void", "compare_counts", f["w"], f["id"], warp, asked, *before)
        more = needed.load("i32").eq(0) | have.load("i32").ult(needed.load("i32"))
        with f.when(asked.ne(0) & more):
            here.store(here.load("i32") | (f.const("i32", 1) << warp))
            have.store(have.load("i32") + 32)
            needed.store(asked)
            there.store(WORKER.get(f["w"], "status").index("i32", warp << 5).load("i32"))
    with f.when(needed.load("i32").eq(0) | have.load("i32").ult(needed.load("i32"))):
        leave(f, f.const("i32", 0))
    arrived.store(have.load("i32") - needed.load("i32"))

    @contextmanager
    def waiters() -> Iterator[tuple[Value, Value]]:
        with threads_of(f) as (t, at):
            here_too = ((here.load("i32") >> (t >> 5)) & 1).ne(0)
            with f.when(here_too & at.load("i32").ne(EXITED)):
                yield t, at

    with waiters() as (t, at):
        waiting.store(waiting.load("i32") + 1)
        trues.store(trues.load("i32") + HEADER.get(frame_of(f, t), "predicate"))
        WORKER.set(f["w"], "barrier_site", at.load("i32"))
    WORKER.set(f["w"], "true_count", trues.load("i32"))
    WORKER.set(f["w"], "met_count", waiting.load("i32"))
    now = _pass(f)
    with f.when(waiting.load("i32").eq(LAUNCH.get(launch_of(f), "threads"))):
        WORKER.set(f["w"], "barrier", now)
        with f.when(WORKER.get(f["w"], "split_site").eq(0)):
            f.call("void", "note_split", f["w"])
    # Every waiting thread learns what any of those that wait or have arrived knows.
    row, last = known_row(f["w"], f["id"] + ARRIVED_ROW), f.alloca("i32")
    last.store(f.const("i32", -1))
    with waiters() as (t, _), f.when((t >> 5).ne(last.load("i32"))):
        last.store(t >> 5)
        join(f, row, known_row(f["w"], t >> 5))
        row.index("i32", t >> 5).store(now)
    with waiters() as (t, at):
        join(f, known_row(f["w"], t >> 5), row)
        lanes_row(f["w"], t).store(everywhere(f, now), 4)
        MAIL.set(mail_of(f, t), "met", now)
        at.store(f.const("i32", RUNNABLE))
    f.ret(f.const("i32", 1))
    return f


def compare_counts() -> Fn:
    """At barrier `id`, warp `warp` waits for `asked` threads (0: it does not); at `there`, others for `needed`."""
    parameters = {
        "w": "ptr",
        "id": "i32",
        "warp": "i32",
        "asked": "i32",
        "needed": "i32",
        "there": "i32",
        "have": "i32",
    }
    f = Fn("compare_counts", "void", parameters, COLD)
    waiting, arrived = f["needed"].ne(0), f["have"].ne(0)
    told = f.select(waiting, f["needed"], _of_arrivals(f, 1).load("i32"))
    with f.when(f["asked"].ne(0) & (waiting | arrived) & told.ne(f["asked"]), likely=False):
        first = f["warp"] << 5
        here = WORKER.get(f["w"], "status").index("i32", first).load("i32")
        there = f.select(waiting, f["there"], _of_arrivals(f, 2).load("i32"))
        record_at(f, Kind.COUNTS_DIFFER, here, first, told.zext("i64"), there, f["asked"].zext("i64"))
        LAUNCH.set(launch_of(f), "stop", f.const("i32", ENOUGH))  # which threads go on is undefined from here
    f.ret()
    return f


def note_split() -> Fn:
    """All threads meet, whole warps of them in different places. That is allowed; remember it for `stuck`."""
    f = Fn("note_split", "void", {"w": "ptr"}, COLD)
    first = WORKER.get(f["w"], "status").load("i32")
    count = f.alloca("i32")
    count.store(f.const("i32", 0))
    with threads_of(f) as (t, at), f.when(at.load("i32").ne(first)):
        with f.when(count.load("i32").eq(0)):
            WORKER.set(f["w"], "split_other", at.load("i32"))
            WORKER.set(f["w"], "split_thread", t)
        count.store(count.load("i32") + 1)
    WORKER.set(f["w"], "split_count", count.load("i32"))
    WORKER.set(f["w"], "split_site", f.select(count.load("i32").ne(0), first, f.const("i32", 0)))
    f.ret()
    return f


# No thread can go on --------------------------------------------------------------------------------------------


def stuck() -> Fn:
    """No thread can continue: report which barrier they wait at, and one thread that is missing there."""
    f = Fn("stuck", "void", {"w": "ptr"}, COLD)
    thread, at = _first_to_wait(f, STUCK_AT)
    with f.when((at & AT_WARP).ne(0)):
        f.call("void", "mismatch", f["w"], thread)
        f.ret()
        f.label(f.fresh("dead"))
    _name_missing(f, thread, at)
    split_site = WORKER.get(f["w"], "split_site")
    with f.when(split_site.ne(0)):
        who, others = WORKER.get(f["w"], "split_thread"), WORKER.get(f["w"], "split_count").zext("i64")
        record_at(f, Kind.BARRIER_DIVERGENCE, split_site, who, others, WORKER.get(f["w"], "split_other"))
    with f.when((at & AT_CLUSTER).eq(0)):  # others may wait in vain for this block
        thread, at = _first_to_wait(f, ((AT_CLUSTER, False),))
        with f.when(at.ne(0)):
            _name_missing(f, thread, at)
    f.ret()
    return f


def _name_missing(f: Fn, thread: Value, at: Value) -> None:
    """Report which thread is missing at the barrier where a thread waits with status `at`."""
    missing, who, where = _missing(f, thread, at)
    # If no thread is missing, the barrier is for more threads than there are.
    count = HEADER.get(frame_of(f, thread), "count") & (UNALIGNED - 1)
    too_many = f.select(missing.eq(0), count, f.const("i32", 0)).zext("i64")
    record_at(f, Kind.BARRIER_DIVERGENCE, at, who, missing.zext("i64"), where, too_many)


def _first_to_wait(f: Fn, kinds: Sequence[tuple[int, bool]]) -> tuple[Value, Value]:
    """A thread that waits, at the first of these kinds that there is, and its status.

    A collective that waits is the cause; the barriers behind it wait because of it. Of barriers, one that is not for
    the whole of its warp comes first.
    """
    thread, at = f.alloca("i32"), f.alloca("i32")
    for variable in (thread, at):
        variable.store(f.const("i32", 0))
    for kind, of_split_warp in kinds:
        with threads_of(f) as (t, status):
            now = status.load("i32")
            with f.when((now & kind).ne(0) & at.load("i32").eq(0)):
                id_ = HEADER.get(frame_of(f, t), "barrier")
                whole = f.call("i32", "has_arrived", f["w"], id_, t >> 5)
                with f.when(whole.eq(0) if of_split_warp else f.const("i1", 1)):
                    thread.store(t)
                    at.store(now)
    return thread.load("i32"), at.load("i32")


def _missing(f: Fn, thread: Value, at: Value) -> tuple[Value, Value, Value]:
    """How many threads are not where `thread` waits, one of them, of its warp if it can be, and that one's status.

    Of its block, or of its cluster at the cluster's barrier, where they must have arrived.
    """
    count, who, where = (f.alloca("i32") for _ in range(3))
    for variable, value in ((count, 0), (who, -1), (where, 0)):
        variable.store(f.const("i32", value))
    warp = thread >> 5
    of_cluster = (at & AT_CLUSTER).ne(0)
    with threads_of(f) as (t, status):
        now = status.load("i32")
        late = now.ne(EXITED) & HEADER.get(frame_of(f, t), "cluster").ne(ARRIVED)
        elsewhere = now.ne(at) & rank_of(f, t).eq(rank_of(f, thread))
        with f.when(f.select(of_cluster, late, elsewhere)):
            count.store(count.load("i32") + 1)
            closer = (t >> 5).eq(warp) & (who.load("i32") >> 5).ne(warp)
            with f.when(who.load("i32").eq(-1) | closer):
                who.store(t)
                where.store(now)
    return count.load("i32"), who.load("i32"), where.load("i32")
