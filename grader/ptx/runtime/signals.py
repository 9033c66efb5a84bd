"""Signals between blocks: who released what, who looked at it, and which accesses that orders.

Blocks run one at a time here. A thread's fence covers everything that this thread did and knew before it. A strong
store or atomic operation after the fence releases this at its address. A thread that looks there acquires it: its own
later accesses are ordered after it and, after a barrier, those of its block. Whatever a block looked at before its
fence is passed on to those who look at its signals.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from grader.ptx.ir import Fn, Layout, Value
from grader.ptx.machine import (
    CHANGES,
    FENCE,
    HISTORY,
    KEEPS,
    LAUNCH,
    LOOK,
    LOOKS,
    MAIL,
    MAX_FENCES,
    MAX_HEADS,
    MAX_LOOKS,
    MAX_RELEASES,
    MAX_ROWS,
    MAX_STACK,
    RELEASE,
    ROW_BYTES,
    STAMP_STEP,
    WARPS,
    WINDOW,
    WORKER,
    WRITABLE,
)
from grader.ptx.runtime.faults import leave
from grader.ptx.runtime.order import known_row, lanes_row
from grader.ptx.runtime.shadow import COLD, of_program
from grader.ptx.runtime.threads import launch_of, mail_of

TIMES = f"<{WARPS} x i32>"  # a row of them
MOST_EARLY = 64  # updates that a poll may see one by one
ALL = -1  # a row in which everything is known


def functions() -> list[Fn]:
    return [note_row(), covered(), note_fence(), synchronise(), poll_early(), knows_fence(), note_look(),
            note_release(), fence_between(), released(), knows_look(), heard(), search(), visit(),
            apart()]  # fmt: skip


def _record(f: Fn, layout: Layout, name: str, i: Value) -> Value:
    return LAUNCH.get(launch_of(f), name).at((i * layout.size).zext("i64"))


def _fence(f: Fn, i: Value) -> Value:
    return _record(f, FENCE, "fences", i)


def _release(f: Fn, i: Value) -> Value:
    return _record(f, RELEASE, "releases", i)


def _look(f: Fn, i: Value) -> Value:
    return _record(f, LOOK, "looks", i)


def _history(f: Fn, block: Value) -> Value:
    return LAUNCH.get(launch_of(f), "histories").at(block.zext("i64") * HISTORY.size)


def _own_history(f: Fn) -> Value:
    return _history(f, WORKER.get(f["w"], "block").trunc("i32"))


def _threads(f: Fn) -> Value:
    return LAUNCH.get(launch_of(f), "threads")


def _new(f: Fn, counter: str, most: int, more: Value | int = 1) -> Value:
    """The number of a new record; 0 if there is no room. Then everything counts as ordered from here on."""
    launch = launch_of(f)
    last = LAUNCH.get(launch, counter)
    full = (last + more).uge(most)
    with f.when(full, likely=False):
        _lose_order(f)
    LAUNCH.set(launch, counter, f.select(full, last, last + more))
    return f.select(full, f.const("i32", 0), last + 1)


def _lose_order(f: Fn) -> None:
    for name in ("lost", "worn_out"):
        LAUNCH.set(launch_of(f), name, f.const("i32", 1))


@contextmanager
def _list(f: Fn, layout: Layout, name: str, first: Value) -> Iterator[tuple[str, Value, Value]]:
    """Each record, from `first` back to the oldest: the label that ends the loop, its number, its address."""
    at = f.alloca("i32")
    at.store(first)
    with f.loop() as done:
        i = at.load("i32")
        f.stop_when(done, i.eq(0))
        record = _record(f, layout, name, i)
        yield done, i, record
        at.store(layout.get(record, "before"))


# Points in time -------------------------------------------------------------------------------------------------


def note_row() -> Fn:
    """A row with what `thread` knows of its lanes and other warps since the last barrier: its number, or 0."""
    f = Fn("note_row", "i32", {"w": "ptr", "thread": "i32"}, COLD)
    rows = (lanes_row(f["w"], f["thread"]), known_row(f["w"], f["thread"] >> 5))
    lanes, warps = (row.load(TIMES, 4) for row in rows)
    barrier = WORKER.get(f["w"], "barrier")
    one = f.emit(TIMES, f"insertelement {TIMES} poison, i32 {barrier}, i64 0")
    met = f.emit(TIMES, f"shufflevector {one.typed}, {TIMES} poison, {TIMES} zeroinitializer")
    newest = f.call(TIMES, f"llvm.umax.v{WARPS}i32", lanes, warps)
    newer = f.emit(f"<{WARPS} x i1>", f"icmp ugt {newest.typed}, {met}").cast("bitcast", f"i{WARPS}")
    with f.when(newer.eq(0)):
        leave(f, f.const("i32", 0))
    last = LAUNCH.get(launch_of(f), "row_count")
    with f.when(
        last.eq(MAX_ROWS), likely=False
    ):  # no more room: from here on, threads know everything that their block did
        leave(f, f.const("i32", ALL))
    row = last + 1
    LAUNCH.set(launch_of(f), "row_count", row)
    at = _row(f, row)
    at.store(lanes, 4)
    at.at(ROW_BYTES // 2).store(warps, 4)
    f.ret(row)
    return f


def _row(f: Fn, row: Value) -> Value:
    return LAUNCH.get(launch_of(f), "rows").at((row * ROW_BYTES).zext("i64"))


def covered() -> Fn:
    """1 if the access with stamp `what` is ordered before a point in time of `thread`, in the same block."""
    f = Fn(
        "covered", "i1",
        {"w": "ptr", "thread": "i32", "until": "i32", "barrier": "i32", "row": "i32", "what": "i32"}, "nounwind",
    )  # fmt: skip
    who = f["what"] & (STAMP_STEP - 1)
    with f.when(f["what"].ult(f["barrier"])):
        leave(f, f.const("i1", 1))
    with f.when(who.eq(f["thread"])):
        leave(f, f["what"].ult(f["until"]))
    with f.when(f["row"].eq(0) | f["row"].eq(ALL)):
        leave(f, f["row"].ne(0))
    row, in_warp = _row(f, f["row"]), (who >> 5).eq(f["thread"] >> 5)
    index = f.select(in_warp, who & 31, (who >> 5) + WARPS)
    f.ret(f["what"].ult(row.index("i32", index).load("i32")))
    return f


def note_fence() -> Fn:
    """Thread `thread` ran a fence that other blocks can rely on; time has already advanced past it."""
    f = Fn("note_fence", "void", {"w": "ptr", "thread": "i32"}, COLD)
    history, threads = _own_history(f), _threads(f)
    with f.when(HISTORY.get(history, "heads").eq(0)):
        HISTORY.set(history, "heads", _new(f, "head_count", MAX_HEADS, threads))
    heads, fence = HISTORY.get(history, "heads"), _new(f, "fence_count", MAX_FENCES)
    with f.when(heads.ne(0) & fence.ne(0)):
        head, record = _head(f, heads, f["thread"]), _fence(f, fence)
        FENCE.set(record, "time", WORKER.get(f["w"], "now"))
        now, first = WORKER.get(f["w"], "now"), HISTORY.get(history, "first_fence")
        HISTORY.set(history, "first_fence", f.select(first.eq(0), now, first))
        HISTORY.set(history, "last_fence", now)
        FENCE.set(record, "barrier", WORKER.get(f["w"], "barrier"))
        FENCE.set(record, "row", f.call("i32", "note_row", f["w"], f["thread"]))
        FENCE.set(record, "before", head.load("i32"))
        head.store(fence)
    f.ret()
    return f


def _head(f: Fn, heads: Value, thread: Value) -> Value:
    return LAUNCH.get(launch_of(f), "heads").index("i32", heads + thread)


# Signals --------------------------------------------------------------------------------------------------------


def synchronise() -> Fn:
    """A strong access at `address` has happened: thread `me` looks at what is released there, releases, or both."""
    f = Fn("synchronise", "void", {"w": "ptr", "me": "i32", "address": "i64", "how": "i32"}, COLD)
    window = f.call("ptr", "locate", f["w"], f["address"])
    offset = f["address"] - WINDOW.get(window, "base")
    kept = LAUNCH.get(launch_of(f), "signals").ne(0)
    known = kept & (WINDOW.get(window, "flags") & WRITABLE).ne(0) & offset.ult(WINDOW.get(window, "size"))
    with f.when(known ^ 1):
        f.ret()
        f.label(f.fresh("dead"))
    signal = WINDOW.get(window, "signal").index("i32", offset >> of_program(f["w"], "global_shift"))
    stands = signal.load("i32")
    looks, changes, keeps = ((f["how"] & flag).ne(0) for flag in (LOOKS, CHANGES, KEEPS))
    with f.when(looks & stands.ne(0)):
        f.call("void", "note_look", f["w"], f["me"], stands)
    with f.when(looks & changes & keeps):
        WORKER.set(f["w"], "draws", WORKER.get(f["w"], "draws") + 1)
    with f.when(changes):
        goes_on = f.select(keeps, stands, f.const("i32", 0))
        thread = f["me"] & (STAMP_STEP - 1)
        fenced = f.call("i1", "knows_fence", f["w"], thread)
        with f.when(fenced):
            release = f.call("i32", "note_release", f["w"], thread, goes_on)
            signal.store(release)
            RELEASE.set(_release(f, release), "value", _value(f, window, offset))
        with f.when(fenced ^ 1):
            signal.store(goes_on)
    f.ret()
    return f


def _value(f: Fn, window: Value, offset: Value) -> Value:
    """What is in memory there: 8 bytes, or 4 at the end of the array."""
    host, whole = WINDOW.get(window, "host").at(offset), (offset + 8).ule(WINDOW.get(window, "size"))
    value = f.alloca("i64")
    value.store(f.const("i64", 0))
    with f.when(whole):
        value.store(host.load("i64", 1))
    with f.when((whole ^ 1) & (offset + 4).ule(WINDOW.get(window, "size"))):
        value.store(host.load("i32", 1).zext("i64"))
    return value.load("i64")


def poll_early() -> Fn:
    """Host address of what a poll at `address` sees: `current`, or an earlier value that it may still see.

    Blocks run one after the other here, and who waits for a count would always find it complete. But a poll need not
    see more than what its thread knows of, so it sees one update after the other, and a loop may end too soon.
    """
    f = Fn("poll_early", "ptr", {"w": "ptr", "me": "i32", "address": "i64", "current": "ptr"}, COLD)
    window = f.call("ptr", "locate", f["w"], f["address"])
    offset = f["address"] - WINDOW.get(window, "base")
    known = LAUNCH.get(launch_of(f), "signals").ne(0) & (WINDOW.get(window, "flags") & WRITABLE).ne(0)
    with f.when((known & offset.ult(WINDOW.get(window, "size"))) ^ 1):
        leave(f, f["current"])
    stands = WINDOW.get(window, "signal").index("i32", offset >> of_program(f["w"], "global_shift")).load("i32")
    at, found, steps = f.alloca("i32"), f.alloca("i32"), f.alloca("i32")
    at.store(stands)
    found.store(stands)
    steps.store(f.const("i32", 0))
    own = WORKER.get(f["w"], "block").trunc("i32")
    with f.loop() as done:
        i = at.load("i32")
        f.stop_when(done, i.eq(0) | steps.load("i32").uge(MOST_EARLY))
        f.stop_when(done, RELEASE.get(_release(f, i), "block").eq(own))
        f.stop_when(done, f.call("i1", "heard", f["w"], f["me"], i))
        found.store(i)
        at.store(RELEASE.get(_release(f, i), "left"))
        steps.store(steps.load("i32") + 1)
    with f.when(found.load("i32").eq(stands)):
        leave(f, f["current"])
    f.call("void", "note_look", f["w"], f["me"], found.load("i32"))
    WORKER.set(f["w"], "earlier", RELEASE.get(_release(f, found.load("i32")), "value"))
    f.ret(WORKER.at(f["w"], "earlier"))
    return f


def knows_fence() -> Fn:
    """1 if the thread ran a fence, or met other threads of its block after one of them ran one."""
    f = Fn("knows_fence", "i1", {"w": "ptr", "thread": "i32"}, "nounwind")
    heads, first = (HISTORY.get(_own_history(f), name) for name in ("heads", "first_fence"))
    with f.when(heads.eq(0)):
        leave(f, f.const("i1", 0))
    own = _head(f, heads, f["thread"]).load("i32").ne(0)
    mail = mail_of(f, f["thread"])
    met = first.ult(MAIL.get(mail, "met")) | first.ule(MAIL.get(mail, "shuffled"))
    f.ret(own | first.ult(WORKER.get(f["w"], "barrier")) | met)
    return f


def note_look() -> Fn:
    f = Fn("note_look", "void", {"w": "ptr", "me": "i32", "release": "i32"}, COLD)
    history = _own_history(f)
    last = HISTORY.get(history, "looks")
    record = _look(f, last)
    same = LOOK.get(record, "release").eq(f["release"])
    by_me = ((LOOK.get(record, "stamp") ^ f["me"]) & (STAMP_STEP - 1)).eq(0)
    with f.when((last.ne(0) & same & by_me) ^ 1):
        look = _new(f, "look_count", MAX_LOOKS)
        with f.when(look.ne(0)):
            record = _look(f, look)
            for name, value in (("stamp", f["me"]), ("release", f["release"]), ("before", last)):
                LOOK.set(record, name, value)
            HISTORY.set(history, "looks", look)
    f.ret()
    return f


def note_release() -> Fn:
    """The number of a new release by `thread`, which continues release `left`; `left` itself if nothing is new."""
    f = Fn("note_release", "i32", {"w": "ptr", "thread": "i32", "left": "i32"}, COLD)
    block, now = WORKER.get(f["w"], "block").trunc("i32"), WORKER.get(f["w"], "now")
    barrier, before = WORKER.get(f["w"], "barrier"), _release(f, f["left"])
    same = f["left"].ne(0)
    for name, value in (("block", block), ("thread", f["thread"]), ("time", now), ("barrier", barrier)):
        same = same & RELEASE.get(before, name).eq(value)
    with f.when(same):
        leave(f, f["left"])
    history, number = _own_history(f), _new(f, "release_count", MAX_RELEASES)
    record = _release(f, number)
    values = {
        "block": block, "thread": f["thread"], "time": now, "barrier": barrier,
        "row": f.call("i32", "note_row", f["w"], f["thread"]), "left": f["left"],
        "chain": f.select(f["left"].ne(0), RELEASE.get(before, "chain"), number),
        "before": HISTORY.get(history, "releases"), "found": f.const("i32", 0),
        "shuffled": MAIL.get(mail_of(f, f["thread"]), "shuffled"),
        "lanes": MAIL.get(mail_of(f, f["thread"]), "members"),
    }  # fmt: skip
    with f.when(number.ne(0)):
        for name, value in values.items():
            RELEASE.set(record, name, value)
        HISTORY.set(history, "releases", number)
    f.ret(number)
    return f


# What is ordered ------------------------------------------------------------------------------------------------


def fence_between() -> Fn:
    """1 if `thread` ran a fence that comes after the access with stamp `what` and before the release."""
    f = Fn("fence_between", "i1", {"w": "ptr", "thread": "i32", "release": "ptr", "what": "i32"}, "nounwind")
    names = ("thread", "time", "barrier", "row", "shuffled", "lanes")
    who, time, barrier, row, shuffled, lanes = (RELEASE.get(f["release"], name) for name in names)
    heads = HISTORY.get(_history(f, RELEASE.get(f["release"], "block")), "heads")
    with _list(f, FENCE, "fences", _head(f, heads, f["thread"]).load("i32")) as (done, _, fence):
        ran = FENCE.get(fence, "time")
        f.stop_when(done, ran.ult(f["what"]))
        stamp = ran | f["thread"]
        signalled = f.call("i1", "covered", f["w"], who, time + STAMP_STEP, barrier, row, stamp)
        told = _is_lane(stamp, who, lanes) & ran.ule(shuffled)  # by a shuffle after that fence
        signalled = signalled | told
        point = (ran, FENCE.get(fence, "barrier"), FENCE.get(fence, "row"))
        with f.when(signalled), f.when(f.call("i1", "covered", f["w"], f["thread"], *point, f["what"])):
            leave(f, f.const("i1", 1))
    f.ret(f.const("i1", 0))
    return f


def released() -> Fn:
    """1 if this release covers the access with stamp `what` of its block: some thread's fence lies between them."""
    f = Fn("released", "i1", {"w": "ptr", "release": "ptr", "what": "i32"}, "nounwind")
    history = _history(f, RELEASE.get(f["release"], "block"))
    with f.when(HISTORY.get(history, "last_fence").ult(f["what"])):
        leave(f, f.const("i1", 0))

    def by(thread: Value) -> None:
        with f.when(f.call("i1", "fence_between", f["w"], thread, f["release"], f["what"])):
            leave(f, f.const("i1", 1))

    by(f["what"] & (STAMP_STEP - 1))  # the usual ones first
    by(RELEASE.get(f["release"], "thread"))
    with f.count(_threads(f)) as thread:
        by(thread)
    f.ret(f.const("i1", 0))
    return f


@contextmanager
def _knows(f: Fn, look: Value) -> Iterator[None]:
    """The code inside runs if thread `me` knows of a look by its block."""
    with f.when(f.call("i1", "knows_look", f["w"], f["me"], look)):
        yield


def knows_look() -> Fn:
    """1 if thread `me` knows of a look: it is ordered after it, or a shuffle or vote of its warp came after it.

    A shuffle or vote orders no memory, but it waits for the lane that looked, which had waited for the signal.
    """
    f = Fn("knows_look", "i1", {"w": "ptr", "me": "i32", "look": "ptr"}, "nounwind")
    stamp, mail = LOOK.get(f["look"], "stamp"), mail_of(f, f["me"] & (STAMP_STEP - 1))
    number = _number(f, f["look"])
    met = _is_lane(stamp, f["me"], MAIL.get(mail, "members"))
    with f.when(met & number.ule(MAIL.get(mail, "looked"))):
        leave(f, f.const("i1", 1))
    f.ret(f.call("i1", "unordered", f["w"], f["me"], stamp) ^ 1)
    return f


def _number(f: Fn, look: Value) -> Value:
    offset = look.cast("ptrtoint", "i64") - LAUNCH.get(launch_of(f), "looks").cast("ptrtoint", "i64")
    return offset.udiv(LOOK.size).trunc("i32")


def _is_lane(what: Value, thread: Value, members: Value) -> Value:
    """Whether a stamp belongs to one of these lanes of the thread's warp."""
    in_warp = ((what ^ thread) & (STAMP_STEP - 32)).eq(0)
    return in_warp & ((members >> (what & 31)) & 1).ne(0)


def heard() -> Fn:
    """1 if thread `me` knows of release number `release`, by a look at it or at a release that continues it."""
    f = Fn("heard", "i1", {"w": "ptr", "me": "i32", "release": "i32"}, "nounwind")
    chain = RELEASE.get(_release(f, f["release"]), "chain")
    with _list(f, LOOK, "looks", HISTORY.get(_own_history(f), "looks")) as (_, _, look):
        seen = LOOK.get(look, "release")
        goes_on = seen.uge(f["release"]) & RELEASE.get(_release(f, seen), "chain").eq(chain)
        with f.when(goes_on), _knows(f, look):
            leave(f, f.const("i1", 1))
    f.ret(f.const("i1", 0))
    return f


def visit() -> Fn:
    """Put a release on the stack of this search, once. Returns the stack's height."""
    f = Fn("visit", "i32", {"w": "ptr", "height": "i32", "release": "i32"}, "nounwind")
    record, search = _release(f, f["release"]), LAUNCH.get(launch_of(f), "searches")
    with f.when(f["release"].eq(0) | RELEASE.get(record, "found").eq(search)):
        leave(f, f["height"])
    with f.when(f["height"].uge(MAX_STACK), likely=False):
        _lose_order(f)
        leave(f, f["height"])
    RELEASE.set(record, "found", search)
    LAUNCH.get(launch_of(f), "stack").index("i32", f["height"]).store(f["release"])
    f.ret(f["height"] + 1)
    return f


def search() -> Fn:
    """1 if a release that `me` knows, directly or through other blocks, covers the access with stamp `what`."""
    f = Fn("search", "i1", {"w": "ptr", "me": "i32", "block": "i32", "what": "i32"}, COLD)
    launch, height = launch_of(f), f.alloca("i32")
    LAUNCH.set(launch, "searches", LAUNCH.get(launch, "searches") + 1)
    height.store(f.const("i32", 0))

    def push(release: Value) -> None:
        height.store(f.call("i32", "visit", f["w"], height.load("i32"), release))

    with _list(f, LOOK, "looks", HISTORY.get(_own_history(f), "looks")) as (_, _, look), _knows(f, look):
        push(LOOK.get(look, "release"))
    with f.loop() as done:
        f.stop_when(done, height.load("i32").eq(0))
        height.store(height.load("i32") - 1)
        record = _release(f, LAUNCH.get(launch, "stack").index("i32", height.load("i32")).load("i32"))
        block = RELEASE.get(record, "block")
        with f.when(block.eq(f["block"])), f.when(f.call("i1", "released", f["w"], record, f["what"])):
            leave(f, f.const("i1", 1))
        with _list(f, LOOK, "looks", HISTORY.get(_history(f, block), "looks")) as (_, _, look):
            new = RELEASE.get(_release(f, LOOK.get(look, "release")), "found").ne(LAUNCH.get(launch, "searches"))
            with f.when(new), f.when(f.call("i1", "released", f["w"], record, LOOK.get(look, "stamp"))):
                push(LOOK.get(look, "release"))
        push(RELEASE.get(record, "left"))
    f.ret(f.const("i1", 0))
    return f


def apart() -> Fn:
    """1 if nothing orders the access with stamp `what` of another block before what `me` does now."""
    f = Fn("apart", "i1", {"w": "ptr", "me": "i32", "block": "i32", "what": "i32"}, COLD)
    with f.when(LAUNCH.get(launch_of(f), "lost").ne(0), likely=False):
        leave(f, f.const("i1", 0))
    with f.when(LAUNCH.get(launch_of(f), "signals").eq(0)):
        leave(f, f.const("i1", 1))
    with f.when(HISTORY.get(_own_history(f), "looks").eq(0)):
        leave(f, f.const("i1", 1))
    last = HISTORY.get(_history(f, f["block"]), "releases")
    with f.when(RELEASE.get(_release(f, last), "time").ult(f["what"])):  # nothing was released after it
        leave(f, f.const("i1", 1))
    with _list(f, RELEASE, "releases", last) as (done, i, release):
        f.stop_when(done, RELEASE.get(release, "time").ult(f["what"]))
        known = f.call("i1", "heard", f["w"], f["me"], i)
        with f.when(known), f.when(f.call("i1", "released", f["w"], release, f["what"])):
            leave(f, f.const("i1", 0))
    f.ret(f.call("i1", "search", f["w"], f["me"], f["block"], f["what"]) ^ 1)
    return f
