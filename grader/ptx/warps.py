"""Warp collectives: who has arrived, and handing out what the lanes brought."""

from __future__ import annotations

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
from grader.ptx.threads import NOINLINE, mail_of
from grader.ptx.times import advance_time


def functions() -> list[Fn]:
    return [publish(), resolve_warp()]


def publish() -> Fn:
    """The lanes `members` of a warp have all arrived: hand out what they brought and let them go on."""
    f = Fn("publish", "void", {"w": "ptr", "first": "i32", "members": "i32", "whole": "i1"}, NOINLINE)
    status, members = WORKER.get(f["w"], "status"), f["members"]
    lanes = f.const("i32", 32)
    ballot = f.alloca("i32")
    ballot.store(f.const("i32", 0))
    with f.count(lanes) as lane, f.when(((members >> lane) & 1).ne(0)):
        word = mail_of(f, f["first"] + lane).at(MAIL_BROUGHT).load("i32")
        ballot.store(ballot.load("i32") | ((word & 1) << lane))
    leader = f.call("i32", "llvm.cttz.i32", members, f.const("i1", 0))
    orders = MAIL.get(mail_of(f, f["first"] + leader), "orders").ne(0)
    with f.when(orders):
        advance_time(f)
    now = WORKER.get(f["w"], "now")
    with f.count(lanes) as lane, f.when(((members >> lane) & 1).ne(0)):
        mail = mail_of(f, f["first"] + lane)
        copy = "call void @llvm.memcpy.p0.p0.i32(ptr {}, ptr {}, i32 {}, i1 false)"
        f.line(copy.format(mail.at(MAIL_PUBLISHED), mail.at(MAIL_BROUGHT), 4 * MAIL_WORDS))
        MAIL.set(mail, "ballot", ballot.load("i32"))
        MAIL.set(mail, "members", members)
        with f.when(orders & f["whole"]):
            MAIL.set(mail, "full_time", now)
        with f.when(orders & (f["whole"] ^ 1)):
            MAIL.set(mail, "part_time", now)
            MAIL.set(mail, "part_mask", members)
        status.index("i32", f["first"] + lane).store(f.const("i32", RUNNABLE))
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
            f.call("void", "publish", f["w"], f["first"], members, members.eq(alive.load("i32")))
            released.store(released.load("i32") + 1)
        f.jump(next_)
        f.label(next_)
    f.ret(released.load("i32"))
    return f
