"""From an interval and a threshold to a decision."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from grader.timing.statistics import Interval


class Decision(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    ACROSS = "across"  # the interval contains the threshold: more measurements are needed


class GateVerdict(msgspec.Struct, frozen=True):
    """The final decision. `borderline`: fresh processes did not settle it either, so the median decided."""

    passed: bool
    borderline: bool = False


def decide(interval: Interval, threshold: float) -> Decision:
    if interval.low >= threshold:
        return Decision.PASSED
    return Decision.FAILED if interval.high < threshold else Decision.ACROSS


def final(interval: Interval, threshold: float) -> GateVerdict:
    decision = decide(interval, threshold)
    if decision is Decision.ACROSS:
        return GateVerdict(interval.ratio >= threshold, borderline=True)
    return GateVerdict(decision is Decision.PASSED)
