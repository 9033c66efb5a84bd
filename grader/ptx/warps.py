"""Warp collectives: who has arrived, and handing out what the lanes brought.

PTX ISA, "Data Movement and Conversion Instructions: shfl.sync": a lane waits until all lanes of its mask that have not
left execute the same, with the same mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import (
    AT_WARP,
    EXITED,
    MAIL,
    MAIL_BROUGHT,
    MAIL_PUBLISHED,
    MAIL_WORDS,
    RUNNABLE,
    WORKER,
)
from grader.ptx.order import lanes_row
from grader.ptx.threads import NOINLINE, mail_of
from grader.ptx.times import TIMES, advance_time, everywhere, join


def functions() -> list[Fn]:
    return [hand_out(), order_lanes(), publish(), resolve_warp()]


@contextmanager
def _lanes_in(f: Fn, members: Value) -> Iterator[tuple[Value, Value]]:
    """Each of these lanes, and its thread."""
    with f.count(f.const("i32", 32)) as lane, f.when(((members >> lane) & 1).ne(0)):
        yield lane, f["first"] + lane


def hand_out() -> Fn:
    """Each of `members` finds what it and the others brought."""
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
    """The lanes `members` of a warp have all arrived: let them go on."""
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


def resolve_warp() -> Fn:
    """Release every group of lanes that is complete; lanes that have left count as arrived. How many groups?"""
    f = Fn("resolve_warp", "i32", {"w": "ptr", "first": "i32", "lanes": "i32"}, NOINLINE)
    status = WORKER.get(f["w"], "status")
    alive, released, here, agree = (f.alloca("i32") for _ in range(4))
    alive.store(f.const("i32", 0))
    released.store(f.const("i32", 0))

    def bit(lane: Value) -> Value:
        return f.const("i32", 1) << lane

    with f.count(f["lanes"]) as lane, f.when(status.index("i32", f["first"] + lane).load("i32").ne(EXITED)):
        alive.store(alive.load("i32") | bit(lane))
    with f.count(f["lanes"]) as lane:
        mine = status.index("i32", f["first"] + lane).load("i32")
        next_ = f.fresh("next")
        f.stop_when(next_, mine.icmp("slt", 0) | (mine & AT_WARP).eq(0))
        mask = MAIL.get(mail_of(f, f["first"] + lane), "mask")
        here.store(f.const("i32", 0))
        agree.store(f.const("i32", 0))
        with f.count(f["lanes"]) as other:
            theirs = status.index("i32", f["first"] + other).load("i32")
            with f.when(theirs.eq(mine)):
                here.store(here.load("i32") | bit(other))
                same = MAIL.get(mail_of(f, f["first"] + other), "mask").eq(mask)
                agree.store(agree.load("i32") | f.select(same, bit(other), f.const("i32", 0)))
        wanted = mask & alive.load("i32")
        complete = (wanted & agree.load("i32")).eq(wanted) & (wanted & bit(lane)).ne(0)
        members = f.select(mask.eq(0), here.load("i32"), wanted)
        with f.when(complete | mask.eq(0)):
            f.call("void", "publish", f["w"], f["first"], members)
            released.store(released.load("i32") + 1)
        f.jump(next_)
        f.label(next_)
    f.ret(released.load("i32"))
    return f
