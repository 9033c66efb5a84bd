"""Warp collectives: which lanes have arrived, and the exchange of their values.

PTX ISA, "Data Movement and Conversion Instructions: shfl.sync": a lane waits until all lanes of its mask that have
not left execute the same, with the same mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import (
    AT_WARP,
    EXITED,
    LAUNCH,
    MAIL,
    MAIL_BROUGHT,
    MAIL_PUBLISHED,
    MAIL_WORDS,
    RUNNABLE,
    WORKER,
    Kind,
)
from grader.ptx.runtime.order import lanes_row
from grader.ptx.runtime.shadow import COLD
from grader.ptx.runtime.threads import NOINLINE, lanes_of, launch_of, mail_of, record_at
from grader.ptx.runtime.times import TIMES, advance_time, everywhere, join


def functions() -> list[Fn]:
    return [hand_out(), order_lanes(), publish(), lanes_at(), lanes_alive(), resolve_warp(), mismatch()]


@contextmanager
def _lanes_in(f: Fn, members: Value) -> Iterator[tuple[Value, Value]]:
    """Each of these lanes, and its thread."""
    with f.count(f.const("i32", 32)) as lane, f.when(((members >> lane) & 1).ne(0)):
        yield lane, f["first"] + lane


def hand_out() -> Fn:
    """Gives each of `members` the values of all of them."""
    f = Fn("hand_out", "void", {"w": "ptr", "first": "i32", "members": "i32"}, NOINLINE)
    ballot = f.alloca("i32")
    ballot.store(f.const("i32", 0))
    with _lanes_in(f, f["members"]) as (lane, thread):
        word = mail_of(f, thread).at(MAIL_BROUGHT).load("i32")
        ballot.store(ballot.load("i32") | ((word & 1) << lane))
    with _lanes_in(f, f["members"]) as (_, thread):
        mail = mail_of(f, thread)
        copy = "call void @llvm.memcpy.p0.p0.i32(ptr {}, ptr {}, i32 {}, i1 false)"
        f.line(copy.format(mail.at(MAIL_PUBLISHED), mail.at(MAIL_BROUGHT), 4 * MAIL_WORDS))
        MAIL.set(mail, "ballot", ballot.load("i32"))
        MAIL.set(mail, "shuffled", WORKER.get(f["w"], "now"))
        MAIL.set(mail, "looked", LAUNCH.get(launch_of(f), "look_count"))
        MAIL.set(mail, "members", f["members"])
    f.ret()
    return f


def order_lanes() -> Fn:
    """__syncwarp: each of `members` knows what any of them knew, and all that the lanes of `mask` did so far."""
    f = Fn("order_lanes", "void", {"w": "ptr", "first": "i32", "members": "i32", "mask": "i32"}, NOINLINE)
    met = f.alloca(TIMES, 64)
    met.store(f.const(TIMES, "zeroinitializer"))
    with _lanes_in(f, f["members"]) as (_, thread):
        join(f, met, lanes_row(f["w"], thread))
    now = advance_time(f)
    named, so_far = f["mask"].cast("bitcast", "<32 x i1>"), everywhere(f, now)
    known = f.emit(TIMES, f"select {named.typed}, {so_far.typed}, {met.load(TIMES).typed}")
    with _lanes_in(f, f["members"]) as (_, thread):
        lanes_row(f["w"], thread).store(known, 4)
        MAIL.set(mail_of(f, thread), "met", now)
    f.ret()
    return f


def publish() -> Fn:
    """The lanes `members` of a warp have all arrived: resume them."""
    f = Fn("publish", "void", {"w": "ptr", "first": "i32", "members": "i32"}, NOINLINE)
    leader = f.call("i32", "llvm.cttz.i32", f["members"], f.const("i1", 0))
    mail = mail_of(f, f["first"] + leader)
    orders = MAIL.get(mail, "orders").ne(0)
    with f.when(orders):
        f.call("void", "order_lanes", f["w"], f["first"], f["members"], MAIL.get(mail, "mask"))
    with f.when(orders ^ 1):
        f.call("void", "hand_out", f["w"], f["first"], f["members"])
    with _lanes_in(f, f["members"]) as (_, thread):
        WORKER.get(f["w"], "status").index("i32", thread).store(f.const("i32", RUNNABLE))
    f.ret()
    return f


def lanes_at() -> Fn:
    """Lanes of its warp that wait with `thread`: for the same collective, with the same mask."""
    f = Fn("lanes_at", "i32", {"w": "ptr", "thread": "i32"}, NOINLINE)
    first, mail = f["thread"] & -32, mail_of(f, f["thread"])
    here = f.alloca("i32")
    here.store(f.const("i32", 0))
    with f.count(lanes_of(f, first)) as lane, f.when(_waits(_status_of(f, first + lane))):
        other = mail_of(f, first + lane)
        same = (MAIL.get(other, name).eq(MAIL.get(mail, name)) for name in ("operation", "mask"))
        here.store(here.load("i32") | ((next(same) & next(same)).zext("i32") << lane))
    f.ret(here.load("i32"))
    return f


def lanes_alive() -> Fn:
    """Lanes of the warp that have not left the kernel."""
    f = Fn("lanes_alive", "i32", {"w": "ptr", "first": "i32"}, NOINLINE)
    alive = f.alloca("i32")
    alive.store(f.const("i32", 0))
    with f.count(lanes_of(f, f["first"])) as lane:
        alive.store(alive.load("i32") | (_status_of(f, f["first"] + lane).ne(EXITED).zext("i32") << lane))
    f.ret(alive.load("i32"))
    return f


def resolve_warp() -> Fn:
    """Release every group of lanes that is complete; lanes that have left count as arrived. How many groups?"""
    f = Fn("resolve_warp", "i32", {"w": "ptr", "first": "i32"}, NOINLINE)
    released = f.alloca("i32")
    released.store(f.const("i32", 0))
    alive = f.call("i32", "lanes_alive", f["w"], f["first"])
    with f.count(lanes_of(f, f["first"])) as lane, f.when(_waits(_status_of(f, f["first"] + lane))):
        here = f.call("i32", "lanes_at", f["w"], f["first"] + lane)
        wanted = MAIL.get(mail_of(f, f["first"] + lane), "mask") & alive
        with f.when((wanted & here).eq(wanted)):
            f.call("void", "publish", f["w"], f["first"], here)
            released.store(released.load("i32") + 1)
    f.ret(released.load("i32"))
    return f


def mismatch() -> Fn:
    """Thread `thread` waits for lanes of its mask that never come: name one, and where it is instead."""
    f = Fn("mismatch", "void", {"w": "ptr", "thread": "i32"}, COLD)
    first, mask = f["thread"] & -32, MAIL.get(mail_of(f, f["thread"]), "mask")
    absent = mask & f.call("i32", "lanes_alive", f["w"], first)
    absent = absent & (f.call("i32", "lanes_at", f["w"], f["thread"]) ^ -1)
    who = first + f.call("i32", "llvm.cttz.i32", absent, f.const("i1", 0))
    at, where = _status_of(f, f["thread"]), _status_of(f, who)
    record_at(f, Kind.COLLECTIVE_MISMATCH, at, who, f.const("i64", 0), where)
    f.ret()
    return f


def _status_of(f: Fn, thread: Value) -> Value:
    return WORKER.get(f["w"], "status").index("i32", thread).load("i32")


def _waits(status: Value) -> Value:
    return status.icmp("sgt", 0) & (status & AT_WARP).ne(0)
