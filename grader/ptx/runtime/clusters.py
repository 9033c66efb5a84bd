"""Blocks of a cluster at run time: their barrier, and their accesses to each other's shared memory.

PTX ISA, "barrier.cluster": the barrier is complete once all threads of the cluster that have not exited have arrived.
Like an mbarrier, it keeps what arriving threads know, and threads that wait learn it.
"""

from __future__ import annotations

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import (
    ARRIVED,
    ARRIVES_AGAIN,
    ASYNC_THREAD,
    AT_CLUSTER,
    CLUSTER_DONE_ROW,
    CLUSTER_ROW,
    COMPLETED,
    EXITED,
    FLIGHT,
    HEADER,
    IN_FLIGHT_RECORD,
    IN_FLIGHT_STAMP,
    LAUNCH,
    MAIL,
    NOT_ARRIVED,
    RELEASED_ROW,
    RUNNABLE,
    STAMP_STEP,
    UNSETTLED,
    WORKER,
    Kind,
)
from grader.ptx.runtime.faults import fault
from grader.ptx.runtime.flights import flight_at
from grader.ptx.runtime.order import known_row, lanes_row
from grader.ptx.runtime.shadow import COLD, of_program, shared_shadow
from grader.ptx.runtime.threads import NOINLINE, frame_of, launch_of, mail_of, threads_of
from grader.ptx.runtime.times import advance_time, everywhere, join, learn

RELEASES, SPLIT = 1, 2  # of an arrival: its order, and whether its thread did anything else before it waited


def functions() -> list[Fn]:
    return [
        cluster_arrive(),
        cluster_resolve(),
        cluster_wait(),
        note_remote(),
        cluster_end(),
        known_to(),
        store_async(),
    ]


# The barrier ----------------------------------------------------------------------------------------------------


def cluster_arrive() -> Fn:
    """Thread `me` arrives. Time advances."""
    f = Fn("cluster_arrive", "void", {"w": "ptr", "me": "i32", "site": "i32", "how": "i32"}, COLD)
    frame, warp = frame_of(f, f["me"]), f["me"] >> 5
    with f.when(HEADER.get(frame, "cluster").ne(NOT_ARRIVED), likely=False):
        fault(f, Kind.CLUSTER_ORDER, f.const("i64", 0), f.const("i64", ARRIVES_AGAIN))
    HEADER.set(frame, "cluster", f.const("i32", ARRIVED))
    row, releases = known_row(f["w"], f.const("i32", CLUSTER_ROW)), (f["how"] & RELEASES).ne(0)
    with f.when(releases):
        join(f, row, known_row(f["w"], warp))
        row.index("i32", warp).store(advance_time(f))
    with f.when((releases ^ 1) & WORKER.get(f["w"], "released").ne(0)):  # what it fenced before
        join(f, row, known_row(f["w"], f.const("i32", RELEASED_ROW)))
    with f.when((f["how"] & SPLIT).ne(0)):
        WORKER.set(f["w"], "cluster_split", f.const("i32", 1))
    f.ret()
    return f


def cluster_resolve() -> Fn:
    """All threads have stopped, some at the cluster's barrier: resume those that can go on. 1 if there are any."""
    f = Fn("cluster_resolve", "i32", {"w": "ptr"}, NOINLINE)
    late, missing, elsewhere, gone = (f.alloca("i32") for _ in range(4))
    for count in (late, missing, elsewhere, gone):
        count.store(f.const("i32", 0))
    with threads_of(f) as (t, at):
        now, state = at.load("i32"), HEADER.get(frame_of(f, t), "cluster")
        waits, alive = (now & AT_CLUSTER).ne(0), now.ne(EXITED)
        for count, counts in (
            (late, waits & state.eq(COMPLETED)),
            (missing, alive & state.ne(ARRIVED)),
            (elsewhere, alive & (waits ^ 1)),
            (gone, alive ^ 1),
        ):
            count.store(count.load("i32") + counts.zext("i32"))
        with f.when(waits & state.eq(COMPLETED)):
            at.store(f.const("i32", RUNNABLE))
    with f.when(late.load("i32").ne(0)):
        f.ret(f.const("i32", 1))
        f.label(f.fresh("dead"))
    with f.when(missing.load("i32").ne(0)):
        f.ret(f.const("i32", 0))
        f.label(f.fresh("dead"))
    together = (elsewhere.load("i32") | gone.load("i32") | WORKER.get(f["w"], "cluster_split")).eq(0)
    _complete(f, together)
    f.ret(f.const("i32", 1))
    return f


def _complete(f: Fn, together: Value) -> None:
    """Waiting threads go on; the others will not have to wait. `together`: no thread did anything since arriving."""
    now = advance_time(f)
    WORKER.set(f["w"], "passed", WORKER.get(f["w"], "passed") + 1)
    WORKER.set(f["w"], "cluster_split", f.const("i32", 0))
    with f.when(together):
        WORKER.set(f["w"], "barrier", now)
    arrived, done = (known_row(f["w"], f.const("i32", row)) for row in (CLUSTER_ROW, CLUSTER_DONE_ROW))
    join(f, done, arrived)
    with threads_of(f) as (t, at), f.when(at.load("i32").ne(EXITED)):
        HEADER.set(frame_of(f, t), "cluster", f.const("i32", COMPLETED))
        with f.when((at.load("i32") & AT_CLUSTER).ne(0)):
            WORKER.set(f["w"], "barrier_site", at.load("i32"))
            at.store(f.const("i32", RUNNABLE))


def cluster_wait() -> Fn:
    """Thread `me` goes on after the barrier: it knows what the threads that arrived did and knew."""
    f = Fn("cluster_wait", "void", {"w": "ptr", "me": "i32"}, COLD)
    HEADER.set(frame_of(f, f["me"]), "cluster", f.const("i32", NOT_ARRIVED))
    row, warp = known_row(f["w"], f.const("i32", CLUSTER_DONE_ROW)), f["me"] >> 5
    join(f, known_row(f["w"], warp), row)
    learn(f, lanes_row(f["w"], f["me"]), everywhere(f, row.index("i32", warp).load("i32")))
    MAIL.set(mail_of(f, f["me"]), "met", WORKER.get(f["w"], "now"))
    f.ret()
    return f


# Shared memory of other blocks ----------------------------------------------------------------------------------


def note_remote() -> Fn:
    """A thread uses shared memory of another block."""
    f = Fn("note_remote", "void", {"w": "ptr", "address": "i64", "width": "i64"}, COLD)
    low, high, end = WORKER.get(f["w"], "remote_low"), WORKER.get(f["w"], "remote_high"), f["address"] + f["width"]
    WORKER.set(f["w"], "remote_low", f.select(f["address"].ult(low), f["address"], low))
    WORKER.set(f["w"], "remote_high", f.select(end.ugt(high), end, high))
    f.ret()
    return f


def known_to() -> Fn:
    """1 if some warp of block `rank` knows of the access with this stamp: it is ordered before that block's end."""
    f = Fn("known_to", "i1", {"w": "ptr", "rank": "i32", "stamp": "i32"}, "nounwind")
    warps = (LAUNCH.get(launch_of(f), "block_threads") + 31) >> 5
    who = (f["stamp"] & (STAMP_STEP - 1)) >> 5
    with f.count(warps) as warp:
        known = known_row(f["w"], f["rank"] * warps + warp).index("i32", who).load("i32")
        with f.when(f["stamp"].ult(known)):
            f.ret(f.const("i1", 1))
            f.label(f.fresh("dead"))
    f.ret(f.const("i1", 0))
    return f


def cluster_end() -> Fn:
    """The cluster has ended: did all accesses to another block's shared memory come before that block's end?

    A block may end, and its memory be reused, as soon as its threads have ended; so one of them must have waited.
    """
    f = Fn("cluster_end", "void", {"w": "ptr"}, COLD)
    shadow, by, base = shared_shadow(f), of_program(f["w"], "shared_shift"), WORKER.get(f["w"], "base")
    low, high = WORKER.get(f["w"], "remote_low"), WORKER.get(f["w"], "remote_high")
    with f.when(low.uge(high)):
        f.ret()
        f.label(f.fresh("dead"))
    first, barrier = low >> by, WORKER.get(f["w"], "barrier")
    threads = LAUNCH.get(launch_of(f), "block_threads")
    with f.count(((high - 1) >> by) - first + 1) as k:
        cell = first + k
        address = cell << by
        owner = address.udiv(of_program(f["w"], "block_bytes")).trunc("i32")
        for stamps, sites in ((shadow.write, shadow.write_site), (shadow.read, shadow.read_site),
                              (shadow.also, shadow.also_site)):  # fmt: skip
            stamp = stamps.index("i32", cell).load("i32")
            stamp = stamp if stamps is shadow.write else stamp & (UNSETTLED - 1)
            thread = stamp & (STAMP_STEP - 1)
            recent = stamp.uge(barrier) & stamp.uge(base) & stamp.ult(UNSETTLED) & thread.ne(ASYNC_THREAD)
            with f.when(recent & thread.udiv(threads).ne(owner), likely=False):
                site = sites.index("i32", cell).load("i32")
                with f.when(f.call("i1", "known_to", f["w"], owner, stamp) ^ 1):
                    kind, none = f.const("i32", int(Kind.LEFT_BLOCK)), f.const("i32", 0)
                    f.call("void", "record", f["w"], kind, site, thread, address, owner.zext("i64"), none)
    f.ret()
    return f


# Stores that arrive later ---------------------------------------------------------------------------------------


def store_async() -> Fn:
    """st.async: `low` and `high` are in flight until a thread tests the mbarrier."""
    f = Fn(
        "store_async",
        "void",
        {
            "w": "ptr", "me": "i32", "address": "i64", "width": "i32", "site": "i32",
            "mbarrier": "i64", "mbarrier_site": "i32", "low": "i64", "high": "i64",
        },
        COLD,
    )  # fmt: skip
    zero, null = f.const("i32", 0), f.const("ptr", "null")
    ok = f.call("i32", "mbarrier_valid", f["w"], f["me"], f["mbarrier"], f["mbarrier_site"], zero)
    with f.when(ok.eq(0), likely=False):
        f.ret()
        f.label(f.fresh("dead"))
    stamp = f.const("i32", IN_FLIGHT_STAMP)
    ok = f.call("i32", "shared_write", f["w"], f["me"], f["address"], f["width"], f["site"], null, stamp)
    entry = flight_at(f, WORKER.get(f["w"], "flight_count"))
    FLIGHT.set(entry, "low", f["low"])
    FLIGHT.set(entry, "high", f["high"])
    target = f.select(ok.ne(0), f["address"], f.const("i64", -1))
    record, thread = f.emit("ptr", f"inttoptr i64 {IN_FLIGHT_RECORD} to ptr"), f["me"] & (STAMP_STEP - 1)
    flight = (f["mbarrier"], target, record, f["width"], f["site"], thread, zero, zero)
    f.call("void", "flight_start", f["w"], *flight)
    f.ret()
    return f
