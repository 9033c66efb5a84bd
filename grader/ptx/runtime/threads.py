"""The threads of the block that a worker runs: where each of them stands, and its mail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import LAUNCH, MAIL_BYTES, SITE_MASK, WORKER, Kind
from grader.ptx.runtime.shadow import of_program

NOINLINE = "noinline nounwind"


def launch_of(f: Fn) -> Value:
    return WORKER.get(f["w"], "launch")


def mail_of(f: Fn, thread: Value) -> Value:
    return WORKER.get(f["w"], "mail").at(thread.zext("i64") * MAIL_BYTES)


def frame_of(f: Fn, thread: Value) -> Value:
    return WORKER.get(f["w"], "frames").at(thread.zext("i64") * of_program(f["w"], "stride"))


def gets_on(f: Fn) -> None:
    """The block has done something other than wait."""
    with f.when(WORKER.get(f["w"], "idle").ne(0), likely=False):
        WORKER.set(f["w"], "idle", f.const("i64", 0))
        add_for_all(f, "waiting", -1)


def note_news(f: Fn) -> None:
    """The block has changed something that others can see: it is making progress."""
    WORKER.set(f["w"], "fresh", WORKER.get(f["w"], "passed"))
    LAUNCH.set(launch_of(f), "stalled", f.const("i64", 0))


def add_for_all(f: Fn, name: str, number: int) -> None:
    """To a count that the workers of a launch share."""
    f.emit("i32", f"atomicrmw add ptr {LAUNCH.at(launch_of(f), name)}, i32 {number} seq_cst")


@contextmanager
def threads_of(f: Fn) -> Iterator[tuple[Value, Value]]:
    """Each thread of the block, with the address of its status."""
    status = WORKER.get(f["w"], "status")
    with f.count(LAUNCH.get(launch_of(f), "threads")) as t:
        yield t, status.index("i32", t)


def warps_of(f: Fn) -> Value:
    """How many warps there are: of all blocks of a cluster."""
    return (LAUNCH.get(launch_of(f), "threads") + 31) >> 5


def warps_of_block(f: Fn) -> Value:
    return (LAUNCH.get(launch_of(f), "block_threads") + 31) >> 5


def rank_of(f: Fn, thread: Value) -> Value:
    """Which block of its cluster a thread belongs to."""
    return thread.udiv(LAUNCH.get(launch_of(f), "block_threads"))


def lanes_of(f: Fn, first: Value) -> Value:
    """Threads of the warp whose first thread is `first`."""
    left = LAUNCH.get(launch_of(f), "threads") - first
    return f.select(left.ult(32), left, f.const("i32", 32))


def record_at(
    f: Fn, kind: Kind, status: Value, thread: Value, other: Value, other_site: Value, address: Value | None = None
) -> None:
    kind_value, address = f.const("i32", int(kind)), address if address is not None else f.const("i64", 0)
    f.call("void", "record", f["w"], kind_value, status & SITE_MASK, thread, address, other, other_site & SITE_MASK)
