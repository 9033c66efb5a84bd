from __future__ import annotations

import msgspec

from grader.model.counted import Saving
from grader.model.measurements import Measurements
from grader.model.result import Check, Status
from grader.reports import savings
from tests.reports import samples


def test_what_concerns_a_whole_kernel_is_told_for_each_by_itself() -> None:
    """It has no line to tell the kernels apart by."""

    def check(case: str) -> Check:
        idle = [Saving("idle", name, 0, 16, 132, 0.9, weight) for name, weight in (("sum", 0.5), ("scale", 0.3))]
        return Check(f"memory[{case}]", Status.PASSED, case=case, measurements=Measurements(savings=tuple(idle)))

    result = msgspec.structs.replace(samples.SITUATIONS["race"], checks=(check("small"), check("large")))
    first, second = savings.said(result)
    assert first.sentence.startswith("sum (small, large): ")
    assert second.sentence.startswith("scale (small, large): ")
