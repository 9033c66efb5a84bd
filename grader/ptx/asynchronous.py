"""What findings say of mbarriers and bulk copies."""

from __future__ import annotations

from grader.ptx.machine import MAX_COUNT, Kind, Misuse

KINDS = {
    Kind.STUCK_PHASE, Kind.NO_MBARRIER, Kind.MISUSE, Kind.BULK_SIZE, Kind.NO_PROXY_FENCE, Kind.UNFINISHED_COPY
}  # fmt: skip
NOT_VALID = (
    "which no mbarrier.init has initialised, or which mbarrier.inval ended",
    "over which something was written since mbarrier.init",
)


def message(kind: Kind, who: str, what: str, other: int, line: int) -> str:
    """`what`: the mbarrier or the place in memory; `other`: as machine.py says; `line`: of the other access."""
    if kind is Kind.STUCK_PHASE:
        return f"{who} waits here for ever: {_missing(other)} at {what}"
    if kind is Kind.MISUSE:
        return _misuse(Misuse(other & 0xFF), who, what, other >> 8)
    return {
        Kind.NO_MBARRIER: f"{who} uses {what}, {NOT_VALID[other == 1]}",
        Kind.BULK_SIZE: f"{who} copies {other} bytes to {what}: a bulk copy takes a multiple of 16",
        Kind.NO_PROXY_FENCE: f"{who} starts a bulk copy of {what}; line {line} writes it, and no fence.proxy.async "
        "comes between",
        Kind.UNFINISHED_COPY: f"{who} ends while its bulk copy may still read {what}: commit it to a group, "
        "and wait for that",
    }[kind]


def _missing(other: int) -> str:
    """What a phase still waits for."""
    arrivals, bytes_ = other >> 32, other & 0xFFFF_FFFF
    bytes_ -= (bytes_ >> 31) << 32
    parts = [_count(arrivals, "arrival")] if arrivals else []
    if bytes_ > 0:
        parts.append(_count(bytes_, "byte"))
    text = " and ".join(parts) + (" is missing" if arrivals + max(bytes_, 0) == 1 else " are missing")
    if bytes_ < 0:
        more = f"{_count(-bytes_, 'byte')} came that nobody told it to expect"
        return f"{text}, and {more}," if arrivals else more
    return text


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def _misuse(what_is_wrong: Misuse, who: str, what: str, number: int) -> str:
    return {
        Misuse.COUNT: f"{who} gives {what} a count of {number}: from 1 to {MAX_COUNT} are allowed",
        Misuse.TOO_MANY: f"{who} arrives at {what} more often than its phase waits for: {_count(number, 'arrival')} "
        "would be right",
        Misuse.COMPLETES: f"{who} arrives at {what} with .noComplete, and no other arrival is missing",
        Misuse.BYTES: f"{who} makes {what} expect more than {MAX_COUNT} bytes",
        Misuse.VALID_ALREADY: f"{who} initialises {what}, which is an mbarrier already: mbarrier.inval comes first",
    }[what_is_wrong]
