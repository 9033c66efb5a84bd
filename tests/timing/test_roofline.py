from __future__ import annotations

import msgspec
import pytest

from grader.baselines.work import FP32_UNITS, TENSOR_CORES, Work
from grader.timing.roofline import binding, least_seconds, share_of_roof
from tests.timing.samples import H200

IMBALANCED = Work(flops=2.0 * 1111 * 1024 * 1024, bytes=25.9e6)


def test_an_h200_has_67_tflops_of_fp32() -> None:
    assert FP32_UNITS.flops_per_second(H200) == pytest.approx(67e12, rel=0.01)


def test_which_roof_binds() -> None:
    assert binding(H200, IMBALANCED, FP32_UNITS) == "compute"
    assert binding(H200, Work(flops=1e9, bytes=1e9), FP32_UNITS) == "memory"


def test_another_peak_is_another_roof() -> None:
    assert TENSOR_CORES.flops_per_second(H200) == pytest.approx(2141e12, rel=0.01)
    assert binding(H200, IMBALANCED, TENSOR_CORES) == "memory"
    assert share_of_roof(H200, IMBALANCED, None, 10e-6) == pytest.approx(25.9e6 / 4.8e12 / 10e-6)


def test_nothing_that_was_ever_measured_lies_below_the_roof() -> None:
    """70 us is cuBLAS's own bound for these FLOPs; reading the inputs takes 4.5."""
    least = least_seconds(H200, IMBALANCED, read_bytes=21.3e6)
    assert 4e-6 < least < 70e-6
    assert share_of_roof(H200, IMBALANCED, FP32_UNITS, 70e-6) < 1


def test_a_gpu_of_the_future_has_a_roof_too() -> None:
    newer = msgspec.structs.replace(H200, compute_capability=(14, 0))
    assert 0 < least_seconds(newer, IMBALANCED, read_bytes=0) < least_seconds(H200, IMBALANCED, read_bytes=0)
