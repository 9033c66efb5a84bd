from __future__ import annotations

import pytest

from grader.executors import faults


@pytest.mark.parametrize(
    ("status", "kind"),
    [(700, "out-of-bounds"), (716, "misaligned-access"), (710, "trap"), (2, "out-of-memory"), (701, "bad-launch")],
)
def test_a_cuda_error_as_a_finding(status: int, kind: str) -> None:
    found = faults.finding(status, "double_kernel")
    assert found is not None
    assert found.kind == kind
    assert f"double_kernel {faults.FAULTS[status][1]} (CUDA error {status})" in found.message


def test_an_error_of_the_machine_is_no_finding() -> None:
    assert faults.finding(999, "double_kernel") is None
