"""Runs a thread block: warps one after the other, each to its next barrier; then the barrier is resolved.

A thread gives back a status, the site it stands at and what it waits for. Warp collectives are settled within the
warp, so that warps run one after the other between two barriers; the shadow memory relies on that order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import (
    ABORTED,
    ARRIVED_ROW,
    AT_BARRIER,
    AT_NAMED,
    AT_WARP,
    AT_YIELD,
    COLLECTIVE_INSTRUCTIONS,
    ENOUGH,
    EXITED,
    FIRST_STAMP,
    HEADER,
    IDLE_INSTRUCTIONS,
    KNOWN_ROWS,
    LAST_STAMP,
    LAUNCH,
    MAIL,
    MAIL_BROUGHT,
    MAIL_BYTES,
    MAIL_PUBLISHED,
    MAIL_WORDS,
    NAMED_BARRIERS,
    RELEASED_ROW,
    RUNNABLE,
    SITE_MASK,
    STAMP_STEP,
    TIME_IS_UP,
    WARPS,
    WORKER,
    Kind,
)
from grader.ptx.shadow import COLD, known_row, of_program, shared_shadow

NOINLINE = "noinline nounwind"


def functions() -> list[Fn]:
    return [
        tick(),
        fence(),
        acquire(),
        arrive(),
        mark_guards(),
        prepare_block(),
        publish(),
        resolve_warp(),
        release(),
        resolve_named(),
        stuck(),
        resolve_block(),
        run_block(),
        work(),
    ]


def _launch(f: Fn) -> Value:
    return WORKER.get(f["w"], "launch")


def _record(f: Fn, kind: Kind, status: Value, thread: Value, other: Value, other_site: Value) -> None:
    kind_value, zero = f.const("i32", int(kind)), f.const("i64", 0)
    f.call("void", "record", f["w"], kind_value, status & SITE_MASK, thread, zero, other, other_site & SITE_MASK)


def _mail(f: Fn, thread: Value) -> Value:
    return WORKER.get(f["w"], "mail").at(thread.zext("i64") * MAIL_BYTES)


@contextmanager
def _threads(f: Fn) -> Iterator[tuple[Value, Value]]:
    """Each thread of the block, with the address of its status."""
    status = WORKER.get(f["w"], "status")
    with f.count(LAUNCH.get(_launch(f), "threads")) as t:
        yield t, status.index("i32", t)


def _advance_time(f: Fn) -> Value:
    now = WORKER.get(f["w"], "now") + STAMP_STEP
    WORKER.set(f["w"], "now", now)
    return now


def tick() -> Fn:
    """Called from a loop after every so many instructions. 1: this thread must end."""
    f = Fn("tick", "i32", {"w": "ptr", "me": "i32", "site": "i32", "spent": "i64"}, COLD)
    spent = WORKER.get(f["w"], "spent") + f["spent"]
    WORKER.set(f["w"], "spent", spent)
    launch = _launch(f)
    stop = LAUNCH.get(launch, "stop")
    endless = spent.ugt(LAUNCH.get(launch, "budget")) | stop.eq(TIME_IS_UP)
    with f.when(endless):
        _record(f, Kind.DID_NOT_FINISH, f["site"], f["me"] & (STAMP_STEP - 1), spent, f.const("i32", 0))
        LAUNCH.set(launch, "stop", f.const("i32", ENOUGH))
    f.ret((endless | stop.ne(0)).zext("i32"))
    return f


# Fences and flags -----------------------------------------------------------------------------------------------


def _join(f: Fn, into: Value, row: Value) -> None:
    """What is known in `row` is known in `into` too."""
    with f.count(f.const("i32", WARPS)) as warp:
        mine, theirs = into.index("i32", warp), row.index("i32", warp).load("i32")
        mine.store(f.select(theirs.ugt(mine.load("i32")), theirs, mine.load("i32")))


def fence() -> Fn:
    """A fence of thread `me`: releases what its warp did so far; `wide`: to other blocks too. Returns the time."""
    f = Fn("fence", "i32", {"w": "ptr", "me": "i32", "wide": "i32"}, COLD)
    now = _advance_time(f)
    with f.when(f["wide"].ne(0)):
        LAUNCH.get(_launch(f), "fenced").index("i32", WORKER.get(f["w"], "block")).store(now)
    MAIL.set(_mail(f, f["me"]), "released", now)
    WORKER.set(f["w"], "released", f.const("i32", 1))
    warp, released = f["me"] >> 5, known_row(f["w"], f.const("i32", RELEASED_ROW))
    _join(f, released, known_row(f["w"], warp))
    released.index("i32", warp).store(now)
    f.ret(now)
    return f


def acquire() -> Fn:
    """Thread `me` looks at what another may have changed atomically.

    Which variable carried which signal is not tracked: everything that was released before is ordered.
    """
    f = Fn("acquire", "void", {"w": "ptr", "me": "i32"}, NOINLINE)
    with f.when(WORKER.get(f["w"], "released").ne(0)):
        MAIL.set(_mail(f, f["me"]), "acquired", WORKER.get(f["w"], "now"))
        _join(f, known_row(f["w"], f["me"] >> 5), known_row(f["w"], f.const("i32", RELEASED_ROW)))
    f.ret()
    return f


def arrive() -> Fn:
    """bar.arrive: thread `me` counts at barrier `id` and does not wait. Returns the time."""
    f = Fn("arrive", "i32", {"w": "ptr", "me": "i32", "id": "i32"}, NOINLINE)
    count = WORKER.get(f["w"], "arrived").index("i32", f["id"])
    count.store(count.load("i32") + 1)
    now, warp = _advance_time(f), f["me"] >> 5
    row = known_row(f["w"], f["id"] + ARRIVED_ROW)
    _join(f, row, known_row(f["w"], warp))
    row.index("i32", warp).store(now)
    f.ret(now)
    return f


# Starting a block -----------------------------------------------------------------------------------------------


def mark_guards() -> Fn:
    """Clear the shadow of shared memory; mark as guard what belongs to no array."""
    f = Fn("mark_guards", "void", {"w": "ptr"}, NOINLINE)
    shadow, by = shared_shadow(f), of_program(f["w"], "shared_shift")
    fill = "call void @llvm.memset.p0.i64(ptr {}, i8 {}, i64 {}, i1 false)"

    def clear(start: Value, size: Value) -> None:
        last = size + (f.const("i64", 1) << by) - 1
        f.line(fill.format(shadow.write.at((start >> by) << 2), 0, (last >> by) << 2))

    cells = (of_program(f["w"], "arena") >> by) << 2
    f.line(fill.format(shadow.write, -1, cells))
    f.line(fill.format(shadow.read, 0, cells))
    with f.count(of_program(f["w"], "array_count")) as i:
        entry = of_program(f["w"], "arrays").at(i << 4)
        clear(entry.load("i64"), entry.at(8).load("i64"))
    clear(of_program(f["w"], "dynamic_start"), LAUNCH.get(_launch(f), "dynamic_shared").zext("i64"))
    WORKER.set(f["w"], "now", f.const("i32", FIRST_STAMP))
    WORKER.set(f["w"], "marked", f.const("i32", 1))
    f.ret()
    return f


def prepare_block() -> Fn:
    f = Fn("prepare_block", "void", {"w": "ptr", "block": "i64"}, NOINLINE)
    worker, launch, block = f["w"], _launch(f), f["block"]
    with f.when(WORKER.get(worker, "now").ugt(LAST_STAMP) | WORKER.get(worker, "marked").eq(0)):
        f.call("void", "mark_guards", worker)
    now = _advance_time(f)
    x, y = LAUNCH.get(launch, "grid_x").zext("i64"), LAUNCH.get(launch, "grid_y").zext("i64")
    row = block.udiv(x)
    zero = f.const("i32", 0)
    values = {
        "base": now, "barrier": now, "block": block, "block_stamp": (block + 2) << 32, "acquired": zero,
        "released": zero, "idle": f.const("i64", 0),
        "ctaid_x": block.urem(x).trunc("i32"), "ctaid_y": row.urem(y).trunc("i32"),
        "ctaid_z": row.udiv(y).trunc("i32"),
    }  # fmt: skip
    for name, value in values.items():
        WORKER.set(worker, name, value)
    arrived = WORKER.get(worker, "arrived")
    f.line(f"call void @llvm.memset.p0.i64(ptr {arrived}, i8 0, i64 {4 * NAMED_BARRIERS}, i1 false)")
    known = WORKER.get(worker, "known")
    f.line(f"call void @llvm.memset.p0.i64(ptr {known}, i8 0, i64 {4 * WARPS * KNOWN_ROWS}, i1 false)")
    f.ret()
    return f


# Warp collectives -----------------------------------------------------------------------------------------------


def publish() -> Fn:
    """The lanes `members` of a warp have all arrived: hand out what they brought and let them go on."""
    f = Fn("publish", "void", {"w": "ptr", "first": "i32", "members": "i32", "whole": "i1"}, NOINLINE)
    status, members = WORKER.get(f["w"], "status"), f["members"]
    lanes = f.const("i32", 32)
    ballot = f.alloca("i32")
    ballot.store(f.const("i32", 0))
    with f.count(lanes) as lane, f.when(((members >> lane) & 1).ne(0)):
        word = _mail(f, f["first"] + lane).at(MAIL_BROUGHT).load("i32")
        ballot.store(ballot.load("i32") | ((word & 1) << lane))
    leader = f.call("i32", "llvm.cttz.i32", members, f.const("i1", 0))
    orders = MAIL.get(_mail(f, f["first"] + leader), "orders").ne(0)
    with f.when(orders):
        _advance_time(f)
    now = WORKER.get(f["w"], "now")
    with f.count(lanes) as lane, f.when(((members >> lane) & 1).ne(0)):
        mail = _mail(f, f["first"] + lane)
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
        mask = MAIL.get(_mail(f, f["first"] + lane), "mask")
        here.store(f.const("i32", 0))
        agree.store(f.const("i32", 0))
        with f.count(f["lanes"]) as other:
            theirs = status.index("i32", f["first"] + other).load("i32")
            with f.when(theirs.eq(mine)):
                here.store(here.load("i32") | bit(other))
                same = MAIL.get(_mail(f, f["first"] + other), "mask").eq(mask)
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


# Barriers -------------------------------------------------------------------------------------------------------


def release() -> Fn:
    """All threads, or those at named barrier `id`, go on; everything before is ordered before everything after."""
    f = Fn("release", "void", {"w": "ptr"}, NOINLINE)
    with _threads(f) as (_, at):
        at.store(f.const("i32", RUNNABLE))
    WORKER.set(f["w"], "barrier", _advance_time(f))
    f.ret()
    return f


def resolve_named() -> Fn:
    """Release named or counted barrier `id` if its threads have all arrived. Returns 1 if so."""
    f = Fn("resolve_named", "i32", {"w": "ptr", "id": "i32"}, NOINLINE)
    frames, total = WORKER.get(f["w"], "frames"), LAUNCH.get(_launch(f), "threads")
    stride = of_program(f["w"], "stride")
    waiting, needed, trues = (f.alloca("i32") for _ in range(3))
    for variable in (waiting, needed, trues):
        variable.store(f.const("i32", 0))

    @contextmanager
    def waiters() -> Iterator[tuple[Value, Value, Value]]:
        with _threads(f) as (t, at):
            now = at.load("i32")
            mine = frames.at(t.zext("i64") * stride)
            waits = now.icmp("sgt", 0) & (now & (AT_NAMED | AT_BARRIER)).ne(0)
            with f.when(waits & HEADER.get(mine, "barrier").eq(f["id"])):
                yield mine, at, t

    with waiters() as (mine, _, _):
        waiting.store(waiting.load("i32") + 1)
        count = HEADER.get(mine, "count")
        needed.store(f.select(count.eq(0), total, count))
        trues.store(trues.load("i32") + HEADER.get(mine, "predicate"))
    arrived = WORKER.get(f["w"], "arrived").index("i32", f["id"])
    have = waiting.load("i32") + arrived.load("i32")
    with f.when(waiting.load("i32").eq(0) | have.ult(needed.load("i32"))):
        f.ret(f.const("i32", 0))
        f.label(f.fresh("dead"))
    arrived.store(have - needed.load("i32"))
    WORKER.set(f["w"], "true_count", trues.load("i32"))
    WORKER.set(f["w"], "met_count", waiting.load("i32"))
    now = _advance_time(f)
    with f.when(waiting.load("i32").eq(total)):
        WORKER.set(f["w"], "barrier", now)
    # Everybody who waits learns what any of them, or any that arrived, knows.
    row, last = known_row(f["w"], f["id"] + ARRIVED_ROW), f.alloca("i32")
    last.store(f.const("i32", -1))
    with waiters() as (_, _, t), f.when((t >> 5).ne(last.load("i32"))):
        last.store(t >> 5)
        _join(f, row, known_row(f["w"], t >> 5))
        row.index("i32", t >> 5).store(now)
    with waiters() as (_, at, t):
        _join(f, known_row(f["w"], t >> 5), row)
        MAIL.set(_mail(f, t), "full_time", now)
        at.store(f.const("i32", RUNNABLE))
    f.ret(f.const("i32", 1))
    return f


def stuck() -> Fn:
    """Nobody can go on: say who waits, and name one thread that is missing there."""
    f = Fn("stuck", "void", {"w": "ptr"}, COLD)
    waiting, missing, other, who = (f.alloca("i32") for _ in range(4))
    for variable in (waiting, missing, other):
        variable.store(f.const("i32", 0))
    who.store(f.const("i32", -1))
    # A collective that waits is the cause; the barriers behind it wait because of it.
    for kind in (AT_WARP, AT_BARRIER | AT_NAMED):
        with _threads(f) as (_, at):
            now = at.load("i32")
            with f.when((now & kind).ne(0) & waiting.load("i32").eq(0)):
                waiting.store(now)
    with _threads(f) as (t, at):
        now = at.load("i32")
        with f.when(now.ne(waiting.load("i32"))):
            missing.store(missing.load("i32") + 1)
            with f.when(who.load("i32").eq(-1)):
                who.store(t)
                other.store(now)
    at = waiting.load("i32")
    collective = (at & AT_WARP).ne(0)
    for condition, kind in ((collective, Kind.COLLECTIVE_MISMATCH), (collective ^ 1, Kind.BARRIER_DIVERGENCE)):
        with f.when(condition):
            _record(f, kind, at, who.load("i32"), missing.load("i32").zext("i64"), other.load("i32"))
    f.ret()
    return f


def resolve_block() -> Fn:
    """All threads have stopped: let go on who can. 0: the block has ended."""
    f = Fn("resolve_block", "i32", {"w": "ptr"}, NOINLINE)
    status = WORKER.get(f["w"], "status")
    first = status.load("i32")
    differs, flags = f.alloca("i32"), f.alloca("i32")
    differs.store(f.const("i32", 0))
    flags.store(f.const("i32", 0))
    with _threads(f) as (_, at):
        now = at.load("i32")
        differs.store(differs.load("i32") | (now ^ first))
        flags.store(flags.load("i32") | now)
    with f.when(differs.load("i32").eq(0)):
        with f.when(first.eq(EXITED)):
            f.ret(f.const("i32", 0))
            f.label(f.fresh("dead"))
        with f.when((first & AT_BARRIER).ne(0)):
            WORKER.set(f["w"], "idle", f.const("i64", 0))
            WORKER.set(f["w"], "barrier_site", first)
            f.call("void", "release", f["w"])
            f.ret(f.const("i32", 1))
            f.label(f.fresh("dead"))
    any_ = f.alloca("i32")
    any_.store(f.const("i32", 0))
    with f.when((flags.load("i32") & AT_NAMED).ne(0)), f.count(f.const("i32", NAMED_BARRIERS)) as barrier:
        any_.store(any_.load("i32") | f.call("i32", "resolve_named", f["w"], barrier))
    with f.when(any_.load("i32").ne(0)):
        WORKER.set(f["w"], "idle", f.const("i64", 0))
        f.ret(f.const("i32", 1))
        f.label(f.fresh("dead"))
    with f.when((flags.load("i32") & AT_YIELD).eq(0)):
        f.call("void", "stuck", f["w"])
        f.ret(f.const("i32", 0))
        f.label(f.fresh("dead"))
    idle = WORKER.get(f["w"], "idle") + (LAUNCH.get(_launch(f), "threads") * IDLE_INSTRUCTIONS).zext("i64")
    WORKER.set(f["w"], "idle", idle)
    stop = LAUNCH.get(_launch(f), "stop")
    endless = idle.ugt(LAUNCH.get(_launch(f), "budget")) | stop.eq(TIME_IS_UP)
    with _threads(f) as (t, at):
        now = at.load("i32")
        with f.when((now & AT_YIELD).ne(0)):
            at.store(f.const("i32", RUNNABLE))
            with f.when(endless):
                _record(f, Kind.DID_NOT_FINISH, now, t, f.const("i64", 0), f.const("i32", 0))
    with f.when(endless):
        LAUNCH.set(_launch(f), "stop", f.const("i32", ENOUGH))
    f.ret((endless | stop.ne(0)).zext("i32") ^ 1)
    return f


# Driving --------------------------------------------------------------------------------------------------------


def run_block() -> Fn:
    f = Fn("run_block", "void", {"w": "ptr"}, NOINLINE)
    worker, launch = f["w"], _launch(f)
    threads = LAUNCH.get(launch, "threads")
    frames, status = WORKER.get(worker, "frames"), WORKER.get(worker, "status")
    stride, kernel = of_program(worker, "stride"), of_program(worker, "kernel")
    with _threads(f) as (t, at):
        mine = frames.at(t.zext("i64") * stride)
        for name in ("pc", "copies", "group"):
            HEADER.set(mine, name, f.const("i32", 0))
        mail = _mail(f, t)
        for name in ("full_time", "part_time", "released", "acquired"):
            MAIL.set(mail, name, f.const("i32", 0))
        at.store(f.const("i32", RUNNABLE))
    flags, last, turns = f.alloca("i32"), f.alloca("i32"), f.alloca("i64")
    with f.loop() as done:
        with f.count((threads + 31) >> 5) as warp:
            turns.store(f.const("i64", 0))
            first = warp << 5
            left = threads - first
            lanes = f.select(left.ult(32), left, f.const("i32", 32))
            with f.loop() as warp_done:
                flags.store(f.const("i32", 0))
                with f.count(lanes) as lane:
                    t = first + lane
                    at = status.index("i32", t)
                    with f.when(at.load("i32").eq(RUNNABLE)):
                        WORKER.set(worker, "spent", f.const("i64", 0))
                        mine = frames.at(t.zext("i64") * stride)
                        at.store(f.call_pointer("i32", kernel, worker, mine, HEADER.get(mine, "pc"), t))
                    now = at.load("i32")
                    f.stop_when(done, now.eq(ABORTED))
                    flags.store(flags.load("i32") | now)
                    last.store(f.select((now & AT_WARP).ne(0), now, last.load("i32")))
                f.stop_when(warp_done, (flags.load("i32") & AT_WARP).eq(0))
                f.stop_when(warp_done, f.call("i32", "resolve_warp", worker, first, lanes).eq(0))
                # A loop of collectives alone never comes to a barrier or a budget of its own.
                turns.store(turns.load("i64") + COLLECTIVE_INSTRUCTIONS)
                endless = turns.load("i64").ugt(LAUNCH.get(launch, "budget"))
                with f.when(endless | LAUNCH.get(launch, "stop").eq(TIME_IS_UP), likely=False):
                    zero = f.const("i32", 0)
                    _record(f, Kind.DID_NOT_FINISH, last.load("i32"), first, f.const("i64", 0), zero)
                    LAUNCH.set(launch, "stop", f.const("i32", ENOUGH))
                f.stop_when(done, LAUNCH.get(launch, "stop").ne(0))
        f.stop_when(done, f.call("i32", "resolve_block", worker).eq(0))
        stop = LAUNCH.get(launch, "stop")
        used = WORKER.get(worker, "now") - WORKER.get(worker, "base")
        out_of_time = used.ugt(LAUNCH.get(launch, "barriers")) | stop.eq(TIME_IS_UP)
        with f.when(out_of_time, likely=False):
            zero = f.const("i32", 0)
            at = WORKER.get(worker, "barrier_site")
            _record(f, Kind.DID_NOT_FINISH, at, zero, f.const("i64", 0), zero)
            LAUNCH.set(launch, "stop", f.const("i32", ENOUGH))
        f.stop_when(done, out_of_time | stop.ne(0))
    f.ret()
    return f


def work() -> Fn:
    """What one OS thread does: take the next block, in index order, until none is left."""
    f = Fn("work", "void", {"w": "ptr"}, "nounwind")
    launch = _launch(f)
    counter = LAUNCH.at(launch, "next_block")
    with f.loop() as done:
        block = f.emit("i64", f"atomicrmw add ptr {counter}, i64 1 seq_cst")
        f.stop_when(done, block.uge(LAUNCH.get(launch, "blocks")))
        f.stop_when(done, LAUNCH.get(launch, "stop").ne(0))
        f.call("void", "prepare_block", f["w"], block)
        f.call("void", "run_block", f["w"])
    f.ret()
    return f
