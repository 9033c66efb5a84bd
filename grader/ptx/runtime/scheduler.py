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
    ARENA_TAIL,
    AT_BARRIER,
    AT_CLUSTER,
    AT_NAMED,
    AT_PHASE,
    AT_WARP,
    AT_YIELD,
    BUSY,
    COLLECTIVE_INSTRUCTIONS,
    ENOUGH,
    EXITED,
    FIRST_STAMP,
    HEADER,
    IDLE,
    IDLE_INSTRUCTIONS,
    LANES_ROW,
    LAST_STAMP,
    LAST_TIME,
    LAUNCH,
    MAIL,
    MAX_CLUSTER,
    NAMED_BARRIERS,
    RUBBISH,
    RUNNABLE,
    SINK_BYTES,
    STAMP_STEP,
    TIME_IS_UP,
    WARPS,
    WORKER,
    Kind,
)
from grader.ptx.runtime.shadow import COLD, of_program, shared_shadow
from grader.ptx.runtime.threads import (
    NOINLINE,
    add_for_all,
    gets_on,
    lanes_of,
    launch_of,
    mail_of,
    note_news,
    record_at,
    threads_of,
)
from grader.ptx.runtime.times import advance_time
from grader.ptx.runtime.turns import set_state, takes_turns


def functions() -> list[Fn]:
    return [tick(), mark_guards(), prepare_block(), clean_up(), resolve_block(), wait_on(), run_block(), work()]


def tick() -> Fn:
    """Called from a loop after every so many instructions. 1: this thread must end."""
    f = Fn("tick", "i32", {"w": "ptr", "me": "i32", "site": "i32", "spent": "i64"}, COLD)
    spent = WORKER.get(f["w"], "spent") + f["spent"]
    WORKER.set(f["w"], "spent", spent)
    launch = launch_of(f)
    stop = LAUNCH.get(launch, "stop")
    endless = spent.ugt(LAUNCH.get(launch, "budget")) | stop.eq(TIME_IS_UP)
    with f.when(endless):
        thread, ran = f["me"] & (STAMP_STEP - 1), spent + WORKER.get(f["w"], "idle")
        record_at(f, Kind.DID_NOT_FINISH, f["site"], thread, ran, f.const("i32", 0))
        LAUNCH.set(launch, "stop", f.const("i32", ENOUGH))
    gets_on(f)
    f.ret((endless | stop.ne(0)).zext("i32"))
    return f


# Starting a block -----------------------------------------------------------------------------------------------


def mark_guards() -> Fn:
    """Clear the shadow of shared memory; mark everything outside the arrays as guard."""
    f = Fn("mark_guards", "void", {"w": "ptr"}, NOINLINE)
    shadow, by = shared_shadow(f), of_program(f["w"], "shared_shift")
    fill = "call void @llvm.memset.p0.i64(ptr {}, i8 {}, i64 {}, i1 false)"

    def clear(start: Value, size: Value) -> None:
        last = size + (f.const("i64", 1) << by) - 1
        f.line(fill.format(shadow.write.at((start >> by) << 2), 0, (last >> by) << 2))

    cells = (of_program(f["w"], "arena") >> by) << 2
    f.line(fill.format(shadow.write, -1, cells))
    f.line(fill.format(shadow.read, 0, cells))
    f.line(fill.format(shadow.also, 0, cells))
    with f.count(of_program(f["w"], "array_count")) as i:
        entry = of_program(f["w"], "arrays").at(i << 4)
        clear(entry.load("i64"), entry.at(8).load("i64"))
    with _blocks(f) as block:
        start, size = _dynamic_shared(f)
        clear(block + start, size)
    # Times start over. What earlier blocks left in these rows was older than all that this block asks for, until now.
    known, rows = WORKER.get(f["w"], "known"), LAUNCH.get(launch_of(f), "threads").zext("i64") + LANES_ROW
    f.line(fill.format(known, 0, rows * (4 * WARPS)))
    WORKER.set(f["w"], "now", f.const("i32", FIRST_STAMP))
    WORKER.set(f["w"], "marked", f.const("i32", 1))
    f.ret()
    return f


@contextmanager
def _blocks(f: Fn) -> Iterator[Value]:
    """Where the shared memory of each block of the cluster starts in the arena."""
    with f.count(of_program(f["w"], "blocks")) as rank:
        yield rank * of_program(f["w"], "block_bytes")


def _dynamic_shared(f: Fn) -> tuple[Value, Value]:
    """Where it starts in a block, and its bytes: of what a launch asks for, as much as there is room for.

    A launch may ask for dynamic shared memory of which the kernel has no array.
    """
    start, asked = of_program(f["w"], "dynamic_start"), LAUNCH.get(launch_of(f), "dynamic_shared").zext("i64")
    room = of_program(f["w"], "block_bytes") - start - ARENA_TAIL
    return start, f.select(asked.ult(room), asked, room)


def prepare_block() -> Fn:
    f = Fn("prepare_block", "void", {"w": "ptr", "block": "i64"}, NOINLINE)
    worker, launch, block = f["w"], launch_of(f), f["block"]
    with f.when(WORKER.get(worker, "now").ugt(LAST_STAMP) | WORKER.get(worker, "marked").eq(0)):
        f.call("void", "mark_guards", worker)
    now = advance_time(f)
    x, y = LAUNCH.get(launch, "clusters_x").zext("i64"), LAUNCH.get(launch, "clusters_y").zext("i64")
    row = block.udiv(x)
    zero = f.const("i32", 0)

    def first(axis: str, number: Value) -> Value:
        return number.trunc("i32") * LAUNCH.get(launch, f"cluster_{axis}")

    values = {
        "base": now, "barrier": now, "block": block, "block_stamp": (block + 2) << 32, "draws": zero,
        "drawing": zero, "released": zero, "split_site": zero,
        **dict.fromkeys(("idle", "passed", "fresh"), f.const("i64", 0)),
        "ctaid_x": first("x", block.urem(x)), "ctaid_y": first("y", row.urem(y)),
        "clock": LAUNCH.get(launch, "salt") + (block << 12),
        "ctaid_z": first("z", row.udiv(y)), "cluster_split": zero, "remote_low": f.const("i64", -1),
        "remote_high": f.const("i64", 0),
    }  # fmt: skip
    for name, value in values.items():
        WORKER.set(worker, name, value)
    arrived = WORKER.get(worker, "arrived")
    f.line(f"call void @llvm.memset.p0.i64(ptr {arrived}, i8 0, i64 {12 * MAX_CLUSTER * NAMED_BARRIERS}, i1 false)")
    f.call("void", "flights_reset", worker)
    f.call("void", "clean_up", worker)
    f.ret()
    return f


def clean_up() -> Fn:
    """What earlier blocks of this worker left in shared memory, and what went to the sink, no block can rely on."""
    f = Fn("clean_up", "void", {"w": "ptr"}, NOINLINE)
    shared, asked = WORKER.get(f["w"], "shared"), LAUNCH.get(launch_of(f), "dynamic_shared").zext("i64")
    fill = "call void @llvm.memset.p0.i64(ptr {}, i8 {}, i64 {}, i1 false)"
    uses = of_program(f["w"], "array_count") | asked
    with f.when(uses.ne(0)), _blocks(f) as block:
        start, size = _dynamic_shared(f)
        f.line(fill.format(shared.at(block), RUBBISH, start + size))
    faults = WORKER.get(f["w"], "fault_count")
    with f.when(faults.ne(WORKER.get(f["w"], "sunk")), likely=False):
        WORKER.set(f["w"], "sunk", faults)
        f.line(fill.format(WORKER.get(f["w"], "sink"), 0, SINK_BYTES))
    f.ret()
    return f


def resolve_block() -> Fn:
    """All threads have stopped: resume those that can go on. 0: the block has ended."""
    f = Fn("resolve_block", "i32", {"w": "ptr"}, NOINLINE)
    status = WORKER.get(f["w"], "status")
    first = status.load("i32")
    differs, flags = f.alloca("i32"), f.alloca("i32")
    differs.store(f.const("i32", 0))
    flags.store(f.const("i32", 0))
    with threads_of(f) as (_, at):
        now = at.load("i32")
        differs.store(differs.load("i32") | (now ^ first))
        flags.store(flags.load("i32") | now)
    with f.when(differs.load("i32").eq(0)):
        with f.when(first.eq(EXITED)):
            f.call("void", "bulk_end", f["w"])
            f.call("void", "warpgroups_end", f["w"])
            f.call("void", "cluster_end", f["w"])
            f.ret(f.const("i32", 0))
            f.label(f.fresh("dead"))
        with f.when((first & AT_BARRIER).ne(0)):
            _note_progress(f)
            WORKER.set(f["w"], "barrier_site", first)
            f.call("void", "release", f["w"])
            f.ret(f.const("i32", 1))
            f.label(f.fresh("dead"))
    any_ = f.alloca("i32")
    any_.store(f.const("i32", 0))
    only_0 = (flags.load("i32") & AT_NAMED).eq(0)
    barriers = f.select(only_0, f.const("i32", 1), LAUNCH.get(launch_of(f), "named_barriers"))
    with f.when((flags.load("i32") & (AT_NAMED | AT_BARRIER)).ne(0)), f.count(barriers) as barrier:
        any_.store(any_.load("i32") | f.call("i32", "resolve_named", f["w"], barrier))
    with f.when(any_.load("i32").ne(0)):
        _note_progress(f)
        f.ret(f.const("i32", 1))
        f.label(f.fresh("dead"))
    with f.when((flags.load("i32") & AT_CLUSTER).ne(0)), f.when(f.call("i32", "cluster_resolve", f["w"]).ne(0)):
        _note_progress(f)
        f.ret(f.const("i32", 1))
        f.label(f.fresh("dead"))
    with f.when((flags.load("i32") & (AT_YIELD | AT_PHASE)).eq(AT_PHASE)):
        f.ret(f.call("i32", "poll_again", f["w"]))
        f.label(f.fresh("dead"))
    with f.when((flags.load("i32") & AT_YIELD).eq(0)):
        f.call("void", "stuck", f["w"])
        f.ret(f.const("i32", 0))
        f.label(f.fresh("dead"))
    f.ret(f.call("i32", "wait_on", f["w"]))
    return f


def wait_on() -> Fn:
    """All threads stand in loops that may wait, or behind them: once more. 0: they have often enough."""
    f = Fn("wait_on", "i32", {"w": "ptr"}, NOINLINE)
    launch = launch_of(f)
    one, zero = f.const("i32", 1), f.const("i32", 0)
    note_news(f)  # a block that waits for others makes no progress itself
    # A block that drew before the loop may wait in it; one that draws in the loop makes progress.
    again, draws = WORKER.get(f["w"], "drawing"), WORKER.get(f["w"], "draws")
    WORKER.set(f["w"], "drawing", one)
    WORKER.set(f["w"], "draws", zero)
    with f.when(draws.ne(0)):
        gets_on(f)
        with f.when(again.ne(0)):
            f.call("void", "pass_turn", f["w"], one, one)
    idle = f.select(draws.ne(0), f.const("i64", 0), _idle(f, draws.eq(0)))
    with f.when(draws.eq(0)):
        f.call("void", "pass_turn", f["w"], zero, zero)
    stop = LAUNCH.get(launch, "stop")
    endless = idle.ugt(LAUNCH.get(launch, "budget")) | stop.eq(TIME_IS_UP)
    with threads_of(f) as (t, at):
        now = at.load("i32")
        with f.when((now & (AT_YIELD | AT_PHASE)).ne(0)):
            at.store(f.const("i32", RUNNABLE))
            with f.when(endless):
                record_at(f, Kind.DID_NOT_FINISH, now, t, idle, f.const("i32", 0))
    with f.when(endless):
        LAUNCH.set(launch, "stop", f.const("i32", ENOUGH))
    f.ret((endless | stop.ne(0)).zext("i32") ^ 1)
    return f


def _note_progress(f: Fn) -> None:
    gets_on(f)
    for name in ("polls", "drawing"):
        WORKER.set(f["w"], name, f.const("i32", 0))


def _idle(f: Fn, waits: Value) -> Value:
    """How long all threads have waited. As long as another block makes progress, they may wait for it."""
    launch = launch_of(f)
    with f.when(waits & WORKER.get(f["w"], "idle").eq(0)):
        add_for_all(f, "waiting", 1)
    others_get_on = takes_turns(f) & LAUNCH.get(launch, "waiting").ult(LAUNCH.get(launch, "running"))
    before = f.select(others_get_on, f.const("i64", 0), WORKER.get(f["w"], "idle"))
    idle = before + (LAUNCH.get(launch, "threads") * IDLE_INSTRUCTIONS).zext("i64")
    with f.when(waits):
        WORKER.set(f["w"], "idle", idle)
    return idle


# Driving --------------------------------------------------------------------------------------------------------


def run_block() -> Fn:
    f = Fn("run_block", "void", {"w": "ptr"}, NOINLINE)
    worker, launch = f["w"], launch_of(f)
    threads = LAUNCH.get(launch, "threads")
    frames, status = WORKER.get(worker, "frames"), WORKER.get(worker, "status")
    stride, kernel = of_program(worker, "stride"), of_program(worker, "kernel")
    with threads_of(f) as (t, at):
        mine = frames.at(t.zext("i64") * stride)
        for name in ("pc", "copies", "group", "bulk_group", "product_group", "products_done", "cluster"):
            HEADER.set(mine, name, f.const("i32", 0))
        for name in ("met", "shuffled", "looked", "members"):
            MAIL.set(mail_of(f, t), name, f.const("i32", 0))
        at.store(f.const("i32", RUNNABLE))
    flags, last, turns = f.alloca("i32"), f.alloca("i32"), f.alloca("i64")
    with f.loop() as done:
        passed = WORKER.get(worker, "passed")
        with f.count((threads + 31) >> 5) as warp:
            turns.store(f.const("i64", 0))
            first = warp << 5
            lanes = lanes_of(f, first)
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
                f.stop_when(warp_done, f.call("i32", "resolve_warp", worker, first).eq(0))
                # A loop of collectives alone never comes to a barrier or a budget of its own.
                turns.store(turns.load("i64") + COLLECTIVE_INSTRUCTIONS)
                gets_on(f)
                endless = turns.load("i64").ugt(LAUNCH.get(launch, "budget"))
                with f.when(endless | LAUNCH.get(launch, "stop").eq(TIME_IS_UP), likely=False):
                    zero = f.const("i32", 0)
                    record_at(f, Kind.DID_NOT_FINISH, last.load("i32"), first, turns.load("i64"), zero)
                    LAUNCH.set(launch, "stop", f.const("i32", ENOUGH))
                _let_others_draw(f)
                f.stop_when(done, LAUNCH.get(launch, "stop").ne(0))
        f.stop_when(done, f.call("i32", "resolve_block", worker).eq(0))
        with f.when(WORKER.get(worker, "drawing").eq(0)):
            _let_others_draw(f)
        meets = WORKER.get(worker, "passed").ne(passed)
        # If no threads met, they spin or wait for a phase: that is reported there.
        too_many = WORKER.get(worker, "passed").ugt(LAUNCH.get(launch, "barriers")) | _goes_round(f, meets)
        with f.when(meets & (too_many | LAUNCH.get(launch, "stop").eq(TIME_IS_UP)), likely=False):
            zero = f.const("i32", 0)
            at = WORKER.get(worker, "barrier_site")
            record_at(f, Kind.DID_NOT_FINISH, at, zero, f.const("i64", 0), zero)
            LAUNCH.set(launch, "stop", f.const("i32", ENOUGH))
        f.stop_when(done, LAUNCH.get(launch, "stop").eq(ENOUGH))
    with f.when(WORKER.get(worker, "now").uge(LAST_TIME), likely=False):
        LAUNCH.set(launch, "worn_out", f.const("i32", 1))
    f.ret()
    return f


def _goes_round(f: Fn, meets: Value) -> Value:
    """1 if for very long nothing new came into global memory, from this block or those that it takes turns with."""
    launch, most = launch_of(f), LAUNCH.get(launch_of(f), "stale")
    stale = WORKER.get(f["w"], "passed") - WORKER.get(f["w"], "fresh")
    with f.when(meets & takes_turns(f)):
        LAUNCH.set(launch, "stalled", LAUNCH.get(launch, "stalled") + 1)
    return stale.ugt(most) | (takes_turns(f) & LAUNCH.get(launch, "stalled").ugt(most))


def _let_others_draw(f: Fn) -> None:
    with f.when(WORKER.get(f["w"], "draws").ne(0), likely=False):
        one = f.const("i32", 1)
        f.call("void", "pass_turn", f["w"], one, one)


def work() -> Fn:
    """The loop of one OS thread: take the next block, in index order, until none is left."""
    f = Fn("work", "void", {"w": "ptr"}, "nounwind")
    launch = launch_of(f)
    counter = LAUNCH.at(launch, "next_block")
    with f.when(takes_turns(f) & WORKER.get(f["w"], "number").ne(0)):
        f.call("void", "await_turn", f["w"])
    with f.loop() as done:
        f.stop_when(done, LAUNCH.get(launch, "stop").ne(0))  # first: what is taken is run
        block = f.emit("i64", f"atomicrmw add ptr {counter}, i64 1 seq_cst")
        f.stop_when(done, block.uge(LAUNCH.get(launch, "blocks")))
        add_for_all(f, "running", 1)
        set_state(f, BUSY)
        f.call("void", "prepare_block", f["w"], block)
        f.call("void", "run_block", f["w"])
        gets_on(f)
        add_for_all(f, "running", -1)
        set_state(f, IDLE)
    with f.when(takes_turns(f)):
        f.call("void", "end_turns", f["w"])
    f.ret()
    return f
