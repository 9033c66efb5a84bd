from __future__ import annotations

import pytest

from grader.timing.gate import Decision, GateVerdict, decide, final
from grader.timing.statistics import Interval


@pytest.mark.parametrize(
    ("low", "high", "decision"),
    [
        (0.60, 0.70, Decision.PASSED),
        (0.50, 0.5999, Decision.FAILED),
        (0.5999, 0.70, Decision.ACROSS),
        (0.50, 0.60, Decision.ACROSS),
    ],
)
def test_the_threshold_itself_is_enough(low: float, high: float, decision: Decision) -> None:
    assert decide(Interval((low + high) / 2, low, high), 0.60) is decision


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        (0.601, GateVerdict(True, borderline=True)),
        (0.599, GateVerdict(False, borderline=True)),
        (0.7, GateVerdict(True)),
    ],
)
def test_what_stays_open_is_decided_by_the_median(ratio: float, verdict: GateVerdict) -> None:
    assert final(Interval(ratio, ratio - 0.01, ratio + 0.01), 0.60) == verdict
