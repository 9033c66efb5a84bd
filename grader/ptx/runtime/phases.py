"""mbarrier objects at run time: their counts, their phases, and what a completed phase orders.

PTX ISA, "Parallel Synchronization and Communication Instructions: mbarrier". The state of each is kept next to
shared memory, found by its address; shared memory holds a copy, so that a store that overwrites it is noticed.

An arrival releases what its warp did and knows; a wait that sees the phase completed acquires all of it.
"""

from __future__ import annotations

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import (
    AT_PHASE,
    BYTES_BITS,
    ENOUGH,
    HEADER,
    LAUNCH,
    MAIL,
    MAX_COUNT,
    MBARRIER,
    MBARRIER_BYTES,
    POLL_ROUNDS,
    RUNNABLE,
    SITE_MASK,
    STAMP_STEP,
    WARPS,
    WORKER,
    Kind,
    Misuse,
)
from grader.ptx.runtime.faults import fault, leave
from grader.ptx.runtime.order import known_row, lanes_row
from grader.ptx.runtime.shadow import COLD, of_program
from grader.ptx.runtime.threads import gets_on, mail_of, threads_of
from grader.ptx.runtime.times import advance_time, everywhere, join, learn

BYTES = 8  # of an mbarrier
USE = {"w": "ptr", "me": "i32", "address": "i64", "site": "i32"}
RELEASES, DROPS, STAYS = 1, 2, 4  # of an arrival: its order, and whether the phase may complete (.noComplete)


def functions() -> list[Fn]:
    return [valid(), init(), invalidate(), arrive(), expect(), turn(), poll(), wait(), poll_again()]


def mbarrier_at(f: Fn, address: Value) -> Value:
    return WORKER.get(f["w"], "mbarriers").at((address >> 3) * MBARRIER_BYTES)


def arriving_row(mbarrier: Value) -> Value:
    """What the threads that have arrived know: for each warp, its accesses before this time."""
    return mbarrier.at(MBARRIER.size)


def _completed_row(mbarrier: Value) -> Value:
    return mbarrier.at(MBARRIER.size + 4 * WARPS)


def misuse(f: Fn, what: Misuse, detail: Value | None = None) -> None:
    """`detail`: a number for the message."""
    other = f.const("i64", int(what))
    fault(f, Kind.MISUSE, f["address"], other if detail is None else other | (detail.zext("i64") << 8))


def _block_number(f: Fn) -> Value:
    return WORKER.get(f["w"], "block") + 1


def _shown(f: Fn) -> Value:
    """The place in shared memory at `address`."""
    return WORKER.get(f["w"], "shared").at(f["address"])


# Is it one? -----------------------------------------------------------------------------------------------------


def valid() -> Fn:
    """1 if thread `me` may use the mbarrier at `address`. `changes`: 1 if it will do more than test it."""
    f = Fn("mbarrier_valid", "i32", {**USE, "changes": "i32"}, COLD)
    address, width = f["address"], f.const("i32", BYTES)
    access = (f["w"], f["me"], address, width, f["site"])
    with f.when((address & (BYTES - 1)).ne(0) | address.ugt(of_program(f["w"], "arena") - BYTES), likely=False):
        f.call("i32", "shared_read", *access)
        leave(f, f.const("i32", 0))
    mbarrier = mbarrier_at(f, address)
    with f.when(MBARRIER.get(mbarrier, "block").ne(_block_number(f)), likely=False):
        with f.when(f.call("i32", "shared_read", *access).ne(0)):
            fault(f, Kind.NO_MBARRIER, address)
        leave(f, f.const("i32", 0))
    with f.when(MBARRIER.get(mbarrier, "word").ne(_shown(f).load("i64")), likely=False):
        fault(f, Kind.NO_MBARRIER, address, f.const("i64", 1))
        MBARRIER.set(mbarrier, "block", f.const("i64", 0))
        leave(f, f.const("i32", 0))
    with f.when(f["changes"].ne(0)):
        leave(f, f.call("i32", "shared_update", *access, f.const("ptr", "null"), f["me"]))
    f.ret(f.call("i32", "shared_read", *access))
    return f


def init() -> Fn:
    f = Fn("mbarrier_init", "void", {**USE, "count": "i32"}, COLD)
    _overwrite(f)
    mbarrier = mbarrier_at(f, f["address"])
    with f.when(MBARRIER.get(mbarrier, "block").eq(_block_number(f)), likely=False):
        misuse(f, Misuse.VALID_ALREADY)
    with f.when((f["count"] - 1).uge(MAX_COUNT), likely=False):
        misuse(f, Misuse.COUNT, f["count"])
    f.line(f"call void @llvm.memset.p0.i64(ptr {mbarrier}, i8 0, i64 {MBARRIER_BYTES}, i1 false)")
    MBARRIER.set(mbarrier, "block", _block_number(f))
    MBARRIER.set(mbarrier, "expected", f["count"])
    MBARRIER.set(mbarrier, "pending", f["count"])
    f.call("void", "mbarrier_turn", f["w"], f["address"])
    f.ret()
    return f


def invalidate() -> Fn:
    f = Fn("mbarrier_inval", "void", USE, COLD)
    with f.when(f.call("i32", "mbarrier_valid", *(f[name] for name in USE), f.const("i32", 0)).eq(0), likely=False):
        f.ret()
        f.label(f.fresh("dead"))
    _overwrite(f)
    MBARRIER.set(mbarrier_at(f, f["address"]), "block", f.const("i64", 0))
    f.ret()
    return f


def _overwrite(f: Fn) -> None:
    """A plain write, which must not race with any access of another thread; returns early if it is not allowed."""
    width, null = f.const("i32", BYTES), f.const("ptr", "null")
    ok = f.call("i32", "shared_write", f["w"], f["me"], f["address"], width, f["site"], null, f["me"])
    with f.when(ok.eq(0) | (f["address"] & (BYTES - 1)).ne(0), likely=False):
        f.ret()
        f.label(f.fresh("dead"))


# Counts and phases ----------------------------------------------------------------------------------------------


def arrive() -> Fn:
    """arrive and arrive_drop, and .expect_tx for `bytes` more. Returns the state before: pending count and phase."""
    f = Fn("mbarrier_arrive", "i64", {**USE, "count": "i32", "bytes": "i32", "flags": "i32"}, COLD)
    ok = f.call("i32", "mbarrier_valid", *(f[name] for name in USE), f.const("i32", 1))
    with f.when(ok.eq(0), likely=False):
        leave(f, f.const("i64", 0))
    mbarrier, count, flags = mbarrier_at(f, f["address"]), f["count"], f["flags"]
    _expect(f, mbarrier, f["bytes"])
    pending = MBARRIER.get(mbarrier, "pending")
    state = (pending.zext("i64") << 32) | MBARRIER.get(mbarrier, "phase").zext("i64")
    with f.when((count - 1).uge(MAX_COUNT), likely=False):
        misuse(f, Misuse.COUNT, count)
    too_many = count.ugt(pending)
    with f.when(too_many, likely=False):
        _blame_too_many(f, mbarrier, pending)
    left = f.select(too_many, f.const("i32", 0), pending - count)
    MBARRIER.set(mbarrier, "pending", left)
    with f.when((flags & DROPS).ne(0)):
        expected = MBARRIER.get(mbarrier, "expected")
        MBARRIER.set(mbarrier, "expected", f.select(count.ugt(expected), f.const("i32", 0), expected - count))
    with f.when((flags & STAYS).ne(0) & left.eq(0), likely=False):
        misuse(f, Misuse.COMPLETES)
    with f.when((flags & RELEASES).ne(0)):
        release(f, mbarrier)
    f.call("void", "mbarrier_turn", f["w"], f["address"])
    f.ret(state)
    return f


def _blame_too_many(f: Fn, mbarrier: Value, pending: Value) -> None:
    """More arrivals than the phase waits for: the cause may be a wait that passed too early."""
    site = MBARRIER.get(mbarrier, "again_site")
    early = pending.eq(0) & site.ne(0)
    with f.when(early):
        kind, what = f.const("i32", int(Kind.MISUSE)), f.const("i64", int(Misuse.PASSED_EARLY))
        thread, none = MBARRIER.get(mbarrier, "witness") - 1, f.const("i32", 0)
        f.call("void", "record", f["w"], kind, site, thread, f["address"], what, none)
    with f.when(early ^ 1):
        misuse(f, Misuse.TOO_MANY, pending)


def release(f: Fn, mbarrier: Value) -> None:
    """Threads that see the phase completed will know what this thread's warp did and knows so far."""
    row, warp = arriving_row(mbarrier), (f["me"] & (STAMP_STEP - 1)) >> 5
    join(f, row, known_row(f["w"], warp))
    row.index("i32", warp).store(advance_time(f))


def expect() -> Fn:
    """expect_tx; complete_tx, with a negative number of bytes."""
    f = Fn("mbarrier_expect", "void", {**USE, "bytes": "i32"}, COLD)
    ok = f.call("i32", "mbarrier_valid", *(f[name] for name in USE), f.const("i32", 1))
    with f.when(ok.ne(0)):
        _expect(f, mbarrier_at(f, f["address"]), f["bytes"])
        f.call("void", "mbarrier_turn", f["w"], f["address"])
    f.ret()
    return f


def _expect(f: Fn, mbarrier: Value, more: Value) -> None:
    now = MBARRIER.get(mbarrier, "bytes") + more
    with f.when((now + MAX_COUNT).ugt(2 * MAX_COUNT), likely=False):
        misuse(f, Misuse.BYTES)
    MBARRIER.set(mbarrier, "bytes", now)


def turn() -> Fn:
    """Something changed: if nothing is missing any more, the phase completes and the next one starts."""
    f = Fn("mbarrier_turn", "void", {"w": "ptr", "address": "i64"}, COLD)
    mbarrier = mbarrier_at(f, f["address"])
    missing = MBARRIER.get(mbarrier, "pending") | MBARRIER.get(mbarrier, "bytes")
    with f.when(missing.eq(0)):
        MBARRIER.set(mbarrier, "phase", MBARRIER.get(mbarrier, "phase") + 1)
        WORKER.set(f["w"], "passed", WORKER.get(f["w"], "passed") + 1)
        MBARRIER.set(mbarrier, "pending", MBARRIER.get(mbarrier, "expected"))
        for name in ("came", "copy_site"):
            MBARRIER.set(mbarrier, name, f.const("i32", 0))
        join(f, _completed_row(mbarrier), arriving_row(mbarrier))
    word = MBARRIER.get(mbarrier, "expected").zext("i64") << 42
    word = word | (MBARRIER.get(mbarrier, "pending").zext("i64") << 22)
    word = word | ((MBARRIER.get(mbarrier, "phase") & 1).zext("i64") << 21)
    word = word | (MBARRIER.get(mbarrier, "bytes") & ((1 << 21) - 1)).zext("i64")
    MBARRIER.set(mbarrier, "word", word)
    _shown(f).store(word)
    WORKER.set(f["w"], "polls", f.const("i32", 0))
    gets_on(f)
    f.ret()
    return f


# Waiting --------------------------------------------------------------------------------------------------------


def poll() -> Fn:
    """1 if the phase is complete, or there is nothing to wait for. Copies in flight arrive here, and only here.

    `value`: the state that an arrival returned or, if `parity` is 1, the parity of the phase.
    """
    f = Fn("mbarrier_poll", "i32", {"w": "ptr", "address": "i64", "value": "i64", "parity": "i32"}, COLD)
    address, one = f["address"], f.const("i32", 1)
    with f.when((address & (BYTES - 1)).ne(0) | address.ugt(of_program(f["w"], "arena") - BYTES), likely=False):
        leave(f, one)
    mbarrier = mbarrier_at(f, address)

    def completed() -> Value:
        phase = MBARRIER.get(mbarrier, "phase")
        differs = phase ^ f["value"].trunc("i32")
        return f.select(f["parity"].ne(0), differs & 1, differs).ne(0)

    with f.when(MBARRIER.get(mbarrier, "block").ne(_block_number(f)) | completed()):
        leave(f, one)
    f.call("void", "flights_land", f["w"], address)
    f.ret(completed().zext("i32"))
    return f


def wait() -> Fn:
    """test_wait and try_wait: 1 if the phase is complete; what was released is then ordered before this thread."""
    f = Fn("mbarrier_wait", "i32", {**USE, "value": "i64", "parity": "i32", "acquires": "i32"}, COLD)
    ok = f.call("i32", "mbarrier_valid", *(f[name] for name in USE), f.const("i32", 0))
    with f.when(ok.eq(0), likely=False):
        leave(f, f.const("i32", 1))
    complete = f.call("i32", "mbarrier_poll", f["w"], f["address"], f["value"], f["parity"])
    with f.when(complete.ne(0)):
        _witness(f)
    with f.when(complete.ne(0) & f["acquires"].ne(0)):
        row, thread = _completed_row(mbarrier_at(f, f["address"])), f["me"] & (STAMP_STEP - 1)
        warp = thread >> 5
        join(f, known_row(f["w"], warp), row)
        learn(f, lanes_row(f["w"], thread), everywhere(f, row.index("i32", warp).load("i32")))
        MAIL.set(mail_of(f, thread), "met", WORKER.get(f["w"], "now"))
    f.ret(complete)
    return f


def _witness(f: Fn) -> None:
    """Follow one thread's waits: does it pass twice in one phase, or before any phase has completed?"""
    mbarrier, me = mbarrier_at(f, f["address"]), (f["me"] & (STAMP_STEP - 1)) + 1
    witness, phase = MBARRIER.get(mbarrier, "witness"), MBARRIER.get(mbarrier, "phase")
    with f.when(witness.eq(0) | witness.eq(me)):
        again = phase.eq(0) | (witness.eq(me) & MBARRIER.get(mbarrier, "witnessed").eq(phase))
        MBARRIER.set(mbarrier, "again_site", f.select(again, f["site"] & SITE_MASK, f.const("i32", 0)))
        MBARRIER.set(mbarrier, "witness", me)
        MBARRIER.set(mbarrier, "witnessed", phase)


def poll_again() -> Fn:
    """All threads wait, some for a phase: those test it again. 0 if they have tried often enough: the block ends."""
    f = Fn("poll_again", "i32", {"w": "ptr"}, "noinline nounwind")
    polls = WORKER.get(f["w"], "polls") + 1
    WORKER.set(f["w"], "polls", polls)
    in_vain = polls.ugt(POLL_ROUNDS)
    frames, stride = WORKER.get(f["w"], "frames"), of_program(f["w"], "stride")
    with threads_of(f) as (t, at):
        now = at.load("i32")
        with f.when((now & AT_PHASE).ne(0)):
            at.store(f.const("i32", RUNNABLE))
            WORKER.set(f["w"], "barrier_site", now)
            with f.when(in_vain, likely=False):
                address = HEADER.get(frames.at(t.zext("i64") * stride), "barrier").zext("i64")
                mbarrier = mbarrier_at(f, address)
                missing = MBARRIER.get(mbarrier, "pending").zext("i64") << 2 * BYTES_BITS
                for name, shift in (("came", BYTES_BITS), ("bytes", 0)):
                    part = MBARRIER.get(mbarrier, name).zext("i64") & ((1 << BYTES_BITS) - 1)
                    missing = missing | (part << shift)
                kind, copy = f.const("i32", int(Kind.STUCK_PHASE)), MBARRIER.get(mbarrier, "copy_site")
                f.call("void", "record", f["w"], kind, now & SITE_MASK, t, address, missing, copy)
    with f.when(in_vain, likely=False):
        LAUNCH.set(WORKER.get(f["w"], "launch"), "stop", f.const("i32", ENOUGH))
    f.ret(in_vain.zext("i32") ^ 1)
    return f
