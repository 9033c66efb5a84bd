"""The mailboxes through which the lanes of a warp exchange words in a collective."""

from __future__ import annotations

from grader.ptx.ir import Value
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.machine import (
    ABORTED,
    ABSENT_LANE,
    MAIL,
    MAIL_BROUGHT,
    MAIL_BYTES,
    MAIL_PUBLISHED,
    MAIL_WORDS,
    OWN_LANE,
    WORKER,
    Kind,
)

# Masks of collectives without a mask operand.
ALL_LANES = -1
WHOEVER_COMES = 0


def mail_of(u: KernelBuilder, thread: Value) -> Value:
    return WORKER.get(u.worker, "mail").at(thread.zext("i64") * MAIL_BYTES)


def bring(u: KernelBuilder, mask: Value, *words: Value, orders: bool = False) -> None:
    assert len(words) <= MAIL_WORDS
    mail = mail_of(u, u.f["tid"])
    MAIL.set(mail, "operation", u.f.const("i32", u.meeting_places[id(u.here)]))
    MAIL.set(mail, "mask", mask)
    MAIL.set(mail, "orders", u.f.const("i32", int(orders)))
    for k, word in enumerate(words):
        mail.at(MAIL_BROUGHT + 4 * k).store(word)


def word_of(u: KernelBuilder, lane: Value, k: Value | int = 0) -> Value:
    """Word `k` that `lane` of this warp brought."""
    first = u.f["tid"] & -32
    return mail_of(u, first | lane).at(MAIL_PUBLISHED).index("i32", k).load("i32")


def own(u: KernelBuilder, name: str) -> Value:
    """A result that the collective left for this lane: "members" or "ballot"."""
    return MAIL.get(mail_of(u, u.f["tid"]), name)


def lane_of(u: KernelBuilder) -> Value:
    return u.f["tid"] & 31


def must_take_part(u: KernelBuilder, lane: Value) -> None:
    """The value of a lane that is not in the mask is undefined."""
    f = u.f
    absent = ((own(u, "members") >> lane) & 1).eq(0)
    with f.when(absent, likely=False):
        report_absent(u, lane)


def must_name_itself(u: KernelBuilder, mask: Value) -> None:
    """A lane that is missing from its own mask would wait forever."""
    f = u.f
    with f.when(((mask >> lane_of(u)) & 1).eq(0), likely=False):
        _report(u, lane_of(u).zext("i64") + OWN_LANE)
        f.ret(f.const("i32", ABORTED))
        f.label(f.fresh("dead"))


def report_absent(u: KernelBuilder, lane: Value) -> None:
    _report(u, lane.zext("i64") + ABSENT_LANE)


def _report(u: KernelBuilder, what: Value) -> None:
    f = u.f
    kind, site, zero = f.const("i32", int(Kind.COLLECTIVE_MISMATCH)), f.const("i32", u.site()), f.const("i64", 0)
    f.call("void", "record", u.worker, kind, site, f["tid"], what, zero, f.const("i32", 0))
